"""The written form of packets: what it means, how it is printed, and what is said when it means nothing."""

import pytest

from fireproof.packet import build
from fireproof.packet.answer import reset, unreachable
from fireproof.packet.description import describe
from fireproof.packet.notation import Notated, NotationError, parse_packet
from fireproof.packet.parse import l4_checksum_ok, parse

A, B, A6, B6 = "10.0.1.2", "198.51.100.7", "2001:db8::1", "2001:db8::2"

MEANING = {
    "tcp 10.0.1.2:4000 > 198.51.100.7:80 syn": build.tcp(A, 4000, B, 80, "S"),
    "tcp 10.0.1.2 > 198.51.100.7:http": build.tcp(A, 40000, B, 80, "S"),
    "tcp 10.0.1.2:1->198.51.100.7:2 syn/ack seq 5 ack 6 win 7": build.tcp(A, 1, B, 2, "SA", seq=5, ack=6, window=7),
    "tcp 10.0.1.2:1 > 198.51.100.7:2 SA": build.tcp(A, 1, B, 2, "SA"),
    "tcp 10.0.1.2:1 > 198.51.100.7:2 syn,ecn,cwr": build.tcp(A, 1, B, 2, "SEC"),
    "tcp 10.0.1.2:1 > 198.51.100.7:2 none": build.tcp(A, 1, B, 2, ""),
    "tcp 10.0.1.2:1 > 198.51.100.7:2 flags 0x29 urgptr 3": build.tcp(A, 1, B, 2, "FPU", urgent=3),
    "tcp 10.0.1.2:1 > 198.51.100.7:2 ack 9": build.tcp(A, 1, B, 2, "A", ack=9),
    "tcp 10.0.1.2:1 > 198.51.100.7:2 ack ack 9": build.tcp(A, 1, B, 2, "A", ack=9),
    "tcp 10.0.1.2:1 > 198.51.100.7:2 mss 1460 df ident 0x10": build.tcp(
        A, 1, B, 2, tcp_options=b"\x02\x04\x05\xb4", df=True, ident=16
    ),
    "udp [2001:db8::1]:53 > [2001:db8::2]:5353 len 100": build.udp(A6, 53, B6, 5353, bytes(100)),
    "udp 2001:db8::1 > [2001:db8::2]:53 flowlabel 7 hoplimit 3": build.udp(A6, 40000, B6, 53, flow_label=7, ttl=3),
    'udp 10.0.1.2:1 > 198.51.100.7:2 data "a\\r\\n\\"\\x41" ttl 9 dscp ef ecn ce': build.udp(
        A, 1, B, 2, b'a\r\n"A', ttl=9, dscp=46, ecn=3
    ),
    "udp 10.0.1.2:1 > 198.51.100.7:2 data 0x0102 len 4": build.udp(A, 1, B, 2, b"\x01\x02\0\0"),
    "icmp 10.0.1.2 > 198.51.100.7": build.icmp(A, B, 8),
    "icmp 10.0.1.2 > 198.51.100.7 echo-reply id 7 seq 1": build.icmp(A, B, 0, echo_id=7, seq=1),
    "icmp 10.0.1.2 > 198.51.100.7 type 200 code 3 rest 0x01020304": build.icmp(A, B, 200, 3, rest=0x01020304),
    "icmp 10.0.1.2 > 198.51.100.7 frag-needed mtu 1280": build.icmp(A, B, 3, 4, rest=1280),
    "icmp 198.51.100.7 > 10.0.1.2 port-unreachable about (udp 10.0.1.2:1 > 198.51.100.7:2)": build.icmp(
        B, A, 3, 3, payload=build.udp(A, 1, B, 2)
    ),
    "icmpv6 fe80::1 > ff02::1:ff00:2 neighbour-solicitation target fe80::2": build.icmpv6(
        "fe80::1", "ff02::1:ff00:2", 135, payload=b"\xfe\x80" + bytes(13) + b"\x02"
    ),
    "icmpv6 fe80::1 > fe80::2 nd-neighbor-advert rest 0x60000000": build.icmpv6(
        "fe80::1", "fe80::2", 136, rest=0x60000000
    ),
    "proto 47 10.0.1.2 > 198.51.100.7 data 0x00000800": build.ip_packet(A, B, 47, b"\0\0\x08\0"),
    "proto esp 10.0.1.2 > 198.51.100.7": build.ip_packet(A, B, 50, b""),
    "proto 6 10.0.1.2 > 198.51.100.7 fragment 64 more data 0x00010050": build.ip_packet(
        A, B, 6, b"\0\1\0\x50", frag_offset=64, more_fragments=True
    ),
    "udp [2001:db8::1]:1 > [2001:db8::2]:2 fragment 0 ident 70000": build.udp(A6, 1, B6, 2, frag_offset=0, ident=70000),
    "sctp 10.0.1.2:1 > 198.51.100.7:2 vtag 5 data 0x0b000004": build.sctp(A, 1, B, 2, b"\x0b\0\0\4", vtag=5),
    "udplite 10.0.1.2:1 > 198.51.100.7:2": build.udplite(A, 1, B, 2),
    "raw 4500 0014 0000 0000 4001 0000 0a000001 0a000002": bytes.fromhex("4500001400000000400100000a0000010a000002"),
    "raw 0x": b"",
}


@pytest.mark.parametrize(("text", "raw"), MEANING.items())
def test_what_a_text_means(text: str, raw: bytes) -> None:
    assert parse_packet(text).raw.hex() == raw.hex()
    assert parse_packet(describe(raw)).raw == raw


@pytest.mark.parametrize(
    "text",
    [
        "tcp 10.0.1.2:4000 > 198.51.100.7:80 syn",
        "tcp 10.0.1.2:4000 > 198.51.100.7:80 syn,ack seq 1 ack 2 win 3 mss 1460 ttl 1 dscp ef ident 5 df",
        "tcp 10.0.1.2:4000 > 198.51.100.7:80 none badsum",
        'udp [2001:db8::1]:53 > [2001:db8::2]:5353 ecn ce flowlabel 0x9 data "a\\tb"',
        "udp 10.0.1.2:1 > 198.51.100.7:2 checksum 0x0000",
        "udp 10.0.1.2:1 > 198.51.100.7:2 len 7 on eth0 mark 0x1f ether saddr aa:bb:cc:dd:ee:01",
        'udp 10.0.1.2:1 > 198.51.100.7:2 on "a b"',
        "udp 10.0.1.2:1 > 198.51.100.7:2 local",
        "icmp 10.0.1.2 > 198.51.100.7 echo-request id 7 seq 1",
        "icmp 10.0.1.2 > 198.51.100.7 destination-unreachable code frag-needed mtu 1280",
        "icmpv6 2001:db8::1 > 2001:db8::2 nd-neighbor-solicit target 2001:db8::2",
        "icmpv6 2001:db8::1 > 2001:db8::2 packet-too-big mtu 1280 about (tcp [2001:db8::2]:1 > [2001:db8::1]:2 ack)",
        "sctp 10.0.1.2:1 > 198.51.100.7:2",
        "sctp 10.0.1.2:1 > 198.51.100.7:2 len 0",
        "proto 6 10.0.1.2 > 198.51.100.7 fragment 64 data 0x00010050",
        "proto 0 2001:db8::1 > 2001:db8::2 data 0x3b00050200000100",
        "udp [2001:db8::1]:1 > [2001:db8::2]:2 ident 7 fragment 0 more",
        "raw 45",
    ],
)
def test_these_are_printed_as_they_are_written(text: str) -> None:
    packet = parse_packet(text)
    got = describe(packet.raw, iif=packet.iif, local=packet.local, mark=packet.mark, ether_saddr=packet.ether_saddr)
    assert got == text


def test_answers_are_printed_in_words() -> None:
    syn = build.tcp(A, 4000, B, 80)
    answer, error = reset(syn), unreachable(syn, "10.0.1.1", "admin-prohibited")
    assert answer is not None
    assert error is not None
    assert describe(answer) == "tcp 198.51.100.7:80 > 10.0.1.2:4000 rst,ack ack 1 win 0 df"
    assert describe(error) == (
        "icmp 10.0.1.1 > 10.0.1.2 destination-unreachable code admin-prohibited"
        " about (tcp 10.0.1.2:4000 > 198.51.100.7:80 syn) dscp cs6"
    )


def test_what_is_said_around_a_packet() -> None:
    raw = build.udp(A, 1, B, 2)
    body = "udp 10.0.1.2:1 > 198.51.100.7:2"
    mac = bytes.fromhex("aabbccddee01")
    assert parse_packet(f"on lan0 mark 0x10 ether saddr aa:bb:cc:dd:ee:1 {body}") == Notated(
        raw, "lan0", False, 16, mac
    )
    assert parse_packet(f'{body} iif "a b"') == Notated(raw, "a b")
    assert parse_packet(f"local {body}") == Notated(raw, None, True)
    assert parse_packet(f"raw {raw.hex()} on lan0").iif == "lan0"


@pytest.mark.parametrize("kind", ["tcp", "udp", "sctp", "udplite"])
def test_badsum_is_wrong(kind: str) -> None:
    for src, dst in ((A, B), (f"[{A6}]", f"[{B6}]")):
        headers = parse(parse_packet(f"{kind} {src} > {dst}:9 badsum").raw)
        assert headers.valid
        assert not l4_checksum_ok(headers)


ERRORS = {
    "": (1, "tcp, udp, icmp"),
    "tpc 1.1.1.1 > 2.2.2.2:1": (1, "did you mean 'tcp'?"),
    "proto grre 1.1.1.1 > 2.2.2.2": (7, "did you mean 'gre'?"),
    "proto 256 1.1.1.1 > 2.2.2.2": (7, "at most 255"),
    "tcp 1.1.1.1 2.2.2.2:1": (13, "'>'"),
    "tcp 1.1.1 > 2.2.2.2:1": (5, "a source address is expected here, not '1.1.1'"),
    "tcp 1.1.1.1 >": (14, "a destination address is expected here"),
    "tcp 1.1.1.1 > 2.2.2.2": (15, "a destination port is missing"),
    "tcp 1.1.1.1 > 2.2.2.2:99999": (15, "not a port"),
    "tcp 1.1.1.1 > [::1]:9": (15, "not of the same IP version"),
    "icmp 1.1.1.1:5 > 2.2.2.2": (6, "icmp has no ports"),
    "icmp ::1 > ::2": (12, "icmp is not for IPv6"),
    "icmp 1.1.1.1 > 2.2.2.2 echo-requst": (24, "did you mean 'echo-request'?"),
    "udp 1.1.1.1 > 2.2.2.2:1 syn": (25, "'syn' does not belong to udp"),
    "udp 1.1.1.1 > 2.2.2.2:1 seq 3": (25, "'seq' does not belong to udp, only to tcp"),
    "tcp 1.1.1.1 > 2.2.2.2:1 tttl 4": (25, "did you mean 'ttl'?"),
    "tcp 1.1.1.1 > 2.2.2.2:1 ttl 400": (29, "too large, at most 255"),
    "tcp 1.1.1.1 > 2.2.2.2:1 ttl": (28, "a number for ttl is expected here"),
    "tcp 1.1.1.1 > 2.2.2.2:1 dscp eff": (30, "did you mean 'ef'?"),
    'udp 1.1.1.1 > 2.2.2.2:1 data "abc': (30, "closing quote"),
    "udp 1.1.1.1 > 2.2.2.2:1 data abc": (30, "pairs of hex digits"),
    'udp 1.1.1.1 > 2.2.2.2:1 len 2 data "abc"': (25, "there are 3 bytes of data"),
    "udp 1.1.1.1 > 2.2.2.2:1 len 65500": (25, "larger than IP allows"),
    "udp 1.1.1.1 > 2.2.2.2:1 flowlabel 3": (25, "IPv4 has no flow label"),
    "udp 1.1.1.1 > 2.2.2.2:1 ident 70000": (25, "16 bits"),
    "udp ::1 > [::2]:1 ident 7": (19, "only an IPv6 fragment"),
    "udp ::1 > [::2]:1 df": (19, "no DF bit"),
    "udp 1.1.1.1 > 2.2.2.2:1 checksum 0x10000": (25, "16 bits"),
    "tcp 1.1.1.1 > 2.2.2.2:1 tcp-options 0x01": (37, "multiple of 4"),
    "on x local udp 1.1.1.1 > 2.2.2.2:1": (6, "arrives on no interface"),
    "mark -1 udp 1.1.1.1 > 2.2.2.2:1": (6, "a mark is expected"),
    "ether saddr 1:2 udp 1.1.1.1 > 2.2.2.2:1": (13, "not an Ethernet address"),
    "tcp 1.1.1.1 > 2.2.2.2:1 )": (25, "the packet ends before ')'"),
    "icmp 1.1.1.1 > 2.2.2.2 port-unreachable about udp": (47, "'(' and the packet"),
    "icmp 1.1.1.1 > 2.2.2.2 port-unreachable about (udp 1.1.1.1 > 2.2.2.2:1": (71, "')' is expected"),
    "raw 123": (5, "pairs of hex digits"),
    "raw": (4, "the bytes of the packet"),
}


@pytest.mark.parametrize(("text", "expected"), ERRORS.items())
def test_errors_name_the_place_and_what_was_expected(text: str, expected: tuple[int, str]) -> None:
    with pytest.raises(NotationError) as caught:
        parse_packet(text)
    assert (caught.value.column, expected[1] in caught.value.message) == (expected[0], True), str(caught.value)


def test_deep_nesting_is_refused() -> None:
    text = "icmp 1.1.1.1 > 2.2.2.2 port-unreachable about (" * 300
    with pytest.raises(NotationError, match="about"):
        parse_packet(text)
