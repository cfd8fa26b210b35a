"""Tells an answer to a packet (TCP reset, ICMP error) from the packet itself, whatever NAT made of the addresses.

It looks at the kind of packet only: an answer is never answered, and no forwarded packet turns into one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from fireproof.packet.checksum import checksum_of, pseudo_header_sum

_TCP, _ICMP, _ICMP6 = 6, 1, 58
_RST = 0x04
_ICMP_ERRORS = frozenset({3, 4, 5, 11, 12})
_EXTENSIONS = frozenset({0, 43, 60, 135, 139, 140})
_FRAGMENT, _AUTHENTICATION = 44, 51

# What nft's reject statement can send; the stack has other codes of "unreachable" too (fragmentation needed ...).
_REJECT_CODES = {"icmp": frozenset({0, 1, 2, 3, 9, 10, 13}), "icmpv6": frozenset({0, 1, 3, 4, 5, 6})}
_UNREACHABLE = {"icmp": 3, "icmpv6": 1}


@dataclass(frozen=True, slots=True)
class Answer:
    protocol: Literal["tcp", "icmp", "icmpv6"]
    type: int = 0
    code: int = 0

    @property
    def can_be_reject(self) -> bool:
        if self.protocol == "tcp":
            return True
        return self.type == _UNREACHABLE[self.protocol] and self.code in _REJECT_CODES[self.protocol]

    @property
    def can_be_no_route(self) -> bool:
        """Routing that finds no route answers just as `reject` with net-unreachable or no-route would."""
        return self.protocol != "tcp" and self.type == _UNREACHABLE[self.protocol] and self.code == 0


def transport(raw: bytes) -> tuple[int, int] | None:
    """Protocol and offset of the transport header; None for a later fragment or a packet cut short."""
    if len(raw) < 20:
        return None
    if raw[0] >> 4 == 4:
        if int.from_bytes(raw[6:8]) & 0x1FFF:
            return None
        return raw[9], (raw[0] & 0xF) * 4
    protocol, offset = raw[6], 40
    while offset + 8 <= len(raw):
        if protocol in _EXTENSIONS:
            protocol, offset = raw[offset], offset + 8 + raw[offset + 1] * 8
        elif protocol == _AUTHENTICATION:
            protocol, offset = raw[offset], offset + 8 + raw[offset + 1] * 4
        elif protocol == _FRAGMENT:
            if int.from_bytes(raw[offset + 2 : offset + 4]) & 0xFFF8:
                return None
            protocol, offset = raw[offset], offset + 8
        else:
            break
    return protocol, offset


def answer(raw: bytes) -> Answer | None:
    """What kind of answer a packet is; None if it is none."""
    found = transport(raw)
    if found is None:
        return None
    protocol, offset = found
    if protocol == _TCP and len(raw) > offset + 13 and raw[offset + 13] & _RST:
        return Answer("tcp")
    if len(raw) > offset + 1:
        if protocol == _ICMP and raw[offset] in _ICMP_ERRORS:
            return Answer("icmp", raw[offset], raw[offset + 1])
        if protocol == _ICMP6 and raw[offset] < 128:
            return Answer("icmpv6", raw[offset], raw[offset + 1])
    return None


def completed(packet: bytes) -> bytes:
    """A TCP answer of this host with its checksum, which is left undone until a packet leaves by a real interface."""
    found = transport(packet)
    if found is None or found[0] != _TCP or len(packet) < found[1] + 20:
        return packet
    offset = found[1]
    segment = packet[offset : offset + 16] + b"\0\0" + packet[offset + 18 :]
    ends = packet[12:20] if packet[0] >> 4 == 4 else packet[8:40]
    checksum = checksum_of(segment, pseudo_header_sum(ends, _TCP, len(segment)))
    return packet[: offset + 16] + checksum.to_bytes(2) + packet[offset + 18 :]
