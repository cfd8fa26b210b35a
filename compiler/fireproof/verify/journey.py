"""Whole connections: the first packet, the reply, and the third packet, through all hooks of the host."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic

from fireproof.model.ruleset import Chain, Rule, Ruleset
from fireproof.netfilter.conntrack import ANSWERS, QUERIES
from fireproof.semantics import register as reg
from fireproof.semantics import routing
from fireproof.semantics.algebra import P, V
from fireproof.semantics.flight import Flight, World
from fireproof.semantics.flow import Ends
from fireproof.semantics.interval import Intervals
from fireproof.semantics.pipeline import Fate, Pipeline
from fireproof.verify.tracking import Exchange, RoleTracker

SYN, SYN_ACK, ACK = 0x02, 0x12, 0x10
ICMP_REPLIES = {(p, query): ANSWERS[p][query] for p, queries in QUERIES.items() for query in sorted(queries)}
"""Requests that open an ICMP flow (protocol, type) and the type of the reply."""


def _least_lengths(header: int) -> tuple[tuple[Intervals, int], ...]:
    tcp, short = Intervals.of(6), Intervals((p, p) for p in (1, 17, 58, 136))
    return (tcp, header + 20), (short, header + 8), ((tcp | short).complement(8), header + 20)


LEAST_LENGTHS = (_least_lengths(20), _least_lengths(40))
"""For IPv4 and IPv6: protocols, and the bytes of a packet that has nothing but its headers."""


Note = Callable[[str, str, Chain, "Rule | None", P, str], None]
"""Watches rules: packet ("first", "reply", "third"), hook, chain, rule, where, verdict."""


@dataclass(slots=True)
class Journey(Generic[P, V]):
    """Runs the packets of one connection over a ruleset."""

    world: World[P, V]
    ruleset: Ruleset
    note: Note[P] | None = None

    def pipeline(self, tracker: RoleTracker[P, V], which: str) -> Pipeline[P, V]:
        note = self.note
        watch = None if note is None else lambda h, c, r, w, v: note(which, h, c, r, w, v)
        return Pipeline(self.ruleset, tracker, self.world.conntrack, watch)

    def flight(self, label: str = "") -> Flight[P, V]:
        """A packet as it arrives: unmarked, with a whole transport header."""
        flight: Flight[P, V] = Flight(self.world, label=label)
        algebra = self.world.algebra
        flight.set(reg.MARK, algebra.constant(0, 32))
        flight.set(reg.CT_ZONE, algebra.constant(0, reg.CT_ZONE.bits))
        return flight

    # ---- the packets of a connection -------------------------------------------------------------------------------
    def first(self, members: P, from_here: bool) -> tuple[Fate[P, V], RoleTracker[P, V]]:
        """The first packet: NEW. `from_here` when this host opens the connection."""
        tracker: RoleTracker[P, V] = RoleTracker(reg.NEW)
        pipeline = self.pipeline(tracker, "first")
        flight = self.flight()
        return (pipeline.send if from_here else pipeline.receive)(flight, members), tracker

    def answer(self, exchange: Exchange[P, V], flight: Flight[P, V], members: P, from_here: bool) -> Fate[P, V]:
        """The reply to a first packet that left as `flight`; `from_here` when a local socket sends it."""
        reply = self.flight("reply")
        self._address(reply, exchange.reply, flight)
        self._kind(reply, flight, SYN_ACK, answer=True)
        tracker = RoleTracker(reg.ESTABLISHED, exchange, direction=1, assured="no")
        pipeline = self.pipeline(tracker, "reply")
        if from_here:
            return pipeline.send(reply, members)
        reply.set(reg.IIF, flight.read(reg.OIF))
        return pipeline.receive(reply, members)

    def third(self, exchange: Exchange[P, V], first: Flight[P, V], members: P, from_here: bool) -> Fate[P, V]:
        """The next packet of the opener, after the reply."""
        third = self.flight("third")
        self._address(third, exchange.original, first)
        self._kind(third, first, ACK, answer=False)
        tracker = RoleTracker(reg.ESTABLISHED, exchange, direction=0, assured="tcp")
        pipeline = self.pipeline(tracker, "third")
        if from_here:
            return pipeline.send(third, members)
        third.set(reg.IIF, first.arriving(reg.IIF))
        return pipeline.receive(third, members)

    def _address(self, flight: Flight[P, V], ends: Ends[V], like: Flight[P, V]) -> None:
        algebra = self.world.algebra
        flight.set(reg.FAMILY, like.read(reg.FAMILY))
        flight.set(reg.L4PROTO, like.read(reg.L4PROTO))
        flight.set(reg.IP_SADDR, ends.saddr4)
        flight.set(reg.IP_DADDR, ends.daddr4)
        flight.set(reg.IP6_SADDR, ends.saddr6)
        flight.set(reg.IP6_DADDR, ends.daddr6)
        flight.set(reg.SPORT, ends.sport)
        flight.set(reg.DPORT, ends.dport)
        flight.set(reg.TRANSPORT, algebra.constant(1, 1))
        flight.set(reg.TTL, algebra.constant(64, 8))
        flight.set(reg.HOPLIMIT, algebra.constant(64, 8))
        # Replies and third packets carry no data.
        length = algebra.constant(0, reg.LENGTH.bits)
        for family in (0, 1):
            for protocols, least in LEAST_LENGTHS[family]:
                here = algebra.both(flight.is_family(family), algebra.member(flight.read(reg.L4PROTO), 8, protocols))
                length = algebra.select(here, algebra.constant(least, reg.LENGTH.bits), length, reg.LENGTH.bits)
        flight.set(reg.LENGTH, length)

    def _kind(self, flight: Flight[P, V], like: Flight[P, V], flags: int, answer: bool) -> None:
        """TCP flags; for ICMP the type that answers, in the place of the ports."""
        algebra = self.world.algebra
        flight.set(reg.TCP_FLAGS, algebra.constant(flags, 8))
        protocol = like.read(reg.L4PROTO)
        icmp = algebra.member(protocol, 8, Intervals([(1, 1), (58, 58)]))
        request = like.arriving(reg.SPORT)
        kind = request
        if answer:
            for (number, opening), answering in ICMP_REPLIES.items():
                hit = algebra.both(
                    algebra.member(protocol, 8, Intervals.of(number)),
                    algebra.member(request, 16, Intervals.of(opening << 8, opening << 8 | 255)),
                )
                kind = algebra.select(hit, algebra.constant(answering << 8, 16), kind, 16)
        flight.write(icmp, reg.SPORT, kind)
        flight.write(icmp, reg.DPORT, flight.arriving(reg.DPORT))

    # ---- the connection --------------------------------------------------------------------------------------------
    def connection(self, members: P, from_here: bool) -> Connection[P, V]:
        algebra = self.world.algebra
        first, tracker = self.first(members, from_here)
        left = algebra.either(first.forwarded, first.sent)
        through = algebra.either(left, first.local)
        passed = algebra.false
        replies: list[Fate[P, V]] = []
        thirds: list[Fate[P, V]] = []
        for outcome, flight, local in ((left, first.outgoing, False), (first.local, first.delivered, True)):
            if algebra.is_false(outcome):
                continue
            exchange = tracker.exchange_after(flight)
            answered = self.answer(exchange, flight, outcome, from_here=local)
            replies.append(answered)
            if from_here and not local:
                back = answered.local
            elif local and not from_here:
                back = answered.sent
            else:
                back = algebra.either(answered.forwarded, answered.local)
            if local and from_here:
                back = algebra.either(back, answered.sent)
            if algebra.is_false(back):
                continue
            final = answered.delivered if from_here else answered.outgoing
            exchange.mark = final.read(reg.CT_MARK)
            again = self.third(exchange, first.outgoing, back, from_here)
            thirds.append(again)
            onward = again.local if local and not from_here else algebra.either(again.forwarded, again.sent)
            if local and from_here:
                onward = algebra.either(again.sent, again.local)
            passed = algebra.either(passed, algebra.both(back, onward))
        return Connection(members, first, tracker, through, replies, thirds, passed)


@dataclass(slots=True)
class Connection(Generic[P, V]):
    """`through`: where the first packet got through; `passed`: where reply and third packet did as well."""

    members: P
    first: Fate[P, V]
    tracker: RoleTracker[P, V]
    through: P
    replies: list[Fate[P, V]]
    thirds: list[Fate[P, V]]
    passed: P


def routed_back(flight: Flight[P, V]) -> P:
    """Where the source address is one that this host would answer through the interface the packet came in by."""
    algebra = flight.world.algebra
    host = flight.world.host
    if host is None:
        return algebra.true
    found = algebra.false
    for version, register in ((4, reg.IP_SADDR), (6, reg.IP6_SADDR)):
        family = flight.is_family(0 if version == 4 else 1)
        for device, values in routing.destinations(host, version):
            numbers = flight.world.interfaces.matching_device(device)
            hit = algebra.both(
                algebra.member(flight.read(register), register.bits, values),
                algebra.member(flight.read(reg.IIF), reg.IIF.bits, numbers),
            )
            found = algebra.either(found, algebra.both(family, hit))
    return found
