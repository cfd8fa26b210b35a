"""What `reject` sends, byte for byte: fireproof.packet.answer against the kernel.

Left out of the comparison because the kernel chooses them: the identification of an IPv4 error (and so its header
checksum) and the flow label of an ICMPv6 error.
"""

from collections.abc import Iterator
from random import Random

import pytest

from fireproof.packet import build
from fireproof.packet.answer import code_of, reset, unreachable
from fireproof.packet.description import describe
from fireproof.packet.parse import ICMP, ICMPV6, TCP, parse
from fireproof.packet.rewrite import write_bits
from tests.kernel.packet_samples import LAN, LAN6, WAN, WAN6, hop, sample
from tests.kernel.packet_wire import Wire, packet_wire

pytestmark = pytest.mark.kernel

ROUTER = {4: "10.0.1.1", 6: "fd00:1::1"}
KINDS = {
    4: ("net-unreachable", "host-unreachable", "prot-unreachable", "port-unreachable", "net-prohibited",
        "host-prohibited", "admin-prohibited"),
    6: ("no-route", "admin-prohibited", "addr-unreachable", "port-unreachable", "policy-fail", "reject-route"),
}  # fmt: skip
ICMPX = ("no-route", "port-unreachable", "host-unreachable", "admin-prohibited")


@pytest.fixture(scope="module")
def wire() -> Iterator[Wire]:
    with packet_wire() as wire:
        yield wire


def rejecting(how: str, hook: str = "forward", match: str = "") -> str:
    return f"""table inet t {{
        chain c {{
            type filter hook {hook} priority 0
            {match} reject with {how}
            {"drop" if hook == "forward" else ""}
        }}
    }}
    """


def deterministic(raw: bytes | None) -> str | None:
    if raw is None:
        return None
    if raw[0] >> 4 == 4 and raw[9] == ICMP:
        raw = raw[:4] + b"\0\0" + raw[6:10] + b"\0\0" + raw[12:]
    elif raw[0] >> 4 == 6 and raw[6] == ICMPV6:
        raw = write_bits(raw, 12, 20, 0, fix_checksums=False)
    return raw.hex()


def asked(wire: Wire, raw: bytes) -> bytes | None:
    """The answer of the kernel; complaints of its own about bad options are no answer of `reject`."""
    wire.send("lan0", raw)
    wire.collect("wan0")
    answers = [out for out in wire.collect("lan0") if not (out[0] >> 4 == 6 and out[6] == ICMPV6 and out[40] == 4)]
    assert len(answers) <= 1
    return answers[0] if answers else None


def check(wire: Wire, raw: bytes, expected: bytes | None) -> bool:
    got = asked(wire, raw)
    assert deterministic(got) == deterministic(expected), f"{describe(raw)}: the kernel sends {got and describe(got)}"
    return got is not None


def test_resets(wire: Wire) -> None:
    wire.load(rejecting("tcp reset", match="meta l4proto tcp"))
    random = Random(1)
    answered = 0
    for _ in range(4000):
        raw = sample(random)
        about = hop(raw)
        answered += check(wire, raw, reset(about) if parse(about).l4proto == TCP else None)
    assert answered > 150


def test_icmp_errors(wire: Wire) -> None:
    wire.load(rejecting("icmpx port-unreachable"))
    random = Random(2)
    answered = 0
    for _ in range(4000):
        raw = sample(random)
        answered += check(wire, raw, unreachable(hop(raw), ROUTER[parse(raw).family], "port-unreachable"))
    assert answered > 1000


@pytest.mark.parametrize("family", [4, 6])
def test_every_icmp_type(wire: Wire, family: int) -> None:
    wire.load(rejecting("icmpx admin-prohibited"))
    for number in range(256):
        src, dst, make = (LAN, WAN, build.icmp) if family == 4 else (LAN6, WAN6, build.icmpv6)
        raw = make(src, dst, number, payload=bytes(8))
        check(wire, raw, unreachable(hop(raw), ROUTER[family], "admin-prohibited"))


@pytest.mark.parametrize("family", [4, 6])
def test_every_protocol_and_no_payload(wire: Wire, family: int) -> None:
    wire.load(rejecting("icmpx admin-prohibited"))
    src, dst = (LAN, WAN) if family == 4 else (LAN6, WAN6)
    for number in range(256):
        for payload in (b"", bytes(24), b"\x01\x02\x03"):
            raw = build.ip_packet(src, dst, number, payload)
            check(wire, raw, unreachable(hop(raw), ROUTER[family], "admin-prohibited"))


@pytest.mark.parametrize(("family", "kind"), [(f, k) for f, kinds in KINDS.items() for k in kinds])
def test_every_kind(wire: Wire, family: int, kind: str) -> None:
    wire.load(rejecting(f"{'icmp' if family == 4 else 'icmpv6'} {kind}"))
    raw = build.udp(LAN, 1, WAN, 2, b"x") if family == 4 else build.udp(LAN6, 1, WAN6, 2, b"x")
    assert check(wire, raw, unreachable(hop(raw), ROUTER[family], kind))
    assert unreachable(raw, ROUTER[family], kind) == unreachable(raw, ROUTER[family], code_of(kind, family))


@pytest.mark.parametrize("kind", ICMPX)
def test_every_kind_of_icmpx(wire: Wire, kind: str) -> None:
    wire.load(rejecting(f"icmpx {kind}"))
    for raw in (build.udp(LAN, 1, WAN, 2, b"x"), build.udp(LAN6, 1, WAN6, 2, b"x")):
        family = parse(raw).family
        # The names of icmp and icmpv6 go first; where icmpx has the same name, it means the same.
        assert check(wire, raw, unreachable(hop(raw), ROUTER[family], kind))


def test_to_the_router_itself(wire: Wire) -> None:
    # Of two chains with one priority the one loaded last runs first.
    others = rejecting("icmpx no-route", "input").replace("table inet t", "table inet others")
    wire.load(others + rejecting("tcp reset", "input", "meta l4proto tcp"))
    for src, dst in ((LAN, "10.0.2.1"), (LAN6, "fd00:2::1")):
        raw = build.tcp(src, 1, dst, 2, "A", ack=5)
        assert check(wire, raw, reset(raw))
        raw = build.udp(src, 1, dst, 2, b"x" * 900)
        assert check(wire, raw, unreachable(raw, dst, "no-route"))


def test_a_multicast_destination_gets_no_answer(wire: Wire) -> None:
    wire.load(rejecting("icmpx no-route", "input"))
    for raw in (
        build.udp(LAN, 1, "224.0.0.1", 2),
        build.udp(LAN6, 1, "ff02::1", 2),
        build.udp(LAN, 1, "255.255.255.255", 2),
    ):
        assert not check(wire, raw, unreachable(raw, ROUTER[parse(raw).family], "no-route"))
