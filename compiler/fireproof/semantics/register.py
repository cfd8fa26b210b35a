"""The variables of a packet: header fields, marks, interfaces, conntrack keys.

Rules name bits of headers in many ways (`tcp dport`, `th dport`, `@th,16,16`); all of them are slices of the registers
here, so that two names of the same bits are the same bits. Offsets and widths are in bits, from the most significant.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import ClassVar


class Register:
    """`choice` tells, in words, what a register stands for that is not a property of the packet itself.

    Equal registers are one object: they are looked up for every field of every packet.
    """

    __slots__ = ("bits", "choice", "name")
    name: str
    bits: int
    choice: str
    _known: ClassVar[dict[tuple[str, int, str], Register]] = {}

    def __new__(cls, name: str, bits: int, choice: str = "") -> Register:
        found = cls._known.get((name, bits, choice))
        if found is None:
            found = super().__new__(cls)
            found.name, found.bits, found.choice = name, bits, choice
            found = cls._known.setdefault((name, bits, choice), found)
        return found

    def __reduce__(self) -> tuple[type[Register], tuple[str, int, str]]:
        return Register, (self.name, self.bits, self.choice)

    def __repr__(self) -> str:
        return f"Register({self.name!r}, {self.bits})"


@dataclass(frozen=True, slots=True)
class Slice:
    """`width` bits of a register, `shift` bits above its least significant one."""

    register: Register
    shift: int
    width: int


FAMILY = Register("family", 1)
"""0 for IPv4, 1 for IPv6."""
L4PROTO = Register("meta l4proto", 8)
IIF = Register("iif", 16)
"""Numbers of `Interfaces`; 0 where there is none."""
OIF = Register("oif", 16)
MARK = Register("meta mark", 32)
LENGTH = Register("meta length", 16)
"""Bytes from the IP header on; of IPv4 also the field in the header."""
PRIORITY = Register("meta priority", 32)
CT_STATE = Register("ct state", 7)
CT_STATUS = Register("ct status", 16)
CT_MARK = Register("ct mark", 32)
CT_DIRECTION = Register("ct direction", 8)
CT_ZONE = Register("ct zone", 16)
TRANSPORT = Register("transport header present", 1)
LINK = Register("link header present", 1)
OTHER_FRAME = Register("frame without IP", 1)
"""Asked only where frames of other protocols come."""

IP_SADDR, IP_DADDR = Register("ip saddr", 32), Register("ip daddr", 32)
IP6_SADDR, IP6_DADDR = Register("ip6 saddr", 128), Register("ip6 daddr", 128)
SPORT, DPORT = Register("th sport", 16), Register("th dport", 16)
"""The first two words of the transport header: ports, or type and code and checksum of ICMP."""
TH_WORD = Register("th word 2", 32)
"""Bits 32 to 63: the sequence number of TCP, length and checksum of UDP, identifier and sequence of ICMP."""
TCP_FLAGS = Register("tcp flags", 8)
TTL, HOPLIMIT = Register("ip ttl", 8), Register("ip6 hoplimit", 8)

INVALID, ESTABLISHED, RELATED, NEW, UNTRACKED = 1, 2, 4, 8, 64
STATES = {"invalid": INVALID, "established": ESTABLISHED, "related": RELATED, "new": NEW, "untracked": UNTRACKED}
STATUS_SNAT, STATUS_DNAT = 16, 32

_LAYOUT: dict[str, tuple[tuple[Register, int], ...]] = {
    # IPv4 header; the protocol byte is what `meta l4proto` reads.
    "ip": (
        (Register("ip version", 4), 0), (Register("ip hdrlength", 4), 4), (Register("ip dscp", 6), 8),
        (Register("ip ecn", 2), 14), (LENGTH, 16), (Register("ip id", 16), 32),
        (Register("ip frag-off", 16), 48), (TTL, 64), (L4PROTO, 72), (Register("ip checksum", 16), 80),
        (IP_SADDR, 96), (IP_DADDR, 128),
    ),
    "ip6": (
        (Register("ip6 version", 4), 0), (Register("ip6 dscp", 6), 4), (Register("ip6 ecn", 2), 10),
        (Register("ip6 flowlabel", 20), 12), (Register("ip6 length", 16), 32), (Register("ip6 nexthdr", 8), 48),
        (HOPLIMIT, 56), (IP6_SADDR, 64), (IP6_DADDR, 192),
    ),
    "th": (
        (SPORT, 0), (DPORT, 16), (TH_WORD, 32), (Register("th word 3", 32), 64), (Register("tcp doff", 8), 96),
        (TCP_FLAGS, 104), (Register("tcp window", 16), 112), (Register("tcp checksum", 16), 128),
        (Register("tcp urgptr", 16), 144),
    ),
    "ll": ((Register("ether daddr", 48), 0), (Register("ether saddr", 48), 48), (Register("ether type", 16), 96)),
    "ih": (),
}  # fmt: skip
_END = {"ip": 160, "ip6": 320, "th": 160, "ll": 112, "ih": 0}


@cache
def header_slices(header: str, offset: int, bits: int) -> tuple[Slice, ...]:
    """The register slices, most significant first, that make up some bits of a header: ip, ip6, th, ll or ih."""
    found: list[Slice] = []
    at, end = offset, offset + bits
    while at < end:
        if at >= _END[header]:
            # Beyond the known fields: one register for each byte, so that overlapping reads share them.
            register, start = Register(f"@{header} byte {at // 8}", 8), at // 8 * 8
        else:
            register, start = next((r, s) for r, s in reversed(_LAYOUT[header]) if s <= at)
        stop = min(end, start + register.bits)
        found.append(Slice(register, start + register.bits - stop, stop - at))
        at = stop
    return tuple(found)


@cache
def header_place(register: Register) -> tuple[str, int] | None:
    """The header and the offset of a header register; None for the others."""
    for header, fields in _LAYOUT.items():
        for known, offset in fields:
            if known == register:
                return header, offset
    if register.name.startswith("@"):
        header, _, number = register.name[1:].partition(" byte ")
        return header, int(number) * 8
    return None


def choice_register(what: str, bits: int, description: str) -> Register:
    """A register for something that is not in the packet: a clock, a die, a socket."""
    return Register(what, bits, description)
