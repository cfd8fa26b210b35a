"""Diagnostics as JSON: exactly the keys of the schemas, whatever a diagnostic leaves out."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from fireproof.report.json import error_document, finding, lint_document
from fireproof.resources import schema
from fireproof.source.diagnostic import Diagnostic, Fix, Related, Severity
from fireproof.source.text import SourceFile, Span

FILE = SourceFile("edge.fw", "accept\ndrop\n")
LINT = Draft202012Validator(schema("lint"))
ERRORS = Draft202012Validator(schema("diagnostics"))


def test_all_of_a_finding() -> None:
    diagnostic = Diagnostic(
        "dead",
        Severity.WARNING,
        "never reached",
        Span(FILE, 7, 11),
        "label",
        "remove it",
        (Related("taken here", Span(FILE, 0, 6)),),
        Fix("remove the rule", Span(FILE, 7, 12), ""),
    )
    assert finding(diagnostic) == {
        "code": "dead",
        "severity": "warning",
        "message": "never reached",
        "file": "edge.fw",
        "line": 2,
        "column": 1,
        "end_line": 2,
        "end_column": 5,
        "help": "remove it",
        "related": [{"file": "edge.fw", "line": 1, "message": "taken here"}],
        "fix": {
            "title": "remove the rule",
            "file": "edge.fw",
            "line": 2,
            "column": 1,
            "end_line": 3,
            "end_column": 1,
            "text": "",
        },
    }


def test_without_a_place() -> None:
    shown = finding(Diagnostic("bad-call", Severity.ERROR, "no such file", None))
    assert [shown[key] for key in ("file", "line", "column", "end_line", "end_column", "fix")] == [None] * 6
    assert (shown["help"], shown["related"]) == ("", [])
    ERRORS.validate(error_document([Diagnostic("bad-call", Severity.ERROR, "no such file", None)]))


def test_nothing_found() -> None:
    assert lint_document([], 7) == {"findings": [], "rules": 7}
    LINT.validate(lint_document([], 7))


spans = st.builds(lambda start, length: Span(FILE, start, start + length), st.integers(0, 12), st.integers(0, 12))
words = st.text(min_size=1, max_size=8)
diagnostics = st.builds(
    Diagnostic,
    words,
    st.sampled_from(Severity),
    words,
    st.none() | spans,
    st.text(max_size=8),
    st.text(max_size=8),
    st.lists(st.builds(Related, words, spans), max_size=2).map(tuple),
    st.none() | st.builds(Fix, words, spans, st.text(max_size=8)),
)


@given(st.lists(diagnostics, min_size=1, max_size=3), st.integers(0, 9))
def test_any_diagnostics_fit_the_schemas(found: list[Diagnostic], rules: int) -> None:
    for validator, document in ((LINT, lint_document(found, rules)), (ERRORS, error_document(found))):
        validator.validate(document)
        assert json.loads(json.dumps(document)) == document
