"""`fireproof verify`: proves the assertions of rulesets."""

from __future__ import annotations

import argparse

HELP = """\
Proves every `assert` of each FILE for all packets and connections that it speaks of. One that fails is shown with
a witness: packets that were run through the evaluator and do what the assertion forbids."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("files", nargs="+", metavar="FILE", help="a ruleset with assertions; - is standard input")
