"""What parse sees, on packets whose reading by Linux 6.18 was observed; tests/kernel/test_packet_headers.py asks it."""

import pytest

from fireproof.packet import build
from fireproof.packet.parse import Headers, addresses, bits, l4_checksum_ok, parse, tcp_option
from fireproof.packet.rewrite import write_bits

A, B, A6, B6 = "10.0.1.2", "198.51.100.7", "2001:db8::1", "2001:db8::2"
DSTOPTS = (60, bytes.fromhex("00010400000000"))


def resized(raw: bytes) -> bytes:
    """The packet with its IP length made right."""
    if raw[0] >> 4 == 6:
        return write_bits(raw, 32, 16, len(raw) - 40)
    return write_bits(raw, 16, 16, len(raw))


def test_the_parts_of_an_ipv4_packet() -> None:
    raw = build.tcp(A, 4000, B, 80, payload=b"GET", options=b"\x94\x04\0\0")
    assert parse(raw) == Headers(raw, 4, True, 6, 24, 44, 0, False, 47, ())
    assert addresses(parse(raw)) == bytes((10, 0, 1, 2, 198, 51, 100, 7))


def test_extension_headers_are_skipped_and_listed() -> None:
    raw = build.udp(A6, 1, B6, 2, extensions=[(0, bytes.fromhex("00050200000100")), DSTOPTS], frag_offset=0)
    headers = parse(raw)
    assert (headers.valid, headers.l4proto, headers.th, headers.ih) == (True, 17, 64, 72)
    assert headers.extensions == ((0, 40, 8), (60, 48, 8), (44, 56, 8))


def test_ah_is_a_transport_protocol_for_nft() -> None:
    headers = parse(build.tcp(A6, 1, B6, 2, extensions=[(51, b"\x01" + bytes(10))]))
    assert (headers.l4proto, headers.th, headers.extensions) == (51, 40, ())


@pytest.mark.parametrize("raw", [b"", b"\x00", b"\x15" * 40, b"\xff" * 100])
def test_other_bytes_are_no_ip(raw: bytes) -> None:
    assert parse(raw) == Headers(raw, 0, False, None, None, None, 0, False, len(raw), ())


GOOD = build.udp(A, 1, B, 2, b"data")
GOOD6 = build.udp(A6, 1, B6, 2, b"data")
BAD = {
    "cut off": GOOD[:-1],
    "only a version": b"\x45",
    "header length 4": write_bits(GOOD, 4, 4, 4),
    "header longer than the packet": write_bits(GOOD, 4, 4, 15),
    "length below the header": write_bits(GOOD, 16, 16, 19),
    "header checksum": write_bits(GOOD, 64, 8, 9, fix_checksums=False),
    "IPv6 cut off": GOOD6[:-1],
    "IPv6 header cut off": GOOD6[:39],
    "multicast source": write_bits(GOOD6, 64, 8, 0xFF),
    "multicast scope 0": write_bits(GOOD6, 192, 16, 0xFF00),
    "hop-by-hop option that must be dropped": build.udp(
        A6, 1, B6, 2, extensions=[(0, bytes.fromhex("00440400000000"))]
    ),
    "hop-by-hop padding not zero": build.udp(A6, 1, B6, 2, extensions=[(0, bytes.fromhex("00010400000001"))]),
    "hop-by-hop padding of 8": build.udp(
        A6, 1, B6, 2, extensions=[(0, bytes.fromhex("0101060000000000000104000000 00"))]
    ),
    "hop-by-hop option overruns": build.udp(A6, 1, B6, 2, extensions=[(0, bytes.fromhex("00010900000000"))]),
    "router alert of the wrong size": build.udp(A6, 1, B6, 2, extensions=[(0, bytes.fromhex("00050400000000"))]),
    "hop-by-hop longer than the packet": build.ipv6(A6, B6, 0, b"\x11\x01" + bytes(8)),
}


@pytest.mark.parametrize("raw", BAD.values(), ids=BAD)
def test_what_the_kernel_drops_on_receipt_is_not_valid(raw: bytes) -> None:
    assert not parse(raw).valid


def test_bytes_after_the_ip_length_are_cut_as_the_kernel_does() -> None:
    assert parse(GOOD + b"trailer").raw == GOOD
    assert parse(GOOD6 + b"trailer").raw == GOOD6


def test_a_later_ipv4_fragment_keeps_its_offset_and_gives_short_aligned_loads() -> None:
    headers = parse(build.ip_packet(A, B, 6, bytes.fromhex("0001005000000000"), frag_offset=64))
    assert (headers.fragment, headers.more_fragments, headers.th, headers.ih) == (64, False, 20, None)
    assert bits(headers, "th", 16, 16) == 80
    assert bits(headers, "th", 0, 32) == 0x00010050
    assert bits(headers, "th", 0, 64) is None
    assert bits(headers, "th", 8, 16) is None


def test_a_later_ipv6_fragment_reads_its_ports_from_the_ip_header() -> None:
    headers = parse(build.ip_packet(A6, B6, 6, bytes(8), frag_offset=64, more_fragments=True, flow_label=80))
    assert (headers.l4proto, headers.fragment, headers.more_fragments, headers.th) == (6, 64, True, 0)
    assert bits(headers, "th", 0, 16) == 0x6000
    assert bits(headers, "th", 16, 16) == 80


def test_a_later_ipv6_fragment_of_an_extension_header_has_no_transport() -> None:
    headers = parse(build.ip_packet(A6, B6, 60, bytes(8), frag_offset=1))
    assert (headers.l4proto, headers.th) == (None, None)


@pytest.mark.parametrize("number", [0, 43, 44, 51, 60])
def test_an_extension_header_that_is_cut_off_hides_the_transport(number: int) -> None:
    headers = parse(build.ipv6(A6, B6, number, b"\x06"))
    assert (headers.l4proto, headers.th) == (None, None)


def test_bits_are_counted_from_the_base_and_absent_bytes_are_none() -> None:
    headers = parse(build.tcp(A, 0x1234, B, 80, "SA", dscp=46))
    assert bits(headers, "nh", 8, 6) == 46
    assert bits(headers, "nh", 128, 32) == 0xC6336407
    assert bits(headers, "th", 0, 4) == 1
    assert bits(headers, "th", 4, 8) == 0x23
    assert bits(headers, "th", 104, 8) == 0x12
    assert bits(headers, "th", 144, 16) == 0
    assert bits(headers, "th", 152, 16) is None
    assert bits(headers, "ih", 0, 8) is None
    assert bits(headers, "ll", 0, 8) is None


@pytest.mark.parametrize(
    ("flags", "size"),
    [(0x0000, 4), (0x8000, 8), (0x2000, 8), (0x1000, 8), (0xB000, 16), (0x4000, None), (0x0001, None)],
)
def test_the_inner_base_behind_gre(flags: int, size: int | None) -> None:
    headers = parse(build.ip_packet(A, B, 47, flags.to_bytes(2, "big") + b"\x08\0" + bytes(20)))
    assert headers.ih == (None if size is None else 20 + size)


@pytest.mark.parametrize(
    ("options", "kind", "found"),
    [
        ("020405b4", 2, "020405b4"),
        ("0101080a0000000100000002", 8, "080a0000000100000002"),
        ("00020405b4000000", 2, "020405b4"),  # the kernel goes on after end-of-options
        ("01010101", 1, "01"),
        ("02090102", 2, None),  # claims more than there is
        ("020405b4", 3, None),
        ("01010103", 3, None),  # the last byte is never a kind
        ("02000303", 2, "02"),  # length 0 counts as 1
    ],
)
def test_tcp_options_as_the_kernel_finds_them(options: str, kind: int, found: str | None) -> None:
    raw = build.tcp(A6, 1, B6, 2, tcp_options=bytes.fromhex(options))
    assert tcp_option(parse(raw), kind) == (None if found is None else bytes.fromhex(found))


def test_no_tcp_options_without_tcp() -> None:
    assert tcp_option(parse(GOOD), 2) is None
    assert tcp_option(parse(build.tcp(A, 1, B, 2, tcp_options=b"\x02\x04\x05\xb4", frag_offset=1)), 2) is None
    assert tcp_option(parse(resized(build.tcp(A, 1, B, 2, tcp_options=b"\x02\x04\x05\xb4")[:-1])), 2) is None


def test_checksums_are_judged_as_conntrack_does() -> None:
    for raw in (
        build.tcp(A, 1, B, 2, payload=b"odd"),
        build.tcp(A6, 1, B6, 2, payload=b"odd"),
        GOOD,
        GOOD6,
        build.icmp(A, B, 8, payload=b"x"),
        build.icmpv6(A6, B6, 128, payload=b"x"),
        build.sctp(A, 1, B, 2, b"\x01\0\0\x04"),
        write_bits(GOOD, 26 * 8, 16, 0),
        write_bits(GOOD6, 46 * 8, 16, 0),
        build.ip_packet(A, B, 89, b"anything"),
    ):
        assert l4_checksum_ok(parse(raw)), raw.hex()
    for raw in (
        write_bits(GOOD, 26 * 8, 16, 1),
        write_bits(build.tcp(A6, 1, B6, 2), 56 * 8, 16, 1),
        write_bits(build.icmp(A, B, 8), 22 * 8, 16, 1),
        write_bits(build.icmpv6(A6, B6, 128), 42 * 8, 16, 1),
        write_bits(build.sctp(A, 1, B, 2, b"\x01\0\0\x04"), 28 * 8, 32, 1),
        resized(GOOD + b"\0\0"),  # right by UDP's own length, but the kernel sums to the end of the packet
        build.udplite(A, 1, B, 2, b"x"),  # right by its RFC; Linux takes UDP's protocol number
    ):
        assert not l4_checksum_ok(parse(raw)), raw.hex()
