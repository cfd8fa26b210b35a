"""From text to a `Ruleset`: files and blocks, in the order nft takes them, and what is wrong with them.

Reading goes on after an error, so that one mistake does not hide the next; the order of things in a table is nft's:
chains see all sets of their table, wherever they stand.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from lark import Token

from fireproof.model.host import Host
from fireproof.model.ruleset import NamedSet, Ruleset, Table
from fireproof.source import read as reading
from fireproof.source.diagnostic import Diagnostic, Diagnostics, InputError, Related, Severity, TooManyErrors
from fireproof.source.text import SourceFile, Span
from fireproof.syntax import blocks, chains, objects, sets
from fireproof.syntax.blocks import Line
from fireproof.syntax.commands import command
from fireproof.syntax.directives import directive
from fireproof.syntax.elements import Kept
from fireproof.syntax.expectation import whole_text
from fireproof.syntax.grammar import Node, ShapeCache, SyntaxProblem, parse
from fireproof.syntax.head import Head, Problem
from fireproof.syntax.host import read_host
from fireproof.syntax.questions import read_assertion
from fireproof.syntax.references import check_references
from fireproof.syntax.scope import Context, Expansion, MeaningError, Placed, Scope, leaves, unquote

ENVIRONMENT = frozenset(("missing-include", "host-name"))
"""Diagnostics that speak of the machine rather than the text: warnings to lint, errors to whatever needs the answer."""
MAX_ERRORS = 8
"""Errors after which reading stops, about a screen; half of them are enough where no table was understood."""


@dataclass(slots=True)
class Loaded:
    """A ruleset and everything there was to say about the text. Errors do not raise: what could be read is there."""

    ruleset: Ruleset
    diagnostics: Diagnostics

    def require(self) -> Ruleset:
        """The ruleset, or InputError when any part of the input could not be understood."""
        bad = [d for d in self.diagnostics.found if d.severity is Severity.ERROR or d.code in ENVIRONMENT]
        if bad:
            raise InputError(bad)
        return self.ruleset


def load(path: str, host: str | None = None) -> Loaded:
    """Reads a file (or `-`); `host` names a file with a `host { … }` block for rulesets without one.

    Raises InputError when the file itself cannot be read.
    """
    return load_source(reading.read(path), reading.read(host) if host else None)


def load_text(text: str, name: str = "<text>", host: str | None = None) -> Loaded:
    """The same for a text already at hand; `host` is the text of a host block."""
    return load_source(SourceFile(name, text), SourceFile("<host>", host) if host else None)


def load_source(file: SourceFile, host: SourceFile | None = None) -> Loaded:
    builder = Builder()
    try:
        if host is not None:
            builder.host_file(host)
        builder.file(file)
        builder.finish()
    except TooManyErrors:
        span = builder.diagnostics.errors[-1].span
        builder.diagnostics.found.append(
            Diagnostic("too-many-errors", Severity.ERROR, "there may be more errors: reading stopped here", span)
        )
    return Loaded(builder.ruleset, builder.diagnostics)


@dataclass(slots=True)
class Builder:
    """The ruleset in the making.

    `later` holds what waits until the end of the table: its rules. `kept` is what is known of the elements so far,
    `unmerged` are the sets whose elements are merged at the end.
    """

    ruleset: Ruleset = field(default_factory=Ruleset)
    diagnostics: Diagnostics = field(default_factory=lambda: Diagnostics(limit=MAX_ERRORS))
    scope: Scope = field(default_factory=Scope)
    shapes: ShapeCache = field(default_factory=lambda: ShapeCache("rule"))
    element_shapes: ShapeCache = field(default_factory=lambda: ShapeCache("element"))
    expansion: Expansion = field(default_factory=Expansion)
    including: list[str] = field(default_factory=list)
    included: int = 0
    kept: dict[NamedSet, Kept] = field(default_factory=dict)
    unmerged: dict[NamedSet, None] = field(default_factory=dict)
    anonymous: int = 0
    later: list[Callable[[], None]] = field(default_factory=list)

    # ---- files -----------------------------------------------------------------------------------------------------
    def file(self, file: SourceFile) -> None:
        self.ruleset.files.append(file)
        for line in blocks.split(file, self.diagnostics):
            self.guard(file, line, partial(self.top, file, line))
            if not self.ruleset.tables and len(self.diagnostics.errors) >= MAX_ERRORS // 2:
                raise TooManyErrors
        last = file.text.rfind("\n") + 1
        if file.text[last:].lstrip()[:1] in ("#", "i") and not file.text.endswith("\n"):
            self.diagnostics.warning(
                "no-newline-at-end", "the last line has no line end, which nft 1.0.6 refuses here",
                Span(file, last, len(file.text)), help="end the file with a newline",
            )  # fmt: skip

    def host_file(self, file: SourceFile) -> None:
        self.file(file)
        if self.ruleset.host is None:
            self.diagnostics.error("syntax", "there is no `host { … }` block in this file", Span(file, 0, 0))

    def finish(self) -> None:
        for named in self.unmerged:
            named.elements = sets.merge(named.elements)
        # A name that was not understood would only be missed again wherever it is used.
        if not self.diagnostics.errors:
            check_references(self.ruleset, self.diagnostics)

    # ---- what is wrong ---------------------------------------------------------------------------------------------
    def guard(self, file: SourceFile, line: Line, action: Callable[[], None]) -> None:
        """Runs `action`; what goes wrong in it becomes a diagnostic about `line`."""
        try:
            action()
        except Problem as problem:
            self.diagnostics.error(
                problem.code, problem.message, Span(file, problem.start, problem.end), help=problem.help,
                label=problem.label,
            )  # fmt: skip
        except InputError as problem:
            for diagnostic in problem.diagnostics:
                self.note(diagnostic)

    def speaks_of_the_machine(self, code: str) -> bool:
        return code in ENVIRONMENT

    def note(self, diagnostic: Diagnostic) -> None:
        if diagnostic.code in ENVIRONMENT:
            diagnostic = replace(diagnostic, severity=Severity.WARNING)
        self.diagnostics.add(diagnostic)

    def stop(self, code: str, message: str, span: Span) -> None:
        """Reads no further: the input is too large for it to make sense."""
        self.diagnostics.error(code, message, span)
        raise TooManyErrors

    def syntax_problem(self, file: SourceFile, base: int, problem: SyntaxProblem) -> None:
        span = Span(file, base + problem.start, base + problem.end)
        self.diagnostics.error("syntax", problem.message, span, label=problem.label, help=problem.help)

    def meaning_problem(self, file: SourceFile, base: int, end: int, problem: MeaningError) -> None:
        if problem.code == "broken" and self.diagnostics.errors:
            return
        help = whole_text(file.text[base : min(end, base + 400)]) or problem.help
        span, elsewhere = self._place(file, base, end, problem.node)
        related = (Related("used here", Span(file, base, end)),) if elsewhere else ()
        self.note(Diagnostic(problem.code, Severity.ERROR, problem.message, span, "", help, related))

    def _place(self, file: SourceFile, base: int, end: int, node: Any) -> tuple[Span, bool]:
        """The span of a tree node of the statement at `base`; True when it lies in a definition elsewhere."""
        tokens = [leaf for leaf in leaves(node) if isinstance(leaf, Token)]
        if not tokens:
            return Span(file, base, end), False
        first = tokens[0]
        if isinstance(first, Placed):
            source, offset = first.origin
            placed = [t for t in tokens if isinstance(t, Placed) and t.origin == first.origin]
            elsewhere = source is not file or not base <= offset + (first.start_pos or 0) < end
            return Span(source, offset + (first.start_pos or 0), offset + (placed[-1].end_pos or 0)), elsewhere
        last = [t for t in tokens if not isinstance(t, Placed)][-1]
        return Span(file, base + (first.start_pos or 0), base + (last.end_pos or 0)), False

    # ---- statements of any block -----------------------------------------------------------------------------------
    def parse(self, file: SourceFile, start: int, end: int, entry: str) -> Node | None:
        """The tree of characters `start` to `end`; None after saying why there is none."""
        try:
            return parse(file.text[start:end], entry)
        except SyntaxProblem as problem:
            self.syntax_problem(file, start, problem)
            return None

    def context(self, table: Table, scope: Scope) -> Context:
        host = self.ruleset.host
        return Context(
            scope, table.family, [], table.sets.get,
            (lambda name: host.zone(name)) if host else (lambda name: None),
            (lambda: host.zones()) if host else list, self.expansion,
        )  # fmt: skip

    def top(self, file: SourceFile, line: Line) -> None:
        if directive(self, file, line, self.top):
            return
        if line.kind == "host":
            Head(file.text[line.start : line.end], line.start, len("host")).end()
            self.ruleset.host = self.ruleset.host or Host()
            read_host(self, file, line, self.ruleset.host)
        elif line.kind == "assert":
            read_assertion(self, file, line)
        else:
            command(self, file, line)

    # ---- tables ----------------------------------------------------------------------------------------------------
    def table_body(self, file: SourceFile, body: list[Line], table: Table) -> None:
        self.scope.push()
        waiting, self.later = self.later, []
        for line in body:
            self.guard(file, line, partial(self.table_line, table, file, line))
        self.run_later()
        self.later = waiting
        self.scope.pop()

    def run_later(self) -> None:
        """Reads the rules that waited; a rule with a chain of its own adds to them."""
        for action in self.later:
            action()
        self.later = []

    def table_line(self, table: Table, file: SourceFile, line: Line) -> None:
        if directive(self, file, line, partial(self.table_line, table)):
            return
        if line.body is None:
            tree = self.parse(file, line.start, line.end, "table_line")
            if tree is not None and tree.data == "table_flags":
                table.flags = tuple(str(leaf) for leaf in tree.children)
                for flag in table.flags:
                    if flag not in ("dormant", "owner", "persist"):
                        raise Problem("value", f"a table has no flag `{flag[:40]}`", line.start, line.end)
            elif tree is not None:
                table.comment = unquote(str(tree.children[0]))
            return
        head = Head(file.text[line.start : line.end], line.start)
        word = head.take("a word")
        if word == "chain":
            name = head.name("chain", self.scope)
            head.end()
            chain = chains.declare(table, name, Span(file, line.start, line.end))
            chains.read_body(self, file, line.body, chain)
        else:
            objects.read_block(self, file, line, head, table, objects.kind_of(head, word))


__all__ = ["ENVIRONMENT", "Builder", "Loaded", "load", "load_source", "load_text"]
