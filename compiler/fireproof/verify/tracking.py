"""Connection tracking for symbolic packets: each packet is run in a known role of its flow.

The first packet of a flow is NEW; what NAT makes of it is kept as an `Exchange`; the reply and what follows are
ESTABLISHED and translated back through that binding. Which roles are possible is the business of `journey`.
Assumptions (docs/model.md): port pools are not exhausted and the conntrack table is not full.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Generic

from fireproof.model.expression import Name
from fireproof.netfilter.conntrack import ASSURED, CONFIRMED, NEVER_TRACKED_ICMPV6, SEEN_REPLY, WITH_PORTS
from fireproof.semantics import register as reg
from fireproof.semantics.algebra import P, V
from fireproof.semantics.flight import TUPLE_KEYS, Flight
from fireproof.semantics.flow import SOURCE_HOOKS, Ends, ends_of, translate
from fireproof.semantics.interval import Intervals
from fireproof.semantics.traverse import Translation

_PORTS = Intervals((p, p) for p in WITH_PORTS)
_TCP = Intervals.of(6)


@dataclass(slots=True)
class Exchange(Generic[P, V]):
    """What is known of a flow after its first packet: both tuples, where it is tracked, its mark and status."""

    original: Ends[V]
    reply: Ends[V]
    tracked: P
    mark: V
    status: V


@dataclass(slots=True)
class RoleTracker(Generic[P, V]):
    """Tracks one packet. `state` is the ct state of a packet without a known flow; `direction` 1 is a reply."""

    state: int = reg.NEW
    exchange: Exchange[P, V] | None = None
    direction: int = 0
    error: bool = False
    """An ICMP error about the flow: RELATED, and translated only where the flow was."""
    assured: str = "free"
    """Whether the flow is `assured` by now: no, tcp (the third packet of TCP makes it so), or a free choice."""
    untracked: P | None = None
    bound: dict[str, P] = field(default_factory=dict)
    original: Ends[V] | None = None

    # ---- the interface of the pipeline -----------------------------------------------------------------------------
    def untrack(self, flight: Flight[P, V], where: P) -> None:
        """`notrack`: has an effect only before connection tracking."""
        if flight.tracked is None:
            algebra = flight.world.algebra
            self.untracked = where if self.untracked is None else algebra.either(self.untracked, where)

    def known(self, flight: Flight[P, V]) -> P:
        return flight.world.algebra.false if self.exchange is None else self.exchange.tracked

    def track(self, flight: Flight[P, V], where: P) -> P:
        algebra = flight.world.algebra
        bits = reg.CT_STATE.bits
        self.original = ends_of(flight)
        untracked = self.untracked if self.untracked is not None else algebra.false
        if self.state == reg.NEW:
            untracked = algebra.either(untracked, never_tracked(flight))
        state = algebra.constant(self.state, bits)
        entry = algebra.true if self.state in (reg.NEW, reg.ESTABLISHED, reg.RELATED) else algebra.false
        if self.exchange is not None:
            known = self.exchange.tracked
            tcp = algebra.member(flight.read(reg.L4PROTO), 8, _TCP)
            if self.error:
                invalid = algebra.constant(reg.INVALID, bits)
                state, entry = algebra.select(known, algebra.constant(reg.RELATED, bits), invalid, bits), known
            else:
                # A reply to a flow that was not tracked begins one of its own, which TCP cannot do with SYN/ACK or ACK.
                lone = algebra.select(tcp, algebra.constant(reg.INVALID, bits), algebra.constant(reg.NEW, bits), bits)
                state = algebra.select(known, algebra.constant(reg.ESTABLISHED, bits), lone, bits)
                entry = algebra.either(known, algebra.negate(tcp))
            flight.set(reg.CT_MARK, algebra.select(known, self.exchange.mark, algebra.constant(0, 32), 32))
            zero = algebra.constant(0, 16)
            seen = algebra.operate("|", self.exchange.status, algebra.constant(CONFIRMED | SEEN_REPLY, 16), 16)
            assured = algebra.operate("|", seen, algebra.constant(ASSURED, 16), 16)
            seen = algebra.select(self._is_assured(flight, tcp), assured, seen, 16)
            flight.set(reg.CT_STATUS, algebra.select(known, seen, zero, 16))
            direction = algebra.select(known, algebra.constant(self.direction, 8), algebra.constant(0, 8), 8)
            flight.set(reg.CT_DIRECTION, direction)
        else:
            flight.set(reg.CT_MARK, algebra.constant(0, 32))
            flight.set(reg.CT_STATUS, algebra.constant(0, 16))
            flight.set(reg.CT_DIRECTION, algebra.constant(0, 8))
        flight.set(reg.CT_STATE, algebra.select(untracked, algebra.constant(reg.UNTRACKED, bits), state, bits))
        flight.tracked = algebra.both(entry, algebra.negate(untracked))
        self._tuples(flight)
        return where

    def _is_assured(self, flight: Flight[P, V], tcp: P) -> P:
        algebra = flight.world.algebra
        if self.assured == "no":
            return algebra.false
        other = flight.choose("the flow is assured", "whether the flow has lived long enough to be `assured`")
        return algebra.either(tcp, other) if self.assured == "tcp" else other

    def untranslated(self, flight: Flight[P, V], hook: str) -> P:
        algebra = flight.world.algebra
        if self.error:
            return algebra.false
        fresh = algebra.both(flight.has_entry(), algebra.negate(self.known(flight)))
        bound = self.bound.get(_side(hook))
        return fresh if bound is None else algebra.both(fresh, algebra.negate(bound))

    def bind(self, flight: Flight[P, V], hook: str, where: P, target: Translation[V]) -> P:
        algebra = flight.world.algebra
        side = _side(hook)
        statement = target.statement
        before = ends_of(flight)
        source = side == "source"
        ported = algebra.member(flight.read(reg.L4PROTO), 8, _PORTS)
        fixed = target.fixed and (flight.world.host is not None or statement.kind in ("snat", "dnat"))
        site = f"{statement.kind} at {hook}"
        for family, register in (
            (0, reg.IP_SADDR if source else reg.IP_DADDR),
            (1, reg.IP6_SADDR if source else reg.IP6_DADDR),
        ):
            if target.family not in (None, family):
                continue
            address = target.address
            if statement.kind in ("masquerade", "redirect"):
                address, there = self._own_address(flight, hook, family, statement.kind)
                lost = algebra.both(flight.is_family(family), algebra.negate(there))
                where = algebra.both(where, algebra.negate(lost))
            if address is not None:
                flight.write(algebra.both(where, flight.is_family(family)), register, address)
        has_ports = algebra.both(where, ported)
        changed = algebra.false
        if fixed:
            changed = algebra.both(where, algebra.negate(_same(flight, before, ends_of(flight), source)))
        port_register = reg.SPORT if source else reg.DPORT
        if target.port is not None:
            other = (
                algebra.negate(algebra.equal(flight.read(port_register), target.port, 16)) if fixed else algebra.false
            )
            flight.write(has_ports, port_register, target.port)
            changed = algebra.either(changed, algebra.both(has_ports, other))
        elif source:
            # The kernel keeps the port unless another flow has it.
            what = "the port that the kernel picks when the one wanted is taken"
            picked = flight.arriving(reg.choice_register(f"port of {site}", 16, what))
            clash = flight.choose(f"port taken for {site}", "whether the wanted source port is taken by another flow")
            if any(flag in statement.flags for flag in ("random", "fully-random")):
                clash = algebra.true
            clash = algebra.both(has_ports, clash)
            flight.write(clash, port_register, picked)
            changed = algebra.either(changed, clash)
        if not fixed:
            # What comes from a range or a map may happen to be what was there.
            moved = flight.choose(f"{site} changes something", "whether the address picked differs from the old one")
            changed = algebra.both(where, moved)
        bit = reg.STATUS_SNAT if source else reg.STATUS_DNAT
        status = flight.read(reg.CT_STATUS)
        flight.write(changed, reg.CT_STATUS, algebra.operate("|", status, algebra.constant(bit, 16), 16))
        earlier = self.bound.get(side)
        self.bound[side] = where if earlier is None else algebra.either(earlier, where)
        self._tuples(flight)
        return where

    def finish_nat(self, flight: Flight[P, V], hook: str, where: P) -> P:
        if self.exchange is None:
            return where
        algebra = flight.world.algebra
        flow = self.exchange
        # A packet leaves with the inverse of the other direction's tuple.
        target = (flow.original if self.direction else flow.reply).inverse()
        ports = algebra.member(flight.read(reg.L4PROTO), 8, _PORTS)
        here = algebra.both(flight.has_entry(), flow.tracked)
        if self.error:
            # The kernel translates an error only for the side on which the flow itself was.
            source = (_side(hook) == "source") is not bool(self.direction)
            bit = reg.STATUS_SNAT if source else reg.STATUS_DNAT
            masked = algebra.operate("&", flow.status, algebra.constant(bit, 16), 16)
            here = algebra.both(here, algebra.negate(algebra.member(masked, 16, Intervals.of(0))))
            ports = algebra.false
        translate(flight, hook, here, target, ports)
        return where

    def confirm(self, flight: Flight[P, V], where: P) -> P:
        return where

    # ---- what it leaves behind -------------------------------------------------------------------------------------
    def exchange_after(self, flight: Flight[P, V]) -> Exchange[P, V]:
        """The flow that the first packet made, as it left in `flight`."""
        algebra = flight.world.algebra
        if flight.tracked is None or self.original is None:
            ends = ends_of(flight)
            zero = algebra.constant(0, 32)
            return Exchange(ends, ends.inverse(), algebra.false, zero, algebra.constant(0, 16))
        return Exchange(
            self.original,
            ends_of(flight).inverse(),
            flight.tracked,
            flight.read(reg.CT_MARK),
            flight.read(reg.CT_STATUS),
        )

    def _tuples(self, flight: Flight[P, V]) -> None:
        """Leaves the tuples where `ct original` and `ct reply` read them."""
        if self.exchange is not None:
            original, reply = self.exchange.original, self.exchange.reply
        else:
            assert self.original is not None
            original, reply = self.original, ends_of(flight).inverse()
        for direction, ends in (("original", original), ("reply", reply)):
            registers = TUPLE_KEYS[direction]
            flight.set(registers["ip saddr"], ends.saddr4)
            flight.set(registers["ip daddr"], ends.daddr4)
            flight.set(registers["ip6 saddr"], ends.saddr6)
            flight.set(registers["ip6 daddr"], ends.daddr6)
            flight.set(registers["proto-src"], ends.sport)
            flight.set(registers["proto-dst"], ends.dport)

    def _own_address(self, flight: Flight[P, V], hook: str, family: int, kind: str) -> tuple[V, P]:
        """The address that masquerade or redirect takes, of the way out or of the way in, and where there is one.

        An interface without an address of that IP version gives none: the kernel drops the packet.
        """
        algebra = flight.world.algebra
        bits, version = (32, 4) if family == 0 else (128, 6)
        host = flight.world.host
        loopback = algebra.constant(0x7F000001 if family == 0 else 1, bits)
        if kind == "redirect" and hook == "output":
            return loopback, algebra.true
        where = "the way out" if kind == "masquerade" else "the way in"
        if host is None:
            name = f"address of {where} for IPv{version}"
            return flight.arriving(reg.choice_register(name, bits, f"the address of {where}")), algebra.true
        register = reg.OIF if kind == "masquerade" else reg.IIF
        there = algebra.member(flight.read(register), register.bits, flight.world.interfaces.matching(Name("lo")))
        value = loopback
        for interface in host.interfaces.values():
            own = [a.value for a in interface.addresses if a.version == version]
            if own:
                numbers = flight.world.interfaces.matching_device(interface.name)
                hit = algebra.member(flight.read(register), register.bits, numbers)
                value = algebra.select(hit, algebra.constant(own[0], bits), value, bits)
                there = algebra.either(there, hit)
        return value, there


def never_tracked(flight: Flight[P, V]) -> P:
    """ICMPv6 that conntrack leaves alone: multicast listener reports and neighbour discovery (types 130-136, 143)."""
    algebra = flight.world.algebra
    kinds = Intervals((kind << 8, kind << 8 | 255) for kind in NEVER_TRACKED_ICMPV6)
    found = algebra.both(flight.is_family(1), algebra.member(flight.read(reg.L4PROTO), 8, Intervals.of(58)))
    return algebra.both(found, algebra.member(flight.read(reg.SPORT), 16, kinds))


def _side(hook: str) -> str:
    return "source" if hook in SOURCE_HOOKS else "destination"


def _same(flight: Flight[P, V], before: Ends[V], after: Ends[V], source: bool) -> P:
    """Where the addresses of one side did not change."""
    algebra = flight.world.algebra
    four = (before.saddr4, after.saddr4) if source else (before.daddr4, after.daddr4)
    six = (before.saddr6, after.saddr6) if source else (before.daddr6, after.daddr6)
    found = algebra.true
    for (one, other), bits in ((four, 32), (six, 128)):
        if one is not other:
            found = algebra.both(found, algebra.equal(one, other, bits))
    return found
