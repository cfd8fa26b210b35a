"""The evaluator beside the kernel: seeded rulesets and packet histories, compared packet by packet.

Compared: verdict, output interface and bytes, conntrack state, and every rule in order. Not deterministic in the
kernel: identification and flow label of what the router makes itself, and the ports NAT draws, which must then be
drawn by both from the same class.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from fireproof.evaluate.evaluator import Evaluator
from fireproof.evaluate.evaluator import Outcome as Evaluated
from fireproof.kernel import NftRefused, Oracle, Port, Route
from fireproof.kernel.answers import answer
from fireproof.kernel.oracle import Outcome, unavailable
from fireproof.packet.description import describe
from fireproof.packet.parse import parse
from fireproof.packet.rewrite import rewrite, translate_icmp_inner
from fireproof.syntax.build import load_text
from tests.kernel.generate import HOST, PORTS, ROUTES, Ruleset, RulesetMaker
from tests.kernel.history import Action, Ends, History

RULESETS = int(os.environ.get("FIREPROOF_DIFFERENTIAL_RULESETS", "240"))
PACKETS = 40


@pytest.fixture(scope="module")
def oracle() -> Iterator[Oracle]:
    reason = unavailable()
    if reason:
        pytest.skip(reason)
    ports = [Port(name, addresses) for name, addresses in PORTS.items()]
    with Oracle(ports, [Route(*route) for route in ROUTES]) as found:
        yield found


def kernel_path(oracle: Oracle, outcome: Outcome) -> list[tuple[str, str, str]]:
    comments = oracle.rules()
    found = []
    for step in outcome.path:
        if step.kind == "rule":
            comment = comments.get((step.family, step.table, step.chain, step.handle or 0))
            found.append((step.hook, f"{step.family} {step.table} {step.chain}", comment or "?"))
        elif step.kind == "policy":
            found.append((step.hook, f"{step.family} {step.table} {step.chain}", f"policy {step.verdict}"))
    return found


def own_path(outcome: Evaluated) -> list[tuple[str, str, str]]:
    return [
        (s.hook, f"{s.table} {s.chain}", (s.rule.comment or "?") if s.rule else s.verdict) for s in outcome.path
    ]  # fmt: skip


def blurred(raw: bytes) -> bytes:
    """Without what the kernel sets at will in packets it makes or sends on for a raw socket.

    A reset that is itself rejected is quoted before its checksum is made.
    """
    headers = parse(raw)
    th = headers.th or 0
    inner = raw[th + 8 :]
    if headers.l4proto in (1, 58) and raw[th] in (1, 3) and len(inner) >= 40 and parse(inner).l4proto == 6:
        at = th + 8 + (parse(inner).th or 0) + 16
        raw = raw[: th + 2] + b"\0\0" + raw[th + 4 : at] + b"\0\0" + raw[at + 2 :]
    if raw[0] >> 4 == 4:
        return raw[:4] + b"\0\0" + raw[6:10] + b"\0\0" + raw[12:]
    return raw[:1] + b"\0\0\0" + raw[4:]


def same_packet(real: bytes, ours: bytes, exact: bool, sent: bytes, mine: bytes) -> bool:
    """`sent` and `mine` went in: they differ where an earlier port was drawn."""
    if not exact:
        real, ours = blurred(real), blurred(ours)
    if real == ours:
        return True
    if len(real) != len(ours) or parse(real).l4proto != parse(ours).l4proto:
        return False
    theirs, own, before, my_before = (numbers(raw) for raw in (real, ours, sent, mine))
    for at in range(2):
        passed = theirs[at] == before[at] and own[at] == my_before[at]
        drawn = theirs[at] != before[at] and own[at] != my_before[at]
        if theirs[at] != own[at] and not passed and not drawn:
            return False
    headers = parse(real)
    if headers.l4proto in (6, 17):
        ours = rewrite(ours, sport=theirs[0], dport=theirs[1])
    elif headers.l4proto in (1, 58):
        ours = rewrite(ours, icmp_id=theirs[0])
        quote = translate_icmp_inner(ours) and numbers(real[(headers.th or 0) + 8 :])
        if quote and real[headers.th or 0] in (1, 3, 11):
            ours = translate_icmp_inner(ours, sport=quote[0], dport=quote[1]) or ours
            if parse(real[(headers.th or 0) + 8 :]).l4proto in (1, 58):
                ours = translate_icmp_inner(ours, icmp_id=quote[0]) or ours
    return real == (ours if exact else blurred(ours))


def numbers(raw: bytes) -> tuple[int, int]:
    """Ports, or the identifier of an ICMP query."""
    if raw[0] >> 4 == 4:
        th, protocol = (raw[0] & 15) << 2, raw[9]
    else:
        th, protocol = 40, raw[6]
    words = raw[th : th + 2], raw[th + 2 : th + 4]
    if protocol in (1, 58):
        words = (raw[th + 4 : th + 6], b"") if raw[th] in (0, 8, 128, 129) else (b"", b"")
    return int.from_bytes(words[0], "big"), int.from_bytes(words[1], "big")


def corrected(real: Outcome, ours: Evaluated, sent: bytes) -> Outcome:
    """The oracle takes nothing for an answer to an answer, and looks before a new flow is entered."""
    ruled_out = bool(real.path) and real.path[-1].verdict == "drop"
    if answer(sent) is not None and ruled_out and (real.packets or real.delivered):
        packets = real.packets or [("lo", real.delivered or b"")]
        return replace(real, verdict="reject", packets=packets, delivered=None)
    if real.verdict == "local" and ours.verdict == "drop" and real.state == "new":
        entered = any(event.kind == "new" for event in real.events)
        return real if entered else replace(real, verdict="drop", delivered=None)
    return real


def compare(oracle: Oracle, real: Outcome, ours: Evaluated, sent: bytes, mine: bytes, local: bool) -> list[str]:
    found = []
    verdict = real.verdict
    if verdict != ours.verdict:
        found.append(f"verdict: kernel {verdict}, evaluator {ours.verdict}")
    # Nothing tracks this IP version: the oracle may say invalid, since another rule tracks the other one.
    if real.state != ours.state and (real.state, ours.state) != ("invalid", None):
        found.append(f"state: kernel {real.state}, evaluator {ours.state}")
    theirs, own = kernel_path(oracle, real), own_path(ours)
    if theirs != own:
        found.append(f"path:\n   kernel    {theirs}\n   evaluator {own}")
    if verdict in ("forward", "reject") and verdict == ours.verdict:
        exact = verdict == "forward" and not local
        if [p for p, _ in real.packets] != [p for p, _ in ours.packets] or not all(
            same_packet(a, b, exact, sent, mine) for (_, a), (_, b) in zip(real.packets, ours.packets, strict=True)
        ):
            found.append(
                "packets:\n   kernel    " + "; ".join(f"{p} {describe(r)}" for p, r in real.packets)
                + "\n   evaluator " + "; ".join(f"{p} {describe(r)}" for p, r in ours.packets)
            )  # fmt: skip
    if verdict == "local" == ours.verdict:
        assert real.delivered is not None and ours.delivered is not None
        if not same_packet(real.delivered, ours.delivered, not local, sent, mine):
            found.append(
                f"delivered:\n   kernel    {describe(real.delivered)}\n   evaluator {describe(ours.delivered)}"
            )
    return found


def run(oracle: Oracle, ruleset: Ruleset, seed: int, packets: int) -> tuple[int, str]:
    """How many packets were compared, and the first difference with its history."""
    try:
        oracle.load(ruleset.text)
    except NftRefused as error:
        return 0, "" if "syntax" not in str(error) else f"nft refuses: {error}\n{ruleset.text}"
    history = History(seed, not re.search("hook (output|postrouting)|limit|quota|numgen|@seen", ruleset.text))
    # The oracle has fwmark_reflect on.
    parsed = load_text(HOST + ruleset.text).require()
    evaluator = Evaluator(parsed, clock=time.time(), seed=seed, choices={"answers keep the mark": True})
    kernel_ends, own_ends = Ends(history), Ends(history)
    story: list[str] = []
    started = time.monotonic()
    for count in range(packets):
        action = history.next()
        raw, where = kernel_ends.packet(action)
        mine, my_where = own_ends.packet(action)
        real = oracle.send(raw, where) if where else oracle.send_local(raw)
        elapsed = time.monotonic() - started
        evaluator.advance(max(0.0, elapsed - (evaluator.now - evaluator.started)))
        ours = evaluator.send(mine, my_where) if my_where else evaluator.send_local(mine)
        story.append(
            f"{count}: {describe(raw)} on {where} -> {real.verdict} {real.state} {[p for p, _ in real.packets]}"
        )
        real = corrected(real, ours, raw)
        found = compare(oracle, real, ours, raw, mine, where is None)
        if found:
            story.append("evaluator was sent " + describe(mine))
            flows = "\n".join(str(f) for f in oracle.conntrack()), "\n".join(str(f) for f in evaluator.conntrack)
            return count, f"seed {seed}\n{ruleset.text}\n" + "\n".join(story) + "\n" + "\n".join(found) + "\n".join(
                ("", *flows)
            )
        note(history, kernel_ends, action, real.verdict, real.packets, real.delivered)
        note(history, own_ends, action, ours.verdict, ours.packets, ours.delivered, tell=False)
    return packets, ""


def note(
    history: History, ends: Ends, action: Action, verdict: str, packets: list[tuple[str, bytes]],
    delivered: bytes | None, tell: bool = True,
) -> None:  # fmt: skip
    if verdict == "forward":
        ends.saw(action, packets[-1][1], packets[-1][0])
    elif verdict == "local" and delivered is not None:
        ends.saw(action, delivered, None)
    else:
        return
    if tell:
        history.arrived(action)


@pytest.mark.parametrize("block", range(6))
def test_histories(oracle: Oracle, block: int) -> None:
    total = 0
    for number in range(RULESETS // 6):
        seed = block * 100_000 + number
        packets, difference = run(oracle, RulesetMaker(seed).make(), seed, PACKETS)
        assert not difference, difference
        total += packets
    assert total > RULESETS // 6 * PACKETS // 2, "most rulesets were refused"
