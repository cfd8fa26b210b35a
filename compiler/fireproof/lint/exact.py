"""Exact answers about single rules, by packet sets: is there a packet that matches, and that nothing before takes?"""

from __future__ import annotations

from oxidd.bdd import BDDFunction
from oxidd.util import DDMemoryError

from fireproof.lint.boxes import DOMAINS, Box, Field
from fireproof.lint.chain_rules import ENTRY, LEAVES, Lowered, Lowering
from fireproof.lint.coverage import Cover
from fireproof.model.ruleset import Chain, Rule, Table
from fireproof.model.statement import Match, Nat, Reject, Verdict
from fireproof.semantics import register as reg
from fireproof.semantics.flight import Flight, Site, World
from fireproof.semantics.implied import goes_on
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
        self._rules: dict[int, tuple[Rule, BDDFunction, bool]] = {}
        self.domain = self._tests({(r, 0, r.bits): values for r, values in DOMAINS.items()})

    def _tests(self, tests: dict[Field, Intervals]) -> BDDFunction:
        found = self.algebra.true
        for (register, shift, width), values in tests.items():
            value = self.algebra.slice(self.flight.arriving(register), register.bits, shift, width)
            found = found & self.algebra.member(value, width, values)
        return found

    def rule(self, rule: Rule) -> tuple[BDDFunction, bool]:
        """What a rule matches, or more, and whether it is just that.

        Conditions on what rules change on the way are left out. Each rule makes its free choices for itself.
        """
        known = self._rules.get(id(rule))
        if known is not None:
            return known[1:]
        found, whole = self.algebra.true, True
        for index, statement in enumerate(rule.statements):
            site = Site(self.table, f"{id(rule)}.{index}")
            if isinstance(statement, Match):
                condition = matches(self.flight, statement, site)
            else:
                condition = goes_on(self.flight, self.table, statement, site)
            if self._is_volatile(condition):
                whole = False
            else:
                found = found & condition
        self._rules[id(rule)] = (rule, found, whole)
        return found, whole

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
            inside = self.rule(lowered.rule)[0] & self.domain & self._tests(entry.tests)
        except (DDMemoryError, OutOfNodes):
            return False
        return not inside.satisfiable()

    def blockers(self, lowered: Lowered, entry: Box, covers: list[Cover], chain: Chain) -> list[int]:
        """The rules that together take everything of this one, or nothing when they do not."""
        if len(covers) > MAX_SUBTRACTED:
            return []
        found: list[int] = []
        try:
            rest = self.rule(lowered.rule)[0] & self.domain & self._tests(entry.tests)
            # The largest first: what is left stays small, and few rules are named.
            for cover in sorted(covers, key=lambda c: len(c.tests)):
                taken = self._cover(cover, chain)
                if taken is None:
                    continue
                if not (rest & taken).satisfiable():
                    continue
                rest = rest & ~taken
                found.append(cover.number)
                if not rest.satisfiable():
                    return sorted(set(found))
        except (DDMemoryError, OutOfNodes):
            return []
        return []

    def _cover(self, cover: Cover, chain: Chain) -> BDDFunction | None:
        if cover.exact:
            return self._tests(cover.tests)
        rule = chain.rules[cover.number]
        last = rule.statements[-1] if rule.statements else None
        ends = isinstance(last, Reject | Nat) or (isinstance(last, Verdict) and last.target.kind in LEAVES)
        taken, whole = self.rule(rule)
        return taken if ends and whole else None
