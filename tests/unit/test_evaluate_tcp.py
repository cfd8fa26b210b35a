"""The TCP state machine against the transitions measured on Linux 6.18, every one of them, through whole packets."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fireproof.evaluate.evaluator import Evaluator, Outcome
from fireproof.evaluate.tcp_window import before
from fireproof.packet.build import tcp
from fireproof.syntax.build import load_text

FACTS = json.loads((Path(__file__).parent / "facts" / "tcp-transitions.json").read_text())
HOST = """host {{
    interface "lan" {{ address 10.0.1.1/24; }}
    interface "wan" {{ address 10.0.2.1/24; }}
    route default via 10.0.2.2 dev "wan";
    conntrack {{ tcp_loose {loose}; }}
}}
"""
RULES = "table ip f {\n chain c {\n type filter hook forward priority 0; policy accept;\n ct state new accept\n }\n}\n"
CLIENT, SERVER = ("10.0.1.2", 4000), ("198.51.100.7", 80)
# How each state is reached: who sends what.
OPEN = ["cS", "sSA", "cA"]
HISTORIES = {
    "NONE": [], "SYN_SENT": ["cS"], "SYN_RECV": OPEN[:2], "ESTABLISHED": OPEN, "ESTABLISHED(loose,orig only)": ["cA"],
    "FIN_WAIT": [*OPEN, "cFA"], "FIN_WAIT(by server)": [*OPEN, "sFA"], "CLOSE_WAIT": [*OPEN, "cFA", "sA"],
    "LAST_ACK": [*OPEN, "cFA", "sFA"], "TIME_WAIT": [*OPEN, "cFA", "sFA", "cA"], "CLOSE(RST by client)": [*OPEN, "cR"],
    "CLOSE(RST by server)": [*OPEN, "sR"], "SYN_SENT2": ["cS", "sS"],
}  # fmt: skip


class Wire:
    """Both ends of a connection, with numbers that fit."""

    def __init__(self, loose: bool = True) -> None:
        text = HOST.format(loose="yes" if loose else "no") + RULES
        self.firewall = Evaluator(load_text(text).require(), clock=0)
        self.first = {"c": 1000, "s": 50_000}
        self.next = dict(self.first)

    def send(self, who: str, flags: str, *, far: bool = False) -> Outcome:
        other = "s" if who == "c" else "c"
        ends = (*CLIENT, *SERVER) if who == "c" else (*SERVER, *CLIENT)
        seq = self.first[who] if "S" in flags else self.next[who]
        if far:
            seq = (seq + (1 << 29)) & 0xFFFFFFFF
        ack = self.next[other] if "A" in flags else 0
        raw = tcp(*ends, flags, seq=seq, ack=ack)
        self.next[who] = max(self.next[who], seq + ("S" in flags) + ("F" in flags))
        return self.firewall.send(raw, "lan" if who == "c" else "wan")


@pytest.mark.parametrize(
    ("name", "packet", "expected"),
    [(name, packet, tuple(to)) for name, fact in FACTS.items() for packet, to in fact["table"].items()],
)
def test_measured_transition(name: str, packet: str, expected: tuple[str, str]) -> None:
    label, _, loose = name.rpartition(" loose=")
    wire = Wire(loose == "1")
    for step in HISTORIES[label]:
        wire.send(step[0], step[1:])
    direction, flags = packet.split()
    flags = "" if flags == "null" else flags
    # A SYN was measured with a number of its own; the others fit.
    outcome = wire.send("c" if direction == "orig" else "s", flags, far=flags == "S" and label != "NONE")
    flows = list(wire.firewall.conntrack)
    entry = "(no entry)"
    if flows:
        entry = str(flows[0].tcp_state)
        entry += " (swapped)" if flows[0].original.sport == SERVER[1] else ""
    assert (outcome.state, entry) == (expected[0].removesuffix("/r"), expected[1])


def test_every_fact_is_used() -> None:
    assert {name.rpartition(" loose=")[0] for name in FACTS} == set(HISTORIES)


@pytest.mark.parametrize(
    ("seq", "ack", "state"),
    [
        (1001, 50_001, "established"), (1001, 50_002, "invalid"),
        # Up to twice the window passes: the kernel allows for receivers that take more than they offered.
        (1001 + 128_479, 50_001, "established"), (1001 + 128_480, 50_001, "invalid"),
        (1001 - 100_000 & 0xFFFFFFFF, 50_001, "established"), (1001, 50_001 - 67_000 & 0xFFFFFFFF, "established"),
    ],
)  # fmt: skip
def test_window(seq: int, ack: int, state: str) -> None:
    """Too far ahead is invalid, as is an acknowledgement of what was never sent; too old is merely ignored."""
    wire = Wire()
    for step in OPEN:
        wire.send(step[0], step[1:])
    assert wire.firewall.send(tcp(*CLIENT, *SERVER, "A", seq=seq, ack=ack), "lan").state == state


def test_reset_must_be_exact_to_close() -> None:
    wire = Wire()
    for step in [*OPEN, "sA"]:
        wire.send(step[0], step[1:])
    firewall = wire.firewall
    assert firewall.send(tcp(*CLIENT, *SERVER, "R", seq=1010), "lan").state == "established"
    assert [flow.tcp_state for flow in firewall.conntrack] == ["ESTABLISHED"]
    assert firewall.send(tcp(*CLIENT, *SERVER, "R", seq=1001), "lan").state == "established"
    assert [flow.tcp_state for flow in firewall.conntrack] == ["CLOSE"]


def test_end_out_of_place_is_remembered() -> None:
    """A FIN that does not fit is the last thing known of its side: the reset before it no longer permits a new SYN."""
    wire = Wire()
    for step in [*OPEN, "cR"]:
        wire.send(step[0], step[1:])
    firewall = wire.firewall
    assert firewall.send(tcp(*CLIENT, *SERVER, "FA", seq=1001, ack=60_000), "lan").state == "invalid"
    assert firewall.send(tcp(*CLIENT, *SERVER, "S", seq=90_000), "lan").state == "established"


def test_timeouts() -> None:
    wire = Wire()
    seen = []
    for step in [*OPEN, "cFA", "sA", "sFA", "cA"]:
        wire.send(step[0], step[1:])
        seen.append(next(iter(wire.firewall.conntrack)).timeout)
    assert seen == [120, 60, 432_000, 120, 60, 30, 120]


def test_sequence_numbers_wrap() -> None:
    assert before(0xFFFFFFF0, 5) and not before(5, 0xFFFFFFF0) and not before(7, 7)
