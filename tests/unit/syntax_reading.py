"""Short ways to read a text in the tests of the parser."""

from __future__ import annotations

from fireproof.model.ruleset import Chain, Rule, Ruleset, Table
from fireproof.model.statement import Statement
from fireproof.source.diagnostic import Diagnostic
from fireproof.syntax.build import load_text


def ruleset(text: str) -> Ruleset:
    """A text that must be understood without a remark."""
    loaded = load_text(text)
    assert not loaded.diagnostics.found, [d.message for d in loaded.diagnostics.found]
    return loaded.ruleset


def table(body: str, family: str = "inet") -> Table:
    return ruleset(f"table {family} t {{\n{body}\n}}\n").tables[family, "t"]


def chain(rules: str, family: str = "inet", declarations: str = "") -> Chain:
    return table(f"{declarations}\nchain c {{\n{rules}\n}}", family).chains["c"]


def rule(text: str, family: str = "inet", declarations: str = "") -> Rule:
    rules = chain(text, family, declarations).rules
    assert len(rules) == 1
    return rules[0]


def statements(text: str, family: str = "inet", declarations: str = "") -> tuple[Statement, ...]:
    return rule(text, family, declarations).statements


def problems(text: str) -> list[Diagnostic]:
    return load_text(text).diagnostics.found


def problem(text: str) -> Diagnostic:
    """The only diagnostic of a text."""
    found = problems(text)
    assert len(found) == 1, [d.message for d in found]
    return found[0]


def rule_problem(text: str, family: str = "inet", declarations: str = "") -> Diagnostic:
    return problem(f"table {family} t {{\n{declarations}\nchain c {{\n{text}\n}}\n}}\n")


def marked(diagnostic: Diagnostic) -> str:
    """The text that a diagnostic points at."""
    assert diagnostic.span is not None
    return diagnostic.span.text
