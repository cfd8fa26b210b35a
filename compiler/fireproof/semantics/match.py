"""When a match is true. A rule that reads what a packet does not have does not match, negated or not."""

from __future__ import annotations

from fireproof.model.expression import Element, Interval, Key, Name, Part, SetLiteral
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
    if isinstance(right, tuple):
        if match.left.datatype == "iface_index" and isinstance(right[0], Interval):
            return algebra.both(there, _index_matches(flight, values[0][0], match.operator, right[0].low))
        return algebra.both(there, compare(flight, values, match.operator, right))
    inside = in_set(flight, values, find_set(site, right), site)
    return algebra.both(there, algebra.negate(inside) if match.operator == "!=" else inside)


def _index_matches(flight: Flight[P, V], value: V, operator: str, index: int) -> P:
    """`iif 0` means no interface; which interface has another index only the machine knows."""
    algebra = flight.world.algebra
    absent = algebra.member(value, 16, Intervals.of(0))
    if index == 0:
        found = absent
    else:
        found = algebra.both(
            algebra.negate(absent), flight.choose(f"interface {index}", f"which interface has index {index}")
        )
    return algebra.negate(found) if operator == "!=" else found


def compare(flight: Flight[P, V], values: Values[V], operator: str, key: Key) -> P:
    algebra = flight.world.algebra
    if operator in ("==", "!="):
        equal = key_matches(flight, values, key)
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


def key_matches(flight: Flight[P, V], values: Values[V], key: Key) -> P:
    algebra = flight.world.algebra
    found = algebra.true
    for (value, bits), part in zip(values, key, strict=True):
        found = algebra.both(found, algebra.member(value, bits, intervals_of(flight, part, bits)))
    return found


def element_matches(flight: Flight[P, V], values: Values[V], element: Element) -> P:
    return flight.world.algebra.true if element.key is None else key_matches(flight, values, element.key)


def in_set(flight: Flight[P, V], values: Values[V], source: NamedSet | SetLiteral, site: Site) -> P:
    """Membership. A set that changes at run time holds what its text says, or something else: a free choice."""
    algebra = flight.world.algebra
    if isinstance(source, NamedSet) and is_dynamic(source) and flight.world.runtime is not None:
        held = flight.world.runtime.find(flight, source, values)
        return algebra.false if held is None else algebra.true
    elements = source.elements
    if any(element.key is None for element in elements):
        found = algebra.true
    elif len(values) == 1:
        value, bits = values[0]
        found = algebra.member(value, bits, _joined(flight, source, bits))
    else:
        found = algebra.false
        for element in elements:
            found = algebra.either(found, element_matches(flight, values, element))
    if isinstance(source, NamedSet) and is_dynamic(source):
        return flight.choose(f"set {source.name} at {site.name}", f"the contents of set `{source.name}`")
    return found


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
