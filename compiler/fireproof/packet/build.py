"""Make packets: IPv4 and IPv6 headers, TCP, UDP, UDP-Lite, SCTP, ICMP and ICMPv6, with right lengths and checksums.

Addresses are text or ipaddress objects; their family chooses the IP version. Nothing odd is refused that fits its
field, so that tests can make bad packets; a value too large for its field is an error. Source of the formats: the RFCs.
"""

import struct
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import TypedDict, Unpack

from fireproof.packet.checksum import checksum_of, pseudo_header_sum, sctp_checksum

Address = str | IPv4Address | IPv6Address

TCP_FLAGS = {"F": 1, "S": 2, "R": 4, "P": 8, "A": 16, "U": 32, "E": 64, "C": 128}
"""The letters tcpdump and iptables -L use; nft calls E ecn."""


class IpFields(TypedDict, total=False):
    """What can be said about the IP header. `df` and `options` are for IPv4 only, the last two for IPv6 only.

    With IPv6, `frag_offset` (units of 8 bytes, not None) or `more_fragments` puts a fragment header in; offset 0 and no
    more is an atomic fragment.
    """

    ttl: int
    dscp: int
    ecn: int
    ident: int
    df: bool
    more_fragments: bool
    frag_offset: int | None
    options: bytes
    flow_label: int
    extensions: Sequence[tuple[int, bytes]]


def ipv4(
    src: Address,
    dst: Address,
    proto: int,
    payload: bytes,
    *,
    ttl: int = 64,
    dscp: int = 0,
    ecn: int = 0,
    ident: int = 0,
    df: bool = False,
    more_fragments: bool = False,
    frag_offset: int | None = 0,
    options: bytes = b"",
) -> bytes:
    """An IPv4 packet; `frag_offset` is in units of 8 bytes, `options` are padded to a multiple of 4."""
    options += bytes(-len(options) % 4)
    size = 20 + len(options)
    word = (0x4000 if df else 0) | (0x2000 if more_fragments else 0) | (frag_offset or 0)
    start = struct.pack("!BBHHHBB", 0x40 | size >> 2, dscp << 2 | ecn, size + len(payload), ident, word, ttl, proto)
    rest = _packed(src, 4) + _packed(dst, 4) + options
    return start + struct.pack("!H", checksum_of(start + rest)) + rest + payload


def ipv6(
    src: Address,
    dst: Address,
    nexthdr: int,
    payload: bytes,
    *,
    hop_limit: int = 64,
    dscp: int = 0,
    ecn: int = 0,
    flow_label: int = 0,
    ident: int = 0,
    more_fragments: bool = False,
    frag_offset: int | None = None,
    extensions: Sequence[tuple[int, bytes]] = (),
) -> bytes:
    """An IPv6 packet. `extensions` are headers in order: number, and all bytes but the first (the next header)."""
    headers = list(extensions)
    if frag_offset is not None or more_fragments:
        headers.append((44, struct.pack("!xHI", (frag_offset or 0) << 3 | more_fragments, ident)))
    for number, body in reversed(headers):
        payload = bytes((nexthdr,)) + body + payload
        nexthdr = number
    word = 6 << 28 | dscp << 22 | ecn << 20 | flow_label
    return struct.pack("!IHBB", word, len(payload), nexthdr, hop_limit) + _packed(src, 6) + _packed(dst, 6) + payload


def tcp_flags(flags: str | int) -> int:
    """The flag byte for letters such as ``SA`` (none: an empty text) or a number."""
    return flags if isinstance(flags, int) else sum(TCP_FLAGS[letter] for letter in set(flags))


def tcp(
    src: Address,
    sport: int,
    dst: Address,
    dport: int,
    flags: str | int = "S",
    *,
    seq: int = 0,
    ack: int = 0,
    window: int = 64240,
    urgent: int = 0,
    tcp_options: bytes = b"",
    payload: bytes = b"",
    **ip: Unpack[IpFields],
) -> bytes:
    """A TCP segment; `tcp_options` are padded to a multiple of 4."""
    tcp_options += bytes(-len(tcp_options) % 4)
    offset = (20 + len(tcp_options)) << 2
    header = struct.pack("!HHIIBBHHH", sport, dport, seq, ack, offset, tcp_flags(flags), window, 0, urgent)
    return _finished(src, dst, 6, header + tcp_options + payload, 16, **ip)


def udp(src: Address, sport: int, dst: Address, dport: int, payload: bytes = b"", **ip: Unpack[IpFields]) -> bytes:
    """A UDP datagram."""
    segment = struct.pack("!HHHH", sport, dport, 8 + len(payload), 0) + payload
    return _finished(src, dst, 17, segment, 6, **ip)


def udplite(src: Address, sport: int, dst: Address, dport: int, payload: bytes = b"", **ip: Unpack[IpFields]) -> bytes:
    """A UDP-Lite datagram whose checksum covers all of it."""
    return _finished(src, dst, 136, struct.pack("!HHHH", sport, dport, 0, 0) + payload, 6, **ip)


def sctp(
    src: Address, sport: int, dst: Address, dport: int, chunks: bytes, *, vtag: int = 0, **ip: Unpack[IpFields]
) -> bytes:
    """An SCTP packet with its chunks as they are."""
    segment = struct.pack("!HHII", sport, dport, vtag, 0) + chunks
    return ip_packet(src, dst, 132, segment[:8] + sctp_checksum(segment) + segment[12:], **ip)


def icmp(
    src: Address,
    dst: Address,
    type: int,
    code: int = 0,
    *,
    echo_id: int = 0,
    seq: int = 0,
    rest: int | None = None,
    payload: bytes = b"",
    **ip: Unpack[IpFields],
) -> bytes:
    """An ICMP message; its second word is `echo_id` and `seq`, or `rest` as a whole."""
    return _icmp(src, dst, 1, type, code, echo_id << 16 | seq if rest is None else rest, payload, ip)


def icmpv6(
    src: Address,
    dst: Address,
    type: int,
    code: int = 0,
    *,
    echo_id: int = 0,
    seq: int = 0,
    rest: int | None = None,
    payload: bytes = b"",
    **ip: Unpack[IpFields],
) -> bytes:
    """An ICMPv6 message; see `icmp`. Neighbour discovery has hop limit 255 unless told otherwise."""
    if 133 <= type <= 137:
        ip.setdefault("ttl", 255)
    return _icmp(src, dst, 58, type, code, echo_id << 16 | seq if rest is None else rest, payload, ip)


def icmp_error(about: bytes, source: Address, type: int, code: int, extra: int = 0, **ip: Unpack[IpFields]) -> bytes:
    """The ICMP or ICMPv6 error of `source` about a packet, quoting as much of it as the kernel does.

    `extra` is the second word of the message: an MTU, a pointer. The packet must have a whole IP header.
    """
    if about[0] >> 4 == 4:
        to: Address = IPv4Address(about[12:16])
        return icmp(source, to, type, code, rest=extra, payload=about[: 576 - 28], **ip)
    to = IPv6Address(about[8:24])
    return icmpv6(source, to, type, code, rest=extra, payload=about[: 1280 - 48], **ip)


def ip_packet(src: Address, dst: Address, proto: int, payload: bytes, **ip: Unpack[IpFields]) -> bytes:
    """An IPv4 or IPv6 packet, by the address; fields of the other family must keep their defaults."""
    if _family(src) == 4:
        if ip.pop("flow_label", 0) or ip.pop("extensions", ()):
            raise ValueError("an IPv4 packet has no flow label and no extension headers")
        return ipv4(src, dst, proto, payload, **ip)  # type: ignore[misc]
    if ip.pop("df", False) or ip.pop("options", b""):
        raise ValueError("an IPv6 packet has no DF bit and no IPv4 options")
    return ipv6(src, dst, proto, payload, hop_limit=ip.pop("ttl", 64), **ip)  # type: ignore[misc]


def _icmp(
    src: Address, dst: Address, proto: int, type: int, code: int, rest: int, payload: bytes, ip: IpFields
) -> bytes:
    return _finished(src, dst, proto, struct.pack("!BBHI", type, code, 0, rest) + payload, 2, **ip)


def _finished(src: Address, dst: Address, proto: int, segment: bytes, at: int, **ip: Unpack[IpFields]) -> bytes:
    """The packet with the checksum filled in at offset `at` of the segment."""
    family = _family(src)
    both = _packed(src, family) + _packed(dst, family)
    checksum = checksum_of(segment, 0 if proto == 1 else pseudo_header_sum(both, proto, len(segment)))
    if proto in (17, 136):
        checksum = checksum or 0xFFFF  # 0 says "none"
    return ip_packet(src, dst, proto, segment[:at] + checksum.to_bytes(2, "big") + segment[at + 2 :], **ip)


def _family(address: Address) -> int:
    return (ip_address(address) if isinstance(address, str) else address).version


def _packed(address: Address, family: int) -> bytes:
    value = ip_address(address) if isinstance(address, str) else address
    if value.version != family:
        raise ValueError(f"{address} is not an IPv{family} address")
    return value.packed
