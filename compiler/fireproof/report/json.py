"""Diagnostics as JSON objects: the shapes of grammar/lint.schema.json and grammar/diagnostics.schema.json.

Lines and columns count characters from 1; the end is the place after the last character. Text is given as it is in
the input: JSON's own escapes keep it harmless as long as the writer leaves `ensure_ascii` on.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from fireproof.source.diagnostic import Diagnostic
from fireproof.source.text import Span

_NOWHERE = {"file": None, "line": None, "column": None, "end_line": None, "end_column": None}


def _place(span: Span) -> dict[str, Any]:
    line, column = span.file.position(span.start)
    end_line, end_column = span.end_position
    return {
        "file": span.file.name,
        "line": line,
        "column": column,
        "end_line": end_line,
        "end_column": end_column,
    }


def finding(diagnostic: Diagnostic) -> dict[str, Any]:
    """One diagnostic. Without a place, the file and all numbers are null."""
    fix = diagnostic.fix
    return {
        "code": diagnostic.code,
        "severity": diagnostic.severity.value,
        "message": diagnostic.message,
        **(_NOWHERE if diagnostic.span is None else _place(diagnostic.span)),
        "help": diagnostic.help,
        "related": [
            {"file": related.span.file.name, "line": related.span.line, "message": related.message}
            for related in diagnostic.related
        ],
        "fix": None if fix is None else {"title": fix.title, **_place(fix.span), "text": fix.text},
    }


def lint_document(diagnostics: Iterable[Diagnostic], rules: int) -> dict[str, Any]:
    """What `fireproof lint --format json` prints; `rules` is how many rules were checked."""
    return {"findings": [finding(diagnostic) for diagnostic in diagnostics], "rules": rules}


def error_document(diagnostics: Iterable[Diagnostic]) -> dict[str, Any]:
    """What every command prints when the input or the call is wrong (exit status 2)."""
    return {"errors": [finding(diagnostic) for diagnostic in diagnostics]}
