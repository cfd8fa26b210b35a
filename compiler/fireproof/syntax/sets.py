"""Set and map literals, their elements, and look-ups in maps."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from fireproof.extensions import readers
from fireproof.model.expression import (
    Element,
    Expression,
    Interval,
    Key,
    MapLookup,
    SetLiteral,
    SetReference,
    VerdictTarget,
)
from fireproof.syntax import values
from fireproof.syntax.grammar import Node, Tree
from fireproof.syntax.scope import Context, MeaningError, leaves, suggest, unquote
from fireproof.syntax.values import Type, milliseconds, type_of


def set_literal(
    context: Context, node: Node, types: tuple[Type, ...], data: tuple[Type, ...] | str | None = None
) -> SetLiteral:
    """An anonymous set, or a map when `data` says what its values are (`verdict`, an object kind, or types)."""
    found = elements(context, node, types, data)
    if data is not None and len(types) == 1:
        _check_values(found, node)
    return SetLiteral(tuple(found))


def _check_values(found: list[Element], node: Node) -> None:
    """Refuses a map that gives two values for one key, as nft and the kernel do."""
    ranges = sorted(
        (
            (part.low, part.high, number)
            for number, (part,) in enumerate(e.key or (None,) for e in found)
            if isinstance(part, Interval)
        ),
    )
    for (_, end, one), (start, _, other) in pairwise(ranges):
        if start <= end and found[one] != found[other]:
            raise MeaningError("this map has two values for one key", node, "remove one of them", "duplicate")
    texts: dict[object, object] = {}
    for element in found:
        if texts.setdefault(element.key, element.data) != element.data:
            raise MeaningError("this map has two values for one key", node, "remove one of them", "duplicate")


def elements(
    context: Context, node: Node, types: tuple[Type, ...], data: tuple[Type, ...] | str | None
) -> list[Element]:
    found: list[Element] = []
    for child in values.expand(context, node):
        if child.data == "element":
            found += element(context, child, types, data)
        elif data is not None:
            raise MeaningError("this element of a map has no value", child, "write `key : value`", "value")
        else:
            found += [Element(key) for key in values.keys(context, child, types)]
    return found


def element(
    context: Context, node: Node, types: tuple[Type, ...], data: tuple[Type, ...] | str | None
) -> list[Element]:
    """The elements of one member; several when a variable in it holds a list."""
    head, *rest = node.children
    timeout = expires = comment = None
    stateful: list[Any] = []
    value: Any = None
    for child in rest:
        if child is None:
            continue
        if child.data == "element_timeout":
            timeout = milliseconds(context.text(context.single(child.children[0])))
        elif child.data == "element_expires":
            expires = milliseconds(context.text(child.children[0]))
        elif child.data == "element_comment":
            comment = unquote(context.text(child.children[0]))
        elif child.data in readers():
            stateful.append(readers()[child.data](context, child))
        elif child.data in ("concat", "verdict") and value is None:
            value = child
        else:
            raise MeaningError("this can not stand in an element", child, code="value")
    if data is None and value is not None:
        raise MeaningError("a set has no values, only maps do", value, code="value")
    if data is not None and value is None:
        raise MeaningError("this element of a map has no value", node, "write `key : value`", "value")
    target = None if value is None else _data(context, value, data)
    if not isinstance(head, Tree):
        return [Element(None, target, timeout, expires, comment, tuple(stateful))]
    return [
        Element(key, target, timeout, expires, comment, tuple(stateful)) for key in values.keys(context, head, types)
    ]


def _data(context: Context, node: Node, data: tuple[Type, ...] | str | None) -> Key | VerdictTarget | str:
    if data == "verdict":
        if node.data != "verdict":
            inner = values.sole(context, node)
            if isinstance(inner, Tree) and inner.data == "verdict":
                node = inner
            else:
                near = suggest("".join(map(context.text, leaves(node))), ("accept", "drop", "return", "continue"))
                raise MeaningError("a verdict is needed here", node, near or "accept, drop, jump CHAIN …", "value")
        return verdict(context, node)
    if node.data == "verdict":
        raise MeaningError("a value is needed here, not a verdict", node, "use `vmap` for verdicts", "value")
    if isinstance(data, str):
        leaf = values.sole(context, node)
        if not isinstance(leaf, Tree) or leaf.data != "literal" or leaf.children[-1].type not in ("QUOTED", "WORD"):
            raise MeaningError(f"the name of a {data} is needed here", node, code="value")
        return unquote(context.text(leaf.children[-1]))
    assert data is not None
    found = values.keys(context, node, data)
    if len(found) != 1:
        raise MeaningError("a single value is needed here", node, code="value")
    return found[0]


def verdict(context: Context, node: Node) -> VerdictTarget:
    first = context.text(node.children[0])
    if len(node.children) == 1:
        return VerdictTarget(first)
    return VerdictTarget(first, unquote(context.text(context.single(node.children[1]))))


def reference_or_literal(context: Context, node: Node) -> SetReference | Node:
    """What stands after `vmap` or `map`: a reference, or the tree of a literal."""
    child = node.children[0]
    if not isinstance(child, Tree):
        if child.type == "SETREF":
            return SetReference(context.text(child)[1:])
        inner = values.sole(context, Tree("literal", [child]))
        if isinstance(inner, Tree) and inner.data == "literal" and inner.children[0].type == "SETREF":
            return SetReference(context.text(inner.children[0])[1:])
        if not isinstance(inner, Tree) or inner.data not in ("set_literal", "value_list"):
            raise MeaningError("a map is needed here", child, code="value")
        child = inner
    return child


def map_lookup(context: Context, key: Expression, node: Node, types: tuple[Type, ...] | None) -> MapLookup:
    """`key map { … }` or `key map @name`; `types` are what the place needs, None where the map's own count."""
    from fireproof.syntax.selectors import types_of

    target = reference_or_literal(context, node)
    if isinstance(target, SetReference):
        named = context.find_set(target.name)
        if named is not None and named.is_map:
            types = tuple(type_of(name, bits) for name, bits in zip(named.data, named.data_bits, strict=True))
        datatype, bits = _joined(types)
        return MapLookup(key, target, datatype, bits)
    guessed = _guess(context, target) if types is None or len(types) == 1 else types
    if types is None or len(guessed) > len(types):
        # NAT takes an address, or an address and a port.
        types = guessed if types is None else (*types, *guessed[len(types) :])
    datatype, bits = _joined(types)
    return MapLookup(key, set_literal(context, target, types_of(key), types), datatype, bits)


def _joined(types: tuple[Type, ...] | None) -> tuple[str, int]:
    if not types:
        return "integer", 32
    return " . ".join(type.datatype.name for type in types), sum(type.bits for type in types)


_BY_TERMINAL = {
    "IPV4": ("ipv4_addr", 32),
    "IPV6": ("ipv6_addr", 128),
    "MAC": ("ether_addr", 48),
    "QUOTED": ("ifname", 128),
}


def _guess(context: Context, node: Node) -> tuple[Type, ...]:
    """The types of a literal map's values from the look of the first (a NAT target: address, or address . port)."""
    for child in values.expand(context, node):
        value = next((c for c in child.children[1:] if isinstance(c, Tree) and c.data == "concat"), None)
        if value is not None:
            return tuple(_guess_part(context, part) for part in value.children)
    return (type_of("integer", 32),)


def _guess_part(context: Context, node: Any) -> Type:
    found = leaves(node)
    while found and found[0].type == "VARIABLE":
        found = leaves(context.variable(found[0]).tree)
    return type_of(*_BY_TERMINAL.get(found[0].type if found else "", ("inet_service", 16)))


def merge(found: list[Element]) -> list[Element]:
    """Overlapping and adjoining intervals of a one-part set joined, as `auto-merge` does."""
    plain = [e for e in found if e.key and len(e.key) == 1 and isinstance(e.key[0], Interval) and e == Element(e.key)]
    others = [e for e in found if e not in set(plain)] if len(plain) != len(found) else []
    ranges = sorted((e.key[0].low, e.key[0].high) for e in plain if e.key and isinstance(e.key[0], Interval))
    joined: list[list[int]] = []
    for low, high in ranges:
        if joined and low <= joined[-1][1] + 1:
            joined[-1][1] = max(joined[-1][1], high)
        else:
            joined.append([low, high])
    return [Element((Interval(low, high),)) for low, high in joined] + others
