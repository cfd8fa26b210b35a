"""Exact answers about single rules, by packet sets: is there a packet that matches, and that nothing before takes?"""

from __future__ import annotations

from oxidd.bdd import BDDFunction
from oxidd.util import DDMemoryError

from fireproof.lint.boxes import DOMAINS, Box, Field
from fireproof.lint.chain_rules import (
    ENDS,
    ENTRY,
    LEAVES,
    MAX_DEPTH,
    MAX_INLINED,
    Lowered,
    Lowering,
    asked_in_order,
    may_return,
)
from fireproof.lint.coverage import Cover
from fireproof.model.ruleset import Chain, Rule, Table
from fireproof.model.statement import Match, Verdict, VerdictMap
from fireproof.semantics import register as reg
from fireproof.semantics.flight import Flight, Site, World, reach_of
from fireproof.semantics.implied import goes_on, is_listed
from fireproof.semantics.interfaces import Interfaces
from fireproof.semantics.interval import Intervals
from fireproof.semantics.match import matches
from fireproof.verify.diagram import Diagrams, OutOfNodes, Value

NODES = 1 << 21
MAX_SUBTRACTED = 4000
"""Covers subtracted from one rule before giving up: no finding then."""


class Exact:
    def __init__(self, table: Table, interfaces: Interfaces, lowering: Lowering) -> None:
        self.table = table
        self.lowering = lowering
        self.algebra = Diagrams(NODES)
        frames = table.family == "netdev"
        world: World[BDDFunction, Value] = World(self.algebra, interfaces, None, frames=frames, cut=True)
        self.flight: Flight[BDDFunction, Value] = Flight(world)
        self.flight.tracked = self.algebra.member(self.flight.read(reg.CT_STATE), reg.CT_STATE.bits, ENTRY)
        self._rules: dict[int, tuple[Rule, BDDFunction, bool, BDDFunction]] = {}
        self._domain = self._tests({(r, 0, r.bits): values for r, values in DOMAINS.items()})
        self._reaches: dict[reg.Register, tuple[int, bool]] = {}

    def domain(self) -> BDDFunction:
        """Packets as they can be: a header that reaches some byte has those before it."""
        for register, row in self.algebra.registers.items():
            reach = reach_of(register)
            if reach is None or register in self._reaches:
                continue
            for other, (byte, whole) in self._reaches.items():
                there = self.algebra.registers[other][0]
                if byte <= reach[0] and (whole or not reach[1]):
                    self._domain = self._domain & (~row[0] | there)
                if reach[0] <= byte and (reach[1] or not whole):
                    self._domain = self._domain & (~there | row[0])
            self._reaches[register] = reach
        return self._domain

    def _tests(self, tests: dict[Field, Intervals]) -> BDDFunction:
        found = self.algebra.true
        for (register, shift, width), values in tests.items():
            value = self.algebra.slice(self.flight.arriving(register), register.bits, shift, width)
            found = found & self.algebra.member(value, width, values)
        return found

    def rule(self, rule: Rule) -> tuple[BDDFunction, bool, BDDFunction]:
        """What a rule matches, or more; whether it is just that; and what comes to its first statement that acts.

        Conditions on what rules change on the way are left out. Each rule makes its free choices for itself.
        """
        known = self._rules.get(id(rule))
        if known is not None:
            return known[1:]
        found, whole = self.algebra.true, True
        reached: BDDFunction | None = None
        for index, statement in enumerate(asked_in_order(rule)):
            site = Site(self.table, f"{id(rule)}.{index}")
            if isinstance(statement, Match):
                condition = matches(self.flight, statement, site)
            else:
                if reached is None and not isinstance(statement, ENDS):
                    reached = found
                elif reached is None and isinstance(statement, VerdictMap):
                    listed = is_listed(self.flight, statement, site)
                    reached = found if self._is_volatile(listed) else found & listed
                condition = goes_on(self.flight, self.table, statement, site)
            if self._is_volatile(condition):
                whole = False
            else:
                found = found & condition
        self._rules[id(rule)] = (rule, found, whole, found if reached is None else reached)
        return self._rules[id(rule)][1:]

    def _is_volatile(self, condition: BDDFunction) -> bool:
        volatile = self.lowering.volatile
        if not volatile:
            return False
        return any(
            condition.exists(bit) != condition
            for register, row in self.algebra.registers.items()
            if register in volatile
            for bit in row
        )

    def is_empty(self, lowered: Lowered, entry: Box) -> bool:
        try:
            inside = self.rule(lowered.rule)[2] & self.domain() & self._tests(entry.tests)
        except (DDMemoryError, OutOfNodes):
            return False
        return not inside.satisfiable()

    def blockers(self, lowered: Lowered, entry: Box, covers: list[Cover], chain: Chain) -> list[int]:
        """The rules that together take everything of this one, or nothing when they do not."""
        if len(covers) > MAX_SUBTRACTED:
            return []
        found: list[int] = []
        try:
            rest = self.rule(lowered.rule)[2] & self.domain() & self._tests(entry.tests)
            # The largest first: what is left stays small, and few rules are named.
            for cover in sorted(covers, key=lambda c: len(c.tests)):
                taken = self._cover(cover, chain)
                if taken is None:
                    continue
                if not (rest & taken).satisfiable():
                    continue
                rest = rest & ~taken & self.domain()
                found.append(cover.number)
                if not rest.satisfiable():
                    return sorted(set(found))
        except (DDMemoryError, OutOfNodes):
            return []
        return []

    def _cover(self, cover: Cover, chain: Chain) -> BDDFunction | None:
        if cover.exact:
            return self._tests(cover.tests)
        return self._taken(chain.rules[cover.number])

    def _taken(self, rule: Rule, depth: int = 0) -> BDDFunction | None:
        """What a rule certainly takes off its chain, called chains included; None for nothing known."""
        lowered = self.lowering.rule(rule)
        matched, whole, _ = self.rule(rule)
        last = lowered.ends
        if last is None or lowered.box.free or not whole or isinstance(last, VerdictMap):
            return None
        if not isinstance(last, Verdict) or last.target.kind in LEAVES:
            return matched
        callee = self.table.chains.get(last.target.chain or "")
        if callee is None or depth > MAX_DEPTH or len(callee.rules) > MAX_INLINED:
            return None
        found = self.algebra.false
        for inner in callee.rules:
            if may_return(self.lowering.rule(inner), self.table):
                break
            taken = self._taken(inner, depth + 1)
            if taken is not None:
                found = found | taken
        return matched & found
