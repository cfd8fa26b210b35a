"""Names that rules use and nothing declares: chains, sets, maps, objects."""

from __future__ import annotations

import re
from collections.abc import Iterator

from fireproof.model.expression import (
    Binary,
    Concat,
    Ct,
    Expression,
    Hash,
    MapLookup,
    Meta,
    Payload,
    SetLiteral,
    SetReference,
    VerdictTarget,
)
from fireproof.model.ruleset import Rule, Ruleset, Table
from fireproof.model.statement import (
    FlowOffload,
    Mangle,
    Match,
    Meter,
    Nat,
    ObjectReference,
    SetUpdate,
    Statement,
    Tproxy,
    Verdict,
    VerdictMap,
)
from fireproof.source.diagnostic import Diagnostics
from fireproof.source.text import Span
from fireproof.syntax.scope import suggest


def expressions(statement: Statement) -> Iterator[Expression]:
    """The expressions directly in a statement."""
    if isinstance(statement, Match):
        yield statement.left
    elif isinstance(statement, VerdictMap | SetUpdate | Meter):
        yield statement.key
    elif isinstance(statement, Mangle):
        yield statement.target
        yield statement.value
    elif isinstance(statement, Nat | Tproxy):
        for value in (statement.address, statement.port):
            if value is not None and not isinstance(value, tuple):
                yield value
    elif isinstance(statement, ObjectReference) and not isinstance(statement.name, str):
        yield statement.name
    data = getattr(statement, "data", None)
    if isinstance(statement, SetUpdate) and data is not None:
        yield data


def walk(expression: Expression) -> Iterator[Expression]:
    """The expression and everything within it."""
    yield expression
    if isinstance(expression, Binary):
        yield from walk(expression.left)
        yield from walk(expression.right)
    elif isinstance(expression, Concat):
        for part in expression.parts:
            yield from walk(part)
    elif isinstance(expression, MapLookup):
        yield from walk(expression.key)
    elif isinstance(expression, Hash) and expression.operand is not None:
        yield from walk(expression.operand)


def set_names(statement: Statement) -> Iterator[str]:
    """The named sets and maps that a statement uses."""
    if isinstance(statement, Match) and isinstance(statement.right, SetReference):
        yield statement.right.name
    elif isinstance(statement, VerdictMap) and isinstance(statement.map, SetReference):
        yield statement.map.name
    elif isinstance(statement, SetUpdate):
        yield statement.set
    for expression in expressions(statement):
        for inner in walk(expression):
            if isinstance(inner, MapLookup) and isinstance(inner.map, SetReference):
                yield inner.map.name


def targets(statement: Statement, table: Table) -> Iterator[VerdictTarget]:
    """The verdicts a statement can give, those of its verdict map included."""
    if isinstance(statement, Verdict):
        yield statement.target
    elif isinstance(statement, VerdictMap):
        if isinstance(statement.map, SetLiteral):
            elements = list(statement.map.elements)
        else:
            named = table.sets.get(statement.map.name)
            elements = named.elements if named else []
        for element in elements:
            if isinstance(element.data, VerdictTarget):
                yield element.data


_PLAIN = (Payload, Meta, Ct)
"""What most rules match on: there is no set within."""


def check_references(ruleset: Ruleset, diagnostics: Diagnostics) -> None:
    for table in ruleset.tables.values():
        for chain in table.chains.values():
            checked: set[int] = set()
            for rule in chain.rules:
                for statement in rule.statements:
                    # Statements are shared between rules of the same shape: each is looked at once.
                    if (
                        type(statement) is Match
                        and type(statement.left) in _PLAIN
                        and not isinstance(statement.right, SetReference)
                    ):
                        continue
                    if id(statement) in checked and not isinstance(statement, Verdict | VerdictMap):
                        continue
                    checked.add(id(statement))
                    _check_statement(table, rule, statement, diagnostics)
        for named in table.sets.values():
            for element in named.elements:
                if isinstance(element.data, VerdictTarget):
                    _check_target(table, named.span, element.data, diagnostics)


def _check_statement(table: Table, rule: Rule, statement: Statement, diagnostics: Diagnostics) -> None:
    if isinstance(statement, SetUpdate) and statement.set in table.sets:
        table.sets[statement.set].updated = True
    for name in set_names(statement):
        if name not in table.sets:
            diagnostics.error(
                "reference", f"there is no set `{name}` in table `{table.family} {table.name}`",
                _place(rule, rf"@{re.escape(name)}(?![\w.\/-])"),
                help=suggest(name, table.sets, "@") or "sets are seen only in their own table",
            )  # fmt: skip
    _check_types(table, rule, statement, diagnostics)
    for target in targets(statement, table):
        _check_target(table, rule.span, target, diagnostics)
    if isinstance(statement, ObjectReference) and isinstance(statement.name, str):
        if (statement.kind, statement.name) not in table.objects:
            known = suggest(statement.name, [name for kind, name in table.objects if kind == statement.kind])
            diagnostics.error(
                "reference", f"there is no {statement.kind} `{statement.name}` in this table",
                _place(rule, re.escape(statement.name)), help=known,
            )  # fmt: skip
    elif isinstance(statement, FlowOffload) and statement.flowtable not in table.flowtables:
        diagnostics.error("reference", f"there is no flowtable `{statement.flowtable}` in this table", rule.span)


def _check_types(table: Table, rule: Rule, statement: Statement, diagnostics: Diagnostics) -> None:
    """A set holds values of the type that is compared with them."""
    uses: list[tuple[Expression, str, bool]] = []
    if isinstance(statement, Match) and isinstance(statement.right, SetReference):
        uses.append((statement.left, statement.right.name, False))
    elif isinstance(statement, VerdictMap) and isinstance(statement.map, SetReference):
        uses.append((statement.key, statement.map.name, True))
    elif isinstance(statement, SetUpdate):
        uses.append((statement.key, statement.set, statement.data is not None))
    for expression in expressions(statement):
        for inner in walk(expression):
            if isinstance(inner, MapLookup) and isinstance(inner.map, SetReference):
                uses.append((inner.key, inner.map.name, True))
    for key, name, as_map in uses:
        named = table.sets.get(name)
        if named is None:
            continue
        place = _place(rule, rf"@{re.escape(name)}(?![\w.\/-])")
        if named.is_map is not as_map:
            what, other = ("map", "set") if named.is_map else ("set", "map")
            diagnostics.error("reference", f"`{name}` is a {what}, and a {other} is needed here", place)
            continue
        parts = key.parts if isinstance(key, Concat) else (key,)
        if len(parts) != len(named.key):
            diagnostics.error(
                "reference", f"the elements of `{name}` have {len(named.key)} parts, not {len(parts)}", place
            )
            continue
        for part, datatype in zip(parts, named.key, strict=True):
            # Numbers without a type of their own are told apart by nothing but their width.
            if {part.datatype, datatype} & {"integer", "string", "bitmask"} or part.datatype == datatype:
                continue
            diagnostics.error("reference", f"`{name}` holds {datatype}, but this is {part.datatype}", place)
            break


def _check_target(table: Table, span: Span, target: VerdictTarget, diagnostics: Diagnostics) -> None:
    if target.chain is None:
        return
    chain = table.chains.get(target.chain)
    where = _within(span, rf"(?<![\w.-]){re.escape(target.chain)}(?![\w.\/-])")
    if chain is None:
        diagnostics.error(
            "reference", f"there is no chain `{target.chain}` in table `{table.family} {table.name}`", where,
            help=suggest(target.chain, table.chains),
        )  # fmt: skip
    elif chain.base is not None:
        diagnostics.error(
            "bad-jump", f"`{target.chain}` is a base chain: the kernel refuses to {target.kind} to it", where,
            help="move its rules to a regular chain and jump there from both",
        )  # fmt: skip


def _place(rule: Rule, pattern: str) -> Span:
    return _within(rule.span, pattern)


def _within(span: Span, pattern: str) -> Span:
    found = re.search(pattern, span.text)
    return Span(span.file, span.start + found.start(), span.start + found.end()) if found else span
