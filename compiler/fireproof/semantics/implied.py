"""What a statement asks of a packet by itself: dependencies that nft writes in front of it, look-ups that must succeed.

Without what only the machine knows: limits, dynamic sets, the room in a set.
"""

from __future__ import annotations

from fireproof.model.expression import Expression, MapLookup, Payload
from fireproof.model.ruleset import Table
from fireproof.model.statement import (
    Duplicate,
    Mangle,
    Meter,
    Nat,
    ObjectReference,
    Queue,
    Reject,
    SetUpdate,
    Statement,
    Tproxy,
    VerdictMap,
)
from fireproof.semantics import register as reg
from fireproof.semantics.algebra import P, V
from fireproof.semantics.flight import Flight, Site, find_set, read_parts
from fireproof.semantics.interval import Intervals
from fireproof.semantics.match import in_set, index_positions

_TCP = Intervals.of(6)
_FAMILIES = {"ip": 0, "ip6": 1}


def goes_on(flight: Flight[P, V], table: Table, statement: Statement, site: Site) -> P:
    """The packets for which the rule gets past, or ends with, a statement that is no match."""
    algebra = flight.world.algebra
    if isinstance(statement, Reject):
        if statement.kind == "tcp-reset":
            return algebra.member(flight.read(reg.L4PROTO), 8, _TCP)
        return algebra.true if statement.kind == "icmpx" else flight.is_family(int(statement.kind == "icmpv6"))
    found = algebra.true
    if isinstance(statement, Nat):
        family = _FAMILIES.get(statement.family or table.family)
        if family is not None:
            found = flight.is_family(family)
    for expression in _read_by(statement):
        found = algebra.both(found, _there(flight, expression, site))
    return found


def is_listed(flight: Flight[P, V], statement: VerdictMap, site: Site) -> P:
    """Where a verdict map has something to say; without a verdict the packet goes on behind the rule."""
    values, there = read_parts(flight, statement.key, site)
    indices = index_positions(statement.key)
    return flight.world.algebra.both(there, in_set(flight, values, find_set(site, statement.map), site, indices))


def _read_by(statement: Statement) -> list[Expression]:
    """What a statement reads to do its work."""
    read: tuple[object, ...] = ()
    if isinstance(statement, VerdictMap | SetUpdate | Meter):
        read = (statement.key, getattr(statement, "data", None))
    elif isinstance(statement, Mangle):
        # Marks can be written where nothing is to be read; header fields cannot.
        read = (statement.target if isinstance(statement.target, Payload) else None, statement.value)
    elif isinstance(statement, Nat | Tproxy):
        read = (statement.address, statement.port)
    elif isinstance(statement, Duplicate):
        read = (statement.address, statement.device)
    elif isinstance(statement, ObjectReference):
        read = (statement.name,)
    elif isinstance(statement, Queue):
        read = (statement.number,)
    return [part for part in read if isinstance(part, Expression)]


def _there(flight: Flight[P, V], expression: Expression, site: Site) -> P:
    """Where an expression has a value."""
    algebra = flight.world.algebra
    if isinstance(expression, MapLookup):
        values, there = read_parts(flight, expression.key, site)
        return algebra.both(there, in_set(flight, values, find_set(site, expression.map), site))
    return read_parts(flight, expression, site)[1]
