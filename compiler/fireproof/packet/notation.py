"""The written form of a packet, as `fireproof trace` takes it: `tcp 10.0.1.2:4000 > 198.51.100.7:80 syn on lan0`.

First the protocol, then `SOURCE > DESTINATION`, then options in any order; `on IFACE`, `iif IFACE`, `local`, `mark N`
and `ether saddr MAC` may stand in front too. `OPTIONS` and `FLAGS` list the options. What is left out has its usual
value: source port 40000, flags syn, ttl 64. `raw HEX` is a packet as it is. `description.describe` writes this form.
"""

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, ip_address

from fireproof.netfilter.datatypes import DATATYPES
from fireproof.netfilter.protocols import PROTOCOLS
from fireproof.netfilter.services import SERVICES
from fireproof.packet import build
from fireproof.packet.checksum import CHECKSUM_OFFSET

Address = IPv4Address | IPv6Address

PORTS = {"tcp": 6, "udp": 17, "udplite": 136, "sctp": 132}
ICMP = {"icmp": 1, "icmpv6": 58}
KINDS = (*PORTS, *ICMP, "proto", "raw")
DEFAULT_SPORT = 40000
SCTP_INIT = bytes.fromhex("01000014000000010000ffff0001000100000001")
ND_TYPES = range(133, 138)

_TCP, _ECHO, _ANY = ("tcp",), ("icmp", "icmpv6"), (*PORTS, *ICMP, "proto")
_DSCP, _ECN = DATATYPES["dscp"].symbols, DATATYPES["ecn"].symbols
TYPE_NAMES = {"icmp": DATATYPES["icmp_type"].symbols, "icmpv6": DATATYPES["icmpv6_type"].symbols}
CODE_NAMES = {"icmp": DATATYPES["icmp_code"].symbols, "icmpv6": DATATYPES["icmpv6_code"].symbols}
UNREACHABLE = {"icmp": 3, "icmpv6": 1}
_OTHER_NAMES = {
    "router-solicitation": 133,
    "router-advertisement": 134,
    "neighbour-solicitation": 135,
    "neighbor-solicitation": 135,
    "neighbour-advertisement": 136,
    "neighbor-advertisement": 136,
}


@dataclass(frozen=True, slots=True)
class Option:
    """An option with a number: how many bits it has, which kinds of packet take it, which names its values have."""

    bits: int
    kinds: tuple[str, ...] = _ANY
    names: Mapping[str, int] = field(default_factory=dict)


OPTIONS: Mapping[str, Option] = {
    "ttl": Option(8),
    "hoplimit": Option(8),
    "dscp": Option(6, names=_DSCP),
    "ecn": Option(2, names=_ECN),
    "ident": Option(32),
    "flowlabel": Option(20),
    "fragment": Option(13),
    "seq": Option(32, ("tcp", *_ECHO)),
    "ack": Option(32, _TCP),
    "win": Option(16, _TCP),
    "urgptr": Option(16, _TCP),
    "mss": Option(16, _TCP),
    "type": Option(8, _ECHO),
    "code": Option(8, _ECHO),
    "id": Option(16, _ECHO),
    "mtu": Option(32, _ECHO),
    "rest": Option(32, _ECHO),
    "vtag": Option(32, ("sctp",)),
    "len": Option(16),
    "checksum": Option(32, (*PORTS, *ICMP)),
}
"""`fragment` is the offset in units of 8 bytes, `ident` the identification of IPv4 or of the fragment header, `len` the
bytes of payload after the transport header (filled up with zero), `rest` the second word of an ICMP message."""

FLAGS: Mapping[str, tuple[str, ...]] = {"df": _ANY, "more": _ANY, "badsum": (*PORTS, *ICMP), "none": _TCP}
_WORDS: Mapping[str, tuple[str, ...]] = {
    "data": _ANY,
    "flags": _TCP,
    "tcp-options": _TCP,
    "ip-options": _ANY,
    "target": ("icmpv6",),
    "about": _ECHO,
}
_AROUND = ("on", "iif", "local", "mark", "ether")
_TCP_FLAGS = {"fin": 1, "syn": 2, "rst": 4, "psh": 8, "ack": 16, "urg": 32, "ecn": 64, "ece": 64, "cwr": 128}

_TOKEN = re.compile(r'\s*(?:(?P<sign>->|[>()])|(?P<text>"(?:[^"\\]|\\.)*")|(?P<word>(?:(?!->)[^\s>()"])+)|(?P<bad>"))')
_ESCAPE = re.compile(r"\\(x[0-9A-Fa-f]{2}|.)", re.DOTALL)
_ESCAPED = {"n": "\n", "r": "\r", "t": "\t"}
_MAC = re.compile(r"[0-9a-fA-F]{1,2}(?::[0-9a-fA-F]{1,2}){5}")


class NotationError(ValueError):
    """What is wrong with a written packet, what was expected, and the column (from 1) where."""

    def __init__(self, message: str, column: int) -> None:
        super().__init__(message)
        self.message = message
        self.column = column

    def __str__(self) -> str:
        return f"column {self.column}: {self.message}"


@dataclass(frozen=True, slots=True)
class Notated:
    """A packet and how it comes: on an interface, or made by this host; what is not said is None, False or 0."""

    raw: bytes
    iif: str | None = None
    local: bool = False
    mark: int = 0
    ether_saddr: bytes | None = None


def parse_packet(text: str) -> Notated:
    """The packet this text means; NotationError when it means none."""
    reader = _Reader(text)
    notated = reader.packet()
    reader.expect_end()
    return notated


@dataclass(frozen=True, slots=True)
class _Token:
    text: str
    column: int
    quoted: bool = False


def _tokens(text: str) -> list[_Token]:
    tokens = []
    at = 0
    while at < len(text.rstrip()):
        match = _TOKEN.match(text, at)
        if match is None or match["bad"]:
            raise NotationError("a closing quote is missing", text.index('"', at) + 1)
        kind = match.lastgroup or "word"
        word = match[kind]
        column = match.start(kind) + 1
        if kind == "text":
            tokens.append(_Token(_ESCAPE.sub(_unescape, word[1:-1]), column, quoted=True))
        else:
            tokens.append(_Token(word, column))
        at = match.end()
    return tokens


def _unescape(match: re.Match[str]) -> str:
    escape = match[1]
    return chr(int(escape[1:], 16)) if len(escape) == 3 else _ESCAPED.get(escape, escape)


class _Reader:
    """Reads one packet, and for `about ( … )` a packet inside it, from the same tokens."""

    def __init__(self, text: str) -> None:
        self.tokens = _tokens(text)
        self.end = len(text) + 1
        self.at = 0
        self.depth = 0

    def peek(self) -> str | None:
        """The next word; None at the end and before quoted text."""
        token = self.tokens[self.at] if self.at < len(self.tokens) else None
        return None if token is None or token.quoted else token.text

    def take(self, expected: str) -> _Token:
        if self.at == len(self.tokens):
            raise NotationError(f"{expected} is expected here", self.end)
        self.at += 1
        return self.tokens[self.at - 1]

    def expect_end(self) -> None:
        if self.at < len(self.tokens):
            token = self.tokens[self.at]
            raise NotationError(f"the packet ends before {token.text!r}", token.column)

    def packet(self) -> Notated:
        draft = _Draft()
        while not self.depth and self.peek() in _AROUND:
            self.around(draft)
        token = self.take("tcp, udp, icmp, icmpv6, sctp, udplite, proto or raw")
        draft.kind = token.text
        if token.quoted or token.text not in KINDS:
            raise NotationError(_unknown("a packet starts with its protocol", token.text, KINDS), token.column)
        if token.text == "raw":
            raw = self.hex_words()
            while not self.depth and self.peek() in _AROUND:
                self.around(draft)
            return draft.notated(raw)
        if token.text == "proto":
            draft.proto = self.number("a protocol", 8, PROTOCOLS)
        else:
            draft.proto = PORTS.get(token.text) or ICMP[token.text]
        draft.src, sport = self.endpoint(draft, "a source")
        sign = self.take("'>' between source and destination")
        if sign.text not in (">", "->") or sign.quoted:
            raise NotationError(f"'>' is expected between source and destination, not {sign.text!r}", sign.column)
        column = self.tokens[self.at].column if self.at < len(self.tokens) else self.end
        draft.dst, dport = self.endpoint(draft, "a destination")
        if draft.src.version != draft.dst.version:
            raise NotationError("source and destination are not of the same IP version", column)
        if ICMP.get(token.text, 0) != 0 and (draft.src.version == 6) != (token.text == "icmpv6"):
            raise NotationError(f"{token.text} is not for IPv{draft.src.version} addresses", column)
        if token.text in PORTS:
            if dport is None:
                raise NotationError(f"a destination port is missing: {draft.dst}:80, [2001:db8::1]:80", column)
            draft.sport, draft.dport = DEFAULT_SPORT if sport is None else sport, dport
        while self.at < len(self.tokens) and self.peek() != ")":
            self.option(draft)
        return draft.notated(draft.assembled())

    def endpoint(self, draft: "_Draft", expected: str) -> tuple[Address, int | None]:
        token = self.take(f"{expected} address")
        text, port = token.text, None
        if text.startswith("["):
            text, _, rest = text[1:].partition("]")
            port = rest[1:] if rest.startswith(":") else None
            if rest and port is None:
                raise NotationError(f"after ']' comes ':' and a port, not {rest!r}", token.column)
        elif text.count(":") == 1:
            text, port = text.split(":")
        try:
            address = ip_address(text)
        except ValueError:
            raise NotationError(f"{expected} address is expected here, not {token.text!r}", token.column) from None
        if isinstance(address, IPv6Address) and address.scope_id:
            raise NotationError("an address in a packet has no zone", token.column)
        if port is None:
            return address, None
        if draft.kind not in PORTS:
            raise NotationError(f"{draft.kind} has no ports", token.column)
        number = _number(port, SERVICES)
        if number is None or not 0 <= number <= 65535:
            raise NotationError(f"{port!r} is not a port", token.column)
        return address, number

    def around(self, draft: "_Draft") -> None:
        """What is not in the packet: where it comes from, its mark, its Ethernet source."""
        word = self.take("an option").text
        if word == "local":
            draft.local = True
        elif word == "mark":
            draft.mark = self.number("a mark", 32)
        elif word == "ether":
            token = self.take("saddr")
            if token.text != "saddr":
                raise NotationError(f"'saddr' is expected after 'ether', not {token.text!r}", token.column)
            token = self.take("an Ethernet address")
            if not _MAC.fullmatch(token.text):
                raise NotationError(f"{token.text!r} is not an Ethernet address", token.column)
            draft.ether_saddr = bytes(int(part, 16) for part in token.text.split(":"))
        else:
            token = self.take("an interface name")
            draft.iif = token.text
        if draft.local and draft.iif is not None:
            raise NotationError("a packet made by this host arrives on no interface", self.tokens[self.at - 1].column)

    def option(self, draft: "_Draft") -> None:
        token = self.tokens[self.at]
        word, kind = token.text, draft.kind
        if not self.depth and self.peek() in _AROUND:
            self.around(draft)
            return
        self.at += 1
        word = "win" if word == "window" else word
        if kind == "tcp" and not token.quoted and self.tcp_flags(draft, word):
            return
        if kind in ICMP and not token.quoted and _icmp_name(draft, word):
            return
        kinds = OPTIONS[word].kinds if word in OPTIONS else FLAGS.get(word) or _WORDS.get(word)
        if kinds is None or token.quoted:
            if word in _TCP_FLAGS or word in TYPE_NAMES["icmp"] or word in TYPE_NAMES["icmpv6"]:
                raise NotationError(f"{word!r} does not belong to {kind}", token.column)
            known = [*OPTIONS, *FLAGS, *_WORDS, *_AROUND, *TYPE_NAMES.get(kind, _TCP_FLAGS if kind == "tcp" else ())]
            expected = "after the addresses come options such as ttl or data"
            raise NotationError(_unknown(expected, word, known), token.column)
        if kind not in kinds:
            raise NotationError(f"{word!r} does not belong to {kind}, only to {', '.join(kinds)}", token.column)
        if word in FLAGS:
            draft.flags_set.add(word)
        elif word in OPTIONS:
            bits = 16 if word == "seq" and kind in ICMP else OPTIONS[word].bits
            names = CODE_NAMES[kind] if word == "code" else TYPE_NAMES[kind] if word == "type" else OPTIONS[word].names
            draft.numbers["ttl" if word == "hoplimit" else word] = self.number(f"a number for {word}", bits, names)
        else:
            self.word_option(draft, word)
        draft.columns[word] = token.column

    def word_option(self, draft: "_Draft", word: str) -> None:
        if word == "data":
            token = self.take('data, "text" or 0xhex,')
            draft.data = token.text.encode("utf-8", "surrogateescape") if token.quoted else _hex(token)
        elif word == "flags":
            token = self.take("TCP flags")
            number = _number(token.text, {})
            if number is not None and 0 <= number <= 255:
                draft.tcp_flags = number
            elif not self.tcp_flags(draft, token.text):
                raise NotationError(_unknown("TCP flags are expected", token.text, _TCP_FLAGS), token.column)
        elif word == "target":
            token = self.take("an IPv6 address")
            try:
                draft.data = IPv6Address(token.text).packed
            except ValueError:
                raise NotationError(f"{token.text!r} is not an IPv6 address", token.column) from None
        elif word == "about":
            self.about(draft)
        else:
            token = self.take(f"0xhex for {word}")
            draft.options[word] = _hex(token)
            if len(draft.options[word]) > 40 or len(draft.options[word]) % 4:
                raise NotationError("options are 4 to 40 bytes, a multiple of 4", token.column)

    def about(self, draft: "_Draft") -> None:
        token = self.take("'(' and the packet this error is about")
        self.depth += 1
        if token.text != "(" or self.depth > 4:
            raise NotationError("'(' and the packet this error is about are expected", token.column)
        draft.data = self.packet().raw
        token = self.take("')'")
        if token.text != ")":
            raise NotationError(f"')' is expected, not {token.text!r}", token.column)
        self.depth -= 1

    def tcp_flags(self, draft: "_Draft", word: str) -> bool:
        """Take `word` as TCP flags if it is; `ack` before a number is the acknowledgement number instead."""
        following = self.peek()
        if word == "ack" and following is not None and _number(following, {}) is not None:
            return False
        if word == "none":
            draft.tcp_flags = draft.tcp_flags or 0
            return True
        if set(word) <= set(build.TCP_FLAGS):
            draft.tcp_flags = (draft.tcp_flags or 0) | build.tcp_flags(word)
            return True
        names = re.split(r"[,/|]", word)
        if not all(name in _TCP_FLAGS for name in names):
            return False
        for name in names:
            draft.tcp_flags = (draft.tcp_flags or 0) | _TCP_FLAGS[name]
        return True

    def number(self, expected: str, bits: int, names: Mapping[str, int] | None = None) -> int:
        token = self.take(expected)
        value = None if token.quoted else _number(token.text, names or {})
        if value is None:
            raise NotationError(_unknown(f"{expected} is expected", token.text, names or {}), token.column)
        if not 0 <= value < 1 << bits:
            raise NotationError(f"{token.text} is too large, at most {(1 << bits) - 1} fits", token.column)
        return value

    def hex_words(self) -> bytes:
        token = self.take("the bytes of the packet in hex")
        digits = token.text.removeprefix("0x")
        while (word := self.peek()) is not None and re.fullmatch("[0-9a-fA-F]+", word):
            digits += word
            self.at += 1
        return _hex(_Token("0x" + digits, token.column))


class _Draft:
    """What has been read of a packet so far."""

    def __init__(self) -> None:
        self.kind = ""
        self.proto = 0
        self.src: Address = IPv4Address(0)
        self.dst: Address = IPv4Address(0)
        self.sport = self.dport = 0
        self.tcp_flags: int | None = None
        self.numbers: dict[str, int] = {}
        self.flags_set: set[str] = set()
        self.options: dict[str, bytes] = {}
        self.columns: dict[str, int] = {}
        self.data: bytes | None = None
        self.iif: str | None = None
        self.local = False
        self.mark = 0
        self.ether_saddr: bytes | None = None

    def notated(self, raw: bytes) -> Notated:
        return Notated(raw, self.iif, self.local, self.mark, self.ether_saddr)

    def assembled(self) -> bytes:
        data = self.data if self.data is not None else SCTP_INIT if self.kind == "sctp" else b""
        if "len" in self.numbers:
            if self.data is None:
                data = b""
            self.refuse("len", len(data) > self.numbers["len"], f"there are {len(data)} bytes of data")
            data = data.ljust(self.numbers["len"], b"\0")
        ip = self.ip_fields()
        header = 60 if self.src.version == 4 else 40 + 8
        if len(data) + header + 60 > 65535:
            column = self.columns.get("len", self.columns.get("data", 1))
            raise NotationError("the packet is larger than IP allows", column)
        raw = self.transport(data, ip)
        if self.kind == "proto" or not ("badsum" in self.flags_set or "checksum" in self.numbers):
            return raw
        return self.with_checksum(raw)

    def ip_fields(self) -> build.IpFields:
        number = self.numbers.get
        ip = build.IpFields(
            dscp=number("dscp", 0),
            ecn=number("ecn", 0),
            ident=number("ident", 0),
            more_fragments="more" in self.flags_set,
            frag_offset=number("fragment"),
        )
        if "ttl" in self.numbers:
            ip["ttl"] = self.numbers["ttl"]
        if self.src.version == 4:
            self.refuse("flowlabel", "flowlabel" in self.numbers, "IPv4 has no flow label")
            self.refuse("ident", number("ident", 0) > 65535, "the identification of IPv4 has 16 bits")
            ip["df"] = "df" in self.flags_set
            ip["options"] = self.options.get("ip-options", b"")
        else:
            self.refuse("df", "df" in self.flags_set, "IPv6 has no DF bit")
            self.refuse("ip-options", "ip-options" in self.options, "IPv6 has no such options")
            fragmented = "more" in self.flags_set or "fragment" in self.numbers
            lone = "ident" in self.numbers and not fragmented
            self.refuse("ident", lone, "only an IPv6 fragment has an identification")
            ip["flow_label"] = number("flowlabel", 0)
        return ip

    def refuse(self, word: str, wrong: bool, why: str) -> None:
        if wrong:
            raise NotationError(f"{word!r} does not fit: {why}", self.columns.get(word, 1))

    def transport(self, data: bytes, ip: build.IpFields) -> bytes:
        number, src, dst = self.numbers.get, self.src, self.dst
        if self.kind == "tcp":
            options = self.options.get("tcp-options", b"")
            if "mss" in self.numbers:
                self.refuse("mss", bool(options), "tcp-options already says all options")
                options = b"\x02\x04" + self.numbers["mss"].to_bytes(2, "big")
            flags = self.tcp_flags
            if flags is None:
                flags = 16 if "ack" in self.numbers else 2
            window, urgent = number("win", 64240), number("urgptr", 0)
            seq, ack = number("seq", 0), number("ack", 0)
            return build.tcp(
                src, self.sport, dst, self.dport, flags,
                seq=seq, ack=ack, window=window, urgent=urgent, tcp_options=options, payload=data, **ip,
            )  # fmt: skip
        if self.kind == "udp":
            return build.udp(src, self.sport, dst, self.dport, data, **ip)
        if self.kind == "udplite":
            return build.udplite(src, self.sport, dst, self.dport, data, **ip)
        if self.kind == "sctp":
            return build.sctp(src, self.sport, dst, self.dport, data, vtag=number("vtag", 0), **ip)
        if self.kind in ICMP:
            make = build.icmp if self.kind == "icmp" else build.icmpv6
            rest = number("rest", number("mtu", number("id", 0) << 16 | number("seq", 0)))
            message = number("type", TYPE_NAMES[self.kind]["echo-request"])
            return make(src, dst, message, number("code", 0), rest=rest, payload=data, **ip)
        return build.ip_packet(src, dst, self.proto, data, **ip)

    def with_checksum(self, raw: bytes) -> bytes:
        if self.src.version == 4:
            th = (raw[0] & 15) << 2
        else:
            th = 40 if raw[6] != 44 else 48
        size = 4 if self.kind == "sctp" else 2
        at = th + CHECKSUM_OFFSET.get(self.proto, 8)
        value = self.numbers.get("checksum")
        if value is None:
            value = int.from_bytes(raw[at : at + size], "big") ^ (0x0BAD if size == 2 else 0x0BAD0BAD)
            value = value or 0xDEAD  # 0 would mean that there is none
        self.refuse("checksum", value >> size * 8 != 0, f"it has {size * 8} bits")
        return raw[:at] + value.to_bytes(size, "big") + raw[at + size :]


def _icmp_name(draft: _Draft, word: str) -> bool:
    """Take `word` as an ICMP type, or as a kind of destination unreachable, if it is one."""
    value = TYPE_NAMES[draft.kind].get(word)
    if value is None and draft.kind == "icmpv6":
        value = _OTHER_NAMES.get(word)
    if value is None and word in CODE_NAMES[draft.kind]:
        value = UNREACHABLE[draft.kind]
        draft.numbers["code"] = CODE_NAMES[draft.kind][word]
    if value is None:
        return False
    draft.numbers["type"] = value
    return True


def _number(text: str, names: Mapping[str, int]) -> int | None:
    if text in names:
        return names[text]
    if not text.isascii() or not text[:1].isdigit() or len(text) > 12:
        return None
    try:
        return int(text, 16 if text[:2].lower() == "0x" else 10)
    except ValueError:
        return None


def _hex(token: _Token) -> bytes:
    try:
        if token.quoted or not token.text.startswith("0x"):
            raise ValueError
        return bytes.fromhex(token.text[2:])
    except ValueError:
        raise NotationError(f"bytes are written 0x and pairs of hex digits, not {token.text!r}", token.column) from None


def _unknown(expected: str, word: str, known: Iterable[str]) -> str:
    names: list[str] = list(known)
    close = difflib.get_close_matches(word, names, n=1)
    if close:
        return f"{expected}, not {word!r}; did you mean {close[0]!r}?"
    listed = f" ({', '.join(names)})" if 0 < len(names) <= 10 else ""
    return f"{expected}{listed}, not {word!r}"
