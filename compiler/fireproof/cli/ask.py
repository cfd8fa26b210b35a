"""`fireproof ask`: one question about a ruleset, answered for every packet or connection it describes."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fireproof.cli.output import Output

HELP = """\
Answers always, never or depends, with a witness and the rules that decide. A QUESTION is what an assertion holds:

  fireproof ask edge.fw 'connection from zone internet to 203.0.113.2 tcp dport 443'
  fireproof ask edge.fw 'packet from zone internet ip saddr 192.168.0.0/16'

What a question leaves open means every possibility. The exit status is 0 when the question's claim is true (for a
plain question: always), 1 when it is not, 3 when that is not known."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help="the ruleset; - is standard input")
    parser.add_argument("question", metavar="QUESTION", help="in quotes; the body of an assertion")


def run(arguments: argparse.Namespace, output: Output) -> int:
    from fireproof.query.ask import ask_document, ask_text
    from fireproof.report.answer import answer_lines
    from fireproof.syntax.build import load

    ruleset = load(arguments.file, arguments.host).require()
    found = ask_text(ruleset, arguments.question)
    if output.format == "json":
        output.json(ask_document(ruleset, found))
    else:
        output.write("\n".join([found.answer.answer, *answer_lines(ruleset, found, "  ")]) + "\n")
    return 3 if found.answer.holds is None else 0 if found.answer.holds else 1
