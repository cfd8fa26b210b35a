"""The rules of a chain as boxes: what each matches, and what each takes off the chain."""

from __future__ import annotations

from dataclasses import dataclass, field

from fireproof.lint.boxes import Box, Boxes, Value
from fireproof.lint.coverage import Cover
from fireproof.model.expression import Ct, Expression, Meta, Payload, SetLiteral, VerdictTarget
from fireproof.model.ruleset import Chain, Rule, Table
from fireproof.model.statement import (
    Duplicate,
    ExtensionStatement,
    FlowOffload,
    Log,
    Mangle,
    Match,
    Nat,
    Notrack,
    ObjectReference,
    Queue,
    Reject,
    ResetOption,
    Verdict,
    VerdictMap,
)
from fireproof.semantics import register as reg
from fireproof.semantics.flight import Flight, Site, World, find_set, is_dynamic, read_parts
from fireproof.semantics.interfaces import Interfaces
from fireproof.semantics.interval import Intervals
from fireproof.semantics.match import key_matches, matches
from fireproof.semantics.register import Register
from fireproof.syntax.references import targets

_TCP = Intervals.of(6)
_LEAVES = frozenset(("accept", "drop", "return", "goto"))
MAX_INLINED = 2000
"""Rules of called chains that are looked into for what a call takes off."""


@dataclass(slots=True)
class Lowered:
    """One rule: `box` is what reaches its end (or None when that is nothing), `verdict` its last statement."""

    rule: Rule
    box: Box
    empty: bool
    ends: object | None
    complex: bool
    """Whether only packet sets know exactly what it matches (free choices apart)."""


@dataclass(slots=True)
class Lowering:
    """Lowers the rules of one table to boxes, with the left sides of matches read once."""

    interfaces: Interfaces
    table: Table
    volatile: frozenset[Register]
    algebra: Boxes = field(init=False)
    flight: Flight[Box, Value] = field(init=False)
    site: Site = field(init=False)
    _left: dict[Expression, tuple[list[tuple[Value, int]], Box]] = field(default_factory=dict)
    _boxes: dict[int, tuple[Match, Box]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.algebra = Boxes(self.volatile)
        world: World[Box, Value] = World(self.algebra, self.interfaces, None)
        self.flight = Flight(world, tracked=self.algebra.true)
        self.site = Site(self.table, "lint")

    def match(self, match: Match) -> Box:
        known = self._boxes.get(id(match))
        if known is not None:
            return known[1]
        box = self._match(match)
        self._boxes[id(match)] = (match, box)
        return box

    def _match(self, match: Match) -> Box:
        left = match.left
        reading = self._left.get(left)
        if reading is None:
            reading = self._left[left] = read_parts(self.flight, left, self.site)
        values, there = reading
        right = match.right
        if isinstance(right, tuple) and match.operator == "==" and left.datatype != "iface_index":
            # The usual case, without going through the general code for every rule.
            return self.algebra.both(there, key_matches(self.flight, values, right))
        return matches(self.flight, match, self.site)

    def rule(self, rule: Rule) -> Lowered:
        algebra = self.algebra
        box = algebra.true
        ends: object | None = None
        for statement in rule.statements:
            kind = type(statement)
            if kind is Match:
                box = algebra.both(box, self.match(statement))  # type: ignore[arg-type]
            elif kind is Verdict or kind is VerdictMap:
                ends = statement
            elif isinstance(statement, Reject):
                ends = statement
                if statement.kind == "tcp-reset":
                    box = algebra.both(box, algebra.member(self.flight.read(reg.L4PROTO), 8, _TCP))
                elif statement.kind in ("icmp", "icmpv6"):
                    box = algebra.both(box, self.flight.is_family(0 if statement.kind == "icmp" else 1))
            elif isinstance(statement, ExtensionStatement):
                if statement.sometimes is not None:
                    box = Box(box.tests, exact=False, free=True)
            elif isinstance(statement, Nat | Queue):
                ends = statement
                family = {"ip": 0, "ip6": 1}.get(getattr(statement, "family", None) or self.table.family)
                if isinstance(statement, Nat) and family is not None:
                    box = algebra.both(box, self.flight.is_family(family))
            elif not isinstance(statement, _HARMLESS) or getattr(statement, "kind", "") in _DECIDING_OBJECTS:
                box = Box(box.tests, exact=False, free=True)
        return Lowered(rule, box, algebra.is_false(box), ends, not box.exact and not box.free)

    # ---- what leaves the chain -------------------------------------------------------------------------------------
    def covers(self, lowered: Lowered, number: int, depth: int = 0) -> list[Cover]:
        """What the rule takes off its chain, as far as boxes can say. Nothing that hangs on a free choice."""
        if lowered.empty or lowered.box.free or lowered.ends is None:
            return []
        ends = lowered.ends
        if isinstance(ends, Verdict):
            return self._target_covers(ends.target, lowered.box, number, depth)
        if isinstance(ends, VerdictMap):
            return self._map_covers(ends, lowered.box, number, depth)
        return [Cover(number, lowered.box.tests, lowered.box.exact)]

    def _target_covers(self, target: VerdictTarget, box: Box, number: int, depth: int) -> list[Cover]:
        if target.kind in _LEAVES:
            return [Cover(number, box.tests, box.exact)]
        if target.kind == "continue" or target.chain is None:
            return []
        callee = self.table.chains.get(target.chain)
        if callee is None or depth > 4 or len(callee.rules) > MAX_INLINED:
            return []
        found: list[Cover] = []
        for rule in callee.rules:
            inner = self.rule(rule)
            if _may_return(inner, self.table):
                # What comes back is not taken; what is taken behind such a rule may have come back before.
                break
            both = self.algebra.both(box, inner.box)
            if self.algebra.is_false(both):
                continue
            found += self.covers(Lowered(rule, both, False, inner.ends, not both.exact), number, depth + 1)
            if len(found) > MAX_INLINED:
                break
        return found

    def _map_covers(self, statement: VerdictMap, box: Box, number: int, depth: int) -> list[Cover]:
        source = find_set(self.site, statement.map)
        if not isinstance(source, SetLiteral) and is_dynamic(source):
            return []
        values, there = read_parts(self.flight, statement.key, self.site)
        found: list[Cover] = []
        for element in source.elements:
            if not isinstance(element.data, VerdictTarget) or element.key is None:
                continue
            hit = self.algebra.both(box, self.algebra.both(there, key_matches(self.flight, values, element.key)))
            if not self.algebra.is_false(hit):
                found += self._target_covers(element.data, hit, number, depth)
        return found


_DECIDING_OBJECTS = ("limit", "quota", "synproxy")
_HARMLESS = (Match, Verdict, VerdictMap, Mangle, Log, Notrack, Duplicate, FlowOffload, ResetOption, ObjectReference)
"""Statements after which the rule always goes on. Dynamic sets may be full, options of foreign matches unknown."""


def _may_return(lowered: Lowered, table: Table) -> bool:
    """Whether packets can go back to the caller by this rule: return, or a goto (whose end returns)."""
    if not isinstance(lowered.ends, Verdict | VerdictMap):
        return False
    return any(target.kind in ("return", "goto") for target in targets(lowered.ends, table))


def written_registers(chains: list[Chain]) -> frozenset[Register]:
    """Registers that rules of these chains change, so that a later test does not speak of the packet as it came."""
    found: set[Register] = set()
    for chain in chains:
        for rule in chain.rules:
            for statement in rule.statements:
                if isinstance(statement, Mangle):
                    found |= _written(statement.target)
    return frozenset(found)


def _written(target: Expression) -> set[Register]:
    if isinstance(target, Meta):
        return {
            {"mark": reg.MARK, "priority": reg.PRIORITY}.get(target.key) or Register(f"meta {target.key}", target.bits)
        }
    if isinstance(target, Ct):
        return {{"mark": reg.CT_MARK, "zone": reg.CT_ZONE}.get(target.key) or Register(f"ct {target.key}", target.bits)}
    if isinstance(target, Payload):
        headers = ["ip", "ip6"] if target.base == "nh" else [target.base]
        return {s.register for h in headers for s in reg.header_slices(h, target.offset, target.bits)}
    return set()
