"""`fireproof verify`: proves the assertions of rulesets."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fireproof.cli.output import Output
    from fireproof.model.assertion import Assertion
    from fireproof.model.ruleset import Ruleset
    from fireproof.query.ask import Explained

HELP = """\
Proves every `assert` of each FILE for all packets and connections that it speaks of. One that fails is shown with
a witness: packets that were run through the evaluator and do what the assertion forbids."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("files", nargs="+", metavar="FILE", help="a ruleset with assertions; - is standard input")


def run(arguments: argparse.Namespace, output: Output) -> int:
    from fireproof.query.ask import explain
    from fireproof.source.diagnostic import input_error
    from fireproof.syntax.build import load

    if [*arguments.files, arguments.host].count("-") > 1:
        raise input_error("bad-call", "standard input can be read only once")
    rulesets = [load(path, arguments.host).require() for path in arguments.files]
    total = sum(len(ruleset.assertions) for ruleset in rulesets)
    if not total:
        raise input_error(
            "no-assertions", "there is nothing to prove: no file has an assertion",
            help='write assert "what must hold" { connection from … to …; }, or use `fireproof ask`',
        )  # fmt: skip
    rows: list[dict[str, Any]] = []
    counts = {True: 0, False: 0, None: 0}
    with output.progress() as progress:
        for ruleset in rulesets:
            for assertion in ruleset.assertions:
                progress.step(f"proving {assertion.name}", len(rows) + 1, total)
                found = explain(ruleset, assertion.question)
                counts[found.answer.holds] += 1
                rows.append(_row(assertion, found))
                if output.format != "json":
                    progress.step("", len(rows), total)
                    _show(output, ruleset, assertion, found)
    if output.format == "json":
        output.json({"assertions": rows})
    else:
        parts = [f"{counts[True]} of {total} assertions proved"]
        parts += [f"{counts[False]} refuted"] if counts[False] else []
        parts += [f"{counts[None]} not decided"] if counts[None] else []
        output.note(", ".join(parts))
    return 1 if counts[False] else 3 if counts[None] else 0


def _row(assertion: Assertion, found: Explained) -> dict[str, Any]:
    from fireproof.query.ask import witness_document

    return {
        "name": assertion.name,
        "file": assertion.span.file.name,
        "line": assertion.span.line,
        "holds": found.answer.holds is True,
        "answer": found.answer.answer,
        "witness": witness_document(found.witness),
    }


def _show(output: Output, ruleset: Ruleset, assertion: Assertion, found: Explained) -> None:
    from fireproof.report.answer import answer_lines
    from fireproof.report.terminal import printable

    word = {True: "proved ", False: "REFUTED", None: "unknown"}[found.answer.holds]
    place = f"{assertion.span.file.name}:{assertion.span.line}"
    lines = [f"{word}  {printable(assertion.name)}  ({place})"]
    if found.answer.holds is not True:
        lines.append(f"    {printable(assertion.question.text)}: {found.answer.answer}")
        lines += answer_lines(ruleset, found, "    ")
    output.write("\n".join(lines) + "\n")
