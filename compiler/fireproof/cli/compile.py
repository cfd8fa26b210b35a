"""`fireproof compile`: a ruleset as a program for a backend, proved to mean the same."""

from __future__ import annotations

import argparse

HELP = """\
Emits the ruleset and proves that what was emitted means what the source means. Nothing is written without the proof,
and the output file is replaced whole or left as it was."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help="the ruleset; - is standard input")
    parser.add_argument(
        "--to", choices=("nft", "nft-json", "evaluator"), default="nft", help="what to emit (default: nft)"
    )
    parser.add_argument(
        "-o", "--output", metavar="OUT", default="-", help="the file to write (default: standard output)"
    )
    parser.add_argument("--no-kernel", action="store_true", help="do not have the running kernel check the output too")
