"""The example rulesets: what they assert holds, but for the one mistake that is there to be found."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from fireproof.syntax.build import load, load_text
from fireproof.verify.answer import ask

FOLDER = Path(__file__).resolve().parents[2] / "rulesets"
MISTAKE = "branch-office-mistake.fw"
README = (FOLDER / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.fw")), ids=lambda path: path.name)
def test_assertions_hold(path: Path) -> None:
    ruleset = load(str(path)).require()
    answers = [(assertion.name, ask(ruleset, assertion.question)) for assertion in ruleset.assertions]
    refuted = [name for name, answer in answers if not answer.holds]
    assert refuted == (["guests cannot reach the LAN"] if path.name == MISTAKE else [])
    about_nothing = [name for name, answer in answers if answer.empty]
    assert about_nothing == [], "an assertion about no traffic at all says nothing"


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.fw")), ids=lambda path: path.name)
def test_readme_counts_the_assertions(path: Path) -> None:
    row = re.search(rf"^\| \[{re.escape(path.name)}\].* \| (\d+)[^|]*\|$", README, re.MULTILINE)
    assert row is not None
    assert int(row[1]) == len({assertion.name for assertion in load(str(path)).require().assertions})


def test_the_mistake_is_mended_as_the_readme_says() -> None:
    text = (FOLDER / MISTAKE).read_text(encoding="utf-8")
    wrong = "        iifname $inside accept\n"
    stop = "        iifname $guest oifname $lan counter drop\n"
    assert text.count(wrong) == text.count(stop) == 1
    mended = text.replace(stop, "").replace(wrong, stop + wrong)
    ruleset = load_text(mended).require()
    assert all(ask(ruleset, assertion.question).holds for assertion in ruleset.assertions)
