"""`define`, `redefine`, `undefine` and `include`: they may stand wherever a line may."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from fireproof.model.ruleset import Definition
from fireproof.source import read as reading
from fireproof.source.diagnostic import InputError
from fireproof.source.text import SourceFile, Span
from fireproof.syntax import blocks
from fireproof.syntax.blocks import Line
from fireproof.syntax.head import Head, Problem
from fireproof.syntax.scope import MeaningError, suggest, unquote

if TYPE_CHECKING:
    from fireproof.syntax.build import Builder

MAX_INCLUDED = 1024
_DIRECTIVE = re.compile(r"(?:include|define|redefine|undefine)\b(?![.\/-])")
_EQUALS = re.compile(r"(?:\s|\\\r?\n)*=(?!=)")

Inside = Callable[[SourceFile, Line], None]


def is_directive(file: SourceFile, line: Line) -> bool:
    return line.body is None and _DIRECTIVE.match(file.text, line.start) is not None


def directive(builder: Builder, file: SourceFile, line: Line, inside: Inside) -> bool:
    """Handles a directive, if `line` is one; `inside` takes the lines of an included file."""
    if not is_directive(file, line):
        return False
    head = Head(file.text[line.start : line.end], line.start)
    word = head.take("a directive")
    if word == "include":
        _include(builder, file, head, inside)
    elif word == "undefine":
        name = head.take("the name of a variable")
        place = head.place(name)
        head.end()
        if not builder.scope.remove(name):
            raise Problem(
                "undefined", f"`${name}` is not defined", *place, help=suggest(name, builder.scope.names(), "$")
            )
    else:
        _define(builder, file, line, head, word)
    return True


def _define(builder: Builder, file: SourceFile, line: Line, head: Head, word: str) -> None:
    name = head.take("the name of a variable")
    place = head.place(name)
    if name[0] in '$"':
        raise Problem("syntax", f"`{name[:40]}` is not the name of a variable", *place, help="write it without `$`")
    equals = _EQUALS.match(head.text, head.at)
    if not equals:
        at = head.rest_start
        raise Problem("syntax", "`=` is missing after the name", at, at + 1, help=f"write `{word} {name} = …`")
    if word == "define" and name in builder.scope.frames[-1]:
        raise Problem(
            "duplicate", f"`${name}` is already defined", *place, help="use `redefine` to give it a new value",
        )  # fmt: skip
    start = head.start + equals.end()
    definition = Definition(name, Span(file, *place))
    builder.ruleset.definitions.append(definition)
    tree = builder.parse(file, start, line.end, "definition")
    if tree is not None:
        try:
            builder.scope.bind(name, definition, tree, file, start)
            return
        except MeaningError as problem:
            builder.meaning_problem(file, start, line.end, problem)
    # Known but broken: no second complaint where it is used.
    builder.scope.broken.add(name)
    definition.used = 1


def _include(builder: Builder, file: SourceFile, head: Head, inside: Inside) -> None:
    quoted = head.take("a file name in quotes")
    span = Span(file, *head.place(quoted))
    if quoted[0] != '"':
        raise Problem("syntax", "a file name in quotes is needed", span.start, span.end)
    head.end()
    if not quoted.isprintable():
        raise Problem("syntax", "a file name has no control characters", span.start, span.end)
    builder.including.append(os.path.realpath(file.name))
    try:
        for path in reading.included(unquote(quoted), file):
            real = os.path.realpath(path)
            if real in builder.including:
                chain = [*builder.including[builder.including.index(real) :], real]
                raise Problem("include-cycle", f"{path} includes itself", span.start, span.end,
                              help=" → ".join(Path(name).name for name in chain))  # fmt: skip
            builder.included += 1
            if len(builder.including) > reading.MAX_INCLUDE_DEPTH or builder.included > MAX_INCLUDED:
                builder.stop("include-cycle", "too many files include one another", span)
            try:
                part = reading.read(path, span)
            except InputError as problem:
                for diagnostic in problem.diagnostics:
                    builder.note(diagnostic)
                continue
            builder.ruleset.files.append(part)
            for inner in blocks.split(part, builder.diagnostics):
                builder.guard(part, inner, partial(inside, part, inner))
    finally:
        builder.including.pop()
