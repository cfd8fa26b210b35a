"""Rules that no packet reaches because earlier ones take them all, and rules that can match nothing.

All earlier rules count together, not one by one. Boxes settle most rules: those that overlap nothing before them, those
that one rule covers, those with a packet that nothing before takes. For the rest packet sets subtract what overlaps,
from the few packets of the rule itself, so they stay small. What cannot be proved is not reported.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from random import Random
from typing import TYPE_CHECKING

from fireproof.lint.boxes import DOMAINS, Box, Field
from fireproof.lint.calls import Calls, calls_of, hooks_reaching
from fireproof.lint.chain_rules import Lowered, Lowering, is_open
from fireproof.lint.checks.nesting import find_loop
from fireproof.lint.coverage import BLOCK, Block, Cover, bits, holds_all
from fireproof.lint.volatile import volatile_of
from fireproof.model.ruleset import Chain, Ruleset, Table
from fireproof.model.statement import Verdict, VerdictMap
from fireproof.netfilter.hooks import CONNTRACK_PRIORITY
from fireproof.semantics import register as reg
from fireproof.semantics.flight import reach_of
from fireproof.semantics.interfaces import Interfaces
from fireproof.semantics.interval import Intervals
from fireproof.source.diagnostic import Diagnostic, Related, Severity
from fireproof.verify.universe import interfaces_of

if TYPE_CHECKING:
    from fireproof.lint.exact import Exact

REFUSED = False
CODES = {
    "unreachable-rule": "a rule whose packets are all taken by earlier rules",
    "never-matches": "a rule that can match nothing",
}
SAMPLES = 3
"""Packets of a rule that are tried before its neighbours are subtracted exactly."""
TRIED = 16
"""Rules with several values in a field that are tried one by one for taking all of another."""
NAMED = 8
"""Blocking rules that a finding names."""


def run(ruleset: Ruleset) -> Iterator[Diagnostic]:
    interfaces = interfaces_of(ruleset)
    for table in ruleset.tables.values():
        if table.family in ("ip", "ip6", "inet", "netdev"):
            yield from _TableCheck(ruleset, table, interfaces).run()


@dataclass(slots=True)
class _Pending:
    """A rule under examination: what overlaps it so far, and the sampled packets that nothing has taken yet."""

    lowered: Lowered
    number: int
    tests: dict[Field, Intervals]
    points: list[dict[Field, int]] = field(default_factory=list)
    overlaps: bool = False
    overlapping: list[Cover] = field(default_factory=list)
    """Filled in only for the rules that have to be examined exactly."""
    alone: Cover | None = None
    doubtful: bool = False

    @property
    def undecided(self) -> bool:
        """Nothing takes all of it alone, and no packet of it is known that nothing takes."""
        return self.overlaps and self.alone is None and (not self.points or self.doubtful)


class _TableCheck:
    def __init__(self, ruleset: Ruleset, table: Table, interfaces: Interfaces) -> None:
        self.ruleset = ruleset
        self.table = _with_open_sets(table)
        self.interfaces = interfaces
        self.calls: Calls = calls_of(table)
        self.bases = hooks_reaching(table, self.calls)
        self.lowering = Lowering(interfaces, self.table, volatile_of(table))
        self.exact: Exact | None = None
        self.entries: dict[str, Box] = {}

    def run(self) -> Iterator[Diagnostic]:
        loop = find_loop(self.table, self.calls)
        if loop is not None and loop[0].caller.name in self.bases:
            return
        self._enter()
        for chain in self.table.chains.values():
            if chain.name in self.bases:
                yield from self.chain(chain)

    # ---- what can enter a chain ------------------------------------------------------------------------------------
    def _enter(self) -> None:
        """Finds for each chain a box that holds every packet that comes to it: callers first."""
        waiting = {
            name: sum(call.caller.name in self.bases for call in self.calls.by_callee.get(name, ()))
            for name in self.bases
        }
        ready = [name for name, calls in waiting.items() if not calls]
        anything = any(
            isinstance(statement, VerdictMap) and is_open(statement, self.table)
            for name in self.bases
            for rule in self.table.chains[name].rules
            for statement in rule.statements[-1:]
        )
        while ready:
            name = ready.pop()
            chain = self.table.chains[name]
            self.entries[name] = Box({}) if anything and chain.base is None else self._entry(chain)
            for call in self.calls.by_caller.get(name, ()):
                waiting[call.chain.name] -= 1
                if not waiting[call.chain.name]:
                    ready.append(call.chain.name)

    def _entry(self, chain: Chain) -> Box:
        if chain.base is not None:
            return self._base_entry(chain, loopback=True)
        algebra = self.lowering.algebra
        found = algebra.false
        for call in self.calls.by_callee.get(chain.name, ()):
            if call.caller.name in self.bases:
                inside = algebra.both(self.entries[call.caller.name], self.lowering.rule(call.rule).box)
                if not algebra.is_false(inside):
                    # Two boxes are joined to one around both: larger, never smaller.
                    found = algebra.either(found, Box(inside.tests, exact=False))
        return Box(found.tests, exact=True)

    def _base_entry(self, chain: Chain, loopback: bool) -> Box:
        """What a hook lets a base chain see; `loopback`: with what this host sends to itself."""
        base = chain.base
        assert base is not None
        tests: dict[Field, Intervals] = {}

        def say(register: reg.Register, values: Intervals) -> None:
            tests[register, 0, register.bits] = values

        real = self.interfaces.existing or Intervals.of(1, len(self.interfaces.names) - 1)
        absent = Intervals.of(0)
        if base.hook in ("prerouting", "input", "ingress"):
            say(reg.OIF, absent)
            say(reg.IIF, real)
        elif base.hook == "output":
            say(reg.IIF, absent)
            say(reg.OIF, real)
        elif base.hook == "forward":
            say(reg.IIF, real)
            say(reg.OIF, real)
        elif base.hook in ("postrouting", "egress"):
            say(reg.IIF, real | absent)
            say(reg.OIF, real)
        if self.table.family in ("ip", "ip6"):
            say(reg.FAMILY, Intervals.of(0 if self.table.family == "ip" else 1))
        if base.type == "nat":
            # Only the first packet of a flow gets here.
            say(reg.CT_STATE, Intervals([(reg.NEW, reg.NEW), (reg.RELATED, reg.RELATED)]))
        elif not loopback and (
            base.hook == "ingress" or (base.hook == "prerouting" and base.priority < CONNTRACK_PRIORITY)
        ):
            # Before tracking; what comes over the loopback interface still has the entry from its way out.
            say(reg.CT_STATE, Intervals([(reg.INVALID, reg.INVALID), (reg.UNTRACKED, reg.UNTRACKED)]))
        return Box(tests)

    def _place(self, chain: Chain, lowered: Lowered) -> Box:
        """The packets that come to the chain, as far as they concern a rule."""
        if chain.base is None or chain.base.hook not in ("prerouting", "ingress"):
            return self.entries[chain.name]
        iifs = lowered.reached.tests.get((reg.IIF, 0, reg.IIF.bits))
        loopback = iifs is None or bool(iifs & self.interfaces.matching_device("lo"))
        return self._base_entry(chain, loopback)

    # ---- one chain -------------------------------------------------------------------------------------------------
    def chain(self, chain: Chain) -> Iterator[Diagnostic]:
        algebra = self.lowering.algebra
        pending: list[_Pending] = []
        covers: list[Cover] = []
        varies = chain.base is not None and chain.base.hook in ("prerouting", "ingress")
        entry = self.entries[chain.name]
        for number, rule in enumerate(chain.rules):
            lowered = self.lowering.rule(rule)
            if varies:
                entry = self._place(chain, lowered)
            box = algebra.both(entry, lowered.reached)
            if algebra.is_false(box):
                yield self._never(lowered, entry)
                continue
            if lowered.complex and self._exactly_empty(lowered, entry):
                yield self._never(lowered, entry)
                continue
            pending.append(_Pending(lowered, number, box.tests))
            covers += self.lowering.covers(lowered, number)
        self._overlaps(pending, covers)
        self._collect([one for one in pending if one.undecided], covers)
        for one in pending:
            if one.alone is not None:
                yield self._finding(one, [one.alone.number], chain)
            elif one.undecided:
                blockers = self._subtract(one, chain, self._place(chain, one.lowered))
                if blockers:
                    yield self._finding(one, blockers, chain)

    def _overlaps(self, pending: list[_Pending], covers: list[Cover]) -> None:
        """Settles most rules, block by block, so that one block's index is alive at a time."""
        for start in range(0, len(covers), BLOCK):
            part = covers[start : start + BLOCK]
            block = Block(part)
            inexact = sum(1 << index for index, cover in enumerate(part) if not cover.exact)
            earlier, count = 0, 0
            first = part[0].number
            for one in pending:
                if one.number <= first or one.alone is not None:
                    continue
                while count < len(part) and part[count].number < one.number:
                    earlier |= 1 << count
                    count += 1
                overlap, alone = block.overlapping(one.tests, earlier)
                if alone:
                    one.alone = part[(alone & -alone).bit_length() - 1]
                    continue
                if not overlap:
                    continue
                one.doubtful = one.doubtful or bool(overlap & inexact)
                if not one.overlaps:
                    one.overlaps = True
                    one.points = _points(one)
                taken = [block.at(point, earlier & block.exact) for point in one.points]
                one.alone = _one_for_all(part, taken, one.tests)
                one.points = [point for point, mask in zip(one.points, taken, strict=True) if not mask]

    def _collect(self, undecided: list[_Pending], covers: list[Cover]) -> None:
        """Lists what overlaps the rules that are left."""
        for start in range(0, len(covers) if undecided else 0, BLOCK):
            part = covers[start : start + BLOCK]
            block = Block(part)
            for one in undecided:
                earlier = sum(1 << index for index, cover in enumerate(part) if cover.number < one.number)
                overlap, _ = block.overlapping(one.tests, earlier)
                one.overlapping += [part[index] for index in bits(overlap) if _meet(part[index], one)]

    # ---- exactly ---------------------------------------------------------------------------------------------------
    def _prover(self) -> Exact:
        if self.exact is None:
            from fireproof.lint.exact import Exact

            self.exact = Exact(self.table, self.interfaces, self.lowering)
        return self.exact

    def _exactly_empty(self, lowered: Lowered, entry: Box) -> bool:
        return self._prover().is_empty(lowered, entry)

    def _subtract(self, one: _Pending, chain: Chain, entry: Box) -> list[int]:
        return self._prover().blockers(one.lowered, entry, one.overlapping, chain)

    # ---- words -----------------------------------------------------------------------------------------------------
    def _never(self, lowered: Lowered, entry: Box) -> Diagnostic:
        empty = self.lowering.algebra.is_false(lowered.reached)
        why = "its matches contradict each other" if empty else "no packet that comes here is like that"
        detail = "" if empty else _contradiction(lowered.reached, entry, self.interfaces)
        return Diagnostic(
            "never-matches", Severity.WARNING, f"this rule can match nothing: {detail or why}", lowered.rule.span, "",
            "remove it, or correct what it matches",
        )  # fmt: skip

    def _finding(self, one: _Pending, blockers: list[int], chain: Chain) -> Diagnostic:
        numbers = list(dict.fromkeys(blockers))
        rules = [chain.rules[number] for number in numbers]
        lines = ", ".join(str(rule.span.line) for rule in rules[:NAMED])
        more = f" and {len(rules) - NAMED} more" if len(rules) > NAMED else ""
        if len(rules) == 1:
            message = f"this rule is never reached: the rule in line {lines} takes all its packets"
        else:
            message = f"this rule is never reached: together, the rules in lines {lines}{more} take all its packets"
        same = all(_verdict(rule) == _verdict(one.lowered.rule) for rule in rules)
        advice = (
            "remove it: the packets have the same fate without it" if same and _verdict(rules[0])
            else "move it before what blocks it if it should count, or remove it"
        )  # fmt: skip
        related = tuple(Related("blocked by this rule", rule.span) for rule in rules[:NAMED])
        return Diagnostic("unreachable-rule", Severity.WARNING, message, one.lowered.rule.span, "", advice, related)


def _meet(cover: Cover, one: _Pending) -> bool:
    return all(key not in one.tests or values & one.tests[key] for key, values in cover.tests.items())


def _one_for_all(covers: list[Cover], taken: list[int], tests: dict[Field, Intervals]) -> Cover | None:
    """A cover that takes every packet of a rule, sought among those that take all the sampled ones."""
    common = -1
    for mask in taken:
        common &= mask
    if common <= 0:
        return None
    return next((covers[index] for index in bits(common)[:TRIED] if holds_all(covers[index], tests)), None)


def _verdict(rule: object) -> str:
    statements = getattr(rule, "statements", ())
    last = statements[-1] if statements else None
    return last.target.kind if isinstance(last, Verdict) and last.target.chain is None else ""


def _contradiction(box: Box, entry: Box, interfaces: Interfaces) -> str:
    """Which field the chain's place rules out."""
    for key, values in box.tests.items():
        known = entry.tests.get(key)
        if known is None or known & values:
            continue
        register = key[0]
        if register is reg.OIF and known == Intervals.of(0):
            return "the way out is not known yet at this hook"
        if register is reg.IIF and known == Intervals.of(0):
            return "packets of this host come in by no interface"
        if register in (reg.IIF, reg.OIF):
            others = [f"`{name}`" for number, name in enumerate(interfaces.names) if number in values]
            if not others or len(others) > NAMED:
                return "no interface that packets take here is like that"
            return f"the host has no interface {', '.join(others)}"
        if register is reg.CT_STATE:
            return "packets in that conntrack state do not come here"
        if register is reg.FAMILY:
            return "packets of that IP version do not come here"
        return f"packets with that `{register.name}` do not come here"
    return ""


def _with_open_sets(table: Table) -> Table:
    """The table with its empty sets taken as filled by somebody later, as block lists are; constant sets cannot be."""
    sets = {
        name: named if named.elements or "constant" in named.flags else replace(named, updated=True)
        for name, named in table.sets.items()
    }
    return replace(table, sets=sets)


def _points(one: _Pending) -> list[dict[Field, int]]:
    """Some packets of a rule, as far as its box tells: both corners and random ones."""
    random = Random(one.number)
    tests = dict(one.tests)
    found: list[dict[Field, int]] = []
    for sample in range(SAMPLES):
        point: dict[Field, int] = {}
        for key, values in tests.items():
            if sample == 0:
                point[key] = values.pairs[0][0]
            elif sample == 1:
                point[key] = values.pairs[-1][1]
            else:
                low, high = random.choice(values.pairs)
                point[key] = random.randint(low, high)
        found.append(_Everywhere(point, random))
    return found


class _Everywhere(dict[Field, int]):
    """A point with a value for every field: those that the rule leaves open get one when they are asked for."""

    def __init__(self, known: dict[Field, int], random: Random) -> None:
        super().__init__(known)
        self._random = random

    def get(self, key: Field, default: object = None) -> int:
        if key not in self:
            domain = DOMAINS.get(key[0])
            reach = reach_of(key[0])
            if domain is not None:
                self[key] = self._random.choice(domain.pairs)[0]
            elif reach is not None and any(reach <= other for other in map(reach_of, {k[0] for k in self}) if other):
                # A header that has the later bytes has the earlier ones.
                self[key] = 1
            else:
                self[key] = self._random.getrandbits(key[2])
        return self[key]
