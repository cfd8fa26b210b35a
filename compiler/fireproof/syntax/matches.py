"""Matches: a selector, an operator, and what it is compared with. nft's rules for flags are observed, not guessed."""

from __future__ import annotations

from typing import Any

from fireproof.model.expression import (
    Binary,
    Constant,
    Element,
    Expression,
    Interval,
    Key,
    Name,
    OsFingerprint,
    Right,
    SetLiteral,
    SocketKey,
)
from fireproof.model.statement import (
    Match,
)
from fireproof.netfilter.datatypes import DATATYPES
from fireproof.syntax import selectors, sets, values
from fireproof.syntax.grammar import Node, Tree
from fireproof.syntax.scope import Context, MeaningError
from fireproof.syntax.values import Type

_OPERATORS = {"eq": "==", "ne": "!=", "lt": "<", "gt": ">", "le": "<=", "ge": ">="}


def match(context: Context, node: Node) -> Match:
    left = selectors.selector(context, node.children[0])
    right_node = node.children[-1]
    operator = ""
    if len(node.children) == 3:
        text = context.text(node.children[1])
        operator = _OPERATORS.get(text, text)
    if operator == "!" and isinstance(left, Binary):
        raise MeaningError("`!` tests the flags themselves, not the result of a bit operation", node, code="value")
    types = selectors.types_of(left)
    members = right_node.children
    kind = DATATYPES[types[0].datatype.name].kind if len(types) == 1 else ""
    if len(members) == 1:
        reference = values.set_reference(context, right_node)
        if reference is not None:
            return _set_match(left, operator, reference, node)
        inner = values.sole(context, right_node)
        if (isinstance(inner, Tree) and inner.data == "set_literal") or _is_list_variable(inner):
            if kind != "bitmask" or inner.data == "set_literal":
                return _set_match(left, operator, sets.set_literal(context, inner, types), node)
            right_node, members = inner, inner.children
    masked = _masked(context, left, operator, right_node, types, kind)
    if masked is not None:
        return masked
    if len(members) > 1:
        if kind != "bitmask":
            raise MeaningError(
                "a list without braces only works for flags", right_node, "write a set: { …, … }", "value"
            )
        if types[0].datatype.name == "ct_label":
            raise MeaningError("labels can only be tested one by one", right_node, "write a match for each", "value")
        total = 0
        for member in members:
            total |= _sole_number(context, member, types)
        return Match(left, operator or "in", (Interval(total, total),))
    keys = values.keys(context, right_node.children[0], types)
    if len(keys) > 1:
        if kind == "bitmask":
            total = 0
            for key in keys:
                total |= _low(key, right_node)
            return Match(left, operator or "in", (Interval(total, total),))
        return _set_match(left, operator, SetLiteral(tuple(Element(key) for key in keys)), node)
    key = keys[0]
    _check_value(left, key, right_node)
    if operator in ("<", ">", "<=", ">=") and (
        not isinstance(key[0], Interval) or key[0].low != key[0].high or len(key) > 1
    ):
        raise MeaningError(f"`{operator}` compares with a single number", right_node, code="value")
    if operator == "!" and kind != "bitmask":
        raise MeaningError("`!` tests flags; to negate a match write `!=`", node.children[1], code="value")
    if not operator:
        # Without an operator nft tests flags for "any of these bits", and everything else for equality.
        flags = kind == "bitmask" and types[0].datatype.symbols and not isinstance(left, Binary)
        operator = "in" if flags and _is_single(key) else "=="
    return Match(left, operator, key)


def _check_value(left: Expression, key: Key, node: Node) -> None:
    """Values that fit the type but not what is compared."""
    part = key[0]
    if isinstance(left, SocketKey) and left.key in ("transparent", "wildcard") and isinstance(part, Interval):
        if part.high > 1:
            raise MeaningError(f"`socket {left.key}` is 0 or 1", node, code="value")
    elif isinstance(left, OsFingerprint) and isinstance(part, Name) and len(part.text.encode()) > 15:
        raise MeaningError(f"`osf {left.key}` has at most 15 bytes", node, code="value")


def _is_single(key: Key) -> bool:
    return len(key) == 1 and isinstance(key[0], Interval) and key[0].low == key[0].high


def _is_list_variable(node: Any) -> bool:
    return isinstance(node, Tree) and node.data == "value_list" and len(node.children) > 1


def _low(key: Key, node: Any) -> int:
    part = key[0]
    if not isinstance(part, Interval):
        raise MeaningError("a number is needed here", node, code="value")
    return part.low


def _sole_number(context: Context, node: Node, types: tuple[Type, ...]) -> int:
    total = 0
    for key in values.keys(context, node, types):
        total |= _low(key, node)
    return total


def _set_match(left: Expression, operator: str, right: Right, node: Node) -> Match:
    if operator not in ("", "==", "!="):
        raise MeaningError(f"`{operator}` does not go with a set", node.children[1], "use `!=` or no operator", "value")
    return Match(left, operator or "==", right)


def _masked(
    context: Context, left: Expression, operator: str, node: Node, types: tuple[Type, ...], kind: str
) -> Match | None:
    """`tcp flags syn / fin,syn,rst,ack`: compare under a mask."""
    if kind != "bitmask" or len(types) != 1:
        return None
    slash = None
    for index, member in enumerate(node.children):
        if isinstance(member, Tree) and member.data == "concat" and member.children[0].data == "prefix":
            slash = index
            break
    if slash is None:
        return None
    middle = node.children[slash].children[0]
    value = values.constant(context, middle.children[0], types[0])
    mask = values.constant(context, middle.children[1], types[0])
    for member in node.children[:slash]:
        value |= _sole_number(context, member, types)
    for member in node.children[slash + 1 :]:
        mask |= _sole_number(context, member, types)
    masked = Binary("&", left, Constant(mask, left.datatype, left.bits))
    if operator not in ("", "==", "!="):
        raise MeaningError(f"`{operator}` does not go with a mask", node, code="value")
    return Match(masked, operator or "==", (Interval(value, value),))
