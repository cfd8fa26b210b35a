"""Built, cut, rewritten and captured packets, against bytes checked by the kernel and by dpkt."""

import io
import socket
import struct

import dpkt
import pytest

from fireproof.packet import build
from fireproof.packet.capture import Captured, CaptureError, read_capture, write_capture
from fireproof.packet.checksum import crc32c
from fireproof.packet.fragments import fragment, reassemble
from fireproof.packet.parse import l4_checksum_ok, parse
from fireproof.packet.rewrite import rewrite, translate_icmp_inner, write_bits

A, B, A6, B6 = "10.0.1.2", "198.51.100.7", "2001:db8::1", "2001:db8::2"


def number(address: str) -> int:
    return int.from_bytes(socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address), "big")


def test_a_whole_packet_byte_for_byte() -> None:
    raw = build.udp("10.0.0.1", 1, "10.0.0.2", 2, b"hi", ttl=63, dscp=46, ecn=1, ident=7, df=True)
    assert raw.hex() == "45b9001e000740003f11270d0a0000010a00000200010002000a836b6869"


def test_dpkt_reads_what_is_built() -> None:
    tcp = dpkt.ip.IP(build.tcp(A, 1, B, 2, "SA", seq=3, ack=4, tcp_options=b"\x02\x04\x05\xb4", payload=b"x"))
    assert (tcp.data.sport, tcp.data.dport, tcp.data.flags, tcp.data.seq, tcp.data.ack) == (1, 2, 0x12, 3, 4)
    assert dpkt.tcp.parse_opts(tcp.data.opts) == [(2, b"\x05\xb4")]
    six = dpkt.ip6.IP6(build.icmpv6(A6, B6, 128, echo_id=5, seq=6, flow_label=9))
    assert (six.flow, six.data.type, six.data.data.id, six.data.data.seq) == (9, 128, 5, 6)


@pytest.mark.parametrize("make", [build.udp, build.udplite])
def test_a_checksum_of_zero_is_written_as_ffff(make: object) -> None:
    # This payload makes the sum come out as 0.
    first = build.udp(A, 1, B, 2, b"\0\0")
    raw = build.udp(A, 1, B, 2, first[26:28])
    assert raw[26:28] == b"\xff\xff"
    assert l4_checksum_ok(parse(raw))


def test_crc32c_check_value() -> None:
    assert crc32c(b"123456789") == 0xE3069283  # the check value of the CRC catalogue


def test_neighbour_discovery_has_hop_limit_255() -> None:
    assert build.icmpv6(A6, B6, 135)[7] == 255
    assert build.icmpv6(A6, B6, 135, ttl=64)[7] == 64


def test_addresses_and_fields_must_fit_each_other() -> None:
    with pytest.raises(ValueError, match="not an IPv4 address"):
        build.udp(A, 1, B6, 2)
    with pytest.raises(ValueError, match="flow label"):
        build.udp(A, 1, B, 2, flow_label=1)
    with pytest.raises(ValueError, match="DF"):
        build.udp(A6, 1, B6, 2, df=True)


def test_errors_quote_as_much_as_the_kernel() -> None:
    error = build.icmp_error(build.udp(A, 1, B, 2, bytes(2000)), "192.0.2.1", 3, 4, 1280)
    assert len(error) == 576
    assert (error[9], error[16:20], error[20:22], error[26:28]) == (1, socket.inet_aton(A), b"\3\4", b"\5\0")
    error = build.icmp_error(build.udp(A6, 1, B6, 2, bytes(2000)), "2001:db8::9", 2, 0, 1280)
    assert (len(error), error[6], error[40:42], error[44:48]) == (1280, 58, b"\2\0", b"\0\0\5\0")


def test_fragments_of_both_versions() -> None:
    raw = build.udp(A, 1, B, 2, bytes(range(100)), ident=9, options=b"\x44\x04\x05\0\x94\x04\0\0")
    parts = fragment(raw, 68)
    assert [len(part) for part in parts] == [68, 68, 56]
    assert [(p.fragment, p.more_fragments) for p in map(parse, parts)] == [(0, True), (5, True), (10, False)]
    # Only options with the copy bit go into later fragments.
    assert parts[1][20:28].hex() == "0101010194040000"
    assert reassemble(parts[::-1]) == raw

    raw = build.udp(
        A6, 1, B6, 2, bytes(100), extensions=[(0, bytes.fromhex("00050200000100")), (60, b"\0\1\4\0\0\0\0")]
    )
    parts = fragment(raw, 120, ident=77)
    assert [p.extensions for p in map(parse, parts)] == [
        ((0, 40, 8), (44, 48, 8), (60, 56, 8)),
        ((0, 40, 8), (44, 48, 8)),
    ]
    assert parts[0][52:56] == struct.pack("!I", 77)
    assert reassemble(parts) == raw


def test_what_does_not_belong_together_is_not_reassembled() -> None:
    one, two = fragment(build.udp(A, 1, B, 2, bytes(64), ident=1), 60)
    other = fragment(build.udp(A, 1, B, 2, bytes(64), ident=2), 60)[1]
    assert reassemble([one, other]) is None
    assert reassemble([one]) is None
    assert reassemble([two]) is None
    assert reassemble([]) is None
    assert reassemble([one, one, two]) is not None
    shifted = rewrite(write_bits(two, 51, 13, 4), ttl=two[8])
    assert reassemble([one, shifted]) is None


def test_no_room_for_a_fragment() -> None:
    with pytest.raises(ValueError, match="no room"):
        fragment(build.udp(A, 1, B, 2, bytes(64)), 27)


@pytest.mark.parametrize(
    ("make", "fields"),
    [
        (build.tcp, {}),
        (build.udp, {"payload": b"x"}),
        (build.udplite, {"payload": b"x"}),
        (build.sctp, {"chunks": b"\1\0\0\4"}),
    ],
)
@pytest.mark.parametrize(("src", "dst", "other"), [(A, B, "192.168.7.9"), (A6, B6, "fd00::77:1")])
def test_nat_gives_the_packet_built_for_the_other_addresses(
    make: object, fields: dict[str, object], src: str, dst: str, other: str
) -> None:
    assert callable(make)
    before, after = make(src, 1000, dst, 2000, **fields), make(src, 3000, other, 4000, ttl=9, dscp=5, **fields)
    assert rewrite(before, daddr=number(other), sport=3000, dport=4000, ttl=9, dscp=5) == after


def test_the_id_of_a_query_is_rewritten_and_that_of_an_error_is_not() -> None:
    assert rewrite(build.icmp(A, B, 8, echo_id=1, seq=2), icmp_id=9) == build.icmp(A, B, 8, echo_id=9, seq=2)
    assert rewrite(build.icmpv6(A6, B6, 129, echo_id=1), icmp_id=9) == build.icmpv6(A6, B6, 129, echo_id=9)
    assert rewrite(build.icmp(A, B, 3, 3), icmp_id=9) == build.icmp(A, B, 3, 3)


def test_ports_of_a_later_fragment_are_data() -> None:
    raw = build.ip_packet(A, B, 17, bytes(16), frag_offset=2)
    assert rewrite(raw, dport=9) == raw
    assert rewrite(raw, daddr=number("10.9.9.9"))[20:] == raw[20:]


def test_forwarding_alone_does_not_mend_an_sctp_checksum() -> None:
    raw = write_bits(build.sctp(A, 1, B, 2, b"\1\0\0\4"), 28 * 8, 32, 1)
    assert not l4_checksum_ok(parse(rewrite(raw, ttl=9)))


def test_no_udp_checksum_stays_none() -> None:
    raw = write_bits(build.udp(A, 1, B, 2), 26 * 8, 16, 0)
    assert rewrite(raw, dport=9)[26:28] == b"\0\0"


def test_written_bits_carry_their_checksums() -> None:
    raw = build.tcp(A, 1, B, 2, payload=b"abc")
    assert write_bits(raw, 128, 32, number("192.0.2.9")) == build.tcp(A, 1, "192.0.2.9", 2, payload=b"abc")
    assert write_bits(raw, 160, 16, 7) == build.tcp(A, 7, B, 2, payload=b"abc")
    assert write_bits(raw, 8, 6, 46) == build.tcp(A, 1, B, 2, payload=b"abc", dscp=46)
    assert write_bits(raw, (42 * 8), 8, ord("z")) == build.tcp(A, 1, B, 2, payload=b"abz")
    six = build.udp(A6, 1, B6, 2, b"abc")
    assert write_bits(six, 192, 128, number("fd00::5")) == build.udp(A6, 1, "fd00::5", 2, b"abc")
    for bad in ((-8, 8, 0), (len(raw) * 8 - 4, 8, 0), (0, 4, 16)):
        with pytest.raises(ValueError, match="cannot take"):
            write_bits(raw, *bad)


def test_the_packet_in_an_error_is_translated() -> None:
    for about, after, source, code in (
        (build.tcp(A, 9, B, 80), build.tcp("10.7.7.7", 1, B, 80), "192.0.2.1", 3),
        (build.tcp(A6, 9, B6, 80), build.tcp("fd00::7", 1, B6, 80), "2001:db8::9", 1),
    ):
        error = build.icmp_error(about, source, code, 1)
        got = translate_icmp_inner(error, saddr=number("10.7.7.7" if code == 3 else "fd00::7"), sport=1)
        assert got is not None
        assert got[-len(after) :] == after
        assert l4_checksum_ok(parse(got))


def test_a_short_quote_is_translated_as_far_as_it_goes() -> None:
    about = build.tcp(A, 9, B, 80)
    eight = build.icmp(B, A, 3, 3, payload=about[:28])
    got = translate_icmp_inner(eight, sport=1)
    assert got is not None
    assert got[28 + 20 : 28 + 28] == b"\0\1\0\x50\0\0\0\0"
    assert translate_icmp_inner(build.icmp(B, A, 3, 3, payload=about[:24]), sport=1) is None
    assert translate_icmp_inner(about, sport=1) is None


def test_a_capture_comes_back() -> None:
    packets = [Captured(1_700_000_000_123_456_789, build.udp(A, 1, B, 2)), Captured(5, build.udp(A6, 1, B6, 2))]
    file = io.BytesIO()
    write_capture(file, packets)
    assert [len(frame) for _, frame in dpkt.pcap.Reader(io.BytesIO(file.getvalue()))] == [28, 48]
    file.seek(0)
    assert list(read_capture(file)) == packets


@pytest.mark.parametrize(
    ("link", "header"),
    [(1, bytes(12)), (1, bytes(12) + b"\x81\0\0\5"), (113, bytes(14)), (12, None), (276, b"")],
)
@pytest.mark.parametrize("order", "<>")
def test_other_links_and_byte_orders_are_read(link: int, header: bytes | None, order: str) -> None:
    raw = build.udp(A, 1, B, 2)
    frames = [raw] if header is None else [header + b"\x08\0" + bytes(18 if link == 276 else 0) + raw]
    if header is not None:
        frames.append(header + b"\x08\x06" + bytes(40))  # ARP is left out
    data = struct.pack(order + "IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, link)
    for frame in frames:
        data += struct.pack(order + "IIII", 3, 7, len(frame), len(frame)) + frame
    assert list(read_capture(io.BytesIO(data))) == [Captured(3_000_007_000, raw)]


def test_a_file_that_is_no_capture_is_refused() -> None:
    head = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 101)
    for data, why in (
        (b"", "not a pcap file"),
        (b"\x0a\x0d\x0d\x0a" + bytes(30), "pcapng"),
        (head[:20] + struct.pack("<I", 147), "link type 147"),
        (head + b"\0" * 8, "cut off in packet 1"),
        (head + struct.pack("<IIII", 0, 0, 50, 50) + b"E", "cut off in packet 1"),
        (head + struct.pack("<IIII", 0, 0, 2**31, 0), "damaged"),
    ):
        with pytest.raises(CaptureError, match=why):
            list(read_capture(io.BytesIO(data)))
