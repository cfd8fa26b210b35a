"""Any packet in the written form of `notation`, stable, and always readable back to the same bytes.

A packet the notation has words for gets them; one whose transport part it lacks words for becomes `proto N … data`, and
any other bytes become `raw HEX`. Each text is read back before it is given out, so it cannot lie.
"""

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address

from fireproof.netfilter.datatypes import DATATYPES
from fireproof.packet.notation import (
    CODE_NAMES,
    ICMP,
    ND_TYPES,
    PORTS,
    SCTP_INIT,
    TYPE_NAMES,
    UNREACHABLE,
    NotationError,
    parse_packet,
)
from fireproof.packet.parse import FRAGMENT, Headers, parse

_KIND = {number: kind for kind, number in (*PORTS.items(), *ICMP.items())}
_HEADER = {"tcp": 20, "udp": 8, "udplite": 8, "sctp": 12, "icmp": 8, "icmpv6": 8}
_FLAG_NAMES = ("fin", "syn", "rst", "psh", "ack", "urg", "ecn", "cwr")
_QUERIES = {"icmp": frozenset((0, 8, 13, 14, 15, 16, 17, 18)), "icmpv6": frozenset((128, 129))}
_ERRORS = {"icmp": frozenset((3, 4, 5, 11, 12)), "icmpv6": frozenset((1, 2, 3, 4))}
_DSCP_NAMES = {number: name for name, number in reversed(tuple(DATATYPES["dscp"].symbols.items()))}
_ECN_NAMES = {number: name for name, number in DATATYPES["ecn"].symbols.items()}


def describe(
    raw: bytes, *, iif: str | None = None, local: bool = False, mark: int = 0, ether_saddr: bytes | None = None
) -> str:
    """The written form of a packet, with what is known about how it came."""
    return _body(raw, 0) + _around(iif, local, mark, ether_saddr)


def _around(iif: str | None, local: bool, mark: int, ether_saddr: bytes | None) -> str:
    text = " local" if local else ""
    if iif is not None:
        plain = iif.isascii() and iif.replace("-", "").replace("_", "").replace(".", "").isalnum()
        text += f" on {iif}" if plain else f" on {_quoted(iif)}"
    if mark:
        text += f" mark {mark:#x}"
    if ether_saddr is not None:
        text += f" ether saddr {ether_saddr.hex(':')}"
    return text


def _body(raw: bytes, depth: int) -> str:
    headers = parse(raw)
    if headers.valid and headers.raw == raw:
        for text in _candidates(headers, depth):
            try:
                again = parse_packet(text).raw
            except NotationError:
                continue
            if again == raw:
                return text
    return f"raw {raw.hex() or '0x'}"


def _candidates(headers: Headers, depth: int) -> Iterator[str]:
    raw, protocol = headers.raw, headers.l4proto
    start = _payload_start(headers)
    if protocol is not None and headers.th == start and not headers.fragment:
        kind = _KIND.get(protocol, "")
        if (
            kind
            and len(raw) >= start + _HEADER[kind]
            and (kind not in ICMP or (kind == "icmp") == (headers.family == 4))
        ):
            text = _transport(kind, headers, start, depth)
            yield text
            yield text + " badsum"
            yield f"{text} checksum 0x{_checksum(kind, raw[start:]).hex()}"
    first = raw[9] if headers.family == 4 else raw[6]
    if first == FRAGMENT and headers.family == 6:
        first = raw[40]
    src, dst = _addresses(headers)
    yield f"proto {first} {src} > {dst}{_ip_options(headers, 64)}{_data(raw[start:])}"


def _payload_start(headers: Headers) -> int:
    """Where the payload of the IP header starts, a fragment header right after it being part of it."""
    if headers.family == 4:
        return (headers.raw[0] & 15) << 2
    return 48 if headers.raw[6] == FRAGMENT and len(headers.raw) >= 48 else 40


def _addresses(headers: Headers) -> tuple[str, str]:
    raw = headers.raw
    if headers.family == 4:
        return str(IPv4Address(raw[12:16])), str(IPv4Address(raw[16:20]))
    return str(IPv6Address(raw[8:24])), str(IPv6Address(raw[24:40]))


def _transport(kind: str, headers: Headers, start: int, depth: int) -> str:
    src, dst = _addresses(headers)
    segment = headers.raw[start:]
    if kind in ICMP:
        default_ttl = 255 if kind == "icmpv6" and segment[0] in ND_TYPES else 64
        return f"{kind} {src} > {dst}{_icmp(kind, segment, depth)}{_ip_options(headers, default_ttl)}"
    if headers.family == 6:
        src, dst = f"[{src}]", f"[{dst}]"
    sport, dport = int.from_bytes(segment[:2], "big"), int.from_bytes(segment[2:4], "big")
    text = f"{kind} {src}:{sport} > {dst}:{dport}"
    if kind == "tcp":
        text += _tcp(segment)
        data = _data(segment[max(20, segment[12] >> 4 << 2) :])
    elif kind == "sctp":
        vtag = int.from_bytes(segment[4:8], "big")
        text += f" vtag {vtag:#x}" if vtag else ""
        chunks = segment[12:]
        data = "" if chunks == SCTP_INIT else _data(chunks) or " len 0"
    else:
        data = _data(segment[8:])
    return text + _ip_options(headers, 64) + data


def _tcp(segment: bytes) -> str:
    flags = segment[13]
    text = " " + (",".join(name for bit, name in enumerate(_FLAG_NAMES) if flags >> bit & 1) or "none")
    for name, start, end, usual in (("seq", 4, 8, 0), ("ack", 8, 12, 0), ("win", 14, 16, 64240), ("urgptr", 18, 20, 0)):
        value = int.from_bytes(segment[start:end], "big")
        text += f" {name} {value}" if value != usual else ""
    options = segment[20 : segment[12] >> 4 << 2]
    if len(options) == 4 and options.startswith(b"\x02\x04"):
        text += f" mss {int.from_bytes(options[2:], 'big')}"
    elif options:
        text += f" tcp-options 0x{options.hex()}"
    return text


def _icmp(kind: str, segment: bytes, depth: int) -> str:
    message, code = segment[0], segment[1]
    rest = int.from_bytes(segment[4:8], "big")
    name = next((name for name, number in TYPE_NAMES[kind].items() if number == message), None)
    text = f" {name}" if name else f" type {message}"
    if code or message == UNREACHABLE[kind]:
        names = CODE_NAMES[kind].items() if message == UNREACHABLE[kind] else ()
        text += f" code {next((name for name, number in names if number == code), code)}"
    if message in _QUERIES[kind]:
        text += f" id {rest >> 16} seq {rest & 0xFFFF}"
    elif rest:
        has_mtu = (kind, message, code) == ("icmp", 3, 4) or (kind, message) == ("icmpv6", 2)
        text += f" mtu {rest}" if has_mtu else f" rest {rest:#x}"
    payload = segment[8:]
    if message in _ERRORS[kind] and payload and depth == 0:
        return f"{text} about ({_body(payload, depth + 1)})"
    if kind == "icmpv6" and message in (135, 136) and len(payload) == 16:
        return f"{text} target {IPv6Address(payload)}"
    return text + _data(payload)


def _ip_options(headers: Headers, usual_ttl: int) -> str:
    raw = headers.raw
    if headers.family == 4:
        ttl, traffic_class = raw[8], raw[1]
        ident = int.from_bytes(raw[4:6], "big")
        options = raw[20 : (raw[0] & 15) << 2]
        label, fragmented = 0, bool(headers.fragment)
    else:
        ttl, traffic_class = raw[7], (raw[0] << 8 | raw[1]) >> 4 & 0xFF
        label = int.from_bytes(raw[1:4], "big") & 0xFFFFF
        fragmented = raw[6] == FRAGMENT
        ident = int.from_bytes(raw[44:48], "big") if fragmented else 0
        options = b""
    dscp, ecn = traffic_class >> 2, traffic_class & 3
    text = f" ttl {ttl}" if ttl != usual_ttl else ""
    text += f" dscp {_DSCP_NAMES.get(dscp, dscp)}" if dscp else ""
    text += f" ecn {_ECN_NAMES[ecn]}" if ecn else ""
    text += f" ident {ident}" if ident else ""
    text += f" flowlabel {label:#x}" if label else ""
    text += " df" if headers.family == 4 and raw[6] & 0x40 else ""
    text += f" fragment {headers.fragment}" if fragmented else ""
    text += " more" if headers.more_fragments else ""
    return text + (f" ip-options 0x{options.hex()}" if options else "")


def _data(payload: bytes) -> str:
    if not payload:
        return ""
    if not any(payload):
        return f" len {len(payload)}"
    if all(32 <= byte < 127 or byte in b"\n\r\t" for byte in payload):
        return f" data {_quoted(payload.decode('ascii'))}"
    return f" data 0x{payload.hex()}"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + escaped.replace("\n", "\\n").replace("\r", "\\r").replace("\t", "\\t") + '"'


def _checksum(kind: str, segment: bytes) -> bytes:
    at, size = {"tcp": (16, 2), "sctp": (8, 4), "icmp": (2, 2), "icmpv6": (2, 2)}.get(kind, (6, 2))
    return segment[at : at + size]
