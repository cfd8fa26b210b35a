"""Change addresses, ports, TTL or any bits of a packet and keep its checksums as right, or as wrong, as they were.

Does what the kernel's NAT does to TCP, UDP, UDP-Lite, SCTP, DCCP and ICMP, and to the packet quoted in an ICMP error:
incremental updates, a UDP checksum of 0 left alone, SCTP's CRC made anew. Of other protocols only the IP header
changes. Addresses are integers of the packet's own family.
"""

from fireproof.packet.checksum import CHECKSUM_OFFSET, COVERS_ADDRESSES, adjusted, sctp_checksum, word_sum
from fireproof.packet.parse import ICMP, ICMPV6, SCTP, UDP, parse

_HEADER_SIZE = {1: 8, 6: 20, 17: 8, 33: 12, 58: 8, 132: 12, 136: 8}
_QUERY_TYPES = {ICMP: frozenset((0, 8, 13, 14, 15, 16, 17, 18)), ICMPV6: frozenset((128, 129))}
_ICMP_OF = {4: ICMP, 6: ICMPV6}


def rewrite(
    raw: bytes,
    *,
    saddr: int | None = None,
    daddr: int | None = None,
    sport: int | None = None,
    dport: int | None = None,
    icmp_id: int | None = None,
    ttl: int | None = None,
    dscp: int | None = None,
) -> bytes:
    """The packet with these fields changed, `ttl` being the hop limit of IPv6. The IP header must be whole.

    Ports and the ICMP id are left alone where the packet has none: another protocol, a non-first fragment, fewer than 8
    bytes of transport header.
    """
    out = bytearray(raw)
    if raw[0] >> 4 == 4:
        th, protocol = (raw[0] & 15) << 2, raw[9]
        has_transport = not (raw[6] & 0x1F or raw[7])
        moved = _move_address(out, 12, 4, saddr) + _move_address(out, 16, 4, daddr)
        changed = moved
        if ttl is not None:
            changed += (ttl - out[8]) << 8
            out[8] = ttl
        if dscp is not None:
            tos = dscp << 2 | out[1] & 3
            changed += tos - out[1]
            out[1] = tos
        if changed:
            out[10:12] = adjusted(out[10] << 8 | out[11], changed).to_bytes(2, "big")
    else:
        headers = parse(raw)
        has_transport = headers.l4proto is not None and not headers.fragment
        th, protocol = headers.th or 0, headers.l4proto or 0
        moved = _move_address(out, 8, 16, saddr) + _move_address(out, 24, 16, daddr)
        if ttl is not None:
            out[7] = ttl
        if dscp is not None:
            out[0:2] = ((out[0] << 8 | out[1]) & 0xF03F | dscp << 6).to_bytes(2, "big")
    translates = not saddr is daddr is sport is dport is icmp_id is None
    if translates and has_transport and protocol in _HEADER_SIZE and th + 8 <= len(raw):
        _rewrite_transport(out, th, protocol, moved, sport, dport, icmp_id)
    return bytes(out)


def _move_address(out: bytearray, at: int, size: int, address: int | None) -> int:
    if address is None:
        return 0
    old = int.from_bytes(out[at : at + size], "big")
    out[at : at + size] = address.to_bytes(size, "big")
    return address - old


def _rewrite_transport(
    out: bytearray, th: int, protocol: int, moved: int, sport: int | None, dport: int | None, icmp_id: int | None
) -> None:
    changed = moved if protocol in COVERS_ADDRESSES else 0
    if protocol in _QUERY_TYPES:
        if icmp_id is not None and out[th] in _QUERY_TYPES[protocol]:
            changed += _set_word(out, th + 4, icmp_id)
    else:
        if sport is not None:
            changed += _set_word(out, th, sport)
        if dport is not None:
            changed += _set_word(out, th + 2, dport)
    _fix_transport(out, th, protocol, changed)


def _set_word(out: bytearray, at: int, value: int) -> int:
    old = out[at] << 8 | out[at + 1]
    out[at : at + 2] = value.to_bytes(2, "big")
    return value - old


def _fix_transport(out: bytearray, th: int, protocol: int, changed: int) -> None:
    """Carry a change of the covered words into the transport checksum, if its whole header is there."""
    if th + _HEADER_SIZE.get(protocol, 0) > len(out):
        return
    if protocol == SCTP:
        out[th + 8 : th + 12] = sctp_checksum(bytes(out[th:]))
        return
    if not changed or protocol not in CHECKSUM_OFFSET:
        return
    at = th + CHECKSUM_OFFSET[protocol]
    checksum = out[at] << 8 | out[at + 1]
    if protocol == UDP and not checksum:
        return
    checksum = adjusted(checksum, changed)
    if protocol == UDP and not checksum:
        checksum = 0xFFFF
    out[at : at + 2] = checksum.to_bytes(2, "big")


def write_bits(raw: bytes, offset: int, width: int, value: int, *, fix_checksums: bool = True) -> bytes:
    """The packet with `width` bits at `offset` bits from its start replaced; ValueError when it is too short for that.

    A checksum that is itself written to is left as written. A partial UDP-Lite checksum is treated as if it covered
    all.
    """
    first, stop = offset >> 3, (offset + width + 7) >> 3
    if offset < 0 or width < 1 or stop > len(raw) or value >> width:
        raise ValueError(f"{width} bits at bit {offset} of a packet of {len(raw)} bytes cannot take {value}")
    shift = -(offset + width) & 7
    old = int.from_bytes(raw[first:stop], "big")
    new = old & ~(((1 << width) - 1) << shift) | value << shift
    out = bytearray(raw)
    out[first:stop] = new.to_bytes(stop - first, "big")
    if not fix_checksums:
        return bytes(out)
    headers = parse(raw)
    th = headers.th if headers.l4proto is not None and not headers.fragment else None

    def change(start: int, end: int) -> int:
        """By how much the words changed that lie in this part of the packet; it starts on a word."""
        return word_sum(bytes(out[start:end])) - word_sum(raw[start:end])

    ihl = (raw[0] & 15) << 2
    if headers.family == 4 and first < ihl and not (first < 12 and stop > 10):
        out[10:12] = adjusted(out[10] << 8 | out[11], change(0, ihl)).to_bytes(2, "big")
    protocol = headers.l4proto
    if th is None or protocol is None:
        return bytes(out)
    changed = change(th, len(raw))
    if protocol in COVERS_ADDRESSES:
        changed += change(12, 20) if headers.family == 4 else change(8, 40)
    at = th + CHECKSUM_OFFSET.get(protocol, 8)
    covered = stop > th or protocol != SCTP  # the CRC of SCTP has no pseudo header
    if covered and (stop <= at or first >= at + (4 if protocol == SCTP else 2)):
        _fix_transport(out, th, protocol, changed)
    return bytes(out)


def translate_icmp_inner(
    raw: bytes,
    *,
    saddr: int | None = None,
    daddr: int | None = None,
    sport: int | None = None,
    dport: int | None = None,
    icmp_id: int | None = None,
) -> bytes | None:
    """An ICMP or ICMPv6 error with the packet it quotes translated, and its own checksum following.

    None when the kernel's NAT would drop it: the quote has no whole IP header, or a port to translate is cut off.
    """
    headers = parse(raw)
    th, protocol = headers.th, headers.l4proto
    if th is None or protocol is None or protocol != _ICMP_OF[headers.family]:
        return None
    inner = headers.raw[th + 8 :]
    if not _quotes_enough(inner, headers.family):
        return None
    translated = rewrite(inner, saddr=saddr, daddr=daddr, sport=sport, dport=dport, icmp_id=icmp_id)
    out = bytearray(headers.raw[: th + 8] + translated)
    _fix_transport(out, th, protocol, word_sum(translated) - word_sum(inner))
    return bytes(out)


def _quotes_enough(inner: bytes, family: int) -> bool:
    if family == 4:
        if len(inner) < 20 or inner[0] >> 4 != 4:
            return False
        th, protocol = (inner[0] & 15) << 2, inner[9]
        return bool(inner[6] & 0x1F or inner[7]) or protocol not in _HEADER_SIZE or th + 8 <= len(inner)
    if len(inner) < 40 or inner[0] >> 4 != 6:
        return False
    headers = parse(inner)
    if headers.fragment or headers.th is None or headers.l4proto not in _HEADER_SIZE:
        return True
    return headers.th + 8 <= len(inner)
