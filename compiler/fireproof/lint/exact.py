"""Exact answers about single rules, by packet sets: is there a packet that matches, and that nothing before takes?"""

from __future__ import annotations

from oxidd.bdd import BDDFunction
from oxidd.util import DDMemoryError

from fireproof.lint.boxes import DOMAINS, Box, Field
from fireproof.lint.chain_rules import Lowered, Lowering
from fireproof.lint.coverage import Cover
from fireproof.model.ruleset import Chain, Rule, Table
from fireproof.model.statement import Match, Reject, Verdict
from fireproof.semantics import register as reg
from fireproof.semantics.flight import Flight, Site, World
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
        world: World[BDDFunction, Value] = World(self.algebra, interfaces, None)
        self.flight: Flight[BDDFunction, Value] = Flight(world, tracked=self.algebra.true)
        self.site = Site(table, "lint")
        self._rules: dict[int, tuple[Rule, BDDFunction]] = {}
        # Without an entry only the state can be read.
        entry = self.algebra.member(
            self.flight.read(reg.CT_STATE),
            reg.CT_STATE.bits,
            Intervals((s, s) for s in (reg.NEW, reg.ESTABLISHED, reg.RELATED)),
        )
        self.flight.tracked = entry
        self.domain = self._tests({(r, 0, r.bits): values for r, values in DOMAINS.items()})

    def _tests(self, tests: dict[Field, Intervals]) -> BDDFunction:
        found = self.algebra.true
        for (register, shift, width), values in tests.items():
            value = self.algebra.slice(self.flight.arriving(register), register.bits, shift, width)
            found = found & self.algebra.member(value, width, values)
        return found

    def rule(self, rule: Rule) -> BDDFunction:
        """What a rule matches; the parts that hang on free choices taken as matching."""
        known = self._rules.get(id(rule))
        if known is not None:
            return known[1]
        found = self.algebra.true
        volatile = self.lowering.volatile
        for statement in rule.statements:
            if isinstance(statement, Match):
                condition = matches(self.flight, statement, self.site)
                if volatile and self._speaks_of(condition, volatile):
                    continue
                found = found & condition
            elif isinstance(statement, Reject) and statement.kind == "tcp-reset":
                found = found & self.algebra.member(self.flight.read(reg.L4PROTO), 8, Intervals.of(6))
            elif isinstance(statement, Reject) and statement.kind in ("icmp", "icmpv6"):
                found = found & self.flight.is_family(0 if statement.kind == "icmp" else 1)
        self._rules[id(rule)] = (rule, found)
        return found

    def _speaks_of(self, condition: BDDFunction, registers: frozenset[reg.Register]) -> bool:
        for register in registers:
            for bit in self.algebra.registers.get(register, ()):
                if condition.exists(bit) != condition:
                    return True
        return False

    def is_empty(self, lowered: Lowered, entry: Box) -> bool:
        try:
            inside = self.rule(lowered.rule) & self.domain & self._tests(entry.tests)
        except (DDMemoryError, OutOfNodes):
            return False
        return not inside.satisfiable()

    def blockers(self, lowered: Lowered, entry: Box, covers: list[Cover], chain: Chain) -> list[int]:
        """The rules that together take everything of this one, or nothing when they do not."""
        if len(covers) > MAX_SUBTRACTED:
            return []
        found: list[int] = []
        try:
            rest = self.rule(lowered.rule) & self.domain & self._tests(entry.tests)
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
        if isinstance(last, Verdict) and last.target.kind in ("accept", "drop", "return", "goto"):
            if self.lowering.volatile and any(
                isinstance(s, Match) and self._speaks_of(matches(self.flight, s, self.site), self.lowering.volatile)
                for s in rule.statements
            ):
                return None
            return self.rule(rule)
        return None
