"""Equal spellings for matches that nft 1.0.6 does not load as they are. Shared by text and JSON."""

from __future__ import annotations

from fireproof.emit.problem import Unprintable
from fireproof.model.expression import Binary, Concat, Constant, Element, Interval, SetLiteral, SetReference
from fireproof.model.statement import Match


def loadable(node: Match) -> Match:
    """The same match, spelled so that nft takes it."""
    if isinstance(node.left, Concat) and isinstance(node.right, tuple) and node.operator in ("==", "!="):
        # "Use concatenations with sets and maps, not singleton values".
        return Match(node.left, node.operator, SetLiteral((Element(node.right),)))
    if isinstance(node.left, Binary) and node.left.operator == ">>":
        return loadable(_without_shift(node, node.left))
    return node


def _without_shift(node: Match, left: Binary) -> Match:
    """`X >> n == v` as `X` in the range of all numbers that begin with v: nft has lost the type of a shifted field."""
    count, right = left.right, node.right
    if not isinstance(count, Constant) or not isinstance(count.value, int) or isinstance(right, SetReference):
        raise Unprintable("nft does not compare a shifted field with this")
    shift = count.value
    if isinstance(right, SetLiteral):
        elements = tuple(Element((_widened(each, shift),)) for each in right.elements)
        return Match(left.left, node.operator, SetLiteral(elements))
    whole = _widened(Element(right), shift)
    if node.operator in ("==", "!="):
        return Match(left.left, node.operator, (whole,))
    if node.operator in ("<", ">="):
        return Match(left.left, node.operator, (Interval(whole.low, whole.low),))
    if node.operator in (">", "<="):
        return Match(left.left, node.operator, (Interval(whole.high, whole.high),))
    raise Unprintable("nft does not test the flags of a shifted field")


def _widened(element: Element, shift: int) -> Interval:
    part = element.key[0] if element.key and len(element.key) == 1 else None
    if not isinstance(part, Interval):
        raise Unprintable("nft does not compare a shifted field with this")
    return Interval(part.low << shift, part.high << shift | (1 << shift) - 1)
