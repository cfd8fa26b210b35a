"""From text to a `Ruleset`: commands, tables, chains, sets, definitions and includes, in the order nft takes them."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from lark import Token, Tree

from fireproof.model.expression import Name
from fireproof.model.host import Host
from fireproof.model.ruleset import (
    BaseHook,
    Chain,
    Definition,
    Rule,
    Ruleset,
    Table,
)
from fireproof.model.statement import ForeignMatch, Statement
from fireproof.netfilter import hooks
from fireproof.source import read as reading
from fireproof.source.diagnostic import Diagnostic, Diagnostics, InputError, Related, Severity
from fireproof.source.text import SourceFile, Span
from fireproof.syntax import blocks, objects, statements, values
from fireproof.syntax.blocks import Line
from fireproof.syntax.grammar import Node, ShapeCache, SyntaxProblem, parse
from fireproof.syntax.host import read_host
from fireproof.syntax.questions import read_assertion
from fireproof.syntax.scope import Context, MeaningError, Scope, Variable, leaves, suggest, unquote

MAX_RULES = 2_000_000
MAX_INCLUDED = 1024
_HEAD_WORD = re.compile(r'\s*("[^"\n]*"|\$?[\w.\/\-]+)')
_NAME = re.compile(r"[A-Za-z_.][\w.\/\-]*\Z")
_CHAIN_LINE = re.compile(r"(?:type|policy|comment|devices?|flags)\b")
_DIRECTIVE = re.compile(r"(include|define|redefine|undefine)\b")
_COMMANDS = frozenset(("add", "create", "insert", "replace", "delete", "destroy", "flush", "list", "reset", "rename"))
_OBJECTS = frozenset((
    "table", "chain", "rule", "set", "map", "element", "flowtable", "counter", "quota", "limit", "ct", "secmark",
    "synproxy", "ruleset", "tables", "chains", "sets", "maps", "counters", "quotas", "limits", "flowtables",
))  # fmt: skip
ENVIRONMENT = frozenset(("missing-include", "host-name"))
"""Diagnostics that speak of the machine rather than the text: warnings to lint, errors to whatever needs the answer."""


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
    if host is not None:
        builder.host_file(host)
    builder.file(file)
    builder.finish()
    return Loaded(builder.ruleset, builder.diagnostics)


class _Problem(Exception):
    """A diagnostic on its way to the collector."""

    def __init__(self, code: str, message: str, start: int, end: int, help: str = "", label: str = "") -> None:
        super().__init__(message)
        self.code, self.message, self.start, self.end, self.help, self.label = code, message, start, end, help, label


@dataclass(slots=True)
class _Head:
    """The words of a command or block head, taken one after the other."""

    text: str
    start: int
    at: int = 0

    def peek(self) -> str | None:
        found = _HEAD_WORD.match(self.text, self.at)
        return found[1] if found else None

    def take(self, what: str) -> str:
        found = _HEAD_WORD.match(self.text, self.at)
        if not found:
            raise _Problem(
                "syntax", f"{what} is missing here", self.start + len(self.text.rstrip()),
                self.start + len(self.text.rstrip()) + 1,
            )  # fmt: skip
        self.at = found.end()
        return found[1]

    def place(self, word: str) -> tuple[int, int]:
        start = self.start + self.at - len(word)
        return start, self.start + self.at

    @property
    def rest(self) -> str:
        return self.text[self.at :]

    @property
    def rest_start(self) -> int:
        return self.start + self.at


@dataclass(slots=True)
class Builder:
    ruleset: Ruleset = field(default_factory=Ruleset)
    diagnostics: Diagnostics = field(default_factory=Diagnostics)
    scope: Scope = field(default_factory=Scope)
    shapes: ShapeCache = field(default_factory=lambda: ShapeCache("rule"))
    element_shapes: ShapeCache = field(default_factory=lambda: ShapeCache("element"))
    including: list[str] = field(default_factory=list)
    included: int = 0
    anonymous: int = 0
    later: list[Callable[[], None]] = field(default_factory=list)
    _contexts: dict[int, Context] = field(default_factory=dict)

    # ---- files -----------------------------------------------------------------------------------------------------
    def file(self, file: SourceFile) -> None:
        self.ruleset.files.append(file)
        for line in blocks.split(file, self.diagnostics):
            self.guard(file, line, partial(self.top, file, line))
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

    def guard(self, file: SourceFile, line: Line, action: Callable[[], None]) -> None:
        """Runs `action`; what goes wrong in it becomes a diagnostic about `line`."""
        try:
            action()
        except _Problem as problem:
            self.diagnostics.error(
                problem.code, problem.message, Span(file, problem.start, problem.end), help=problem.help,
                label=problem.label,
            )  # fmt: skip
        except InputError as problem:
            for diagnostic in problem.diagnostics:
                self.note(diagnostic)

    def note(self, diagnostic: Diagnostic) -> None:
        if diagnostic.code in ENVIRONMENT:
            diagnostic = Diagnostic(
                diagnostic.code, Severity.WARNING, diagnostic.message, diagnostic.span, diagnostic.label,
                diagnostic.help, diagnostic.related,
            )  # fmt: skip
        self.diagnostics.add(diagnostic)

    def syntax_problem(self, file: SourceFile, base: int, problem: SyntaxProblem) -> None:
        expected = problem.expected
        label = ""
        if expected:
            shown = ", ".join(expected[:8])
            label = f"expected {shown}" + (f" or {len(expected) - 8} others" if len(expected) > 8 else "")
        self.diagnostics.error(
            "syntax", problem.message, Span(file, base + problem.start, base + problem.end), label=label,
            help=_syntax_help(file.text[base : base + 200], problem),
        )  # fmt: skip

    def meaning_problem(self, file: SourceFile, base: int, end: int, problem: MeaningError) -> None:
        span, origin = self.place(file, base, end, problem.node)
        related = (Related("used here", Span(file, base, end)),) if origin else ()
        self.note(Diagnostic(problem.code, Severity.ERROR, problem.message, span, "", problem.help, related))

    def place(self, file: SourceFile, base: int, end: int, node: Any) -> tuple[Span, bool]:
        """The span of a tree node of the statement at `base`; True when it lies in a definition elsewhere."""
        tokens = [leaf for leaf in leaves(node) if isinstance(leaf, Token)]
        if not tokens:
            return Span(file, base, end), False
        origin = getattr(tokens[0], "origin", None)
        if origin is not None:
            return Span(origin[0], origin[1] + (tokens[0].start_pos or 0), origin[1] + (tokens[-1].end_pos or 0)), True
        last = [t for t in tokens if not hasattr(t, "origin")][-1]
        return Span(file, base + (tokens[0].start_pos or 0), base + (last.end_pos or 0)), False

    # ---- statements of any block -----------------------------------------------------------------------------------
    def parse(self, file: SourceFile, start: int, end: int, entry: str) -> Node | None:
        try:
            return parse(file.text[start:end], entry)
        except SyntaxProblem as problem:
            self.syntax_problem(file, start, problem)
            return None

    def directive(self, file: SourceFile, line: Line, inside: Callable[[SourceFile, Line], None]) -> bool:
        """Handles `include`, `define`, `redefine` and `undefine`; `inside` takes the lines of an included file."""
        text = file.text[line.start : line.end]
        found = _DIRECTIVE.match(text)
        if not found or line.body is not None:
            return False
        word = found[1]
        if word == "include":
            self.include(file, line, inside)
        elif word == "undefine":
            head = _Head(text, line.start, len(word))
            name = head.take("the name of a variable")
            if not self.scope.remove(name):
                raise _Problem(
                    "undefined",
                    f"`${name}` is not defined",
                    *head.place(name),
                    help=suggest(name, self.scope.names(), "$"),
                )
        else:
            self.define(file, line, word)
        return True

    def define(self, file: SourceFile, line: Line, word: str) -> None:
        text = file.text[line.start : line.end]
        head = _Head(text, line.start, len(word))
        name = head.take("the name of a variable")
        place = head.place(name)
        equals = re.match(r"\s*=", head.rest)
        if not equals:
            raise _Problem("syntax", "`=` is missing after the name", head.rest_start, head.rest_start + 1)
        if word == "define" and name in self.scope.frames[-1]:
            raise _Problem(
                "duplicate", f"`${name}` is already defined", *place, help="use `redefine` to give it a new value",
            )  # fmt: skip
        start = head.rest_start + equals.end()
        tree = self.parse(file, start, line.end, "definition")
        definition = Definition(name, Span(file, *place))
        self.ruleset.definitions.append(definition)
        if tree is None:
            # Known but broken: no second complaint where it is used.
            definition.used = 1
            return
        if tree.data == "definition" and len(tree.children) == 1 and isinstance(tree.children[0], Tree):
            tree = tree.children[0]
        self.scope.define(name, Variable(definition, _with_origin(tree, file, start), file))

    def include(self, file: SourceFile, line: Line, inside: Callable[[SourceFile, Line], None]) -> None:
        text = file.text[line.start : line.end]
        head = _Head(text, line.start, len("include"))
        quoted = head.take("a file name in quotes")
        span = Span(file, *head.place(quoted))
        if quoted[0] != '"':
            raise _Problem("syntax", "a file name in quotes is needed", span.start, span.end)
        self.including.append(file.name)
        try:
            for path in reading.included(unquote(quoted), file):
                if path in self.including:
                    raise _Problem("include-cycle", f"{path} includes itself", span.start, span.end,
                                   help=" → ".join([*self.including[self.including.index(path):], path]))  # fmt: skip
                self.included += 1
                if len(self.including) > reading.MAX_INCLUDE_DEPTH or self.included > MAX_INCLUDED:
                    raise _Problem("include-cycle", "too many files include one another", span.start, span.end)
                try:
                    part = reading.read(path, span)
                except InputError as problem:
                    for diagnostic in problem.diagnostics:
                        self.note(diagnostic)
                    continue
                self.ruleset.files.append(part)
                for inner in blocks.split(part, self.diagnostics):
                    self.guard(part, inner, partial(inside, part, inner))
        finally:
            self.including.pop()

    # ---- the top level ---------------------------------------------------------------------------------------------
    def top(self, file: SourceFile, line: Line) -> None:
        if self.directive(file, line, self.top):
            return
        text = file.text[line.start : line.end]
        if line.kind == "host":
            self.ruleset.host = self.ruleset.host or Host()
            read_host(self, file, line, self.ruleset.host)
            return
        if line.kind == "assert":
            read_assertion(self, file, line)
            return
        head = _Head(text, line.start)
        word = head.take("a command")
        command = "add"
        if word in _COMMANDS:
            command, word = word, head.take("what it is about")
        if word == "rule" or word not in _OBJECTS:
            if word != "rule":
                raise _Problem(
                    "syntax", f"unexpected `{word[:40]}`", *head.place(word),
                    label="expected table, chain, rule, set, map, element, define, include, flush, add, delete, host or assert",
                    help=suggest(word, [*_OBJECTS, *_COMMANDS, "define", "include", "host", "assert"]),
                )  # fmt: skip
            self.rule_command(file, line, head, command)
        elif word == "ruleset":
            self.ruleset_command(command, head)
        elif word == "element":
            self.element_command(file, line, head, command)
        elif word == "table":
            self.table_command(file, line, head, command)
        elif word == "chain":
            self.chain_command(file, line, head, command)
        elif (word.endswith("s") and word in _OBJECTS) or command == "list":
            return
        else:
            self.object_command(file, line, head, command, word)

    def ruleset_command(self, command: str, head: _Head) -> None:
        if command != "flush":
            return
        family = head.peek()
        if family is None:
            self.ruleset.replaces = True
            self.ruleset.resets.clear()
        for key in list(self.ruleset.tables):
            if family in (None, key[0]):
                self.drop_table(key)

    def family(self, head: _Head) -> str:
        word = head.peek()
        if word in hooks.FAMILIES:
            return head.take("a family")
        return "ip"

    def name(self, head: _Head, what: str) -> str:
        word = head.take(f"the name of the {what}")
        if word[0] == "$":
            variable = self.scope.find(word[1:])
            found = leaves(variable.tree) if variable else []
            if variable is None or len(found) != 1:
                raise _Problem("undefined", f"`{word}` is not defined as a name", *head.place(word))
            variable.definition.used += 1
            word = unquote(str(found[0]))
        if not _NAME.match(word):
            raise _Problem("syntax", f"`{word[:40]}` is not a name", *head.place(word),
                           help=f"a {what} is named with letters, digits, `_`, `-`, `.` and `/`, starting with a letter")  # fmt: skip
        return word

    def table_command(self, file: SourceFile, line: Line, head: _Head, command: str) -> None:
        family = self.family(head)
        if head.peek() == "handle":
            raise _Problem("reference", "handles belong to a running ruleset; name the table", line.start, line.end)
        name = self.name(head, "table")
        key = (family, name)
        if command in ("delete", "destroy", "flush"):
            self.end_of_head(head)
            if command == "destroy":
                self.needs_newer_nft("`destroy`", "1.0.7", Span(file, line.start, line.end))
            if command == "flush" and key in self.ruleset.tables:
                for chain in self.ruleset.tables[key].chains.values():
                    self.ruleset.rule_count -= len(chain.rules)
                    chain.rules.clear()
            elif key in self.ruleset.tables:
                self.drop_table(key)
            if key not in self.ruleset.resets and not self.ruleset.replaces:
                self.ruleset.resets.append(key)
            return
        self.end_of_head(head)
        table = self.table(key, Span(file, line.start, line.end))
        if line.body is not None:
            self.table_body(file, line.body, table)

    def needs_newer_nft(self, what: str, release: str, span: Span) -> None:
        self.diagnostics.warning(
            "needs-newer-nft", f"{what} needs nft {release} or newer", span,
            help="`fireproof compile` writes what older releases understand",
        )  # fmt: skip

    def table(self, key: tuple[str, str], span: Span) -> Table:
        table = self.ruleset.tables.get(key)
        if table is None:
            table = self.ruleset.tables[key] = Table(key[0], key[1], span)
        return table

    def drop_table(self, key: tuple[str, str]) -> None:
        table = self.ruleset.tables.pop(key)
        self.ruleset.rule_count -= sum(len(chain.rules) for chain in table.chains.values())
        self.ruleset.registration = [chain for chain in self.ruleset.registration if chain.table is not table]

    def end_of_head(self, head: _Head) -> None:
        if head.rest.strip():
            raise _Problem(
                "syntax", f"unexpected `{head.rest.strip()[:40]}`", head.rest_start + 1, head.start + len(head.text)
            )

    def existing_table(self, head: _Head, line: Line) -> Table:
        if line.body is not None and len(head.rest.split()) == 1:
            raise _Problem(
                "syntax", f"`{head.text[:60]}` stands outside of a table", line.start, line.end,
                help="put it into a `table … { … }` block; if this file is included inside one, check the file that includes it",
            )  # fmt: skip
        family = self.family(head)
        name = self.name(head, "table")
        table = self.ruleset.tables.get((family, name))
        if table is None:
            known = [f"{f} {n}" for f, n in self.ruleset.tables]
            raise _Problem("reference", f"there is no table `{family} {name}`", *head.place(name),
                           help=suggest(f"{family} {name}", known) or f"write `add table {family} {name}` first")  # fmt: skip
        return table

    # ---- tables ----------------------------------------------------------------------------------------------------
    def table_body(self, file: SourceFile, body: list[Line], table: Table) -> None:
        self.scope.push()
        waiting, self.later = self.later, []
        for line in body:
            self.guard(file, line, partial(self.table_line, table, file, line))
        for action in self.later:
            action()
        self.later = waiting
        self.scope.pop()

    def table_line(self, table: Table, file: SourceFile, line: Line) -> None:
        if self.directive(file, line, partial(self.table_line, table)):
            return
        text = file.text[line.start : line.end]
        if line.body is None:
            tree = self.parse(file, line.start, line.end, "table_line")
            if tree is not None and tree.data == "table_flags":
                table.flags = tuple(str(leaf) for leaf in tree.children)
                for flag in table.flags:
                    if flag not in ("dormant", "owner", "persist"):
                        raise _Problem("value", f"a table has no flag `{flag}`", line.start, line.end)
            elif tree is not None:
                table.comment = unquote(str(tree.children[0]))
            return
        head = _Head(text, line.start)
        word = head.take("a word")
        if word == "chain":
            name = self.name(head, "chain")
            self.end_of_head(head)
            chain = self.chain(table, name, Span(file, line.start, line.end))
            self.chain_body(file, line.body, chain)
        else:
            self.object_block(file, line, head, table, word)

    def object_block(self, file: SourceFile, line: Line, head: _Head, table: Table, word: str) -> None:
        if word in ("set", "map"):
            name = self.name(head, word)
            self.end_of_head(head)
            objects.read_set(self, file, line, table, name, word == "map")
        elif word == "flowtable":
            objects.read_flowtable(self, file, line, table, self.name(head, "flowtable"))
        else:
            kind = f"ct {head.take('helper, timeout or expectation')}" if word == "ct" else word
            objects.read_object(self, file, line, table, kind, self.name(head, kind))

    def object_command(self, file: SourceFile, line: Line, head: _Head, command: str, word: str) -> None:
        if command in ("delete", "destroy", "flush"):
            at = head.at
            kind = f"ct {head.take('helper, timeout or expectation')}" if word == "ct" else word
            family, name = self.family(head), self.name(head, "table")
            table = self.ruleset.tables.get((family, name))
            if table is None:
                if command == "destroy":
                    return
                head.at = at
                self.existing_table(head, line)
                return
            what = self.name(head, kind)
            if command == "flush":
                if what in table.sets:
                    table.sets[what].elements.clear()
            elif kind in ("set", "map"):
                table.sets.pop(what, None)
            else:
                table.objects.pop((kind, what), None)
            return
        if word == "ct":
            kind = head.take("helper, timeout or expectation")
            table = self.existing_table(head, line)
            objects.read_object(self, file, line, table, f"ct {kind}", self.name(head, kind))
            return
        table = self.existing_table(head, line)
        self.object_block(file, line, head, table, word)

    def element_command(self, file: SourceFile, line: Line, head: _Head, command: str) -> None:
        table = self.existing_table(head, line)
        name = self.name(head, "set")
        place = head.place(name)
        named = table.sets.get(name)
        if named is None:
            raise _Problem(
                "reference", f"there is no set `{name}` in this table", *place, help=suggest(name, table.sets)
            )
        found = objects.read_elements(self, file, head.rest_start, line.end, table, named)
        if command in ("delete", "destroy"):
            gone = {element.key for element in found}
            named.elements = [element for element in named.elements if element.key not in gone]
        else:
            objects.add_elements(self, named, found, Span(file, line.start, line.end))

    # ---- chains ----------------------------------------------------------------------------------------------------
    def chain(self, table: Table, name: str, span: Span) -> Chain:
        chain = table.chains.get(name)
        if chain is None:
            chain = table.chains[name] = Chain(name, table, span)
        return chain

    def chain_command(self, file: SourceFile, line: Line, head: _Head, command: str) -> None:
        table = self.existing_table(head, line)
        name = self.name(head, "chain")
        if command in ("add", "create"):
            chain = self.chain(table, name, Span(file, line.start, line.end))
            if line.body is not None:
                self.scope.push()
                self.chain_body(file, line.body, chain)
                self.run_later()
                self.scope.pop()
            elif head.rest.strip().startswith("{"):
                raise _Problem("syntax", "a chain's block is needed here", head.rest_start, line.end)
            return
        existing = table.chains.get(name)
        if existing is None:
            if command == "destroy":
                return
            raise _Problem(
                "reference",
                f"there is no chain `{name}` in this table",
                *head.place(name),
                help=suggest(name, table.chains),
            )
        if command == "rename":
            new = self.name(head, "chain")
            del table.chains[name]
            existing.name = new
            table.chains[new] = existing
            return
        self.ruleset.rule_count -= len(existing.rules)
        existing.rules.clear()
        if command in ("delete", "destroy"):
            del table.chains[name]
            self.ruleset.registration = [chain for chain in self.ruleset.registration if chain is not existing]

    def run_later(self) -> None:
        for action in self.later:
            action()
        self.later = []

    def chain_body(self, file: SourceFile, body: list[Line], chain: Chain) -> None:
        """Reads a chain's own lines now and its rules when all sets of the table are known."""
        self.scope.push()
        self.chain_lines(chain, file, body)
        self.scope.pop()

    def chain_lines(self, chain: Chain, file: SourceFile, body: list[Line]) -> None:
        rules: list[Line] = []
        text = file.text

        def flush() -> None:
            if rules:
                self.later.append(partial(self.rules, chain, file, list(rules), self.snapshot()))
                rules.clear()

        for line in body:
            if line.body is None:
                start = text[line.start : line.start + 9]
                if _CHAIN_LINE.match(start):
                    self.guard(file, line, partial(self.chain_line, chain, file, line))
                    continue
                if _DIRECTIVE.match(start):
                    flush()
                    self.guard(file, line, partial(self.chain_directive, chain, file, line))
                    continue
            rules.append(line)
        flush()

    def chain_directive(self, chain: Chain, file: SourceFile, line: Line) -> None:
        self.directive(file, line, lambda part, inner: self.chain_lines(chain, part, [inner]))

    def snapshot(self) -> Scope:
        """The variables as they are here, for rules that are read later."""
        return Scope([dict(frame) for frame in self.scope.frames], self.scope.generation)

    def chain_line(self, chain: Chain, file: SourceFile, line: Line) -> None:
        tree = self.parse(file, line.start, line.end, "chain_line")
        if tree is None:
            return
        context = self.context(chain.table, self.scope)
        try:
            if tree.data == "chain_hook":
                self.chain_hook(context, chain, file, line, tree)
            elif tree.data == "chain_policy":
                word = _word_of(context, tree.children[0])
                if word not in ("accept", "drop"):
                    raise _Problem("value", "a policy is accept or drop", line.start, line.end)
                if chain.base is None:
                    raise _Problem("bad-hook", "only a base chain has a policy", line.start, line.end,
                                   help="give the chain a `type … hook … priority …` line before it")  # fmt: skip
                chain.base.policy = word
            elif tree.data == "line_comment":
                chain.comment = unquote(str(tree.children[0]))
            elif tree.data == "chain_flags" and chain.base:
                chain.base.flags = tuple(str(leaf) for leaf in tree.children)
            elif tree.data == "chain_device" and chain.base:
                chain.base.devices = self.devices(context, tree.children[0])
        except MeaningError as problem:
            self.meaning_problem(file, line.start, line.end, problem)

    def devices(self, context: Context, node: Any) -> tuple[str, ...]:
        child = node.children[0]
        type = values.type_of("ifname", 128)
        if isinstance(child, Tree):
            found = [
                key[0] for item in values.expand(context, child) for key in values.keys(context, _concat(item), (type,))
            ]
        else:
            found = values.part_values(context, Tree("operand", [Tree("literal", [child])]), type)
        return tuple(part.text + ("*" if part.prefix else "") for part in found if isinstance(part, Name))

    def chain_hook(self, context: Context, chain: Chain, file: SourceFile, line: Line, tree: Node) -> None:
        kind, hook = (str(leaf) for leaf in tree.children[:2])
        device = tree.children[2]
        family = chain.table.family
        span = Span(file, line.start, line.end)
        place = (line.start, line.end)
        if hook not in hooks.HOOKS[family]:
            # nft's own word for hooks of another family is the same refusal.
            raise _Problem("bad-hook", f"family {family} has no hook `{hook}`", *place,
                           help=suggest(hook, hooks.HOOKS[family]) or "its hooks are " + ", ".join(hooks.HOOKS[family]))  # fmt: skip
        if (family, kind) not in hooks.CHAIN_TYPES:
            raise _Problem("bad-hook", f"family {family} has no chain type `{kind}`", *place,
                           help=suggest(kind, ("filter", "nat", "route")))  # fmt: skip
        if hook not in hooks.CHAIN_TYPES[family, kind]:
            raise _Problem("bad-hook", f"a chain of type {kind} cannot hook {hook}", *place,
                           help=f"type {kind} hooks " + ", ".join(hooks.CHAIN_TYPES[family, kind]))  # fmt: skip
        priority = priority_of(context, tree.children[3:], family, hook)
        if kind == "nat" and priority < hooks.NAT_PRIORITY_MIN:
            raise _Problem("bad-hook", f"the kernel refuses a nat chain at priority {priority}", *place,
                           help=f"nat chains need {hooks.NAT_PRIORITY_MIN} or more, after connection tracking")  # fmt: skip
        devices = self.devices(context, device) if device is not None else ()
        if chain.base is not None:
            if (chain.base.hook, chain.base.type, chain.base.priority) != (hook, kind, priority):
                raise _Problem("bad-hook", f"chain `{chain.name}` already has another hook", *place)
            return
        chain.base = BaseHook(kind, hook, priority, "accept", devices, (), span)
        self.ruleset.registration.append(chain)

    # ---- rules -----------------------------------------------------------------------------------------------------
    def context(self, table: Table, scope: Scope) -> Context:
        host = self.ruleset.host
        return Context(
            scope, table.family, [], table.sets.get,
            (lambda name: host.zone(name)) if host else (lambda name: None),
            (lambda: host.zones()) if host else list,
        )  # fmt: skip

    def rules(self, chain: Chain, file: SourceFile, lines: list[Line], scope: Scope) -> None:
        context = self.context(chain.table, scope)
        text = file.text
        add = chain.rules.append
        for line in lines:
            if line.body is not None:
                self.guard(file, line, partial(self.anonymous_chain, chain, file, line, context))
                continue
            try:
                rule = self.rule(context, file, line.start, line.end, text)
            except SyntaxProblem as problem:
                self.syntax_problem(file, line.start, problem)
            except MeaningError as problem:
                self.meaning_problem(file, line.start, line.end, problem)
            else:
                add(rule)
        self.ruleset.rule_count += len(lines)
        if self.ruleset.rule_count > MAX_RULES:
            raise _Problem("too-large", f"more than {MAX_RULES} rules", chain.span.start, chain.span.end)

    def rule(self, context: Context, file: SourceFile, start: int, end: int, text: str) -> Rule:
        """The rule at characters `start` to `end`. Raises SyntaxProblem or MeaningError."""
        source = text[start:end]
        found = self.shapes.parse(source)
        if found is not None:
            shape, context.literals = found
            assert shape.tree is not None
            try:
                made, comment = statements.rule(context, shape.tree, shape)
                return Rule(made, Span(file, start, end), comment)
            except MeaningError:
                # Parse it alone, to know the places within it.
                context.literals = []
        tree = parse(source, "rule")
        try:
            made, comment = statements.rule(context, tree)
        except MeaningError as problem:
            if problem.code not in ENVIRONMENT:
                raise
            self.meaning_problem(file, start, end, problem)
            made, comment = self.unresolved_rule(context, tree, problem)
        return Rule(made, Span(file, start, end), comment)

    def unresolved_rule(
        self, context: Context, tree: Node, problem: MeaningError
    ) -> tuple[tuple[Statement, ...], str | None]:
        """A rule with parts that only another machine can resolve: each such part may or may not match."""
        found: list[Statement] = []
        comment: str | None = None
        for child in tree.children:
            if child is None:
                continue
            if child.data == "comment":
                comment = unquote(context.text(child.children[0]))
                continue
            try:
                found.append(statements.statement(context, child))
            except MeaningError as again:
                if again.code not in ENVIRONMENT:
                    raise
                found.append(ForeignMatch("unresolved", again.message))
        return tuple(found), comment

    def anonymous_chain(self, chain: Chain, file: SourceFile, line: Line, context: Context) -> None:
        """`… jump { rules }`: the kernel makes a chain of its own for it, and so do we."""
        self.anonymous += 1
        name = f"{chain.name}.{self.anonymous}"
        inner = self.chain(chain.table, name, Span(file, line.start, line.end))
        head = file.text[line.start : line.end]
        try:
            tree = parse(f"{head} {name}", "rule")
            made, comment = statements.rule(context, tree)
        except SyntaxProblem as problem:
            self.syntax_problem(file, line.start, problem)
            return
        except MeaningError as meaning:
            self.meaning_problem(file, line.start, line.end, meaning)
            return
        chain.rules.append(Rule(made, Span(file, line.start, line.end), comment))
        assert line.body is not None
        self.rules(inner, file, line.body, context.scope)

    def rule_command(self, file: SourceFile, line: Line, head: _Head, command: str) -> None:
        table = self.existing_table(head, line)
        name = self.name(head, "chain")
        place = head.place(name)
        chain = table.chains.get(name)
        if chain is None:
            raise _Problem("reference", f"there is no chain `{name}` in table `{table.family} {table.name}`", *place,
                           help=suggest(name, table.chains) or f"write `add chain {table.family} {table.name} {name}` first")  # fmt: skip
        index: int | None = 0 if command == "insert" else None
        word = head.peek()
        if word in ("handle", "position"):
            head.take(word)
            raise _Problem("reference", f"`{word}` numbers rules of a running ruleset, which this file is not",
                           *head.place(word), help="use `index`, or write the rule where it belongs")  # fmt: skip
        if command in ("delete", "destroy", "replace", "reset"):
            raise _Problem("reference", f"`{command} rule` needs the handle of a running ruleset", line.start, line.end)
        if word == "index":
            head.take(word)
            number = head.take("a number")
            if not number.isdigit() or int(number) >= max(1, len(chain.rules)):
                raise _Problem("reference", f"chain `{name}` has no rule at index {number[:20]}", *head.place(number))
            index = int(number) if command == "insert" else int(number) + 1
        context = self.context(table, self.scope)
        start = head.rest_start + (len(head.rest) - len(head.rest.lstrip()))
        try:
            rule = self.rule(context, file, start, line.end, file.text)
        except SyntaxProblem as problem:
            self.syntax_problem(file, start, problem)
            return
        except MeaningError as meaning:
            self.meaning_problem(file, start, line.end, meaning)
            return
        self.ruleset.rule_count += 1
        if index is None:
            chain.rules.append(rule)
        else:
            chain.rules.insert(index, rule)

    # ---- afterwards ------------------------------------------------------------------------------------------------
    def finish(self) -> None:
        from fireproof.syntax.references import check_references

        check_references(self.ruleset, self.diagnostics)


def _concat(item: Any) -> Node:
    return item.children[0] if isinstance(item, Tree) and item.data == "element" else item


def _word_of(context: Context, leaf: Any) -> str:
    if leaf.type == "VARIABLE":
        inner = values.sole(context, Tree("literal", [leaf]))
        leaf = inner.children[-1] if isinstance(inner, Tree) else inner
    return unquote(context.text(leaf))


class _Placed(Token):
    """A token of a definition, which knows where it stands wherever it is used."""

    origin: tuple[SourceFile, int]


def _with_origin(node: Any, file: SourceFile, base: int) -> Any:
    if isinstance(node, Tree):
        return Tree(node.data, [_with_origin(child, file, base) for child in node.children])
    if isinstance(node, Token):
        placed = _Placed(node.type, str(node), node.start_pos, end_pos=node.end_pos)
        placed.origin = (file, base)
        return placed
    return node


def priority_of(context: Context, children: list[Any], family: str, hook: str) -> int:
    """`priority filter - 10` and its relatives as the kernel's number."""
    sign, leaf, offset_sign, offset = children
    words = [leaf]
    if leaf.type == "VARIABLE":
        words = leaves(context.variable(leaf).tree)
    text = unquote(context.text(words[-1]))
    negative = (sign is not None and context.text(sign) == "-") or (len(words) == 2 and str(words[0]) == "-")
    named = hooks.NAMED_PRIORITIES.get((family, hook), {})
    if text in named:
        base = named[text]
    else:
        try:
            base = values.integer(text)
        except ValueError:
            raise MeaningError(
                f"`{text}` is not a priority at {hook}", leaf, suggest(text, named) or "named here: " + ", ".join(named), "bad-hook",
            ) from None  # fmt: skip
    total = -base if negative else base
    if offset is not None:
        amount = values.integer(context.text(offset))
        total += -amount if context.text(offset_sign) == "-" else amount
    if not hooks.PRIORITY_MIN <= total <= hooks.PRIORITY_MAX:
        raise MeaningError("a priority is a number of 32 bits", leaf, code="bad-hook")
    return total


def _syntax_help(text: str, problem: SyntaxProblem) -> str:
    """Advice for the mistakes that people make most."""
    if "{{" in text or "{%" in text:
        return "this looks like a template: render it first, then check the result"
    if re.match(r"(ip|ip6|ct|tcp|udp)?tables\b", text) or text.startswith("-A "):
        return "this looks like iptables, not nft"
    return ""


__all__ = ["Builder", "Loaded", "load", "load_source", "load_text"]
