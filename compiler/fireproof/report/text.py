"""Diagnostics for people: in full with excerpts in the manner of rustc, or one to a line for editors and grep.

Whatever comes from the input is made harmless to a terminal first (`terminal.py`). Colour is the caller's decision.
"""

from __future__ import annotations

from collections.abc import Sequence

from fireproof.report.excerpt import excerpt, last_line, place
from fireproof.report.terminal import BLUE, BOLD, CYAN, RED, YELLOW, paint, printable
from fireproof.source.diagnostic import Diagnostic, Severity

SHOWN = 50
"""How many diagnostics are written out before the rest is only counted."""
_COLOURS = {Severity.ERROR: RED, Severity.WARNING: YELLOW, Severity.NOTE: CYAN}


def full(diagnostic: Diagnostic, colour: bool = False) -> str:
    """A diagnostic with its excerpt, its related places and what to do; ends with a line end."""
    severity, bold, blue, cyan = (_COLOURS[diagnostic.severity], BOLD, BLUE, CYAN) if colour else ("", "", "", "")
    head = f"{diagnostic.severity.value}[{printable(diagnostic.code)}]"
    lines = [f"{paint(head, severity)}{paint(': ' + printable(diagnostic.message), bold)}"]
    spans = [] if diagnostic.span is None else [diagnostic.span]
    spans += [related.span for related in diagnostic.related]
    gutter = max((len(str(last_line(span))) for span in spans), default=0)
    arrow, margin = paint(f"{'':{gutter}}-->", blue), f"{'':{gutter}} "

    if diagnostic.span is not None:
        lines.append(f"{arrow} {place(diagnostic.span)}")
        lines += excerpt(diagnostic.span, "^", diagnostic.label, gutter, severity, blue)
    for related in diagnostic.related:
        if len(lines) > 1:
            lines.append(paint(f"{margin}|", blue))
        lines.append(f"{paint('note', cyan)}: {printable(related.message)}")
        lines.append(f"{arrow} {place(related.span)}")
        lines += excerpt(related.span, "-", "", gutter, blue, blue)
    advice = [("help", diagnostic.help), ("fix", diagnostic.fix.title if diagnostic.fix else "")]
    if spans and any(text for _, text in advice):
        lines.append(paint(f"{margin}|", blue))
    for kind, text in advice:
        if not text:
            continue
        hanging = f"\n{margin}{'':{len(kind) + 4}}"
        body = hanging.join(printable(line) for line in text.splitlines())
        lines.append(f"{margin}{paint('=', blue)} {paint(kind, bold)}: {body}")
    return "\n".join(lines) + "\n"


def concise(diagnostic: Diagnostic) -> str:
    """`file:line:column: severity[code] message`, one line with its end. Without a place, `fireproof:` stands there."""
    where = "fireproof" if diagnostic.span is None else place(diagnostic.span)
    message = printable(diagnostic.message)
    return f"{where}: {diagnostic.severity.value}[{printable(diagnostic.code)}] {message}\n"


def all_full(diagnostics: Sequence[Diagnostic], colour: bool = False, limit: int | None = SHOWN) -> str:
    """The first `limit` diagnostics in full (all of them for None), then how many more there are."""
    shown = diagnostics if limit is None else diagnostics[:limit]
    text = "\n".join(full(diagnostic, colour) for diagnostic in shown)
    left = len(diagnostics) - len(shown)
    return text + (f"\n… and {left:,} more\n" if left else "")
