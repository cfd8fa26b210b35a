"""The packets of the proofs, through the real kernel: each goes where the proof says, translated as it says."""

from __future__ import annotations

from pathlib import Path

import pytest

from fireproof.kernel import unavailable
from fireproof.packet.notation import Notated
from fireproof.packet.parse import parse
from fireproof.query.ask import explain
from fireproof.query.trace import Traced, evaluate, in_kernel
from fireproof.syntax.build import load
from fireproof.verify.witness import Witness

RULESETS = sorted(Path(__file__).parents[2].joinpath("rulesets").glob("*.fw"))
pytestmark = pytest.mark.skipif(unavailable() is not None, reason=f"no kernel: {unavailable()}")


def fate(one: Traced) -> tuple[object, ...]:
    """What must agree: verdict, way out, addresses and ports as it left, and the rules that it met."""
    left = []
    for oif, raw in one.out:
        headers = parse(raw)
        th = headers.th
        ports = raw[th : th + 4] if th is not None and headers.l4proto in (6, 17) else b""
        left.append((oif, raw[12:20] if headers.family == 4 else raw[8:40], ports))
    met = [(step.hook, step.chain, step.line) for step in one.path if step.file is not None]
    return one.verdict, one.delivered, one.state, left, met


def witnesses(path: Path) -> list[tuple[str, Witness]]:
    """Those whose outcome hangs on nothing but the packets."""
    ruleset = load(str(path)).require()
    found = []
    for assertion in ruleset.assertions:
        one = explain(ruleset, assertion.question)
        if one.answer.depends_on:
            continue
        found += [(assertion.name, witness) for witness in (one.witness, one.other) if witness is not None]
    return found


@pytest.mark.parametrize("path", RULESETS, ids=lambda path: path.stem)
def test_the_kernel_does_what_the_proofs_say(path: Path) -> None:
    ruleset = load(str(path)).require()
    probed = 0
    for name, witness in witnesses(path):
        packets = [Notated(p.raw, p.iif, p.iif is None) for p in witness.packets]
        for mine, theirs in zip(evaluate(ruleset, packets), in_kernel(ruleset, packets), strict=True):
            assert fate(mine) == fate(theirs), f"{name}: {witness.story}"
            probed += 1
    assert probed >= 5
