"""Answers and assertions as text."""

from __future__ import annotations

from fireproof.model.ruleset import Ruleset
from fireproof.query.ask import Explained, decisions_document, depends_document
from fireproof.report.terminal import printable
from fireproof.verify.witness import Witness


def answer_lines(ruleset: Ruleset, found: Explained, indent: str = "") -> list[str]:
    """What there is to say about an answer, the answer itself left out."""
    answer = found.answer
    lines: list[str] = []
    if answer.empty:
        lines.append("there is no such connection or packet: nothing can come from and go to these places")
    if answer.reason:
        lines.append(printable(answer.reason))
    for row in depends_document(ruleset, answer):
        place = f" ({row['file']}:{row['line']})" if row["file"] else ""
        lines.append(f"hangs on {printable(str(row['what']))}{place}")
    if found.witness is not None:
        member = answer.witness
        kind = "gets through" if member is answer.passing else "does not get through"
        lines += _witness(found.witness, f"for example, this {kind}:")
    if found.other is not None:
        member = answer.witness
        kind = "does not" if member is answer.passing else "does"
        lines += _witness(found.other, f"while this {kind}:")
    for row in decisions_document(ruleset, found.witness):
        lines.append(f"decided at {row['hook']} by {row['file']}:{row['line']}: {printable(str(row['text']))}")
    return [indent + line for line in lines]


def _witness(witness: Witness, title: str) -> list[str]:
    return [title, *(f"  {number}. {printable(step)}" for number, step in enumerate(witness.story, 1))]
