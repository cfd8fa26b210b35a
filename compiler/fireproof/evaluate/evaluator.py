"""The embedded evaluator: a host with a ruleset, one packet at a time, with a flow table and a clock of its own.

Limits: the host's own programs and stack answer nothing (no ports are open, no ICMP comes from routing); helpers do not
read payloads; with connection tracking, fragments are put together before the first chain.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address
from typing import Literal, NamedTuple

from fireproof.evaluate import addresses
from fireproof.evaluate.activity import nat_versions, tracked_versions
from fireproof.evaluate.arrival import Arrival
from fireproof.evaluate.concrete import Concrete
from fireproof.evaluate.conntrack import Tracker
from fireproof.evaluate.flowtable import FlowTable
from fireproof.evaluate.nat import Translator
from fireproof.evaluate.reassembly import Reassembly, is_fragment
from fireproof.evaluate.state import State
from fireproof.model.host import Conntrack
from fireproof.model.ruleset import Chain, Rule, Ruleset
from fireproof.model.statement import Reject
from fireproof.netfilter.reject import ICMP_UNREACHABLE, ICMPV6_UNREACHABLE, ICMPX_TO_ICMP, ICMPX_TO_ICMPV6
from fireproof.packet import answer
from fireproof.packet.fragments import fragment
from fireproof.packet.parse import Headers, parse
from fireproof.semantics import register as reg
from fireproof.semantics.flight import Flight, World
from fireproof.semantics.interfaces import Interfaces
from fireproof.semantics.pipeline import Fate, Pipeline
from fireproof.source.diagnostic import input_error
from fireproof.source.text import Span

_HOST_HELP = "add a `host { … }` block with interfaces, addresses and routes"
Verdict = Literal["forward", "local", "drop", "reject"]
CtState = Literal["new", "established", "related", "invalid", "untracked"]
_STATES: dict[int, CtState] = {
    reg.NEW: "new",
    reg.ESTABLISHED: "established",
    reg.RELATED: "related",
    reg.INVALID: "invalid",
    reg.UNTRACKED: "untracked",
}


class Step(NamedTuple):
    """A rule that matched, or the policy of a chain (`rule` and `span` None). `table` is like `inet edge`."""

    hook: str
    table: str
    chain: str
    rule: Rule | None
    span: Span | None
    verdict: str


@dataclass(slots=True)
class Outcome:
    """What became of a packet."""

    verdict: Verdict = "drop"
    packets: list[tuple[str, bytes]] = field(default_factory=list)
    """What leaves, with its interface: the packet with NAT applied, or the answer of a reject."""
    delivered: bytes | None = None
    """The packet as a local socket gets it."""
    state: CtState | None = None
    """None where no connections are tracked, or the packet did not get that far."""
    path: list[Step] = field(default_factory=list)
    side_path: list[Step] = field(default_factory=list)
    """The rules that an answer of `reject` went through on its way out."""
    choices: dict[str, str] = field(default_factory=dict)
    """The questions only the machine could answer, by name, with what they are about; answered no unless set."""


def _never_on_the_wire(raw: bytes) -> bool:
    """IPv6 addresses that the kernel refuses before any hook: loopback at either end, a multicast source."""
    loopback = bytes(15) + b"\x01"
    return loopback in (raw[8:24], raw[24:40]) or raw[8:9] == b"\xff"


class Evaluator:
    """`clock` is the time at the start, in seconds since 1970 (None: now); `seed` decides what a kernel would draw.

    `choices` answers what nothing here can know: `multicast joined`, `link-local is ours`, `answers keep the mark`, …
    """

    def __init__(
        self, ruleset: Ruleset, clock: float | None = None, seed: int = 0, choices: Mapping[str, bool] | None = None
    ) -> None:
        self.ruleset = ruleset
        self.host = ruleset.host
        self._now = self.started = time.time() if clock is None else float(clock)
        names = () if self.host is None else self.host.interfaces
        self.interfaces = Interfaces(["lo", *(name for name in names if not name.endswith("*"))])
        self._algebra = Concrete(choices)
        self.conntrack = FlowTable()
        self._versions = tracked_versions(ruleset)
        settings = Conntrack() if self.host is None else self.host.conntrack
        self._tracker = Tracker(
            self._algebra,
            self.conntrack,
            Translator(self.conntrack, seed),
            self.host,
            self._versions,
            nat_versions(ruleset),
            settings,
        )
        self._state = State(seed, self._tracker.counts)
        self._world: World[bool, int] = World(
            self._algebra, self.interfaces, self.host, bool(self._versions), runtime=self._state
        )
        self._pipeline = Pipeline(
            ruleset, self._tracker, bool(self._versions), self._note, self._state.stateful, self._state.update
        )
        self._reassembly = Reassembly()
        self._path: list[Step] = []
        self._tables: dict[Chain, str] = {}

    # ---- for callers -----------------------------------------------------------------------------------------------
    @property
    def now(self) -> float:
        """The clock, in seconds since 1970."""
        return self._now

    def follow(self, choices: Mapping[str, bool], numbers: Mapping[str, int]) -> None:
        """From now on these choices decide whatever hangs on state, chance or the machine, as in a proof.

        The names are those of the proof: `choices` of conditions, `numbers` of values (dice, picked ports).
        """
        self._algebra.choices = dict(choices)
        self._algebra.numbers = dict(numbers)
        self._world.runtime = None
        self._pipeline.stateful = None
        self._pipeline.update = None

    def advance(self, seconds: float) -> None:
        """Moves the clock."""
        self._now += seconds
        self.conntrack.now = self._now

    def send(self, raw: bytes, iif: str, oif: str | None = None, local: bool | None = None, mark: int = 0) -> Outcome:
        """A packet, from the IP header on, arrives on an interface.

        Without host facts, `oif` says where it would leave, or `local` that it is for this host.
        """
        headers = parse(raw)
        if self.host is None and oif is None and local is None:
            raise input_error("host-facts", "nothing says where this packet goes", help=_HOST_HELP)
        size = 0
        if headers.family == 6 and iif != "lo" and _never_on_the_wire(headers.raw):
            return Outcome()
        if headers.valid and is_fragment(headers) and headers.family in self._versions:
            whole = self._reassembly.add(headers, self._now)
            if whole is None:
                return Outcome()
            headers, size = parse(whole[0]), whole[1]
        if not headers.valid:
            return Outcome()
        outcome = self._start()
        number = None if oif is None else self.interfaces.number(oif)
        packet = Arrival(
            headers,
            self.interfaces.number(iif),
            number,
            local=bool(local) if self.host is None else None,
            arrived=self._now,
        )
        if mark:
            packet.values[reg.MARK] = mark
        flight: Flight[bool, int] = Flight(self._world)
        self._enter(packet)
        fate = self._pipeline.receive(flight, True)
        self._conclude(outcome, packet, fate, size)
        return outcome

    def send_local(self, raw: bytes, oif: str | None = None, mark: int = 0) -> Outcome:
        """A packet that this host makes. Without host facts, `oif` says where it leaves."""
        headers = parse(raw)
        if self.host is None and oif is None:
            raise input_error("host-facts", "nothing says where this packet goes", help=_HOST_HELP)
        if not headers.valid:
            return Outcome()
        outcome = self._start()
        packet = Arrival(
            headers, 0, None if oif is None else self.interfaces.number(oif), checked=False, arrived=self._now
        )
        if mark:
            packet.values[reg.MARK] = mark
        fate = self._send(packet)
        self._conclude(outcome, packet, fate, 0)
        return outcome

    # ---- one packet ------------------------------------------------------------------------------------------------
    def _start(self) -> Outcome:
        outcome = Outcome()
        self._algebra.asked = outcome.choices
        self._path = outcome.path
        self.conntrack.now = self._state.now = self._now
        return outcome

    def _enter(self, packet: Arrival) -> None:
        self._algebra.packet = self._state.packet = packet

    def _send(self, packet: Arrival) -> Fate[bool, int]:
        self._enter(packet)
        flight: Flight[bool, int] = Flight(self._world, tracked=True if packet.flow is not None else None)
        if packet.oif is not None:
            flight.set(reg.OIF, packet.oif)
        return self._pipeline.send(flight, True)

    def _note(self, hook: str, chain: Chain, rule: Rule | None, where: bool, verdict: str) -> None:
        table = self._tables.get(chain)
        if table is None:
            table = self._tables[chain] = f"{chain.table.family} {chain.table.name}"
        self._path.append(Step(hook, table, chain.name, rule, None if rule is None else rule.span, verdict))

    def _conclude(self, outcome: Outcome, packet: Arrival, fate: Fate[bool, int], size: int) -> None:
        """`size` is that of the largest fragment the packet came in, 0 if it came whole."""
        if fate.sent and self.interfaces.names[fate.outgoing.read(reg.OIF)] == "lo":
            self._keep_mark(packet, fate.outgoing)
            fate = self._loop(packet, fate.outgoing)
        if packet.passed_tracking and packet.version in self._versions:
            outcome.state = _STATES[packet.state]
        self._keep_mark(packet, fate.outgoing)
        if fate.delivered is not fate.outgoing:
            self._keep_mark(packet, fate.delivered)
        if fate.forwarded or fate.sent:
            outcome.verdict = "forward"
            raw = packet.leaving(fate.outgoing.written)
            name = self.interfaces.names[fate.outgoing.read(reg.OIF)]
            parts = fragment(raw, size, 0) if size and len(raw) > size else [raw]
            outcome.packets += [(name, part) for part in parts]
        elif fate.local:
            outcome.verdict = "local"
            outcome.delivered = packet.leaving(fate.delivered.written)
        elif fate.rejected:
            self._reject(outcome, packet, fate)

    def _loop(self, packet: Arrival, sent: Flight[bool, int]) -> Fate[bool, int]:
        """A packet to this host itself comes back through `lo`, with the flow it already has."""
        flight: Flight[bool, int] = Flight(self._world, dict(sent.written), sent.tracked)
        flight.set(reg.IIF, self.interfaces.number("lo"))
        packet.checked = False
        return self._pipeline.receive(flight, True)

    def _keep_mark(self, packet: Arrival, flight: Flight[bool, int]) -> None:
        mark = flight.written.get(reg.CT_MARK)
        if mark is not None and packet.flow is not None:
            packet.flow.mark = mark

    # ---- reject ----------------------------------------------------------------------------------------------------
    def _reject(self, outcome: Outcome, packet: Arrival, fate: Fate[bool, int]) -> None:
        hook = self._path[-1].hook
        flight = fate.delivered if hook == "input" else fate.outgoing
        statement = fate.rejected[-1][1]
        about = packet.leaving(flight.written)
        raw = self._answer(statement, about, hook, packet)
        if raw is None:
            return
        if statement.kind == "tcp-reset" and packet.flow is not None:
            self._tracker.close(packet.flow)
        reply = Arrival(parse(raw), 0, packet.iif if self.host is None else None, checked=False, arrived=self._now)
        if packet.flow is not None:
            reply.flow, reply.direction, reply.state = packet.flow, 1 - packet.direction, reg.RELATED
            reply.error = statement.kind != "tcp-reset"
        mark = flight.read(reg.MARK)
        if mark and self._algebra.choose(
            "answers keep the mark", "net.ipv4.fwmark_reflect and net.ipv6.fwmark_reflect"
        ):
            reply.values[reg.MARK] = mark
        self._path = outcome.side_path
        gone = self._send(reply)
        if gone.rejected and statement.kind == "tcp-reset":
            # An ICMP error about the reset may be sent; about an error nothing is.
            self._reject(outcome, reply, gone)
        if not gone.sent:
            return
        name = self.interfaces.names[gone.outgoing.read(reg.OIF)]
        if name == "lo":
            back = self._loop(reply, gone.outgoing)
            if back.rejected and statement.kind == "tcp-reset":
                self._reject(outcome, reply, back)
            if not back.local:
                return
            leaving = reply.leaving(back.delivered.written)
        else:
            leaving = reply.leaving(gone.outgoing.written)
        outcome.verdict = "reject"
        outcome.packets.append((name, leaving))

    def _answer(self, statement: Reject, about: bytes, hook: str, packet: Arrival) -> bytes | None:
        if statement.kind == "tcp-reset":
            return answer.reset(about)
        code = statement.code or 0
        if packet.version == 4:
            kind = ICMP_UNREACHABLE, ICMPX_TO_ICMP[code] if statement.kind == "icmpx" else code
        else:
            kind = ICMPV6_UNREACHABLE, ICMPX_TO_ICMPV6[code] if statement.kind == "icmpx" else code
        source = self._error_source(parse(about), hook, packet)
        return None if source is None else answer.unreachable(about, source, kind)

    def _error_source(self, about: Headers, hook: str, packet: Arrival) -> IPv4Address | IPv6Address | None:
        """The address an ICMP error comes from: the one that was called if it is ours, else that of the way back."""
        raw, version = about.raw, about.family
        if version == 4:
            source, destination = int.from_bytes(raw[12:16], "big"), int.from_bytes(raw[16:20], "big")
        else:
            source, destination = int.from_bytes(raw[8:24], "big"), int.from_bytes(raw[24:40], "big")
        own: int | None = destination
        if self.host is not None and not self._is_called(destination, version, hook):
            own = self._towards(version, source, packet.iif)
        if own is None:
            return None
        return IPv4Address(own) if version == 4 else IPv6Address(own)

    def _is_called(self, destination: int, version: int, hook: str) -> bool:
        assert self.host is not None
        ours = any(
            a.version == version and a.value == destination for i in self.host.interfaces.values() for a in i.addresses
        )
        return ours and (version == 6 or hook in ("input", "output"))

    def _towards(self, version: int, source: int, iif: int) -> int | None:
        """IPv4 takes the address of the interface it answers by, IPv6 that of the interface the packet came in by."""
        assert self.host is not None
        if any(a.version == version and a.value == source for i in self.host.interfaces.values() for a in i.addresses):
            return source
        route = addresses.route_to(self.host, version, source)
        if version == 6 and iif:
            return addresses.source_towards(self.host, self.interfaces.names[iif], version, source)
        return None if route is None else addresses.source_towards(self.host, route.device, version, source)
