"""`fireproof trace`: packets through the evaluator or the real kernel, hook by hook."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fireproof.cli.output import Output

HELP = """\
Runs packets through the embedded evaluator, one after the other and with one conntrack table, and shows the rules
that each passes, hook by hook. With --kernel the packets go through the real kernel, in a network namespace that is
thrown away afterwards; that needs root and nft.

  fireproof trace edge.fw 'on eth0 tcp 198.51.100.7:40000 > 203.0.113.2:443 syn'
  fireproof trace edge.fw 'local udp 203.0.113.2:5353 > 198.51.100.53:53'

A PACKET begins with `on INTERFACE` or `local`; then protocol, source > destination, and what else matters (flags,
ttl N, seq N, data "…", icmp types by nft's names, or raw HEX)."""


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


def run(arguments: argparse.Namespace, output: Output) -> int:
    from fireproof.query.trace import evaluate, in_kernel, read_packets, trace_document, trace_lines
    from fireproof.syntax.build import load

    packets = read_packets(arguments.packets)
    ruleset = load(arguments.file, arguments.host).require()
    found = []
    run_packets = in_kernel(ruleset, packets) if arguments.kernel else evaluate(ruleset, packets, arguments.wait)
    for number, one in enumerate(run_packets, 1):
        found.append(one)
        if output.format != "json":
            output.write("\n".join(trace_lines(number, one)) + "\n")
    if output.format == "json":
        output.json(trace_document(found))
    return 0
