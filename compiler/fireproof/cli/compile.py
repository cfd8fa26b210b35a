"""`fireproof compile`: a ruleset as a program for a backend, proved to mean the same."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fireproof.cli.output import Output

HELP = """\
Emits the ruleset and proves that what was emitted means what the source means. Nothing is written without the proof,
and the output file is replaced whole or left as it was."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help="the ruleset; - is standard input")
    parser.add_argument("--to", choices=("nft", "nft-json"), default="nft", help="what to emit (default: nft)")
    parser.add_argument(
        "-o", "--output", metavar="OUT", default="-", help="the file to write (default: standard output)"
    )
    parser.add_argument("--no-kernel", action="store_true", help="do not have the running kernel check the output too")
    parser.add_argument("--no-tags", action="store_true", help="leave the source places out of the rules' comments")


def run(arguments: argparse.Namespace, output: Output) -> int:
    from fireproof.emit.compile import NotProved, compile_ruleset
    from fireproof.syntax.build import load

    ruleset = load(arguments.file, arguments.host).require()
    try:
        compiled = compile_ruleset(ruleset, arguments.to, kernel=not arguments.no_kernel, tag=not arguments.no_tags)
    except NotProved as problem:
        output.errors(problem.diagnostics())
        return 3
    if output.format == "json":
        output.json({"to": compiled.to, "output": compiled.text, "proved": "equal"})
        if arguments.output != "-":
            output.save(arguments.output, compiled.text)
    else:
        output.save(arguments.output, compiled.text)
    for proof in compiled.proofs:
        output.note(proof)
    if compiled.left_out:
        output.note(f"left out: {compiled.left_out}")
    return 0
