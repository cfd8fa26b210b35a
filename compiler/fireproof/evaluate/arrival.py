"""A packet on its way through the evaluator: its bytes as they arrived, its flow, and its registers read on demand.

What rules and NAT change is kept in the flight's `written` registers; `leaving` puts those into the bytes again.
Checksum registers keep the value of the arrival until then.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from fireproof.model.expression import Payload
from fireproof.netfilter.headers import EXTENSION_HEADERS, IP_OPTIONS, TCP_OPTIONS, Option
from fireproof.packet.parse import Headers, bits, tcp_option
from fireproof.packet.rewrite import rewrite, translate_icmp_inner, write_bits
from fireproof.semantics import register as reg
from fireproof.semantics.flight import TUPLE_KEYS
from fireproof.semantics.register import Register, header_place

if TYPE_CHECKING:
    from fireproof.evaluate.flowtable import Flow
    from fireproof.evaluate.flowtuple import FlowTuple


class Arrival:
    """One packet. `state` is the bit of `ct state` (0 before connection tracking), `direction` 0 or 1.

    `checked`: checksums count, because the packet came from outside. `inner` is the translation of the packet that an
    ICMP error quotes.
    """

    __slots__ = (
        "arrived", "checked", "direction", "error", "flow", "headers", "iif", "inner", "local", "oif",
        "passed_tracking", "raw", "state", "values",
    )  # fmt: skip

    def __init__(
        self, headers: Headers, iif: int = 0, oif: int | None = None, *, local: bool | None = None,
        checked: bool = True, arrived: float = 0.0,
    ) -> None:  # fmt: skip
        self.headers = headers
        self.raw = headers.raw
        self.iif = iif
        self.oif = oif
        self.local = local
        self.checked = checked
        self.arrived = arrived
        self.flow: Flow | None = None
        self.direction = 0
        self.state = 0
        self.passed_tracking = False
        self.error = False
        self.inner: dict[str, int] = {}
        self.values: dict[Register, int] = {}

    @property
    def version(self) -> int:
        return self.headers.family

    def value(self, register: Register) -> int:
        """The value that the register had on arrival (conntrack registers: has now). 0 where nothing is there."""
        found = self.values.get(register)
        if found is not None:
            return found
        live = _LIVE.get(register)
        if live is not None:
            return live(self)
        found = self.values[register] = self._read(register)
        return found

    def _read(self, register: Register) -> int:
        fixed = _FIXED.get(register)
        if fixed is not None:
            return fixed(self)
        place = header_place(register)
        if place is not None:
            return self._header(register, *place)
        name = register.name
        if name.startswith("payload reaches byte "):
            ih = self.headers.ih
            return int(ih is not None and ih + int(name.rpartition(" ")[2]) <= len(self.raw))
        if " option " in name:
            return self._option(name, register.bits)
        if name.startswith("meta "):
            return self._meta(name.removeprefix("meta "))
        return 0

    def _header(self, register: Register, header: str, offset: int) -> int:
        start = self.start_of(header)
        if start is None:
            return 0
        at = (start << 3) + offset
        end = at + register.bits
        if end > len(self.raw) << 3:
            return 0
        number = int.from_bytes(self.raw[at >> 3 : (end + 7) >> 3], "big")
        return number >> (-end & 7) & ((1 << register.bits) - 1)

    def start_of(self, header: str) -> int | None:
        """The offset of a header in the bytes."""
        if header in ("ip", "ip6"):
            return 0 if (header == "ip") == (self.headers.family == 4) else None
        if header == "th":
            return self.headers.th
        return self.headers.ih if header == "ih" else None

    def holds(self, expression: Payload) -> bool:
        """Whether nft can load these bits: the bytes are there, and a later fragment gives up only short loads."""
        return bits(self.headers, expression.base, expression.offset, expression.bits) is not None

    def _meta(self, name: str) -> int:
        if name == "pkttype":
            return self._packet_type()
        if name.endswith(" is there"):
            return int(name.split(" ")[0] in ("cpu", "time", "hour", "day", "random", "pkttype", "iifgroup", "cgroup"))
        seconds = int(self.arrived)
        if name == "time":
            return int(self.arrived * 1_000_000_000)
        if name == "hour":
            return seconds % 86_400
        # The first of January 1970 was a Thursday; nft counts from Sunday.
        return (seconds // 86_400 + 4) % 7 if name == "day" else 0

    def _packet_type(self) -> int:
        """Host, broadcast or multicast, by the destination: there is no link layer here."""
        if self.version == 4:
            return 1 if self.raw[16:20] == b"\xff\xff\xff\xff" else 2 if self.raw[16] >> 4 == 14 else 0
        return 2 if self.raw[24] == 0xFF else 0

    # ---- options and extension headers -----------------------------------------------------------------------------
    def _option(self, name: str, width: int) -> int:
        protocol, _, rest = name.partition(" option ")
        option, _, field = rest.partition(" ")
        place = self.option_place(protocol, option)
        if field == "is there":
            return int(place is not None)
        known = _OPTIONS.get(protocol, {}).get(option)
        if place is None or known is None or field not in known.fields:
            return 0
        at = (place[0] << 3) + known.fields[field].offset
        end = at + width
        if end > (place[0] + place[1]) << 3:
            return 0
        return int.from_bytes(self.raw[at >> 3 : (end + 7) >> 3], "big") >> (-end & 7) & ((1 << width) - 1)

    def option_place(self, protocol: str, option: str) -> tuple[int, int] | None:
        """Offset and length of an option in the bytes."""
        known = _OPTIONS.get(protocol, {}).get(option)
        if known is None:
            return None
        if protocol == "tcp":
            found = tcp_option(self.headers, known.number)
            if found is None or self.headers.th is None:
                return None
            return self.raw.index(found, self.headers.th + 20), len(found)
        if protocol == "ip":
            return self._ip_option(known.number)
        return next(((at, size) for number, at, size in self.headers.extensions if number == known.number), None)

    def _ip_option(self, number: int) -> tuple[int, int] | None:
        raw = self.raw
        at, end = 20, (raw[0] & 15) << 2
        while self.version == 4 and at < end and raw[at]:
            size = 1 if raw[at] == 1 else raw[at + 1] if at + 1 < end else 0
            if size < 1 or at + size > end:
                return None
            if raw[at] == number:
                return at, size
            at += size
        return None

    # ---- the packet as it is now -----------------------------------------------------------------------------------
    def leaving(self, written: dict[Register, int]) -> bytes:
        """The bytes with all changes of `written` in them."""
        raw = self.raw
        moved: dict[str, int] = {}
        for register, value in written.items():
            if value == self.value(register):
                continue
            name = _REWRITES[self.headers.family].get(register)
            if name is not None:
                moved[name] = value
                continue
            at = self._changed_place(register)
            if at is not None and at + register.bits <= len(raw) << 3:
                raw = write_bits(raw, at, register.bits, value & ((1 << register.bits) - 1))
        if moved:
            raw = rewrite(raw, **moved)
        if self.inner:
            raw = translate_icmp_inner(raw, **self.inner) or raw
        return raw

    def _changed_place(self, register: Register) -> int | None:
        place = header_place(register)
        if place is not None:
            start = self.start_of(place[0])
            if self.headers.family == 6 and register is reg.L4PROTO:
                return None
            return None if start is None else (start << 3) + place[1]
        if " option " not in register.name:
            return None
        protocol, _, rest = register.name.partition(" option ")
        option, _, field = rest.partition(" ")
        where = self.option_place(protocol, option)
        known = _OPTIONS.get(protocol, {}).get(option)
        if where is None or known is None or field not in known.fields:
            return None
        return (where[0] << 3) + known.fields[field].offset


_OPTIONS: dict[str, dict[str, Option]] = {
    "tcp": dict(TCP_OPTIONS), "ip": dict(IP_OPTIONS), "exthdr": dict(EXTENSION_HEADERS),
}  # fmt: skip

_REWRITES: dict[int, dict[Register, str]] = {
    4: {reg.IP_SADDR: "saddr", reg.IP_DADDR: "daddr", reg.SPORT: "sport", reg.DPORT: "dport", reg.TTL: "ttl"},
    6: {reg.IP6_SADDR: "saddr", reg.IP6_DADDR: "daddr", reg.SPORT: "sport", reg.DPORT: "dport", reg.HOPLIMIT: "ttl"},
}

Reader = Callable[[Arrival], int]

_FIXED: dict[Register, Reader] = {
    reg.FAMILY: lambda packet: int(packet.headers.family == 6),
    reg.L4PROTO: lambda packet: packet.headers.l4proto or 0,
    reg.IIF: lambda packet: packet.iif,
    reg.OIF: lambda packet: packet.oif or 0,
    reg.LENGTH: lambda packet: len(packet.raw),
    reg.TRANSPORT: lambda packet: int(packet.headers.th is not None),
    reg.LINK: lambda packet: 0,
}


def _of_flow(read: Callable[[Flow, Arrival], int]) -> Reader:
    return lambda packet: 0 if packet.flow is None else read(packet.flow, packet)


def _of_tuple(direction: str, read: Callable[[FlowTuple], int]) -> Reader:
    if direction == "original":
        return lambda packet: 0 if packet.flow is None else read(packet.flow.original)
    return lambda packet: 0 if packet.flow is None else read(packet.flow.reply)


_LIVE: dict[Register, Reader] = {
    reg.CT_STATE: lambda packet: packet.state or reg.INVALID,
    reg.CT_STATUS: _of_flow(lambda flow, packet: flow.status),
    reg.CT_MARK: _of_flow(lambda flow, packet: flow.mark),
    reg.CT_DIRECTION: lambda packet: packet.direction,
    reg.CT_ZONE: _of_flow(lambda flow, packet: flow.zone),
    Register("ct id", 32, "`ct id`"): _of_flow(lambda flow, packet: flow.id),
}
for _direction, _keys in TUPLE_KEYS.items():
    for _key in ("ip saddr", "ip6 saddr"):
        _LIVE[_keys[_key]] = _of_tuple(_direction, lambda ends: ends.source)
    for _key in ("ip daddr", "ip6 daddr"):
        _LIVE[_keys[_key]] = _of_tuple(_direction, lambda ends: ends.destination)
    _LIVE[_keys["proto-src"]] = _of_tuple(_direction, lambda ends: ends.sport)
    _LIVE[_keys["proto-dst"]] = _of_tuple(_direction, lambda ends: ends.dport)
