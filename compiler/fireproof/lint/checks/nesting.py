"""Loops of calls, and calls nested deeper than the kernel allows: 15 from a base chain, jumps and gotos alike."""

from __future__ import annotations

from collections.abc import Iterator

from fireproof.lint.calls import Call, Calls, calls_of
from fireproof.model.ruleset import Chain, Ruleset, Table
from fireproof.netfilter.hooks import MAX_JUMPS
from fireproof.source.diagnostic import Diagnostic, Related, Severity

REFUSED = True
CODES = {
    "jump-loop": "a chain that can come back to itself",
    "jump-depth": "jumps nested deeper than the kernel allows",
}


def run(ruleset: Ruleset) -> Iterator[Diagnostic]:
    for table in ruleset.tables.values():
        yield from _table(table)


def _table(table: Table) -> Iterator[Diagnostic]:
    calls = calls_of(table)
    loop = find_loop(table, calls)
    if loop is not None:
        based = {chain.name for chain in table.chains.values() if chain.base is not None}
        refused = loop[0].caller.name in calls.reached([table.chains[name] for name in based])
        path = " → ".join([loop[0].caller.name, *(call.chain.name for call in loop)])
        yield Diagnostic(
            "jump-loop", Severity.ERROR if refused else Severity.WARNING,
            f"chains call each other in a circle: {path}", loop[0].rule.span, "",
            "the kernel refuses this" if refused else "the kernel refuses this once a base chain leads here",
            tuple(Related("then", c.rule.span) for c in loop[1:8]),
        )  # fmt: skip
        return
    depth: dict[str, tuple[int, Call | None]] = {}
    for chain in table.chains.values():
        if chain.base is not None:
            levels, first = _depth(chain, calls, depth)
            if levels >= MAX_JUMPS:
                assert first is not None
                yield Diagnostic(
                    "jump-depth", Severity.ERROR,
                    f"calls from `{chain.name}` are nested {levels} deep, the kernel allows {MAX_JUMPS - 1}",
                    first.rule.span, "", "flatten the chains; a goto counts like a jump",
                )  # fmt: skip


def find_loop(table: Table, calls: Calls) -> list[Call] | None:
    """The calls of some circle, of one that base chains lead to first.

    Iterative: a million chains in a row must not exhaust the stack.
    """
    done: set[str] = set()
    for start in sorted(table.chains, key=lambda name: table.chains[name].base is None):
        if start in done:
            continue
        path: list[Call] = []
        on_path = {start: 0}
        stack = [(start, iter(calls.by_caller.get(start, ())))]
        while stack:
            name, following = stack[-1]
            call = next(following, None)
            if call is None:
                stack.pop()
                done.add(name)
                on_path.pop(name, None)
                if path:
                    path.pop()
                continue
            callee = call.chain.name
            if callee in on_path:
                return [*path, call][on_path[callee] :]
            if callee not in done:
                path.append(call)
                on_path[callee] = len(path)
                stack.append((callee, iter(calls.by_caller.get(callee, ()))))
    return None


def _depth(chain: Chain, calls: Calls, known: dict[str, tuple[int, Call | None]]) -> tuple[int, Call | None]:
    """Levels of calls below a chain, and the call that begins the deepest. There are no loops."""
    stack = [chain.name]
    while stack:
        name = stack[-1]
        if name in known:
            stack.pop()
            continue
        missing = [call.chain.name for call in calls.by_caller.get(name, ()) if call.chain.name not in known]
        if missing:
            stack += missing
            continue
        best: tuple[int, Call | None] = (0, None)
        for call in calls.by_caller.get(name, ()):
            levels = known[call.chain.name][0] + 1
            if levels > best[0] or best[1] is None:
                best = (levels, call)
        known[name] = best
        stack.pop()
    return known[chain.name]
