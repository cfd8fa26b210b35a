"""Which chain calls which: the jump graph of a table."""

from __future__ import annotations

from dataclasses import dataclass, field

from fireproof.model.ruleset import Chain, Rule, Table
from fireproof.model.statement import Verdict, VerdictMap
from fireproof.syntax.references import targets


@dataclass(frozen=True, slots=True)
class Call:
    """A rule that can go to `chain`; `kind` is jump or goto."""

    caller: Chain
    rule: Rule
    kind: str
    chain: Chain


@dataclass(slots=True)
class Calls:
    """The calls of one table, by caller and by callee, in the order of the rules."""

    by_caller: dict[str, list[Call]] = field(default_factory=dict)
    by_callee: dict[str, list[Call]] = field(default_factory=dict)

    def reached(self, start: list[Chain]) -> set[str]:
        """The names of the chains that can be reached from some, themselves included."""
        found = {chain.name for chain in start}
        waiting = list(found)
        while waiting:
            for call in self.by_caller.get(waiting.pop(), ()):
                if call.chain.name not in found:
                    found.add(call.chain.name)
                    waiting.append(call.chain.name)
        return found


def calls_of(table: Table) -> Calls:
    calls = Calls()
    for chain in table.chains.values():
        for rule in chain.rules:
            last = rule.statements[-1] if rule.statements else None
            if not isinstance(last, Verdict | VerdictMap):
                continue
            if isinstance(last, Verdict) and last.target.chain is None:
                continue
            for target in dict.fromkeys(targets(last, table)):
                callee = table.chains.get(target.chain) if target.chain else None
                if callee is not None:
                    call = Call(chain, rule, target.kind, callee)
                    calls.by_caller.setdefault(chain.name, []).append(call)
                    calls.by_callee.setdefault(callee.name, []).append(call)
    return calls


def hooks_reaching(table: Table, calls: Calls) -> dict[str, list[Chain]]:
    """For each chain, the base chains from which packets can come to it."""
    found: dict[str, list[Chain]] = {}
    for chain in table.chains.values():
        if chain.base is not None:
            for name in calls.reached([chain]):
                found.setdefault(name, []).append(chain)
    return found
