"""`fireproof lint`: everything there is to say about rulesets, without a question asked.

A file that was not understood in full is not checked any further: a finding may be false when a rule is missing.
"""

from __future__ import annotations

import argparse
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fireproof.cli.output import Output
    from fireproof.source.diagnostic import Diagnostic

HELP = """\
Reads rulesets and reports every finding with its place, the reason and what to do about it. Each FILE is a
ruleset of its own. When there are errors the exit status is 2 and --format json prints {"errors": [...]}."""
FORMATS = ("text", "concise", "json")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("files", nargs="+", metavar="FILE", help="a ruleset; - is standard input")
    parser.add_argument(
        "--show", type=_count, default=50, metavar="N", help="findings shown as text (default: 50; 0 for all)"
    )


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise argparse.ArgumentTypeError(f"not a number: {text!r}")
    return int(text)


def run(arguments: argparse.Namespace, output: Output) -> int:
    from fireproof.report.json import error_document, lint_document
    from fireproof.source.diagnostic import InputError, Severity, input_error

    if [*arguments.files, arguments.host].count("-") > 1:
        raise input_error("bad-call", "standard input can be read only once")
    found: list[Diagnostic] = []
    rules = 0
    with output.progress() as progress:
        for number, path in enumerate(arguments.files, 1):
            progress.step(f"checking {path}", number, len(arguments.files))
            try:
                diagnostics, count = _check(path, arguments.host)
            except InputError as error:
                diagnostics, count = error.diagnostics, 0
            found += sorted(diagnostics, key=_order)
            rules += count
    errors = [diagnostic for diagnostic in found if diagnostic.severity is Severity.ERROR]
    if output.format == "json":
        output.json(error_document(errors) if errors else lint_document(found, rules))
    else:
        found.sort(key=lambda diagnostic: diagnostic.severity is not Severity.ERROR)
        output.diagnostics(found, arguments.show or None)
        output.note(_summary(found, rules))
    return 2 if errors else 1 if found else 0


def _check(path: str, host: str | None) -> tuple[list[Diagnostic], int]:
    """What there is to say about a file, and how many of its rules were checked."""
    from fireproof.syntax.build import load

    loaded = load(path, host)
    if loaded.diagnostics.errors:
        return loaded.diagnostics.found, 0
    from fireproof.lint import check

    return loaded.diagnostics.found + check(loaded.ruleset), loaded.ruleset.rule_count


def _order(diagnostic: Diagnostic) -> tuple[str, int, str]:
    """By place, so that the same input gives the same output whatever order the checks ran in."""
    span = diagnostic.span
    return ("", -1, diagnostic.code) if span is None else (span.file.name, span.start, diagnostic.code)


def _summary(found: list[Diagnostic], rules: int) -> str:
    counts = Counter(diagnostic.severity.value for diagnostic in found)
    parts = [
        f"{counts[kind]:,} {kind}{'s' * (counts[kind] != 1)}" for kind in ("error", "warning", "note") if counts[kind]
    ]
    unchecked = "; files with errors were not checked" if counts["error"] else ""
    return f"{', '.join(parts) or 'nothing found'}; {rules:,} rule{'s' * (rules != 1)} checked{unchecked}"
