"""`fireproof trace`: packets through the evaluator or the real kernel, hook by hook."""

from __future__ import annotations

import argparse

HELP = """\
Runs packets through the embedded evaluator, one after the other and with one conntrack table, and shows the rules
that each passes, hook by hook. With --kernel the packets go through the real kernel, in a network namespace that is
thrown away afterwards; that needs root and nft."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help="the ruleset; - is standard input")
    parser.add_argument("packets", nargs="+", metavar="PACKET", help="in quotes, in the order of arrival")
    parser.add_argument("--kernel", action="store_true", help="use the real kernel instead of the evaluator")
    parser.add_argument(
        "--wait",
        type=_seconds,
        default=0.0,
        metavar="SECONDS",
        help="time between one packet and the next (default: 0)",
    )


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 <= seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"not a time: {text!r}")
    return seconds
