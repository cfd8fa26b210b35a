"""What `reject` sends: a TCP reset or an ICMP error, or nothing, byte for byte as Linux 6.18 makes it.

Compared with the kernel by tests/kernel/test_packet_reject_answers.py, for `reject` in chains of the ip, ip6 and inet
families. Not deterministic in the kernel, so 0 here: the identification of an IPv4 error and the flow label of an
ICMPv6 error. Not known here, so not considered: directed broadcasts, routes without a way back, and the rate limit of
ICMP.
"""

import struct

from fireproof.netfilter.reject import (
    ICMP_CODES,
    ICMP_UNREACHABLE,
    ICMPV6_CODES,
    ICMPV6_UNREACHABLE,
    ICMPX_CODES,
    ICMPX_TO_ICMP,
    ICMPX_TO_ICMPV6,
)
from fireproof.packet.build import Address, icmp_error
from fireproof.packet.checksum import checksum_of, pseudo_header_sum, sums_to_zero
from fireproof.packet.parse import (
    AUTH,
    DESTINATION,
    FRAGMENT,
    HOP_BY_HOP,
    ICMP,
    ICMPV6,
    NO_NEXT_HEADER,
    ROUTING,
    TCP,
    UDP,
    Headers,
    addresses,
    parse,
)

_FIN, _SYN, _RST, _ACK = 1, 2, 4, 16
# ESP, AH, SCTP, UDP-Lite, GRE: no 16-bit sum over the whole payload. Every other payload must verify as one, DCCP too.
_NOT_VERIFIED = frozenset((50, AUTH, 132, 136, 47))
# Redirects, the assigned errors, and the unassigned types Linux counts as errors; above 18 it answers none either.
_ICMP_ERRORS = frozenset((1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12))
_SKIPPED_BY_REJECT = frozenset((HOP_BY_HOP, ROUTING, FRAGMENT, DESTINATION, AUTH))


def code_of(kind: str | tuple[int, int], family: int) -> tuple[int, int]:
    """ICMP type and code for the name after `reject with icmp`, `icmpv6` or `icmpx`; KeyError for a name of neither."""
    if not isinstance(kind, str):
        return kind
    if family == 4:
        return ICMP_UNREACHABLE, ICMP_CODES[kind] if kind in ICMP_CODES else ICMPX_TO_ICMP[ICMPX_CODES[kind]]
    return ICMPV6_UNREACHABLE, ICMPV6_CODES[kind] if kind in ICMPV6_CODES else ICMPX_TO_ICMPV6[ICMPX_CODES[kind]]


def reset(about: bytes, *, ttl: int = 64) -> bytes | None:
    """The TCP reset for a packet; None when the kernel stays silent."""
    headers = parse(about)
    th = _transport(headers)
    raw = headers.raw
    if th is None or not headers.valid or th[1] != TCP or len(raw) < th[0] + 20:
        return None
    segment = raw[th[0] :]
    both = addresses(headers)
    if not sums_to_zero(segment, pseudo_header_sum(both, TCP, len(segment))) or not _may_answer(headers):
        return None
    sport, dport, seq, ack, offset, flags = struct.unpack("!HHIIBB", segment[:14])
    if flags & _RST:
        return None
    if flags & _ACK:
        answer = struct.pack("!HHIIBBHHH", dport, sport, ack, 0, 0x50, _RST, 0, 0, 0)
    else:
        data = len(segment) - (offset >> 4 << 2)
        following = seq + (flags & _SYN != 0) + (flags & _FIN != 0) + data & 0xFFFFFFFF
        answer = struct.pack("!HHIIBBHHH", dport, sport, 0, following, 0x50, _RST | _ACK, 0, 0, 0)
    half = len(both) // 2
    back = both[half:] + both[:half]
    checksum = checksum_of(answer, pseudo_header_sum(back, TCP, 20))
    answer = answer[:16] + checksum.to_bytes(2, "big") + answer[18:]
    if headers.family == 6:
        return struct.pack("!IHBB", 6 << 28, 20, TCP, ttl) + back + answer
    start = struct.pack("!BBHHHBB", 0x45, 0, 40, 0, 0x4000, ttl, TCP)
    return start + struct.pack("!H", checksum_of(start + back)) + back + answer


def unreachable(
    about: bytes, source: Address, kind: str | tuple[int, int] = "port-unreachable", *, ttl: int = 64
) -> bytes | None:
    """The ICMP error `source` sends about a packet; None when the kernel stays silent."""
    headers = parse(about)
    if not headers.valid or not _may_answer(headers) or not _verifies(headers):
        return None
    type, code = code_of(kind, headers.family)
    if headers.family == 6:
        return icmp_error(headers.raw, source, type, code, ttl=ttl)
    # The type of service is kept, the precedence becomes internetwork control (RFC 1812).
    tos = headers.raw[1] & 0x1E | 0xC0
    return icmp_error(headers.raw, source, type, code, ttl=ttl, dscp=tos >> 2, ecn=tos & 3)


def _may_answer(headers: Headers) -> bool:
    raw = headers.raw
    if headers.family == 4:
        return raw[16] < 224 and raw[16:20] != b"\xff\xff\xff\xff"
    return raw[24] != 0xFF and raw[8] != 0xFF and raw[8:24] != bytes(16)


def _transport(headers: Headers) -> tuple[int, int] | None:
    """Offset and protocol of the transport header, None in a later fragment or when cut off.

    Unlike nft's own idea of a packet, `reject` looks behind AH over IPv6.
    """
    if headers.fragment or headers.th is None or headers.l4proto is None:
        return None
    raw, at, protocol = headers.raw, headers.th, headers.l4proto
    while headers.family == 6 and protocol in _SKIPPED_BY_REJECT:
        if at + 4 > len(raw) or (protocol == FRAGMENT and (raw[at + 2] or raw[at + 3] & 0xF8)):
            return None
        words, protocol_here = raw[at + 1], protocol
        protocol = raw[at]
        at += 8 if protocol_here == FRAGMENT else (words + 2) << 2 if protocol_here == AUTH else (words + 1) << 3
    return at, protocol


def _verifies(headers: Headers) -> bool:
    """No error is sent about an ICMP error, nor about a packet whose transport checksum is wrong."""
    transport = _transport(headers)
    if transport is None:
        return False
    th, protocol = transport
    raw = headers.raw
    segment = raw[th:]
    if headers.family == 6 and (protocol == NO_NEXT_HEADER or not segment):
        return False
    if headers.family == 4 and protocol == ICMP and (not segment or segment[0] in _ICMP_ERRORS or segment[0] > 18):
        return False
    if headers.family == 6 and protocol == ICMPV6 and not segment[0] & 0x80:
        return False
    if protocol in _NOT_VERIFIED or (protocol == UDP and segment[6:8] == b"\0\0"):
        return True
    pseudo = pseudo_header_sum(addresses(headers), protocol, len(segment))
    with_addresses = headers.family == 6 or protocol in (TCP, UDP)
    return sums_to_zero(segment, pseudo if with_addresses else 0)
