"""The generated rulesets are what the benchmarks say they are."""

from __future__ import annotations

import pytest

from fireproof.kernel import check, unavailable
from fireproof.lint import check as check_rules
from fireproof.syntax.build import load_text
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
def test_lint_finds_what_is_planted(style: str) -> None:
    made = generate(style, 3 * RULES)
    found = check_rules(load_text(made.text).require())
    dead = {finding.span.line for finding in found if finding.code == "unreachable-rule" and finding.span is not None}
    assert made.planted
    assert dead.issuperset(made.planted)
    assert len(dead) < RULES


@pytest.mark.parametrize("style", STYLES)
def test_nft_takes_it(style: str) -> None:
    reason = unavailable()
    if reason is not None:
        pytest.skip(f"no nft to ask: {reason}")
    assert check(generate(style, RULES).text) is None
