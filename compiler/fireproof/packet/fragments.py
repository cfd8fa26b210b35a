"""Cut a packet into fragments as an IP stack does, and put fragments together as the kernel's defragmenter does.

IPv4 options without the copy bit are turned into no-ops after the first fragment. `reassemble` knows no timeouts and no
memory limits; overlapping fragments are refused, as Linux does for IPv6 and, unless they are duplicates, for IPv4.
"""

import struct
from collections.abc import Sequence

from fireproof.packet.checksum import checksum_of
from fireproof.packet.parse import FRAGMENT, HOP_BY_HOP, ROUTING, Headers, parse


def fragment(raw: bytes, size: int, ident: int = 1) -> list[bytes]:
    """The fragments of a packet for a link with an MTU of `size` bytes; just the packet when it fits or is not valid
    IP.

    `ident` is for IPv6; IPv4 has its own. DF is not looked at: whether one may fragment is the caller's question. The
    parts of a fragment keep their place, so fragments can be cut again.
    """
    headers = parse(raw)
    raw = headers.raw
    if len(raw) <= size or not headers.valid:
        return [raw]
    if headers.family == 4:
        return _fragment4(headers, size)
    return _fragment6(headers, size, ident)


def _fragment4(headers: Headers, size: int) -> list[bytes]:
    raw, start = headers.raw, (headers.raw[0] & 15) << 2
    step = _step(size - start)
    parts = []
    for at in range(start, len(raw), step):
        body = raw[at : at + step]
        more = headers.more_fragments or at + step < len(raw)
        word = (raw[6] & 0xC0) << 8 | (0x2000 if more else 0) | headers.fragment + ((at - start) >> 3)
        options = raw[20:start] if at == start else _copied_options(raw[20:start])
        head = raw[:2] + struct.pack("!H", start + len(body)) + raw[4:6] + struct.pack("!H", word) + raw[8:10]
        rest = raw[12:20] + options
        parts.append(head + struct.pack("!H", checksum_of(head + rest)) + rest + body)
    return parts


def _copied_options(options: bytes) -> bytes:
    """Options for the later fragments: those without the copy bit become no-ops."""
    result = bytearray(options)
    at = 0
    while at < len(options) and options[at] != 0:
        size = 1 if options[at] == 1 or at + 1 == len(options) else max(options[at + 1], 1)
        if not options[at] & 0x80:
            result[at : at + size] = b"\x01" * len(result[at : at + size])
        at += size
    return bytes(result)


def _fragment6(headers: Headers, size: int, ident: int) -> list[bytes]:
    raw = headers.raw
    start, pointer, offset, more = 40, 6, 0, False
    for number, at, length in headers.extensions:
        if number == FRAGMENT:
            # A fragment is cut again: its own header is replaced, its identification stays.
            offset, more, ident = headers.fragment, headers.more_fragments, int.from_bytes(raw[at + 4 : at + 8], "big")
            return _cut6(raw[:at], pointer, raw[at], raw[at + 8 :], size, ident, offset, more)
        if number in (HOP_BY_HOP, ROUTING) or any(n == ROUTING and a > at for n, a, _ in headers.extensions):
            start, pointer = at + length, at
    return _cut6(raw[:start], pointer, raw[pointer], raw[start:], size, ident, offset, more)


def _cut6(
    before: bytes, pointer: int, following: int, body: bytes, size: int, ident: int, offset: int, more: bool
) -> list[bytes]:
    """Fragments of `body`; byte `pointer` of the headers `before` it names what follows, now the fragment header."""
    step = _step(size - len(before) - 8)
    before = before[:pointer] + bytes((FRAGMENT,)) + before[pointer + 1 :]
    parts = []
    for at in range(0, len(body), step):
        piece = body[at : at + step]
        word = (offset << 3) + at | (more or at + step < len(body))
        head = before[:4] + struct.pack("!H", len(before) - 32 + len(piece)) + before[6:]
        parts.append(head + struct.pack("!BxHI", following, word, ident) + piece)
    return parts


def _step(room: int) -> int:
    if room < 8:
        raise ValueError("there is no room for 8 bytes of payload in a fragment of this size")
    return room & ~7


def reassemble(parts: Sequence[bytes]) -> bytes | None:
    """The packet these fragments make, in any order; None when one is missing, they overlap, or they do not belong
    together.
    """
    pieces: dict[int, tuple[Headers, bytes]] = {}
    total = None
    key = None
    for part in parts:
        headers = parse(part)
        own, body = _piece(headers)
        if not headers.valid or own is None or (key is not None and own != key):
            return None
        key = own
        at = headers.fragment << 3
        if at in pieces and pieces[at][1] != body:
            return None
        pieces[at] = (headers, body)
        if not headers.more_fragments:
            total = at + len(body)
    whole = b""
    for at in sorted(pieces):
        if at != len(whole):
            return None
        whole += pieces[at][1]
    if total is None or total != len(whole):
        return None
    return _rejoined(pieces[0][0], whole)


def _piece(headers: Headers) -> tuple[bytes | None, bytes]:
    """What fragments of one packet have in common, and the part this one carries."""
    raw = headers.raw
    if headers.family == 4 and headers.valid:
        return raw[4:6] + raw[9:10] + raw[12:20], raw[(raw[0] & 15) << 2 :]
    for number, at, _ in headers.extensions:
        if number == FRAGMENT and at + 8 <= len(raw):
            return raw[8:40] + raw[at + 4 : at + 8], raw[at + 8 :]
    return None, b""


def _rejoined(first: Headers, body: bytes) -> bytes | None:
    raw = first.raw
    if first.family == 4:
        start = (raw[0] & 15) << 2
        if start + len(body) > 65535:
            return None
        word = raw[6] << 8 & 0xC000
        head = raw[:2] + struct.pack("!H", start + len(body)) + raw[4:6] + struct.pack("!H", word) + raw[8:10]
        return head + struct.pack("!H", checksum_of(head + raw[12:start])) + raw[12:start] + body
    at = next(at for number, at, _ in first.extensions if number == FRAGMENT)
    pointer = next((a for _, a, size in first.extensions if a + size == at), 6)
    if at - 40 + len(body) > 65535:
        return None
    before = raw[:pointer] + raw[at : at + 1] + raw[pointer + 1 : at]
    return before[:4] + struct.pack("!H", at - 40 + len(body)) + before[6:] + body
