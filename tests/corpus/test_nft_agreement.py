"""The reader against nft's own rule tests and the real rulesets: the numbers may rise, never fall.

Superset by intent: `gbytes`, a conntrack address without its family in a map, and statements that only their place in
the hooks makes wrong, which lint tells.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from fireproof.syntax.build import load
from tests.corpus import conformance
from tests.corpus.rule_blocks import json_rule_blocks

pytestmark = pytest.mark.corpus

GOOD_MISSED = 1
BAD_TAKEN = 8


def test_nft_rule_tests(corpus_dir: Path) -> None:
    missed: dict[bool, list[str]] = {True: [], False: []}
    count = 0
    for case in conformance.rule_cases(corpus_dir / "nft-tests-py"):
        answer = conformance.judged(case)
        count += answer is not None
        if answer:
            missed[case.accepted].append(f"{case.place} {case.text}: {answer}")
    assert count > 1700
    assert len(missed[True]) <= GOOD_MISSED, missed[True]
    assert len(missed[False]) <= BAD_TAKEN, missed[False]


def test_as_many_statements_as_nft_lists(corpus_dir: Path) -> None:
    compared = 0
    wrong = []
    for folder in conformance.FOLDERS:
        for file in sorted((corpus_dir / "nft-tests-py" / folder).glob("*.t.json")):
            for rule, expressions in json_rule_blocks(file):
                pair = conformance.json_pair(rule, expressions, "inet" if folder == "any" else folder)
                compared += pair is not None
                if pair and pair[0] != pair[1]:
                    wrong.append(rule)
    assert compared > 1490
    # nft writes out what a field implies, and leaves out what another statement implies.
    implied = ("icmp id", "icmp sequence", "icmpv6 id", "icmpv6 type packet-too-big", "meta protocol ip", "ether type")
    assert all(rule.startswith(implied) for rule in wrong), wrong


def test_every_ruleset_that_nft_takes(corpus_dir: Path, unshared_network: list[str]) -> None:
    for path in sorted((corpus_dir / "nft").glob("*.nft")):
        if conformance.nft_answer(path) == "yes":
            assert not conformance.refused(load(str(path))), path.name
