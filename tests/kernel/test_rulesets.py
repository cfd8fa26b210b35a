"""The example rulesets do what their expectations say, packet by packet: in the evaluator and in the real kernel.

Expectations: tests/kernel/rulesets/NAME.json for rulesets/NAME.fw. `iif` null is a packet the host makes.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fireproof.emit.nft_text import emit
from fireproof.evaluate.evaluator import Evaluator
from fireproof.kernel import Oracle, Port, Route
from fireproof.kernel.oracle import unavailable
from fireproof.model.host import Host
from fireproof.packet.description import describe
from fireproof.packet.notation import parse_packet
from fireproof.syntax.build import load

ROOT = Path(__file__).resolve().parents[2]
NAMES = sorted(path.stem for path in (Path(__file__).parent / "rulesets").glob("*.json"))
Sender = Callable[[bytes, str | None], Any]


def expectations(name: str) -> list[dict[str, Any]]:
    packets: list[dict[str, Any]] = json.loads((Path(__file__).parent / "rulesets" / f"{name}.json").read_text())[
        "packets"
    ]
    return packets


def compare(expected: list[dict[str, Any]], send: Sender) -> None:
    for number, packet in enumerate(expected, 1):
        out = send(parse_packet(packet["packet"]).raw, packet["iif"])
        told = f"packet {number} ({packet['why']}): {packet['packet']}"
        assert out.verdict == packet["verdict"], told
        if packet["verdict"] == "drop":
            continue
        seen = out.delivered if packet["verdict"] == "local" else out.packets[0][1]
        assert seen is not None
        if "oif" in packet:
            assert out.packets[0][0] == packet["oif"], told
        words = describe(seen).split()
        if "from" in packet:
            assert words[1] == packet["from"], told
        if "to" in packet:
            assert words[3] == packet["to"], told


def host_of(name: str) -> Host:
    host = load(str(ROOT / "rulesets" / f"{name}.fw")).require().host
    assert host is not None
    return host


@pytest.mark.parametrize("name", NAMES)
def test_evaluator(name: str) -> None:
    firewall = Evaluator(load(str(ROOT / "rulesets" / f"{name}.fw")).require(), clock=0)

    def send(raw: bytes, iif: str | None) -> Any:
        return firewall.send(raw, iif) if iif else firewall.send_local(raw)

    compare(expectations(name), send)


@pytest.mark.parametrize("name", NAMES)
def test_kernel(name: str) -> None:
    reason = unavailable()
    if reason:
        pytest.skip(reason)
    host = host_of(name)
    ports = [
        Port(i.name, tuple(f"{_text(a.version, a.value)}/{a.prefix}" for a in i.addresses))
        for i in host.interfaces.values()
    ]
    routes = [
        Route(f"{_text(r.version, r.value)}/{r.prefix}", r.device, None if r.via is None else _text(r.version, r.via))
        for r in host.routes
    ]
    with Oracle(ports, routes) as oracle:
        oracle.load(emit(load(str(ROOT / "rulesets" / f"{name}.fw")).require()))

        def send(raw: bytes, iif: str | None) -> Any:
            return oracle.send(raw, iif) if iif else oracle.send_local(raw)

        compare(expectations(name), send)


def _text(version: int, value: int) -> str:
    from ipaddress import IPv4Address, IPv6Address

    return str(IPv4Address(value) if version == 4 else IPv6Address(value))


def test_there_are_expectations() -> None:
    assert NAMES
