"""When a match is true. A rule that reads what a packet does not have does not match, negated or not."""

from __future__ import annotations

from fireproof.model.expression import Concat, Element, Expression, Interval, Key, Name, Part, SetLiteral
from fireproof.model.ruleset import NamedSet
from fireproof.model.statement import Match
from fireproof.semantics.algebra import P, V
from fireproof.semantics.flight import Flight, Site, find_set, is_dynamic, read_parts
from fireproof.semantics.interval import Intervals

Values = list[tuple[V, int]]


def matches(flight: Flight[P, V], match: Match, site: Site) -> P:
    """Where a match statement lets the rule go on."""
    algebra = flight.world.algebra
    values, there = read_parts(flight, match.left, site)
    if algebra.is_false(there):
        return algebra.false
    right = match.right
    indices = index_positions(match.left)
    if isinstance(right, tuple):
        if indices and isinstance(right[0], Interval) and len(right) == 1:
            return algebra.both(there, _index_matches(flight, values[0][0], match.operator, right[0], indices[0]))
        return algebra.both(there, compare(flight, values, match.operator, right, indices))
    inside = in_set(flight, values, find_set(site, right), site, indices)
    return algebra.both(there, algebra.negate(inside) if match.operator == "!=" else inside)


Indices = dict[int, str]
"""The parts of a key that are interface indices, and what each is read from."""


def index_positions(expression: Expression) -> Indices:
    if "iface_index" not in expression.datatype:
        return {}
    parts = expression.parts if isinstance(expression, Concat) else (expression,)
    return {
        number: str(getattr(part, "key", getattr(part, "keys", "")))
        for number, part in enumerate(parts)
        if part.datatype == "iface_index"
    }


def _index_matches(flight: Flight[P, V], value: V, operator: str, part: Interval, which: str) -> P:
    """`iif 0` means no interface; which interface has another index only the machine knows."""
    algebra = flight.world.algebra
    absent = algebra.member(value, 16, Intervals.of(0))
    wanted = str(part.low) if part.low == part.high else f"{part.low}-{part.high}"
    if operator not in ("==", "!="):
        return flight.choose(
            f"{which} index {operator} {wanted}", f"which interfaces have an index {operator} {wanted}"
        )
    found = absent if part.low == 0 else algebra.false
    if part.high:
        # Each number of the universe has an index of its own, which nothing here tells.
        known = flight.choose(f"{which} index {wanted}", f"which interface has index {wanted}")
        found = algebra.either(found, algebra.both(algebra.negate(absent), known))
    return algebra.negate(found) if operator == "!=" else found


def compare(
    flight: Flight[P, V], values: Values[V], operator: str, key: Key, indices: Indices | None = None
) -> P:  # fmt: skip
    algebra = flight.world.algebra
    if operator in ("==", "!="):
        equal = key_matches(flight, values, key, indices)
        return algebra.negate(equal) if operator == "!=" else equal
    value, bits = values[0]
    part = key[0]
    assert isinstance(part, Interval)
    top = (1 << bits) - 1
    if operator in ("in", "!"):
        masked = algebra.operate("&", value, algebra.constant(part.low & top, bits), bits)
        zero = algebra.member(masked, bits, Intervals.of(0))
        return zero if operator == "!" else algebra.negate(zero)
    low, high = {
        "<": (0, part.low - 1), "<=": (0, part.low), ">": (part.low + 1, top), ">=": (part.low, top),
    }[operator]  # fmt: skip
    return algebra.member(value, bits, Intervals.of(low, min(high, top))) if low <= min(high, top) else algebra.false


def intervals_of(flight: Flight[P, V], part: Part, bits: int) -> Intervals:
    """The numbers that a part of a key means, as `read` numbers them."""
    if isinstance(part, Name):
        return flight.world.interfaces.matching(part)
    if part.low > part.high:
        # A time of day over midnight. nft stores it as "not between", which leaves both end points out.
        return Intervals(
            ((part.low + 1, (1 << bits) - 1), (0, part.high - 1)) if part.high else ((part.low + 1, (1 << bits) - 1),)
        )
    return Intervals.of(part.low, part.high)


def key_matches(flight: Flight[P, V], values: Values[V], key: Key, indices: Indices | None = None) -> P:
    algebra = flight.world.algebra
    found = algebra.true
    for number, ((value, bits), part) in enumerate(zip(values, key, strict=True)):
        if indices and number in indices and isinstance(part, Interval):
            found = algebra.both(found, _index_matches(flight, value, "==", part, indices[number]))
        else:
            found = algebra.both(found, algebra.member(value, bits, intervals_of(flight, part, bits)))
    return found


def element_matches(
    flight: Flight[P, V], values: Values[V], element: Element, indices: Indices | None = None
) -> P:  # fmt: skip
    return flight.world.algebra.true if element.key is None else key_matches(flight, values, element.key, indices)


def in_set(
    flight: Flight[P, V], values: Values[V], source: NamedSet | SetLiteral, site: Site, indices: Indices | None = None
) -> P:  # fmt: skip
    """Membership. A set that changes at run time holds what its text says, or something else: a free choice."""
    algebra = flight.world.algebra
    if isinstance(source, NamedSet) and flight.world.opaque is not None:
        name = flight.world.opaque(source.name, values)
        return flight.choose(f"answer of {name}", f"the contents of set `{source.name}`")
    if isinstance(source, NamedSet) and is_dynamic(source) and flight.world.runtime is not None:
        held = flight.world.runtime.find(flight, source, values)
        return algebra.false if held is None else algebra.true
    elements = source.elements
    if any(element.key is None for element in elements):
        found = algebra.true
    elif len(values) == 1 and not indices:
        value, bits = values[0]
        found = algebra.member(value, bits, _joined(flight, source, bits))
    else:
        found = algebra.false
        for element in elements:
            found = algebra.either(found, element_matches(flight, values, element, indices))
    if isinstance(source, NamedSet) and is_dynamic(source):
        return flight.choose(f"set {source.name} at {site.name}", f"the contents of set `{source.name}`")
    if isinstance(source, NamedSet) and (what := _limits_of(source)):
        # The look-up runs what stands in the element, and fails where that does.
        spent = flight.choose(f"{what} of set {source.name} spent at {site.name}", f"the {what} of set `{source.name}`")
        found = algebra.both(found, algebra.negate(spent))
    return found


def _limits_of(source: NamedSet) -> str:
    """What in the elements of a set decides beside the key: limits, quotas, connection counts."""
    inner = [*source.stateful, *(statement for element in source.elements for statement in element.stateful)]
    return " ".join(dict.fromkeys(filter(None, (getattr(statement, "sometimes", None) for statement in inner))))


def _joined(flight: Flight[P, V], source: NamedSet | SetLiteral, bits: int) -> Intervals:
    cache = flight.world.joined
    key = (id(source), len(source.elements), bits, len(flight.world.interfaces.names))
    found = cache.get(key)
    if found is None:
        pairs: list[tuple[int, int]] = []
        for element in source.elements:
            if element.key is not None:
                pairs += intervals_of(flight, element.key[0], bits).pairs
        found = cache[key] = Intervals(pairs)
    return found
