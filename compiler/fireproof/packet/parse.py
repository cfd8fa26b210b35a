"""What the kernel sees in a raw IP packet: validity, the transport protocol and its place, fragments, extension
headers.

Follows ip_rcv and ip6_rcv for `valid`, and nft's packet information for the rest, as observed on Linux 6.18: `meta
l4proto` skips hop-by-hop, routing, destination options and (atomic) fragment headers, but not AH. A non-first IPv4
fragment keeps its transport offset, a non-first IPv6 fragment has offset 0, and short aligned loads read either (see
`bits`). Not checked: what needs the interface or the routes (loopback addresses on the wire, martians).
"""

from typing import NamedTuple

from fireproof.packet.checksum import pseudo_header_sum, sctp_checksum, sums_to_zero

HOP_BY_HOP, ROUTING, FRAGMENT, AUTH, NO_NEXT_HEADER, DESTINATION = 0, 43, 44, 51, 59, 60
TCP, UDP, GRE, ICMP, ICMPV6, IPIP, SCTP, UDPLITE = 6, 17, 47, 1, 58, 4, 132, 136

_SKIPPED = frozenset((HOP_BY_HOP, ROUTING, FRAGMENT, DESTINATION))
_MAX_OPTIONS = 8  # net.ipv6.max_hbh_number
_ROUTER_ALERT, _CALIPSO, _IOAM, _JUMBO = 5, 7, 0x31, 0xC2


class Headers(NamedTuple):
    """One packet, read once.

    A named tuple because a frozen dataclass takes four times as long to make, and one is made per packet.
    `raw` ends where the IP length says, as the kernel trims it; `family` is 4, 6, or 0 when it is not IP at all.
    `l4proto` and `th` are None when nft has no transport information (a broken chain of extension headers).
    `th` is where nft's transport base points: 0 in a non-first IPv6 fragment. `ih` is where its inner base points.
    `fragment` is the fragment offset in units of 8 bytes. `extensions` are the IPv6 headers skipped: number, offset,
    length.
    """

    raw: bytes
    family: int
    valid: bool
    l4proto: int | None
    th: int | None
    ih: int | None
    fragment: int
    more_fragments: bool
    length: int
    extensions: tuple[tuple[int, int, int], ...]


def parse(raw: bytes) -> Headers:
    """Read a packet. Never raises: nonsense is family 0, a bad header is not `valid`."""
    version = raw[0] >> 4 if raw else 0
    if version == 4:
        return _parse4(raw)
    if version == 6:
        return _parse6(raw)
    return Headers(raw, 0, False, None, None, None, 0, False, len(raw), ())


def _parse4(raw: bytes) -> Headers:
    size = len(raw)
    th = (raw[0] & 15) << 2
    length = (raw[2] << 8 | raw[3]) if size >= 20 else 0
    if th < 20 or length < th or length > size:
        return Headers(raw, 4, False, None, None, None, 0, False, size, ())
    if length < size:
        raw = raw[:length]
    valid = int.from_bytes(raw[:th], "big") % 65535 == 0
    l4proto = raw[9]
    fragment = raw[6] << 8 | raw[7]
    more = fragment & 0x2000 != 0
    fragment &= 0x1FFF
    ih = None if fragment else _inner(raw, l4proto, th)
    return Headers(raw, 4, valid, l4proto, th, ih, fragment, more, length, ())


def _parse6(raw: bytes) -> Headers:
    size = len(raw)
    if size < 40:
        return Headers(raw, 6, False, None, None, None, 0, False, size, ())
    protocol = raw[6]
    payload = raw[4] << 8 | raw[5]
    # Length 0 before a hop-by-hop header announces a jumbogram: the length is then that of the frame.
    length = payload + 40 if payload or protocol != HOP_BY_HOP else size
    valid = length <= size and raw[8] != 0xFF and not (raw[24] == 0xFF and raw[25] & 15 == 0)
    if length < size:
        raw = raw[:length]
    if protocol not in _SKIPPED:
        if protocol == AUTH and len(raw) < 42:
            return Headers(raw, 6, valid, None, None, None, 0, False, length, ())
        return Headers(raw, 6, valid, protocol, 40, _inner(raw, protocol, 40), 0, False, length, ())
    if protocol == HOP_BY_HOP:
        valid = valid and _options_fit(raw)
    return _follow_extensions(raw, valid, length, protocol)


def _follow_extensions(raw: bytes, valid: bool, length: int, protocol: int) -> Headers:
    start, fragment, more = 40, 0, False
    extensions: list[tuple[int, int, int]] = []
    while protocol in _SKIPPED:
        if start + (4 if protocol in (FRAGMENT, ROUTING) else 2) > len(raw):
            return Headers(raw, 6, valid, None, None, None, fragment, more, length, tuple(extensions))
        following = raw[start]
        if protocol == FRAGMENT:
            size = 8
            word = raw[start + 2] << 8 | raw[start + 3]
            more = more or word & 1 != 0
            fragment = word >> 3
        else:
            size = (raw[start + 1] + 1) << 3
        extensions.append((protocol, start, size))
        if fragment:
            # The kernel stops here, and leaves the transport offset 0. Before another extension header it gives up.
            if following in _SKIPPED or following == AUTH:
                return Headers(raw, 6, valid, None, None, None, fragment, more, length, tuple(extensions))
            return Headers(raw, 6, valid, following, 0, None, fragment, more, length, tuple(extensions))
        protocol = following
        start += size
    if protocol == AUTH and start + 2 > len(raw):
        return Headers(raw, 6, valid, None, None, None, 0, more, length, tuple(extensions))
    return Headers(raw, 6, valid, protocol, start, _inner(raw, protocol, start), 0, more, length, tuple(extensions))


def _options_fit(raw: bytes) -> bool:
    """Whether the kernel lets the options of a leading hop-by-hop header pass."""
    if len(raw) < 48 or len(raw) < 48 + (raw[41] << 3):
        return False
    at, end = 42, 48 + (raw[41] << 3)
    padding = options = 0
    while at < end:
        kind = raw[at]
        if kind == 0:
            size = 1
            padding += 1
        else:
            if at + 2 > end:
                return False
            size = raw[at + 1] + 2
            if at + size > end:
                return False
            if kind == 1:
                padding += size
                if any(raw[at + 2 : at + size]):
                    return False
            elif not _option_passes(raw, kind, at, size):
                return False
            else:
                padding = 0
                options += 1
        if padding > 7 or options > _MAX_OPTIONS:
            return False
        at += size
    return True


def _option_passes(raw: bytes, kind: int, at: int, size: int) -> bool:
    if kind == _ROUTER_ALERT:
        return size == 4
    if kind == _JUMBO:
        announced = int.from_bytes(raw[at + 2 : at + 6], "big")
        return size == 6 and (at & 3) == 2 and raw[4:6] == b"\0\0" and 65535 < announced <= len(raw) - 40
    if kind == _CALIPSO:
        return size >= 10 and raw[at + 6] * 4 + 10 <= size
    if kind == _IOAM:
        return at & 3 == 0
    # An unknown option says in its top bits whether a host may skip it.
    return kind >> 6 == 0


def _inner(raw: bytes, protocol: int, th: int) -> int | None:
    """Where nft's inner base (`@ih`) starts; only these protocols have one."""
    if protocol == TCP:
        return th + (raw[th + 12] >> 4 << 2) if th + 20 <= len(raw) else None
    if protocol == UDP:
        return th + 8
    if protocol == IPIP:
        return th
    if protocol == GRE and th + 4 <= len(raw):
        flags = raw[th]
        if flags & 0x40 or raw[th + 1] & 7:  # source routing, or not version 0
            return None
        return th + 4 + (flags >> 7 & 1) * 4 + (flags >> 5 & 1) * 4 + (flags >> 4 & 1) * 4
    return None


def bits(headers: Headers, base: str, offset: int, width: int) -> int | None:
    """`width` bits at `offset` bits from base nh, th, ih or ll, as nft loads them; None when nft would not match.

    There is no link layer in a raw IP packet, so ll is always None. In a non-first fragment only an aligned transport
    load of 1, 2 or 4 bytes works: the kernel's fast path does not look at the fragment offset, the slow one does.
    """
    first = offset >> 3
    stop = (offset + width + 7) >> 3
    if base == "nh":
        start = 0
    elif base == "th":
        if headers.th is None:
            return None
        start = headers.th
        if headers.fragment and ((size := stop - first) not in (1, 2, 4) or first % size):
            return None
    elif base == "ih":
        if headers.ih is None:
            return None
        start = headers.ih
    else:
        return None
    raw = headers.raw
    if start + stop > len(raw):
        return None
    return int.from_bytes(raw[start + first : start + stop], "big") >> (-(offset + width) & 7) & ((1 << width) - 1)


def tcp_option(headers: Headers, kind: int) -> bytes | None:
    """The first TCP option of this kind, kind and length bytes included; None when absent or cut short.

    Like the kernel's search for nft's `tcp option`, this goes on after an end-of-options byte.
    """
    raw, th = headers.raw, headers.th
    if headers.l4proto != TCP or headers.fragment or th is None or th + 20 > len(raw):
        return None
    end = th + (raw[th + 12] >> 4 << 2)
    if end > len(raw):
        return None
    at = th + 20
    while at < end - 1:
        size = 1 if raw[at] <= 1 else raw[at + 1] or 1
        if raw[at] == kind:
            return raw[at : at + size] if at + size <= end else None
        at += size
    return None


def l4_checksum_ok(headers: Headers) -> bool:
    """Whether conntrack accepts the transport checksum; True for protocols whose checksum it does not know.

    As in the kernel, the sum runs over all that follows the transport offset, whatever UDP's own length says, and a UDP
    checksum of 0 means none, over IPv6 too.
    """
    raw, th, protocol = headers.raw, headers.th, headers.l4proto
    if th is None or protocol is None or headers.fragment or th > len(raw):
        return True
    segment = raw[th:]
    if protocol in (TCP, UDP) or (protocol == ICMPV6 and headers.family == 6):
        if protocol == UDP and segment[6:8] == b"\0\0":
            return True
        return sums_to_zero(segment, pseudo_header_sum(addresses(headers), protocol, len(segment)))
    if protocol == ICMP and headers.family == 4:
        return sums_to_zero(segment)
    if protocol == UDPLITE and len(segment) >= 8:
        # Conntrack puts UDP's number into the pseudo header, so on Linux 6.18 a right UDP-Lite checksum is invalid.
        coverage = segment[4] << 8 | segment[5] or len(segment)
        pseudo = pseudo_header_sum(addresses(headers), UDP, len(segment))
        known = segment[6:8] != b"\0\0" and 8 <= coverage <= len(segment)
        return known and sums_to_zero(segment[:coverage], pseudo)
    if protocol == SCTP and len(segment) >= 12:
        return segment[8:12] == sctp_checksum(segment)
    return True


def addresses(headers: Headers) -> bytes:
    """Source and destination address, as they stand in the header."""
    return headers.raw[12:20] if headers.family == 4 else headers.raw[8:40]
