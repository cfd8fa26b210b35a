"""The generated rulesets are what the benchmarks say they are."""

from __future__ import annotations

import pytest

from fireproof.kernel import check, unavailable
from fireproof.model.ruleset import Chain, Rule
from fireproof.semantics.flight import Flight, World
from fireproof.semantics.interfaces import Interfaces
from fireproof.semantics.traverse import Traversal
from fireproof.syntax.build import load_text
from fireproof.verify.diagram import Diagrams
from fireproof.verify.tracking import RoleTracker
from tests.bench.generate import STYLES, generate

RULES = 300


@pytest.mark.parametrize("style", STYLES)
def test_same_seed_same_text(style: str) -> None:
    assert generate(style, RULES, 7) == generate(style, RULES, 7)
    assert generate(style, RULES, 7) != generate(style, RULES, 8)


@pytest.mark.parametrize("style", STYLES)
def test_it_is_read_in_full(style: str) -> None:
    loaded = load_text(generate(style, RULES).text)
    assert loaded.diagnostics.found == []
    assert loaded.ruleset.rule_count == RULES


@pytest.mark.parametrize("style", STYLES)
def test_no_packet_reaches_what_is_planted(style: str) -> None:
    """Every packet goes through each chain on its own; a rule that none of them matches is dead."""
    made = generate(style, 3 * RULES)
    ruleset = load_text(made.text).require()
    algebra = Diagrams(1 << 20)
    matched: set[int] = set()

    def watch(_: Chain, rule: Rule | None, where: object, verdict: str) -> None:
        if rule is not None:
            matched.add(rule.span.line)

    for chain in ruleset.tables["ip", "bench"].chains.values():
        chain.base = chain.base or ruleset.registration[0].base
        flight = Flight(World(algebra, Interfaces(), None))
        Traversal(flight, "forward", RoleTracker(), watch).run(chain, algebra.true)
    assert made.planted
    assert matched.isdisjoint(made.planted)
    assert len(matched) > RULES


@pytest.mark.parametrize("style", STYLES)
def test_nft_takes_it(style: str) -> None:
    reason = unavailable()
    if reason is not None:
        pytest.skip(f"no nft to ask: {reason}")
    assert check(generate(style, RULES).text) is None
