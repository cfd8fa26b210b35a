"""The rules of a chain as boxes: what each matches, and what each takes off the chain."""

from __future__ import annotations

from dataclasses import dataclass, field

from fireproof.lint.boxes import Box, Boxes, Value
from fireproof.lint.coverage import Cover
from fireproof.lint.volatile import Volatile
from fireproof.model.expression import Expression, HeaderOption, Interval, SetLiteral, SetReference, VerdictTarget
from fireproof.model.ruleset import Rule, Table
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
    Statement,
    Verdict,
    VerdictMap,
)
from fireproof.semantics import register as reg
from fireproof.semantics.flight import Flight, Site, World, find_set, is_dynamic, read_parts
from fireproof.semantics.implied import goes_on, is_listed
from fireproof.semantics.interfaces import Interfaces
from fireproof.semantics.interval import Intervals
from fireproof.semantics.match import index_positions, key_matches, matches
from fireproof.syntax.references import targets

ENTRY = Intervals((state, state) for state in (reg.NEW, reg.ESTABLISHED, reg.RELATED))
"""The states of packets that have a conntrack entry; of the others only the state can be read."""
LEAVES = frozenset(("accept", "drop", "return", "goto"))
MAX_DEPTH = 4
MAX_INLINED = 2000
"""Rules of called chains that are looked into for what a call takes off."""


@dataclass(slots=True)
class Lowered:
    """One rule: `box` is what comes to its end, `ends` the statement there that can take packets off the chain."""

    rule: Rule
    box: Box
    reached: Box
    """What comes to its first statement that does anything, be it only to count."""
    ends: Statement | None

    @property
    def complex(self) -> bool:
        """Whether only packet sets know exactly what it matches (free choices apart)."""
        return not self.reached.exact and not self.reached.free


@dataclass(slots=True)
class Lowering:
    """Lowers the rules of one table to boxes, with the left sides of matches read once."""

    interfaces: Interfaces
    table: Table
    volatile: Volatile
    algebra: Boxes = field(init=False)
    flight: Flight[Box, Value] = field(init=False)
    site: Site = field(init=False)
    _left: dict[Expression, tuple[list[tuple[Value, int]], Box]] = field(default_factory=dict)
    _boxes: dict[int, tuple[Match, Box]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.algebra = Boxes(self.volatile)
        frames = self.table.family == "netdev"
        world: World[Box, Value] = World(self.algebra, self.interfaces, None, frames=frames, cut=True)
        self.flight = Flight(world, tracked=self.algebra.true)
        self.flight.tracked = self.algebra.member(self.flight.read(reg.CT_STATE), reg.CT_STATE.bits, ENTRY)
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
        ends: Statement | None = None
        reached: Box | None = None
        for statement in asked_in_order(rule):
            kind = type(statement)
            if kind is Match:
                box = algebra.both(box, self.match(statement))  # type: ignore[arg-type]
                continue
            if isinstance(statement, ENDS):
                ends = statement
                if kind is Verdict:
                    continue
                if isinstance(statement, VerdictMap) and reached is None:
                    reached = algebra.both(box, is_listed(self.flight, statement, self.site))
            elif reached is None:
                reached = box
            if isinstance(statement, ExtensionStatement):
                if statement.sometimes is not None:
                    box = Box(box.tests, exact=False, free=True)
                continue
            if not _always_goes_on(statement):
                box = Box(box.tests, exact=False, free=True)
            box = algebra.both(box, goes_on(self.flight, self.table, statement, self.site))
        return Lowered(rule, box, box if reached is None else reached, ends)

    # ---- what leaves the chain -------------------------------------------------------------------------------------
    def covers(self, lowered: Lowered, number: int, depth: int = 0) -> list[Cover]:
        """What the rule takes off its chain, as far as boxes can say. Nothing that hangs on a free choice."""
        if lowered.ends is None or lowered.box.free:
            return []
        ends = lowered.ends
        if isinstance(ends, Verdict):
            return self._target_covers(ends.target, lowered.box, number, depth)
        if isinstance(ends, VerdictMap):
            return self._map_covers(ends, lowered.box, number, depth)
        return [Cover(number, lowered.box.tests, lowered.box.exact)]

    def _target_covers(self, target: VerdictTarget, box: Box, number: int, depth: int) -> list[Cover]:
        if self.algebra.is_false(box):
            return []
        if target.kind in LEAVES:
            return [Cover(number, box.tests, box.exact)]
        if target.kind == "continue" or target.chain is None:
            return []
        callee = self.table.chains.get(target.chain)
        if callee is None or depth > MAX_DEPTH or len(callee.rules) > MAX_INLINED:
            return []
        found: list[Cover] = []
        for rule in callee.rules:
            inner = self.rule(rule)
            if may_return(inner, self.table):
                # What comes back is not taken; what is taken behind such a rule may have come back before.
                break
            both = self.algebra.both(box, inner.box)
            if self.algebra.is_false(both):
                continue
            found += self.covers(Lowered(rule, both, both, inner.ends), number, depth + 1)
            if len(found) > MAX_INLINED:
                break
        return found

    def _map_covers(self, statement: VerdictMap, box: Box, number: int, depth: int) -> list[Cover]:
        source = find_set(self.site, statement.map)
        if (not isinstance(source, SetLiteral) and is_dynamic(source)) or index_positions(statement.key):
            return []
        fallback = next((e.data for e in source.elements if e.key is None), None)
        if fallback is not None and all(_leaves(element.data) for element in source.elements):
            return [Cover(number, box.tests, box.exact)]
        values, _ = read_parts(self.flight, statement.key, self.site)
        found: list[Cover] = []
        for element in source.elements:
            if not isinstance(element.data, VerdictTarget) or element.key is None:
                continue
            hit = self.algebra.both(box, key_matches(self.flight, values, element.key))
            found += self._target_covers(element.data, hit, number, depth)
        if isinstance(fallback, VerdictTarget) and len(values) == 1:
            keys = [element.key[0] for element in source.elements if element.key is not None]
            listed = Intervals((key.low, key.high) for key in keys if isinstance(key, Interval))
            if all(isinstance(key, Interval) and key.low <= key.high for key in keys):
                value, bits = values[0]
                hit = self.algebra.both(box, self.algebra.member(value, bits, listed.complement(bits)))
                found += self._target_covers(fallback, hit, number, depth)
        return found


ENDS = (Verdict, VerdictMap, Reject, Nat, Queue)


def asked_in_order(rule: Rule) -> tuple[Statement, ...]:
    """The statements of a rule; what a reject asks for stands first, where nft puts it."""
    last = rule.statements[-1] if rule.statements else None
    return (last, *rule.statements[:-1]) if isinstance(last, Reject) else rule.statements


_DECIDING_OBJECTS = ("limit", "quota", "synproxy")
_HARMLESS = (*ENDS, Mangle, Log, Notrack, Duplicate, FlowOffload, ObjectReference)


def _always_goes_on(statement: Statement) -> bool:
    """Whether the rule goes on after a statement for all packets that it applies to.

    Dynamic sets may be full, foreign matches mean anything, and TCP options are looked for in TCP only.
    """
    if isinstance(statement, Mangle) and isinstance(statement.target, HeaderOption):
        return False
    return isinstance(statement, _HARMLESS) and getattr(statement, "kind", "") not in _DECIDING_OBJECTS


def _leaves(data: object) -> bool:
    return isinstance(data, VerdictTarget) and data.kind in LEAVES


def is_open(statement: VerdictMap, table: Table) -> bool:
    """Whether a verdict map can come to hold verdicts that the ruleset does not show."""
    return isinstance(statement.map, SetReference) and is_dynamic(table.sets[statement.map.name])


def may_return(lowered: Lowered, table: Table) -> bool:
    """Whether packets can go back to the caller by this rule: return, or a goto (whose end returns)."""
    if not isinstance(lowered.ends, Verdict | VerdictMap):
        return False
    if isinstance(lowered.ends, VerdictMap) and is_open(lowered.ends, table):
        return True
    return any(target.kind in ("return", "goto") for target in targets(lowered.ends, table))
