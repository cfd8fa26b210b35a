"""Connection tracking and NAT for real packets, as the hooks of the pipeline call it.

A new flow is entered when its first packet leaves (or is delivered), so a dropped one leaves nothing behind. Facts:
observed on Linux 6.18 (states, timeouts, ICMP errors, bindings). Limits: helpers and expectations are not there; SCTP
is followed by its ports only; DCCP and GRE by their addresses.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from fireproof.evaluate import addresses, tcp
from fireproof.evaluate.arrival import Arrival
from fireproof.evaluate.concrete import Concrete
from fireproof.evaluate.flowtable import NAT, NAT_DONE, Flow, FlowTable
from fireproof.evaluate.flowtuple import FlowTuple, of_bytes, quoted
from fireproof.evaluate.nat import Target, Translator
from fireproof.evaluate.tcp_window import Segment
from fireproof.model.expression import Interval, MapLookup
from fireproof.model.host import Conntrack, Host
from fireproof.netfilter.conntrack import (
    ASSURED,
    CONFIRMED,
    DST_NAT,
    ERRORS,
    FIN,
    ICMP,
    ICMPV6,
    NEVER_TRACKED_ICMPV6,
    QUERIES,
    SCTP,
    SEEN_REPLY,
    SRC_NAT,
    SYN,
    TCP,
    UDP,
    UDPLITE,
    WITH_PORTS,
)
from fireproof.packet.parse import l4_checksum_ok
from fireproof.packet.rewrite import translate_icmp_inner
from fireproof.semantics import register as reg
from fireproof.semantics.flight import Flight, find_set, read_parts
from fireproof.semantics.flow import SOURCE_HOOKS
from fireproof.semantics.match import element_matches
from fireproof.semantics.register import Register
from fireproof.semantics.traverse import Translation

_UDP_TIMEOUT, _UDP_ASSURED_TIMEOUT, _UDP_STEADY = 30.0, 120.0, 2.0
_ICMP_TIMEOUT, _GENERIC_TIMEOUT, _SCTP_TIMEOUT = 30.0, 600.0, 210.0
_ICMP_REDIRECT = 5
_HIGHEST_ICMP = 18
_MIN_HEADER = {TCP: 20, UDP: 8, UDPLITE: 8, SCTP: 12, ICMP: 8, ICMPV6: 8}
_ZONE_ORIGINAL, _ZONE_REPLY = Register("ct original zone", 16), Register("ct reply zone", 16)
_ADDRESSES = {
    (4, "source"): reg.IP_SADDR, (4, "destination"): reg.IP_DADDR,
    (6, "source"): reg.IP6_SADDR, (6, "destination"): reg.IP6_DADDR,
}  # fmt: skip


@dataclass(slots=True)
class Tracker:
    """`versions` are the IP versions that connections are tracked of, `nat_versions` those that have NAT chains."""

    algebra: Concrete
    table: FlowTable
    translator: Translator
    host: Host | None
    versions: frozenset[int]
    nat_versions: frozenset[int]
    settings: Conntrack = field(default_factory=Conntrack)
    next_id: int = 1

    # ---- the interface of the pipeline -----------------------------------------------------------------------------
    def untrack(self, flight: Flight[bool, int], where: bool) -> None:
        packet = self.algebra.packet
        if where and packet.flow is None:
            packet.state = reg.UNTRACKED
            flight.tracked = False

    def track(self, flight: Flight[bool, int], where: bool) -> bool:
        packet = self.algebra.packet
        unseen = packet.flow is None and packet.state != reg.UNTRACKED and packet.version in self.versions
        if unseen and not self._find(flight, packet):
            return False
        flight.tracked = packet.flow is not None
        packet.passed_tracking = True
        return True

    def untranslated(self, flight: Flight[bool, int], hook: str) -> bool:
        packet = self.algebra.packet
        flow = packet.flow
        if flow is None or packet.error or packet.version not in self.nat_versions:
            return False
        return packet.state in (reg.NEW, reg.RELATED) and not flow.status & NAT_DONE[_side(hook)]

    def bind(self, flight: Flight[bool, int], hook: str, where: bool, target: Translation[int]) -> bool:
        flow = self.algebra.packet.flow
        if not where or flow is None:
            return False
        wanted = self._target(flight, hook, target)
        if wanted is None:
            return False
        if not flow.status & CONFIRMED:
            self.translator.bind(flow, target.side, wanted)
        return True

    def finish_nat(self, flight: Flight[bool, int], hook: str, where: bool) -> bool:
        packet = self.algebra.packet
        flow = packet.flow
        if not where or flow is None or packet.version not in self.nat_versions:
            return where
        side = _side(hook)
        if packet.error:
            return self._translate_error(flight, packet, flow, side)
        if self.untranslated(flight, hook):
            if flow.status & CONFIRMED:
                flow.status |= NAT_DONE[side]
            else:
                self.translator.bind_nothing(flow, side)
        if flow.status & _translates(side, packet.direction):
            self._translate(flight, packet, flow.tuple_of(1 - packet.direction).inverse(), side)
        return True

    def confirm(self, flight: Flight[bool, int], where: bool) -> bool:
        packet = self.algebra.packet
        flow = packet.flow
        if not where or flow is None or flow.status & CONFIRMED or packet.direction:
            return where
        return self.table.add(flow)

    # ---- finding the flow ------------------------------------------------------------------------------------------
    def _find(self, flight: Flight[bool, int], packet: Arrival) -> bool:
        """Sets flow, state and direction of a packet. False drops it: the table is full."""
        packet.state = reg.INVALID
        ends = _tuple_now(flight, packet)
        headers = packet.headers
        if ends is None:
            return True
        th, protocol = headers.th or 0, ends.protocol
        if protocol in _MIN_HEADER and th + _MIN_HEADER[protocol] > len(packet.raw):
            return True
        if protocol == UDP and not 8 <= (packet.raw[th + 4] << 8 | packet.raw[th + 5]) <= len(packet.raw) - th:
            return True
        if packet.checked and not l4_checksum_ok(headers):
            return True
        if protocol in (ICMP, ICMPV6):
            if (protocol == ICMP) != (packet.version == 4):
                return True
            kind = packet.raw[th]
            if protocol == ICMPV6 and kind in NEVER_TRACKED_ICMPV6:
                packet.state = reg.UNTRACKED
                return True
            if protocol == ICMP and kind > _HIGHEST_ICMP:
                return True
            if kind in ERRORS[protocol]:
                self._find_error(flight, packet, ends)
                return True
        return self._find_or_open(flight, packet, ends)

    def _find_or_open(self, flight: Flight[bool, int], packet: Arrival, ends: FlowTuple) -> bool:
        if not ends.has_inverse:
            return True
        zones = _zones(flight)
        for _ in range(2):
            found = self.table.find(ends, zones[0])
            if found is None and zones[1] != zones[0]:
                found = self.table.find(ends, zones[1])
            if found is None:
                if self.table.size >= self.settings.max > 0 and not self.table.evict():
                    return False
                zone = flight.written.get(reg.CT_ZONE) or zones[0] or zones[1]
                found = Flow(self.next_id, ends, ends.inverse(), zone, zones), 0
            flow, direction = found
            taken = self._follow(packet, flow, direction)
            if taken == "reopen":
                self.table.remove(flow)
                continue
            if taken == "invalid":
                return True
            packet.flow, packet.direction = flow, direction
            if direction:
                packet.state = reg.ESTABLISHED
                flow.status |= SEEN_REPLY
            if flow.id == self.next_id:
                self.next_id += 1
            return True
        return True

    def _find_error(self, flight: Flight[bool, int], packet: Arrival, ends: FlowTuple) -> None:
        """An ICMP error belongs to the flow of the packet it quotes, if it is sent to that packet's sender."""
        inner = quoted(packet.headers)
        if inner is None or not inner.has_inverse:
            return
        zones = _zones(flight)
        expected = inner.inverse()
        found = self.table.find(expected, zones[0])
        if found is None and zones[1] != zones[0]:
            found = self.table.find(expected, zones[1])
        if found is None or found[0].tuple_of(found[1]).destination != ends.destination:
            return
        packet.flow, packet.direction = found
        packet.error = True
        packet.state = reg.RELATED

    # ---- what a packet does to its flow ----------------------------------------------------------------------------
    def _follow(self, packet: Arrival, flow: Flow, direction: int) -> str:
        """`taken`, `invalid` or `reopen`; sets the state that the packet has in the original direction."""
        now, before = self.table.now, flow.status
        packet.state = reg.ESTABLISHED if before & SEEN_REPLY else reg.NEW
        protocol = flow.original.protocol
        if protocol == TCP:
            result = self._follow_tcp(packet, flow, direction)
            if result != "taken":
                packet.state = reg.INVALID
            return result
        if protocol in (UDP, UDPLITE):
            if not before & CONFIRMED:
                flow.steady = now + _UDP_STEADY
            timeout = _UDP_TIMEOUT
            if before & SEEN_REPLY and now > flow.steady:
                timeout = _UDP_ASSURED_TIMEOUT
                flow.status |= ASSURED
            flow.expires = now + timeout
        elif protocol in (ICMP, ICMPV6):
            if not before & CONFIRMED and flow.original.dport >> 8 not in QUERIES[protocol]:
                packet.state = reg.INVALID
                return "invalid"
            flow.expires = now + _ICMP_TIMEOUT
        else:
            flow.expires = now + (_SCTP_TIMEOUT if protocol == SCTP else _GENERIC_TIMEOUT)
        return "taken"

    def _follow_tcp(self, packet: Arrival, flow: Flow, direction: int) -> str:
        segment = _segment(packet)
        if segment is None:
            return "invalid"
        if flow.tcp is None:
            if segment.kind != "syn" and not self.settings.tcp_loose:
                return "invalid"
            flow.tcp = tcp.Connection()
            flow.tcp.begins(segment)
        connection = flow.tcp
        old = connection.state
        result = connection.step(
            direction, segment, seen_reply=bool(flow.status & SEEN_REPLY), assured=bool(flow.status & ASSURED),
            liberal=self.settings.be_liberal,
        )  # fmt: skip
        if result == "ignored":
            return "taken"
        now = self.table.now
        if result != "taken":
            if connection.perhaps_over:
                flow.expires = min(flow.expires, now + tcp.UNACKNOWLEDGED)
            return result
        timeout = connection.timeout(segment)
        if not flow.status & SEEN_REPLY:
            if segment.kind == "rst":
                self.table.remove(flow)
                return "taken"
            if connection.state == tcp.ESTABLISHED:
                timeout = min(timeout, tcp.UNACKNOWLEDGED)
        elif connection.state == tcp.ESTABLISHED and old in (tcp.SYN_RECV, tcp.ESTABLISHED):
            flow.status |= ASSURED
        flow.expires = now + timeout
        return "taken"

    def close(self, flow: Flow) -> None:
        """`reject with tcp reset` ends the connection."""
        if flow.tcp is not None:
            flow.tcp.state = tcp.CLOSE
            flow.expires = self.table.now + tcp.TIMEOUTS[tcp.CLOSE]

    def counts(self, number: int) -> bool:
        """Whether a connection still counts for `ct count`."""
        packet = self.algebra.packet
        flow = packet.flow if packet.flow is not None and packet.flow.id == number else self.table.get(number)
        return flow is not None and flow.tcp_state not in (tcp.TIME_WAIT, tcp.CLOSE)

    # ---- translation -----------------------------------------------------------------------------------------------
    def _target(self, flight: Flight[bool, int], hook: str, target: Translation[int]) -> Target | None:
        statement = target.statement
        version = self.algebra.packet.version
        ports = _range(statement.port, target.port)
        if statement.pair and target.port is not None:
            ports = (target.port, target.port)
        if statement.kind == "masquerade":
            own = self._masquerade_address(flight, version)
        elif statement.kind == "redirect":
            own = self._redirect_address(flight, hook, version)
        else:
            span = _prefix_range(flight, target) if statement.prefix else None
            span = span or _range(None if statement.pair else statement.address, target.address)
            return Target(span, ports, statement.flags, statement.prefix)
        return None if own is None else Target((own, own), ports, statement.flags)

    def _masquerade_address(self, flight: Flight[bool, int], version: int) -> int | None:
        if self.host is None:
            return self._unknown(flight, "the address that masquerade takes")
        device = flight.world.interfaces.names[flight.read(reg.OIF)]
        return addresses.source_towards(
            self.host, device, version, flight.read(_ADDRESSES[version, "destination"])
        )  # fmt: skip

    def _redirect_address(self, flight: Flight[bool, int], hook: str, version: int) -> int | None:
        if hook == "output":
            return 0x7F000001 if version == 4 else 1
        if self.host is None:
            return self._unknown(flight, "the address that redirect takes")
        device = flight.world.interfaces.names[flight.read(reg.IIF)]
        return addresses.primary(self.host, device, version)

    def _unknown(self, flight: Flight[bool, int], what: str) -> int:
        """Without host facts there is no address to take: 192.0.2.1 or 2001:db8::1 stands for it."""
        self.algebra.asked[what] = what
        return 0xC0000201 if self.algebra.packet.version == 4 else 0x20010DB8 << 96 | 1

    def _translate(self, flight: Flight[bool, int], packet: Arrival, target: FlowTuple, side: str) -> None:
        source = side == "source"
        flight.written[_ADDRESSES[packet.version, side]] = target.source if source else target.destination
        if target.protocol in WITH_PORTS:
            flight.written[reg.SPORT if source else reg.DPORT] = target.sport if source else target.dport
        elif target.protocol in (ICMP, ICMPV6):
            flight.written[reg.TH_WORD] = target.sport << 16 | flight.read(reg.TH_WORD) & 0xFFFF
            _show_checksum(flight, packet)

    def _translate_error(self, flight: Flight[bool, int], packet: Arrival, flow: Flow, side: str) -> bool:
        """The error looks as if it came from, or went to, the ends that the receiver knows; so does what it quotes."""
        kind = packet.raw[packet.headers.th or 0]
        if packet.version == 4 and kind == _ICMP_REDIRECT and flow.status & (SRC_NAT | DST_NAT):
            return False
        if not flow.status & _translates(side, packet.direction):
            return True
        other = flow.tuple_of(1 - packet.direction)
        target = other.inverse()
        self._change_quote(packet, other, "destination" if side == "source" else "source")
        if translate_icmp_inner(packet.raw, **packet.inner) is None:
            return False
        flight.written[_ADDRESSES[packet.version, side]] = target.source if side == "source" else target.destination
        _show_checksum(flight, packet)
        return True

    def _change_quote(self, packet: Arrival, ends: FlowTuple, side: str) -> None:
        packet.inner["saddr" if side == "source" else "daddr"] = ends.source if side == "source" else ends.destination
        if ends.protocol in WITH_PORTS:
            packet.inner["sport" if side == "source" else "dport"] = ends.sport if side == "source" else ends.dport
        elif ends.protocol in (ICMP, ICMPV6):
            packet.inner["icmp_id"] = ends.sport


def _show_checksum(flight: Flight[bool, int], packet: Arrival) -> None:
    """The checksum of ICMP stands where others have a port, and rules on `th dport` read it."""
    th = packet.headers.th or 0
    flight.written[reg.DPORT] = int.from_bytes(packet.leaving(flight.written)[th + 2 : th + 4], "big")


def _side(hook: str) -> str:
    return "source" if hook in SOURCE_HOOKS else "destination"


def _translates(side: str, direction: int) -> int:
    """The status bit that says whether packets of a direction change on this side."""
    return NAT[side if direction == 0 else "destination" if side == "source" else "source"]


def _tuple_now(flight: Flight[bool, int], packet: Arrival) -> FlowTuple | None:
    """The tuple of the packet with what rules before connection tracking wrote into it."""
    ends = of_bytes(packet.headers)
    if ends is None or not flight.written:
        return ends
    version = packet.version
    ends = ends._replace(
        source=flight.read(_ADDRESSES[version, "source"]), destination=flight.read(_ADDRESSES[version, "destination"])
    )
    if ends.protocol in WITH_PORTS:
        return ends._replace(sport=flight.read(reg.SPORT), dport=flight.read(reg.DPORT))
    return ends


def _zones(flight: Flight[bool, int]) -> tuple[int, int]:
    """The zones of the original and of the reply direction, as `ct zone set` left them."""
    both = flight.written.get(reg.CT_ZONE, 0)
    return flight.written.get(_ZONE_ORIGINAL, both), flight.written.get(_ZONE_REPLY, both)


def _segment(packet: Arrival) -> Segment | None:
    raw, th = packet.raw, packet.headers.th or 0
    header = raw[th + 12] >> 4 << 2
    if header < 20 or th + header > len(raw):
        return None
    flags = raw[th + 13]
    kind = tcp.kind_of(flags)
    if kind is None:
        return None
    seq, ack = int.from_bytes(raw[th + 4 : th + 8], "big"), int.from_bytes(raw[th + 8 : th + 12], "big")
    length = len(raw) - th - header + (flags & SYN != 0) + (flags & FIN != 0)
    window = raw[th + 14] << 8 | raw[th + 15]
    return Segment(kind, flags, seq, ack, (seq + length) & 0xFFFFFFFF, window, raw[th + 20 : th + header])


def _range(written: object, value: int | None) -> tuple[int, int] | None:
    """A range as the rule has it, or the one value that was computed."""
    if isinstance(written, tuple) and isinstance(written[0], Interval):
        return written[0].low, written[0].high
    return None if value is None else (value, value)


def _prefix_range(flight: Flight[bool, int], target: Translation[int]) -> tuple[int, int] | None:
    """The network that `prefix to ... map` found."""
    written = target.statement.address
    if not isinstance(written, MapLookup):
        return None
    values, _ = read_parts(flight, written.key, target.site)
    for element in find_set(target.site, written.map).elements:
        if element_matches(flight, values, element) and isinstance(element.data, tuple):
            part = element.data[0]
            return (part.low, part.high) if isinstance(part, Interval) else None
    return None
