"""The interfaces that questions about a ruleset range over."""

from __future__ import annotations

from collections.abc import Iterator

from fireproof.model.expression import Concat, Constant, Element, Expression, Fib, Name, SetLiteral
from fireproof.model.ruleset import NamedSet, Ruleset
from fireproof.model.statement import Mangle, Match, Statement, VerdictMap
from fireproof.semantics.interfaces import Interfaces
from fireproof.semantics.interval import Intervals
from fireproof.syntax.references import expressions, walk


def _names(ruleset: Ruleset) -> Iterator[Name]:
    """Every interface name and pattern that the rules mention."""
    for table in ruleset.tables.values():
        for chain in table.chains.values():
            for device in chain.base.devices if chain.base else ():
                yield Name(device)
            seen: set[int] = set()
            for rule in chain.rules:
                for statement in rule.statements:
                    if id(statement) not in seen:
                        seen.add(id(statement))
                        yield from _in_statement(statement)
        for named in table.sets.values():
            if any(kind in ("ifname", "iface_index") for kind in (*named.key, *named.data)):
                yield from _in_elements(named)


def _in_statement(statement: Statement) -> Iterator[Name]:
    if isinstance(statement, Match):
        if isinstance(statement.right, tuple):
            yield from (part for part in statement.right if isinstance(part, Name) and _is_interface(statement.left))
        elif isinstance(statement.right, SetLiteral) and _is_interface(statement.left):
            yield from _in_elements(statement.right)
    elif isinstance(statement, VerdictMap) and isinstance(statement.map, SetLiteral):
        yield from _in_elements(statement.map)
    elif (
        isinstance(statement, Mangle)
        and isinstance(statement.value, Constant)
        and isinstance(statement.value.value, str)
    ):
        text = statement.value.value
        yield Name(text.removesuffix("*"), text.endswith("*"))
    for expression in expressions(statement):
        for inner in walk(expression):
            literal = getattr(inner, "map", None)
            if isinstance(literal, SetLiteral):
                yield from _in_elements(literal)


def _is_interface(left: Expression) -> bool:
    parts = left.parts if isinstance(left, Concat) else (left,)
    return any(
        part.datatype in ("ifname", "iface_index") or (isinstance(part, Fib) and part.result != "type")
        for part in parts
    )


def _in_elements(source: SetLiteral | NamedSet) -> Iterator[Name]:
    element: Element
    for element in source.elements:
        for part in element.key or ():
            if isinstance(part, Name):
                yield part
        if isinstance(element.data, tuple):
            yield from (part for part in element.data if isinstance(part, Name))


def interfaces_of(ruleset: Ruleset, mentioned: tuple[str, ...] = ()) -> Interfaces:
    """The interfaces of the host facts; without any, all that rules and questions name, and one more."""
    found = list(_names(ruleset))
    names = dict.fromkeys(["lo", *mentioned, *(name.text for name in found if not name.prefix)])
    patterns = dict.fromkeys(name.text for name in found if name.prefix)
    host = ruleset.host
    if host is not None and host.interfaces:
        own = [name for name in host.interfaces if not name.endswith("*")]
        own_patterns = [name.removesuffix("*") for name in host.interfaces if name.endswith("*")]
        universe = Interfaces([*own, *names], [*own_patterns, *patterns])
        real = [universe.number(name) for name in ("lo", *own)]
        real += [universe.number(f"{pattern}*") for pattern in own_patterns]
        # A name or pattern that rules mention exists too if a pattern of the host facts covers it.
        for name in (*names, *(f"{pattern}*" for pattern in patterns)):
            if any(name.startswith(pattern) for pattern in own_patterns):
                real.append(universe.number(name))
        universe.existing = Intervals((number, number) for number in real)
        return universe
    # "another interface" stands for every one that nothing names.
    return Interfaces([*names, "another interface"], patterns)
