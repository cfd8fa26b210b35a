"""Chains that nothing calls, sets and objects that nothing reads, definitions that nothing uses."""

from __future__ import annotations

from collections.abc import Iterator

from fireproof.lint.calls import calls_of
from fireproof.model.expression import MapLookup, SetReference
from fireproof.model.ruleset import Ruleset, Table
from fireproof.model.statement import FlowOffload, ObjectReference
from fireproof.source.diagnostic import Diagnostic, Severity
from fireproof.source.text import Span
from fireproof.syntax.references import set_names

REFUSED = False
CODES = {
    "unused-chain": "a chain that no base chain leads to",
    "unused-set": "a set or map that no rule uses",
    "unused-object": "a named object that no rule uses",
    "unused-define": "a variable that nothing uses",
}


def run(ruleset: Ruleset) -> Iterator[Diagnostic]:
    for definition in ruleset.definitions:
        # A name that starts with `_` is kept on purpose, as in many languages.
        if not definition.used and not definition.name.startswith("_"):
            yield _finding("unused-define", f"`${definition.name}` is defined but never used", definition.span)
    mentioned = {
        name
        for assertion in ruleset.assertions
        for clause in (*assertion.question.clauses, *(c for e in assertion.question.exceptions for c in e))
        if clause.match is not None
        for name in set_names(clause.match)
    }
    for table in ruleset.tables.values():
        yield from _table(table, mentioned)


def _finding(code: str, message: str, span: Span) -> Diagnostic:
    return Diagnostic(code, Severity.WARNING, message, span, "", "remove it, or use it")


def _table(table: Table, mentioned: set[str]) -> Iterator[Diagnostic]:
    calls = calls_of(table)
    used = calls.reached([chain for chain in table.chains.values() if chain.base is not None])
    for chain in table.chains.values():
        if chain.name not in used:
            callers = calls.by_callee.get(chain.name)
            why = "only chains that are unused themselves lead to it" if callers else "nothing jumps to it"
            yield _finding("unused-chain", f"chain `{chain.name}` is never reached: {why}", chain.span)
    sets = set(mentioned)
    objects: set[tuple[str, str]] = set()
    flowtables: set[str] = set()
    by_map: set[str] = set()
    seen: set[int] = set()
    for chain in table.chains.values():
        for rule in chain.rules:
            for statement in rule.statements:
                if id(statement) in seen:
                    continue
                seen.add(id(statement))
                sets.update(set_names(statement))
                if isinstance(statement, FlowOffload):
                    flowtables.add(statement.flowtable)
                if isinstance(statement, ObjectReference):
                    if isinstance(statement.name, str):
                        objects.add((statement.kind, statement.name))
                    else:
                        by_map.add(statement.kind)
                        objects |= _objects_of_map(statement, table)
    for named in table.sets.values():
        if named.name not in sets:
            kind = "map" if named.is_map else "set"
            yield _finding("unused-set", f"{kind} `{named.name}` is never used", named.span)
        for element in named.elements:
            if isinstance(element.data, str):
                objects.add((named.data[0], element.data))
    for (kind, name), found in table.objects.items():
        if (kind, name) not in objects and kind not in by_map:
            yield _finding("unused-object", f"{kind} `{name}` is never used", found.span)
    for flowtable in table.flowtables.values():
        if flowtable.name not in flowtables:
            yield _finding("unused-object", f"flowtable `{flowtable.name}` is never used", flowtable.span)


def _objects_of_map(statement: ObjectReference, table: Table) -> set[tuple[str, str]]:
    lookup = statement.name
    if not isinstance(lookup, MapLookup):
        return set()
    if isinstance(lookup.map, SetReference):
        named = table.sets.get(lookup.map.name)
        elements = named.elements if named else []
    else:
        elements = list(lookup.map.elements)
    return {(statement.kind, element.data) for element in elements if isinstance(element.data, str)}
