"""The command `fireproof`: finds the command's module, hands it the arguments, and turns whatever happens into one
exit status and a message without a traceback.

A command is a module here with `HELP`, `add_arguments(parser)` and `run(arguments, output) -> status`, and a row in
`COMMANDS`. Only the module of the command that runs is loaded, and it loads what it needs inside `run`, so that
starting takes no longer than Python itself does.
"""

from __future__ import annotations

import argparse
import gc
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import NoReturn

from fireproof import __version__
from fireproof.cli.output import Output, OutputFailedError, safe

COMMANDS = {
    "lint": "find rules that are wrong, never match or do nothing",
    "verify": "prove every assertion, or show how it fails",
    "ask": "answer one question about all traffic: always, never or depends",
    "trace": "run packets through the evaluator or the real kernel",
    "compile": "write nftables, proved to mean the same",
}
"""Command -> what it does, in a line. The module has the command's name, with _ for -."""

USAGE, INTERNAL, INTERRUPTED, PIPE_CLOSED = 2, 70, 130, 141

EXIT_STATUS = """\
exit status:
  0   nothing found, proved, yes
  1   findings, a failed assertion, never or depends
  2   the input or the call is wrong
  3   unknown: time or memory spent, or something not modelled decides it
  70  an internal error (FIREPROOF_DEBUG=1 shows the traceback)
"""


class Parser(argparse.ArgumentParser):
    """Exits with 2 on a wrong call; what it quotes from the call cannot drive the terminal."""

    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(USAGE, f"{self.prog}: {safe(message)}\n")


def build_parser(command: str | None) -> argparse.ArgumentParser:
    """The parser of all commands, with the arguments of only the one that is asked for."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = Parser(
        prog="fireproof",
        description="A firewall compiler that proves what it compiles.",
        epilog=EXIT_STATUS + "\n`fireproof COMMAND --help` tells more about a command.",
        formatter_class=raw,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"fireproof {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, line in COMMANDS.items():
        if name != command:
            commands.add_parser(name, help=line, add_help=False)
            continue
        module = import_module(f"fireproof.cli.{name.replace('-', '_')}")
        chosen = commands.add_parser(
            name, help=line, description=module.HELP, epilog=EXIT_STATUS, formatter_class=raw, allow_abbrev=False
        )
        module.add_arguments(chosen)
        _add_common(chosen, getattr(module, "FORMATS", ("text", "json")))
        chosen.set_defaults(run=module.run)
    return parser


def _add_common(parser: argparse.ArgumentParser, formats: Sequence[str]) -> None:
    common = parser.add_argument_group("for every command")
    common.add_argument("--format", choices=formats, default="text", help="how to show the result (default: text)")
    common.add_argument("--host", metavar="FILE", help="a file with a host { … } block, for rulesets without one")
    common.add_argument("--quiet", "-q", action="store_true", help="show the result only: no summary, no progress")
    common.add_argument(
        "--color", choices=("auto", "always", "never"), default="auto", help="colours (default: on a terminal)"
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command and returns its exit status; never raises."""
    given = sys.argv[1:] if argv is None else list(argv)
    output = Output(sys.stdout, sys.stderr)
    try:
        try:
            status = _run(given, output)
            output.flush()
        except (BrokenPipeError, OutputFailedError):
            raise
        except Exception as error:
            status = _failed(error, output)
            output.flush()
    except BrokenPipeError:
        # Whoever read our output has gone: say nothing, neither here nor when Python closes its streams.
        output.abandon()
        return PIPE_CLOSED
    except OutputFailedError as error:
        output.complain(f"fireproof: cannot write the output: {error}\n")
        output.abandon()
        return USAGE
    except KeyboardInterrupt:
        output.complain("fireproof: interrupted\n")
        return INTERRUPTED
    return status


def _run(given: list[str], output: Output) -> int:
    command = next((word for word in given if not word.startswith("-")), None)
    parser = build_parser(command)
    if not given:
        parser.print_help(sys.stderr)
        return USAGE
    try:
        arguments = parser.parse_args(given)
    except SystemExit as stop:  # --help, --version, or a wrong call: already printed
        return stop.code if isinstance(stop.code, int) else 0
    output.options(format=arguments.format, quiet=arguments.quiet, color=arguments.color)
    # A command makes many small objects, next to none in circles, and ends: looking for circles costs a third of the
    # time.
    gc.disable()
    status: int = arguments.run(arguments, output)
    return status


def _failed(error: Exception, output: Output) -> int:
    """Reports why a command stopped, and with which status."""
    from fireproof.source.diagnostic import InputError

    if isinstance(error, InputError):
        output.errors(error.diagnostics)
        return USAGE
    if os.environ.get("FIREPROOF_DEBUG"):
        import traceback

        output.complain(traceback.format_exc())
    first = safe(str(error)).strip()
    output.complain(f"fireproof: internal error: {type(error).__name__}{': ' if first else ''}{first}\n")
    if not os.environ.get("FIREPROOF_DEBUG"):
        output.complain("This is a fault in fireproof, not in your input. FIREPROOF_DEBUG=1 shows where it happened.\n")
    return INTERNAL
