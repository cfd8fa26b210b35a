"""Packet headers: where each field lies, its type, and the dependency nft puts in front of it.

Offsets are bits from the start of the header, most significant bit first, as nft 1.0.6 loads them
(`nft --debug=netlink`). HEADERS are read at a fixed place; EXTENSION_HEADERS, TCP_OPTIONS, IP_OPTIONS and SCTP_CHUNKS
are searched for by number first, their offsets count from the start of what was found.
"""

from collections.abc import Mapping
from dataclasses import dataclass

Requirement = tuple[str, int]


@dataclass(frozen=True, slots=True)
class HeaderField:
    """A field: `bits` wide, `offset` bits into its header.

    When `types` is not empty nft puts a match on these ICMP types in front. `count` says how often the field repeats
    (`sid[1]`, `sid[2]`, …: number n lies at offset + (n - 1) * bits); 0 means it is written without an index.
    """

    name: str
    offset: int
    bits: int
    datatype: str
    types: tuple[int, ...] = ()
    count: int = 0


@dataclass(frozen=True, slots=True)
class Header:
    """A header at `start` bits from its base: ll (link), nh (network) or th (transport).

    `requires` is what must be true for the header to be there. nfproto is implied in families of one protocol, and is
    `meta protocol` in bridge and netdev; iiftype 1 (Ethernet) is only asked in ip, ip6, inet and arp.
    """

    name: str
    base: str
    requires: tuple[Requirement, ...]
    fields: Mapping[str, HeaderField]
    start: int = 0


@dataclass(frozen=True, slots=True)
class Option:
    """Something found by its `number` in a list: an IPv6 extension header, a TCP or IP option, an SCTP chunk.

    A rule that reads it from a packet without it does not match; `exists` / `missing` tests the presence alone.
    `testable` is False where nft has no spelling for that test.
    """

    name: str
    number: int
    requires: tuple[Requirement, ...]
    fields: Mapping[str, HeaderField]
    testable: bool = True


def _fields(*rows: tuple[str, int, int, str] | tuple[str, int, int, str, tuple[int, ...]]) -> dict[str, HeaderField]:
    return {row[0]: HeaderField(*row) for row in rows}


IPV4 = ("nfproto", 2)
IPV6 = ("nfproto", 10)
ETHERNET = ("iiftype", 1)

_PORTS = (("sport", 0, 16, "inet_service"), ("dport", 16, 16, "inet_service"))
# echo-request and echo-reply, of ICMP and of ICMPv6
_ECHO = (0, 8)
_ECHO6 = (128, 129)

HEADERS: Mapping[str, Header] = {
    h.name: h
    for h in (
        Header(
            "ether",
            "ll",
            (ETHERNET,),
            _fields(("daddr", 0, 48, "ether_addr"), ("saddr", 48, 48, "ether_addr"), ("type", 96, 16, "ether_type")),
        ),
        Header(
            "vlan",
            "ll",
            (ETHERNET, ("ethertype", 0x8100)),
            _fields(
                ("pcp", 0, 3, "integer"),
                ("dei", 3, 1, "integer"),
                ("cfi", 3, 1, "integer"),
                ("id", 4, 12, "integer"),
                ("type", 16, 16, "ether_type"),
            ),
            start=112,
        ),
        Header(
            "arp",
            "nh",
            (("ethertype", 0x0806),),
            _fields(
                ("htype", 0, 16, "integer"),
                ("ptype", 16, 16, "ether_type"),
                ("hlen", 32, 8, "integer"),
                ("plen", 40, 8, "integer"),
                ("operation", 48, 16, "arp_op"),
                # Two words in nft's syntax: `arp saddr ether`.
                ("saddr ether", 64, 48, "ether_addr"),
                ("saddr ip", 112, 32, "ipv4_addr"),
                ("daddr ether", 144, 48, "ether_addr"),
                ("daddr ip", 192, 32, "ipv4_addr"),
            ),
        ),
        Header(
            "ip",
            "nh",
            (IPV4,),
            _fields(
                ("version", 0, 4, "integer"),
                ("hdrlength", 4, 4, "integer"),
                ("dscp", 8, 6, "dscp"),
                ("ecn", 14, 2, "ecn"),
                ("length", 16, 16, "integer"),
                ("id", 32, 16, "integer"),
                # The whole word: the three flag bits (reserved, DF, MF) are part of the value.
                ("frag-off", 48, 16, "integer"),
                ("ttl", 64, 8, "integer"),
                ("protocol", 72, 8, "inet_proto"),
                ("checksum", 80, 16, "integer"),
                ("saddr", 96, 32, "ipv4_addr"),
                ("daddr", 128, 32, "ipv4_addr"),
            ),
        ),
        Header(
            "ip6",
            "nh",
            (IPV6,),
            _fields(
                ("version", 0, 4, "integer"),
                ("dscp", 4, 6, "dscp"),
                ("ecn", 10, 2, "ecn"),
                ("flowlabel", 12, 20, "integer"),
                ("length", 32, 16, "integer"),
                ("nexthdr", 48, 8, "inet_proto"),
                ("hoplimit", 56, 8, "integer"),
                ("saddr", 64, 128, "ipv6_addr"),
                ("daddr", 192, 128, "ipv6_addr"),
            ),
        ),
        Header(
            "icmp",
            "th",
            (IPV4, ("l4proto", 1)),
            _fields(
                ("type", 0, 8, "icmp_type"),
                ("code", 8, 8, "icmp_code"),
                ("checksum", 16, 16, "integer"),
                ("id", 32, 16, "integer", _ECHO),
                ("sequence", 48, 16, "integer", _ECHO),
                ("gateway", 32, 32, "integer", (5,)),
                ("mtu", 48, 16, "integer", (3,)),
            ),
        ),
        Header(
            "icmpv6",
            "th",
            (IPV6, ("l4proto", 58)),
            _fields(
                ("type", 0, 8, "icmpv6_type"),
                ("code", 8, 8, "icmpv6_code"),
                ("checksum", 16, 16, "integer"),
                ("param-problem", 32, 32, "integer", (4,)),
                ("mtu", 32, 32, "integer", (2,)),
                ("id", 32, 16, "integer", _ECHO6),
                ("sequence", 48, 16, "integer", _ECHO6),
                ("max-delay", 32, 16, "integer", (130,)),
            ),
        ),
        Header(
            "igmp",
            "th",
            (IPV4, ("l4proto", 2)),
            _fields(
                ("type", 0, 8, "igmp_type"),
                ("mrt", 8, 8, "integer"),
                ("checksum", 16, 16, "integer"),
                ("group", 32, 32, "integer"),
            ),
        ),
        Header(
            "tcp",
            "th",
            (("l4proto", 6),),
            _fields(
                *_PORTS,
                ("sequence", 32, 32, "integer"),
                ("ackseq", 64, 32, "integer"),
                ("doff", 96, 4, "integer"),
                ("reserved", 100, 4, "integer"),
                ("flags", 104, 8, "tcp_flag"),
                ("window", 112, 16, "integer"),
                ("checksum", 128, 16, "integer"),
                ("urgptr", 144, 16, "integer"),
            ),
        ),
        Header(
            "udp",
            "th",
            (("l4proto", 17),),
            _fields(*_PORTS, ("length", 32, 16, "integer"), ("checksum", 48, 16, "integer")),
        ),
        Header(
            "udplite",
            "th",
            (("l4proto", 136),),
            _fields(*_PORTS, ("csumcov", 32, 16, "integer"), ("checksum", 48, 16, "integer")),
        ),
        Header(
            "sctp",
            "th",
            (("l4proto", 132),),
            _fields(*_PORTS, ("vtag", 32, 32, "integer"), ("checksum", 64, 32, "integer")),
        ),
        Header("dccp", "th", (("l4proto", 33),), _fields(*_PORTS, ("type", 67, 4, "dccp_pkttype"))),
        # Ports of whatever transport there is: no dependency, so `th dport != 80` is true of an ICMP packet.
        Header("th", "th", (), _fields(*_PORTS)),
        Header(
            "ah",
            "th",
            (("l4proto", 51),),
            _fields(
                ("nexthdr", 0, 8, "inet_proto"),
                ("hdrlength", 8, 8, "integer"),
                ("reserved", 16, 16, "integer"),
                ("spi", 32, 32, "integer"),
                ("sequence", 64, 32, "integer"),
            ),
        ),
        Header("esp", "th", (("l4proto", 50),), _fields(("spi", 0, 32, "integer"), ("sequence", 32, 32, "integer"))),
        Header(
            "comp",
            "th",
            (("l4proto", 108),),
            _fields(("nexthdr", 0, 8, "inet_proto"), ("flags", 8, 8, "bitmask"), ("cpi", 16, 16, "integer")),
        ),
    )
}

# nft adds no check of the routing type for rt0, rt2 and srh: they read the bytes of any routing header. `rt2 addr` is
# accepted by the parser of 1.0.6 and then fails ("No symbol type information"), so rt2 has no field.
EXTENSION_HEADERS: Mapping[str, Option] = {
    o.name: o
    for o in (
        Option("hbh", 0, (IPV6,), _fields(("nexthdr", 0, 8, "inet_proto"), ("hdrlength", 8, 8, "integer"))),
        Option(
            "rt",
            43,
            (IPV6,),
            _fields(
                ("nexthdr", 0, 8, "inet_proto"),
                ("hdrlength", 8, 8, "integer"),
                ("type", 16, 8, "integer"),
                ("seg-left", 24, 8, "integer"),
            ),
        ),
        Option("rt0", 43, (IPV6,), {"addr": HeaderField("addr", 64, 128, "ipv6_addr", count=2)}, testable=False),
        Option("rt2", 43, (IPV6,), {}, testable=False),
        Option(
            "srh",
            43,
            (IPV6,),
            {
                **_fields(("last-entry", 32, 8, "integer"), ("flags", 40, 8, "integer"), ("tag", 48, 16, "integer")),
                "sid": HeaderField("sid", 64, 128, "ipv6_addr", count=2),
            },
            testable=False,
        ),
        Option(
            "frag",
            44,
            (IPV6,),
            _fields(
                ("nexthdr", 0, 8, "inet_proto"),
                ("reserved", 8, 8, "integer"),
                # Unlike `ip frag-off`, the offset alone, in units of 8 bytes.
                ("frag-off", 16, 13, "integer"),
                ("reserved2", 29, 2, "integer"),
                ("more-fragments", 31, 1, "integer"),
                ("id", 32, 32, "integer"),
            ),
        ),
        Option("dst", 60, (IPV6,), _fields(("nexthdr", 0, 8, "inet_proto"), ("hdrlength", 8, 8, "integer"))),
        Option(
            "mh",
            135,
            (IPV6,),
            _fields(
                ("nexthdr", 0, 8, "inet_proto"),
                ("hdrlength", 8, 8, "integer"),
                ("type", 16, 8, "mh_type"),
                ("reserved", 24, 8, "integer"),
                ("checksum", 32, 16, "integer"),
            ),
        ),
    )
}


def _tcp_option(name: str, kind: int, *rows: tuple[str, int, int, str]) -> Option:
    # nft adds no `meta l4proto tcp`: the kernel itself refuses to look for TCP options in anything else.
    return Option(name, kind, (), _fields(("length", 8, 8, "integer"), *rows))


def _sack(name: str, block: int) -> Option:
    left = 16 + 64 * block
    return _tcp_option(name, 5, ("left", left, 32, "integer"), ("right", left + 32, 32, "integer"))


# The kind has no field name of its own in 1.0.6 (`tcp option maxseg kind` is a syntax error).
TCP_OPTIONS: Mapping[str, Option] = {
    o.name: o
    for o in (
        Option("eol", 0, (), {}),
        Option("nop", 1, (), {}),
        _tcp_option("maxseg", 2, ("size", 16, 16, "integer")),
        _tcp_option("window", 3, ("count", 16, 8, "integer")),
        _tcp_option("sack-perm", 4),
        _sack("sack", 0),
        _sack("sack0", 0),
        _sack("sack1", 1),
        _sack("sack2", 2),
        _sack("sack3", 3),
        # 1.0.6 gives `echo` the number 8, so it is the timestamp's option under another name.
        _tcp_option("echo", 8),
        _tcp_option("timestamp", 8, ("tsval", 16, 32, "integer"), ("tsecr", 48, 32, "integer")),
        _tcp_option("md5sig", 19),
        _tcp_option("mptcp", 30, ("subtype", 16, 4, "integer")),
        _tcp_option("fastopen", 34),
    )
}
TCP_OPTION_ALIASES: Mapping[str, str] = {"noop": "nop", "mss": "maxseg", "sack-permitted": "sack-perm"}


def _ip_option(name: str, number: int, *rows: tuple[str, int, int, str]) -> Option:
    return Option(name, number, (IPV4,), _fields(("type", 0, 8, "integer"), ("length", 8, 8, "integer"), *rows))


_SOURCE_ROUTE = (("ptr", 16, 8, "integer"), ("addr", 24, 32, "integer"))

# `number` is the whole type byte (copied flag, class and number). An address in one is an integer to 1.0.6.
IP_OPTIONS: Mapping[str, Option] = {
    o.name: o
    for o in (
        _ip_option("rr", 7, *_SOURCE_ROUTE),
        _ip_option("lsrr", 131, *_SOURCE_ROUTE),
        _ip_option("ssrr", 137, *_SOURCE_ROUTE),
        _ip_option("ra", 148, ("value", 16, 16, "integer")),
    )
}


def _chunk(name: str, number: int, *rows: tuple[str, int, int, str]) -> Option:
    common = (("type", 0, 8, "integer"), ("flags", 8, 8, "integer"), ("length", 16, 16, "integer"))
    return Option(name, number, (), _fields(*common, *rows))


_INIT = (
    ("init-tag", 32, 32, "integer"),
    ("a-rwnd", 64, 32, "integer"),
    ("num-outbound-streams", 96, 16, "integer"),
    ("num-inbound-streams", 112, 16, "integer"),
    ("initial-tsn", 128, 32, "integer"),
)

SCTP_CHUNKS: Mapping[str, Option] = {
    o.name: o
    for o in (
        _chunk(
            "data",
            0,
            ("tsn", 32, 32, "integer"),
            ("stream", 64, 16, "integer"),
            ("ssn", 80, 16, "integer"),
            ("ppid", 96, 32, "integer"),
        ),
        _chunk("init", 1, *_INIT),
        _chunk("init-ack", 2, *_INIT),
        _chunk(
            "sack",
            3,
            ("cum-tsn-ack", 32, 32, "integer"),
            ("a-rwnd", 64, 32, "integer"),
            ("num-gap-ack-blocks", 96, 16, "integer"),
            ("num-dup-tsns", 112, 16, "integer"),
        ),
        _chunk("heartbeat", 4),
        _chunk("heartbeat-ack", 5),
        _chunk("abort", 6),
        _chunk("shutdown", 7, ("cum-tsn-ack", 32, 32, "integer")),
        _chunk("shutdown-ack", 8),
        _chunk("error", 9),
        _chunk("cookie-echo", 10),
        _chunk("cookie-ack", 11),
        _chunk("ecne", 12, ("lowest-tsn", 32, 32, "integer")),
        _chunk("cwr", 13, ("lowest-tsn", 32, 32, "integer")),
        _chunk("shutdown-complete", 14),
        _chunk("asconf-ack", 128, ("seqno", 32, 32, "integer")),
        _chunk("forward-tsn", 192, ("new-cum-tsn", 32, 32, "integer")),
        _chunk("asconf", 193, ("seqno", 32, 32, "integer")),
    )
}
