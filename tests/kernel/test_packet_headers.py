"""What nft makes of odd packets, bit by bit: fireproof.packet.parse against the kernel."""

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address
from random import Random

import pytest

from fireproof.packet import build
from fireproof.packet.parse import Headers, bits, l4_checksum_ok, parse, tcp_option
from fireproof.packet.rewrite import rewrite, translate_icmp_inner, write_bits
from tests.kernel.packet_samples import LAN, LAN6, WAN, WAN6, sample
from tests.kernel.packet_wire import Wire, packet_wire

pytestmark = pytest.mark.kernel

LOADS = (
    ("th", 0, 16), ("th", 16, 16), ("th", 0, 32), ("th", 104, 8), ("th", 32, 64), ("th", 8, 16), ("th", 24, 8),
    ("th", 96, 16), ("th", 8, 24), ("th", 16, 48), ("th", 12, 4), ("th", 100, 4), ("th", 160, 32), ("nh", 72, 8),
    ("nh", 128, 32), ("nh", 160, 16), ("nh", 320, 128), ("ih", 0, 8), ("ih", 0, 32), ("ih", 32, 16),
)  # fmt: skip
TCP_OPTIONS = {"eol": 0, "nop": 1, "maxseg": 2, "window": 3, "sack-permitted": 4, "timestamp": 8}


@pytest.fixture(scope="module")
def wire() -> Iterator[Wire]:
    with packet_wire() as wire:
        yield wire


def questions(headers: Headers) -> dict[str, tuple[str, bool]]:
    """Counter name to the match in front of it, and whether parse says that it matches."""
    l4proto = headers.l4proto
    rules = {"seen": ("", True), "l4": ("meta l4proto != 253", l4proto not in (None, 253))}
    for bit in range(8):
        rules[f"l4bit{bit}"] = (
            f"meta l4proto & {1 << bit} == {1 << bit}",
            l4proto is not None and bool(l4proto >> bit & 1),
        )
    for base, offset, width in LOADS:
        value = bits(headers, base, offset, width)
        rules[f"{base}{offset}_{width}"] = (f"@{base},{offset},{width} {value or 0:#x}", value is not None)
        # An absent value matches neither this nor its negation.
        rules[f"not_{base}{offset}_{width}"] = (f"@{base},{offset},{width} != {value or 0:#x}", False)
    for name, kind in TCP_OPTIONS.items():
        rules[f"option{kind}"] = (f"tcp option {name} exists", tcp_option(headers, kind) is not None)
    return rules


def test_what_nft_sees_in_a_packet(wire: Wire) -> None:
    random = Random(3)
    valid = 0
    for _ in range(500):
        raw = sample(random) if random.random() < 0.97 else random.randbytes(random.randrange(1, 80))
        headers = parse(raw)
        rules = questions(headers)
        counters = "\n".join(f"counter {name} {{ }}" for name in rules)
        lines = "\n".join(f"{match} counter name {name}" for name, (match, _) in rules.items())
        wire.load(
            f"table inet t {{\n{counters}\nchain p {{\ntype filter hook prerouting priority -500\n{lines}\n}}\n}}\n"
        )
        wire.send("lan0", raw)
        expected = {name: int(headers.valid and matches) for name, (_, matches) in rules.items()}
        assert wire.counters() == expected, f"{raw.hex()} {headers[1:]}"
        valid += headers.valid
    assert valid > 300


def changed(raw: bytes, at: int) -> bytes:
    """The packet with the low bit of a byte flipped, checksums left as they are."""
    return write_bits(raw, at * 8, 8, raw[at] ^ 1, fix_checksums=False)


def longer(raw: bytes, tail: bytes) -> bytes:
    """The packet with bytes behind it that its IP length covers."""
    return write_bits(raw + tail, 16, 16, len(raw + tail))


UDP4, UDP6 = build.udp(LAN, 1, WAN, 2, b"abcd"), build.udp(LAN6, 1, WAN6, 2, b"abcd")
LITE = write_bits(build.udplite(LAN, 1, WAN, 2, b"abcd"), 24 * 8, 16, 8, fix_checksums=False)
PACKETS = {
    "udp": UDP4,
    "udp wrong": changed(UDP4, 27),
    "udp none": write_bits(UDP4, 26 * 8, 16, 0),
    "udp longer": longer(UDP4, b"\0\0"),
    "udp longer, none": longer(write_bits(UDP4, 26 * 8, 16, 0), b"xy"),
    "udp6": UDP6,
    "udp6 wrong": changed(UDP6, 47),
    "udp6 none": write_bits(UDP6, 46 * 8, 16, 0),
    "tcp": build.tcp(LAN, 1, WAN, 2),
    "tcp wrong": changed(build.tcp(LAN, 1, WAN, 2), 37),
    "tcp6": build.tcp(LAN6, 1, WAN6, 2),
    "tcp6 wrong": changed(build.tcp(LAN6, 1, WAN6, 2), 57),
    "icmp": build.icmp(LAN, WAN, 8, payload=b"x"),
    "icmp wrong": changed(build.icmp(LAN, WAN, 8), 23),
    "icmpv6": build.icmpv6(LAN6, WAN6, 128, payload=b"x"),
    "icmpv6 wrong": changed(build.icmpv6(LAN6, WAN6, 128), 43),
    "sctp": build.sctp(LAN, 1, WAN, 2, b"\1\0\0\x14" + bytes(range(1, 17))),
    "sctp wrong": changed(build.sctp(LAN, 1, WAN, 2, b"\1\0\0\x14" + bytes(range(1, 17))), 30),
    "udplite": build.udplite(LAN, 1, WAN, 2, b"abcd"),
    "udplite with UDP's number": write_bits(LITE, 26 * 8, 16, (int.from_bytes(LITE[26:28], "big") + 500) % 65535),
    "udplite coverage 7": write_bits(LITE, 24 * 8, 16, 7),
    "udplite none": write_bits(LITE, 26 * 8, 16, 0),
}


@pytest.mark.parametrize("raw", PACKETS.values(), ids=PACKETS)
def test_conntrack_judges_the_same_checksums(wire: Wire, raw: bytes) -> None:
    wire.load(
        "table inet t {\ncounter valid { }\nchain p {\ntype filter hook prerouting priority -199\n"
        "ct state new counter name valid\n}\n}\n"
    )
    wire.send("lan0", raw)
    assert wire.counters() == {"valid": int(l4_checksum_ok(parse(raw)))}


@pytest.mark.parametrize("build_packet", [build.tcp, build.udp, build.udplite], ids=["tcp", "udp", "udplite"])
@pytest.mark.parametrize("family", [4, 6])
def test_stateless_nat_writes_the_same_bytes(wire: Wire, build_packet: object, family: int) -> None:
    assert callable(build_packet)
    src, dst, new, key = (LAN, WAN, "10.0.2.77", "ip") if family == 4 else (LAN6, WAN6, "fd00:2::77", "ip6")
    wire.load(
        f"table inet t {{\nchain p {{\ntype filter hook prerouting priority -300\n"
        f"{key} daddr set {new} th dport set 8080 {key} dscp set cs1\n}}\n}}\n"
    )
    raw = build_packet(src, 1, dst, 2, payload=b"odd")
    wire.send("lan0", raw)
    number = 0x0A00024D if family == 4 else 0xFD000002 << 96 | 0x77
    # `th dport set` does not know which protocol's checksum to mend, so the port is written without.
    expected = rewrite(raw, daddr=number, dscp=8, ttl=63)
    th = 20 if family == 4 else 40
    assert wire.collect("wan0") == [write_bits(expected, th * 8 + 16, 16, 8080, fix_checksums=False)]


def test_nat_writes_the_same_bytes(wire: Wire) -> None:
    wire.load(
        "table inet t {\nchain p {\ntype nat hook prerouting priority -100\n"
        "meta l4proto { tcp, udp, sctp } dnat ip to 10.0.2.77:8080\n"
        "meta l4proto { tcp, udp, sctp } dnat ip6 to [fd00:2::77]:8080\n"
        "dnat ip to 10.0.2.77\ndnat ip6 to fd00:2::77\n}\n}\n"
    )
    random = Random(4)
    for port in range(20000, 20100):
        payload = random.randbytes(random.randrange(60))
        for raw in (
            build.tcp(LAN, port, WAN, 2, "S", payload=payload),
            build.tcp(LAN6, port, WAN6, 2, "S", payload=payload),
            build.udp(LAN, port, WAN, 2, payload),
            build.udp(LAN6, port, WAN6, 2, payload),
            write_bits(build.udp(LAN, port + 1000, WAN, 2, payload), 26 * 8, 16, 0),
            build.sctp(LAN, port, WAN, 2, b"\1\0\0\x14" + bytes(range(1, 17))),
            build.icmp(LAN, WAN, 8, echo_id=port, payload=payload),
            build.icmpv6(LAN6, WAN6, 128, echo_id=port, payload=payload),
            build.ip_packet(LAN, WAN, 47, b"\0\0\x08\0" + bytes(4) + payload),  # NAT drops GRE of less than 8 bytes
            build.ip_packet(LAN, WAN, 89, payload),
        ):
            wire.send("lan0", raw)
            number = 0x0A00024D if raw[0] >> 4 == 4 else 0xFD000002 << 96 | 0x77
            assert wire.collect("wan0") == [rewrite(raw, daddr=number, dport=8080, ttl=63)], raw.hex()


@pytest.mark.parametrize("make", [build.tcp, build.udp, build.sctp], ids=["tcp", "udp", "sctp"])
@pytest.mark.parametrize("family", [4, 6])
def test_nat_translates_the_packet_in_an_error(wire: Wire, make: object, family: int) -> None:
    assert callable(make)
    src, dst, new, to = (LAN, WAN, "10.0.2.77", "ip to 10.0.2.77") if family == 4 else (
        LAN6, WAN6, "fd00:2::77", "ip6 to [fd00:2::77]")  # fmt: skip
    wire.load(
        "table inet t {\nchain p {\ntype nat hook prerouting priority -100\n"
        f"meta l4proto {{ tcp, udp, sctp }} dnat {to}:8080\n}}\n}}\n"
    )
    data = {"chunks": b"\1\0\0\x14" + bytes(range(1, 17))} if make is build.sctp else {"payload": b"odd"}
    wire.send("lan0", make(src, 30000, dst, 2, **data))
    (seen,) = wire.collect("wan0")
    header = 20 if family == 4 else 40
    for size in (len(seen), len(seen) - 1, header + 20, header + 12, header + 8, header + 7):
        build_error, code = (build.icmp, 3) if family == 4 else (build.icmpv6, 1)
        error = build_error(new, src, code, 3, payload=seen[:size])
        wire.send("wan0", error)
        original = int.from_bytes(IPv4Address(dst).packed if family == 4 else IPv6Address(dst).packed, "big")
        translated = translate_icmp_inner(error, daddr=original, dport=2)
        expected = [] if translated is None else [rewrite(translated, saddr=original, ttl=63)]
        assert wire.collect("lan0") == expected, size
