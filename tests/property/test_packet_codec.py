"""The packet codec over random bytes and random packets: never raises, keeps checksums, goes round."""

from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from fireproof.packet import build
from fireproof.packet.answer import reset, unreachable
from fireproof.packet.description import describe
from fireproof.packet.fragments import fragment, reassemble
from fireproof.packet.notation import NotationError, parse_packet
from fireproof.packet.parse import bits, l4_checksum_ok, parse, tcp_option
from fireproof.packet.rewrite import rewrite, translate_icmp_inner, write_bits

WORD = st.integers(0, 65535)
LONG = st.integers(0, 2**32 - 1)
TEXT = st.text('aZ "\\\n0(>', max_size=9).map(str.encode)
PAYLOAD = st.one_of(st.binary(max_size=40), st.integers(0, 300).map(bytes), TEXT)
EXTENSION = st.sampled_from(
    [(0, b"\0\x05\x02\0\0\x01\0"), (60, b"\0\x01\x04\0\0\0\0"), (43, bytes(7)), (60, b"\x01\x01\x0c" + bytes(12))]
)
ADDRESSES: dict[int, st.SearchStrategy[Any]] = {
    4: st.integers(0x01000000, 0xDFFFFFFF).map(IPv4Address),
    6: st.integers(1 << 120, (0xFE << 120) - 1).map(IPv6Address),
}


@st.composite
def packets(draw: st.DrawFn, family: int | None = None, plain: bool = False) -> bytes:
    """A packet any stack could send; `plain` ones are no fragments and have no extension headers."""
    family = family or draw(st.sampled_from((4, 6)))
    src, dst = draw(ADDRESSES[family]), draw(ADDRESSES[family])
    ip: Any = {"ttl": draw(st.integers(1, 255)), "dscp": draw(st.integers(0, 63)), "ecn": draw(st.integers(0, 3))}
    if family == 4:
        ip |= {"ident": draw(WORD), "df": draw(st.booleans()), "options": draw(st.sampled_from((b"", b"\x94\x04\0\0")))}
    else:
        ip["flow_label"] = draw(st.integers(0, 2**20 - 1))
    if not plain and draw(st.integers(0, 3)) == 0:
        ip |= {"frag_offset": draw(st.integers(0, 100)), "more_fragments": draw(st.booleans()), "ident": draw(WORD)}
    if not plain and family == 6 and draw(st.integers(0, 3)) == 0:
        ip["extensions"] = draw(st.lists(EXTENSION, min_size=1, max_size=2))
    payload, one, two = draw(PAYLOAD), draw(WORD), draw(WORD)
    kind = draw(st.sampled_from(("tcp", "udp", "udplite", "sctp", "icmp", "other")))
    if kind == "tcp":
        return build.tcp(
            src, one, dst, two, draw(st.integers(0, 255)),
            seq=draw(LONG), ack=draw(LONG), window=draw(WORD), urgent=draw(st.sampled_from((0, 1))),
            tcp_options=draw(st.sampled_from((b"", b"\x02\x04\x05\xb4", b"\x01\x03\x03\x07", bytes(8)))),
            payload=payload, **ip,
        )  # fmt: skip
    if kind == "icmp":
        make = build.icmp if family == 4 else build.icmpv6
        return make(
            src, dst, draw(st.integers(0, 255)), draw(st.integers(0, 20)), rest=draw(LONG), payload=payload, **ip
        )
    if kind == "other":
        return build.ip_packet(src, dst, draw(st.sampled_from((2, 4, 41, 47, 50, 51, 89, 200))), payload, **ip)
    if kind == "sctp":
        return build.sctp(src, one, dst, two, payload, vtag=draw(LONG), **ip)
    return (build.udp if kind == "udp" else build.udplite)(src, one, dst, two, payload, **ip)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A packet with some bytes changed or cut off, or just bytes."""
    raw = bytearray(draw(st.one_of(packets(), st.binary(max_size=90))))
    for _ in range(draw(st.integers(0, 3))):
        if raw:
            raw[draw(st.integers(0, len(raw) - 1))] = draw(st.integers(0, 255))
    return bytes(raw[: draw(st.integers(0, len(raw)))]) if draw(st.booleans()) else bytes(raw)


@given(damaged(), st.sampled_from(("nh", "th", "ih", "ll")), st.integers(0, 800), st.integers(1, 128))
def test_reading_never_raises(raw: bytes, base: str, offset: int, width: int) -> None:
    headers = parse(raw)
    value = bits(headers, base, offset, width)
    assert value is None or 0 <= value < 1 << width
    tcp_option(headers, 2)
    l4_checksum_ok(headers)
    reset(raw)
    unreachable(raw, "192.0.2.1" if headers.family == 4 else "2001:db8::1")
    translate_icmp_inner(raw, sport=1)
    reassemble([raw, raw])


@given(damaged())
def test_every_description_reads_back_to_the_same_bytes(raw: bytes) -> None:
    assert parse_packet(describe(raw)).raw == raw


@given(packets(plain=True), LONG, st.one_of(st.none(), st.sampled_from(("lan0", "eth0.5", "a b", "br-1"))))
def test_ordinary_packets_are_described_in_words(raw: bytes, mark: int, iif: str | None) -> None:
    text = describe(raw, iif=iif, mark=mark, ether_saddr=b"\x02\0\0\0\0\1")
    assert not text.startswith("raw")
    back = parse_packet(text)
    assert (back.raw, back.iif, back.local, back.mark, back.ether_saddr) == (raw, iif, False, mark, b"\x02\0\0\0\0\1")


@given(st.text(max_size=60) | st.text('tcpud 1.2>:[]("data0xabout', max_size=60))
def test_any_text_is_a_packet_or_a_notation_error(text: str) -> None:
    with suppress(NotationError):
        parse_packet(text)


@given(packets(), st.integers(0, 2**32 - 1), st.integers(0, 2**128 - 1), WORD, WORD, st.integers(0, 255))
def test_rewriting_keeps_checksums_as_they_were(raw: bytes, v4: int, v6: int, sport: int, dport: int, ttl: int) -> None:
    before = parse(raw)
    out = rewrite(raw, saddr=v4 if before.family == 4 else v6, sport=sport, dport=dport, icmp_id=dport, ttl=ttl, dscp=9)
    after = parse(out)
    if before.family == 4 or out[8] != 0xFF:  # a multicast source is not valid
        assert after.valid == before.valid
    assert l4_checksum_ok(after) == l4_checksum_ok(before)
    assert out[7 if before.family == 6 else 8] == ttl


@given(packets(plain=True), st.integers(0, 65535))
def test_a_wrong_checksum_stays_wrong(raw: bytes, sport: int) -> None:
    headers = parse(raw)
    if headers.l4proto not in (6, 17) or headers.th is None:
        return
    at = headers.th + (16 if headers.l4proto == 6 else 6)
    bad = write_bits(raw, at * 8, 16, int.from_bytes(raw[at : at + 2], "big") ^ 0x0BAD or 0xDEAD)
    assert not l4_checksum_ok(parse(bad))
    assert not l4_checksum_ok(parse(rewrite(bad, sport=sport)))


@given(packets(plain=True), st.integers(0, 2**32 - 1), st.integers(0, 2**128 - 1), WORD)
def test_rewriting_back_gives_the_packet_again(raw: bytes, v4: int, v6: int, port: int) -> None:
    headers = parse(raw)
    at, size = (16, 4) if headers.family == 4 else (24, 16)
    old = int.from_bytes(raw[at : at + size], "big")
    there = rewrite(raw, daddr=v4 if size == 4 else v6, dport=port)
    old_port = bits(headers, "th", 16, 16)
    assert rewrite(there, daddr=old, dport=old_port) == raw


@given(packets(), st.integers(0, 500), st.integers(1, 64), st.data())
def test_written_bits_are_there(raw: bytes, offset: int, width: int, data: st.DataObject) -> None:
    value = data.draw(st.integers(0, (1 << width) - 1))
    if offset + width > len(raw) * 8:
        return
    out = write_bits(raw, offset, width, value, fix_checksums=False)
    whole, shift = int.from_bytes(out, "big"), len(out) * 8 - offset - width
    assert whole >> shift & ((1 << width) - 1) == value
    untouched = ~(((1 << width) - 1) << shift)
    assert whole & untouched == int.from_bytes(raw, "big") & untouched


@given(packets(plain=True), st.integers(0, 39), st.integers(1, 64), st.data())
def test_payload_writes_keep_the_transport_checksum(raw: bytes, offset: int, width: int, data: st.DataObject) -> None:
    headers = parse(raw)
    start = {6: 20, 17: 8, 1: 8, 58: 8, 132: 12}.get(headers.l4proto or 0)
    if start is None or headers.th is None:
        return
    at = (headers.th + start) * 8 + offset
    if at + width > len(raw) * 8:
        return
    assert l4_checksum_ok(headers)
    assert l4_checksum_ok(parse(write_bits(raw, at, width, data.draw(st.integers(0, (1 << width) - 1)))))


@given(packets(plain=True), st.integers(96, 400), st.randoms(use_true_random=False))
def test_fragments_come_together_again(raw: bytes, size: int, random: Any) -> None:
    parts = fragment(raw, size)
    assert all(len(part) <= size and parse(part).valid for part in parts)
    if len(parts) > 1:
        assert sum(parse(part).more_fragments for part in parts) == len(parts) - 1
        assert reassemble(parts[:-1]) is None
        random.shuffle(parts)
        whole = reassemble(parts)
        assert whole is not None
        assert whole == raw


@given(packets(plain=True), st.integers(120, 300), st.integers(96, 110))
def test_fragments_may_be_cut_again(raw: bytes, size: int, smaller: int) -> None:
    parts = [piece for part in fragment(raw, size) for piece in fragment(part, smaller)]
    assert reassemble(parts) == raw or len(parts) == 1


@given(packets(plain=True), WORD)
def test_a_translated_quote_is_what_translating_the_packet_gives(about: bytes, port: int) -> None:
    headers = parse(about)
    source = "192.0.2.1" if headers.family == 4 else "2001:db8::1"
    error = build.icmp_error(about, source, 3 if headers.family == 4 else 1, 3)
    translated = translate_icmp_inner(error, dport=port, icmp_id=port)
    cut = headers.l4proto in (1, 6, 17, 58, 132, 136) and len(about) < (headers.th or 0) + 8
    if cut:
        assert translated is None
        return
    assert translated is not None
    assert l4_checksum_ok(parse(translated))
    assert translated[(20 if headers.family == 4 else 40) + 8 :] == rewrite(about, dport=port, icmp_id=port)
