"""Splits a text into statements and blocks, before any of them is parsed.

A statement ends at a newline or `;` outside braces. Braces after the head of a block (`table inet filter {`,
`chain input {` ...) open a body; all others (`{ 22, 80 }`) belong to the statement. Linear in the length of the text,
not recursive, and it goes on after an error, so that one mistake does not hide the next.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from fireproof.source.diagnostic import Diagnostics
from fireproof.source.text import SourceFile, Span

MAX_BRACES = 40
"""Deepest nesting of blocks that is read: real rulesets stay below ten, the kernel takes 15 jumps."""

MAX_HEAD = 16 * 1024
"""Longest head of a block in characters."""

_MARK = re.compile(r'"[^"\n]*"|#[^\n]*|\\\r?\n|[{};\n]')
_OBJECT = r"(?:set|map|flowtable|counter|quota|limit|secmark|synproxy|ct\s+\w+)\b(?![.\/-])"
_BLANK = re.compile(r"(?:\s|\\\r?\n)*")
_REMARKS = re.compile(r"(?:\s|\\\r?\n|#[^\n]*)*")
_VERB = r"(?:add|create|insert|replace|delete|destroy|flush|list|reset|rename)"
_HEADS = {
    "top": re.compile(rf"(?:{_VERB}\s+)?(?:(table|chain|host|assert)\b(?![.\/-])|({_OBJECT}))"),
    "table": re.compile(rf"(?:(chain)\b(?![.\/-])|({_OBJECT}))"),
    "host": re.compile(r"(interface|conntrack)\b"),
}  # fmt: skip
_ANONYMOUS_CHAIN = re.compile(r"\b(?:jump|goto)\s*\Z")
_RULE_COMMAND = re.compile(r"(?:add|insert)\s+rule\b")


@dataclass(slots=True)
class Line:
    """A statement: characters `start` to `end` of the file; with `body`, the head of a block.

    `kind` of a block: table, chain, object, host, interface, conntrack, assert. `open` is its brace; `tail` is what
    follows the closing brace of an anonymous chain on its line.
    """

    start: int
    end: int
    kind: str = ""
    body: list[Line] | None = None
    open: int = field(default=0, repr=False)
    tail: tuple[int, int] | None = None


def _block_kind(context: str, head: str) -> str:
    """The kind of block that `head` opens, or "" when the brace belongs to the statement."""
    if context == "chain" or (context == "top" and _RULE_COMMAND.match(head)):
        return "chain" if _ANONYMOUS_CHAIN.search(head[-16:]) else ""
    pattern = _HEADS.get(context)
    found = pattern.match(head) if pattern else None
    if not found:
        return ""
    word = next(group for group in found.groups() if group)
    return word if word in ("table", "chain", "host", "assert", "interface", "conntrack") else "object"


def split(file: SourceFile, diagnostics: Diagnostics) -> list[Line]:
    """The top-level statements of a file. Unbalanced braces are reported, what can be read is returned."""
    text = file.text
    top: list[Line] = []
    lines = top
    context = "top"
    stack: list[tuple[list[Line], str, Line]] = []
    inline: list[int] = []
    start = 0
    closed: Line | None = None
    unbalanced = False

    def finish(end: int) -> None:
        nonlocal closed, start
        # A question may have remarks within; those in front are not part of it.
        blank = (_REMARKS if context == "assert" else _BLANK).match(text, start, end)
        start = blank.end() if blank else start
        length = len(text[start:end].rstrip())
        if length:
            if closed is None:
                lines.append(Line(start, start + length))
            else:
                closed.tail = (start, start + length)
        closed = None

    for mark in _MARK.finditer(text):
        what = mark[0]
        at = mark.start()
        if what == "\n" or what == ";":
            # A question goes on over line ends, up to its `;`.
            if not inline and not (context == "assert" and what == "\n"):
                finish(at)
                start = at + 1
        elif what[0] == "#":
            if not inline and context != "assert":
                finish(at)
                start = mark.end()
        elif what == "{":
            head = ""
            if not inline and at - start <= MAX_HEAD:
                blank = _BLANK.match(text, start, at)
                first = blank.end() if blank else start
                head = text[first:at].rstrip()
            kind = _block_kind(context, head) if head else ""
            if kind:
                block = Line(first, first + len(head), kind, [], at)
                lines.append(block)
                stack.append((lines, context, block))
                assert block.body is not None
                lines, context, start, closed = block.body, kind, at + 1, None
            else:
                inline.append(at)
            if len(stack) + len(inline) > MAX_BRACES:
                diagnostics.error(
                    "nesting", f"braces are nested more than {MAX_BRACES} deep", Span(file, at, at + 1),
                    help="no ruleset needs this: look for a brace that is never closed",
                )  # fmt: skip
                return top
        elif what == "}":
            if inline:
                inline.pop()
            elif stack:
                finish(at)
                start = at + 1
                lines, context, block = stack.pop()
                anonymous = context == "chain" or (context == "top" and _RULE_COMMAND.match(text, block.start))
                closed = block if anonymous else None
            else:
                finish(at)
                start = at + 1
                if unbalanced:
                    continue
                unbalanced = True
                diagnostics.error(
                    "unbalanced", "this brace closes nothing", Span(file, at, at + 1),
                    help="remove it, or look for a block above that was closed too early",
                )  # fmt: skip
    if inline or stack:
        at = inline[0] if inline else stack[-1][2].open
        diagnostics.error(
            "unclosed", "this brace is never closed", Span(file, at, at + 1),
            help="add the missing `}` where the block or the list should end",
        )  # fmt: skip
    if not inline:
        finish(len(text))
    return top
