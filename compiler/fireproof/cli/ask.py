"""`fireproof ask`: one question about a ruleset, answered for every packet or connection it describes."""

from __future__ import annotations

import argparse

HELP = """\
Answers always, never or depends, with a witness and the rules that decide. A QUESTION is what an assertion holds:

  fireproof ask edge.fw 'connection from zone internet to 203.0.113.2 tcp dport 443'
  fireproof ask edge.fw 'packet from zone internet ip saddr 192.168.0.0/16'

What a question leaves open means every possibility. The exit status is 0 for always, 1 for never and depends."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help="the ruleset; - is standard input")
    parser.add_argument("question", metavar="QUESTION", help="in quotes; the body of an assertion")
