"""When `reject` answers and when it stays silent; the kernel tests compare every byte of the answers."""

import pytest

from fireproof.packet import build
from fireproof.packet.answer import code_of, reset, unreachable
from fireproof.packet.description import describe
from fireproof.packet.rewrite import write_bits

A, B, A6, B6 = "10.0.1.2", "198.51.100.7", "2001:db8::1", "2001:db8::2"


def test_a_reset_takes_the_place_the_other_end_expects() -> None:
    with_ack = reset(build.tcp(A, 1, B, 2, "PA", seq=5, ack=99, payload=b"data"))
    assert with_ack is not None
    assert describe(with_ack) == "tcp 198.51.100.7:2 > 10.0.1.2:1 rst seq 99 win 0 df"
    without = reset(build.tcp(A6, 1, B6, 2, "SF", seq=2**32 - 1, payload=b"data"))
    assert without is not None
    assert describe(without) == "tcp [2001:db8::2]:2 > [2001:db8::1]:1 rst,ack ack 5 win 0"


SYN = build.tcp(A, 1, B, 2)


@pytest.mark.parametrize(
    "about",
    [
        build.tcp(A, 1, B, 2, "R"),
        build.tcp(A, 1, B, 2, "RA"),
        build.tcp(A, 1, B, 2, frag_offset=1),
        build.tcp(A, 1, "224.0.0.1", 2),
        build.udp(A, 1, B, 2),
        write_bits(SYN, 36 * 8, 16, 0),
        write_bits(SYN, 80, 16, 0),
        build.ip_packet(A, B, 6, SYN[20:39]),
        build.tcp(A6, 1, "ff02::1", 2),
        b"",
    ],
)
def test_nothing_is_reset(about: bytes) -> None:
    assert reset(about) is None


@pytest.mark.parametrize(
    "about",
    [
        build.icmp(A, B, 3, 3),
        build.icmp(A, B, 11),
        build.icmp(A, B, 19),
        build.icmpv6(A6, B6, 1),
        build.ipv6(A6, B6, 59, b""),
        build.udp(A, 1, B, 2, b"x", frag_offset=1),
        build.udp(A6, 1, B6, 2, b"x", frag_offset=1),
        build.udp(A, 1, "239.1.1.1", 2),
        build.udp(A, 1, "255.255.255.255", 2),
        write_bits(build.udp(A, 1, B, 2), 26 * 8, 16, 1),
        write_bits(SYN, 36 * 8, 16, 0),
        build.ip_packet(A, B, 200, b"xyz"),  # every payload without a rule of its own must sum to zero
        b"",
    ],
)
def test_no_error_is_sent(about: bytes) -> None:
    assert unreachable(about, "192.0.2.1" if about[:1] < b"\x60" else "2001:db8::9") is None


@pytest.mark.parametrize(
    "about",
    [
        build.icmp(A, B, 8),
        build.icmpv6(A6, B6, 128),
        build.tcp(A, 1, B, 2, "R"),
        write_bits(build.udp(A, 1, B, 2), 26 * 8, 16, 0),
        write_bits(build.sctp(A, 1, B, 2, b"\1\0\0\4"), 28 * 8, 32, 1),
        build.udp(A6, 1, B6, 2, frag_offset=0, more_fragments=True),
        build.tcp(A6, 1, B6, 2, extensions=[(51, b"\1" + bytes(10))]),
    ],
)
def test_an_error_is_sent(about: bytes) -> None:
    error = unreachable(about, "192.0.2.1" if about[:1] < b"\x60" else "2001:db8::9", "admin-prohibited")
    assert error is not None
    assert error.endswith(about)


def test_names_by_family() -> None:
    assert code_of("admin-prohibited", 4) == (3, 13)
    assert code_of("admin-prohibited", 6) == (1, 1)
    assert code_of("no-route", 4) == (3, 0)
    assert code_of("host-unreachable", 6) == (1, 3)
    assert code_of((11, 0), 4) == (11, 0)
    with pytest.raises(KeyError):
        code_of("net-unreachable", 6)
