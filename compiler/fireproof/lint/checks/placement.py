"""Statements where the kernel does not allow them: `dnat` in postrouting, `reject` in prerouting NAT, and so on."""

from __future__ import annotations

from collections.abc import Iterator

from fireproof.lint.calls import calls_of, hooks_reaching
from fireproof.model.expression import Ct, Meta
from fireproof.model.ruleset import Chain, Ruleset, Table
from fireproof.model.statement import (
    Duplicate,
    FlowOffload,
    Forward,
    Mangle,
    Nat,
    Notrack,
    Queue,
    Reject,
    Statement,
    Synproxy,
    Tproxy,
)
from fireproof.netfilter.hooks import statement_allowed, statements
from fireproof.source.diagnostic import Diagnostic, Related, Severity

REFUSED = True
CODES = {
    "wrong-place": "a statement in a chain where the kernel refuses it",
}

_NAMES: dict[type, str] = {
    Reject: "reject", Notrack: "notrack", Queue: "queue", Tproxy: "tproxy", Synproxy: "synproxy", Duplicate: "dup",
    Forward: "fwd", FlowOffload: "flow",
}  # fmt: skip


def run(ruleset: Ruleset) -> Iterator[Diagnostic]:
    known = statements()
    for table in ruleset.tables.values():
        reaching = hooks_reaching(table, calls_of(table))
        for chain in table.chains.values():
            bases = reaching.get(chain.name, [])
            verdicts: dict[str, Chain | None] = {}
            for rule in chain.rules:
                for statement in rule.statements:
                    name = _name(statement)
                    if not name or name not in known:
                        continue
                    if name not in verdicts:
                        verdicts[name] = next((base for base in bases if not _allowed(name, table, base)), None)
                    base = verdicts[name]
                    if base is not None and base.base is not None:
                        where = f"a {base.base.type} chain at {base.base.hook}"
                        related = (
                            (Related(f"`{chain.name}` is reached from here", base.base.span),) if base.base.span else ()
                        )
                        yield Diagnostic(
                            "wrong-place", Severity.ERROR, f"the kernel refuses `{name}` in {where}", rule.span, "",
                            _advice(name), related if base is not chain else (),
                        )  # fmt: skip


def _name(statement: Statement) -> str:
    if isinstance(statement, Nat):
        return statement.kind
    if isinstance(statement, Mangle):
        if isinstance(statement.target, Meta):
            return f"meta {statement.target.key} set"
        if isinstance(statement.target, Ct):
            return f"ct {statement.target.key} set"
        return ""
    return _NAMES.get(type(statement), "")


def _allowed(name: str, table: Table, base: Chain) -> bool:
    assert base.base is not None
    return statement_allowed(name, table.family, base.base.type, base.base.hook)


def _advice(name: str) -> str:
    return {
        "dnat": "dnat works in nat chains at prerouting and output",
        "redirect": "redirect works in nat chains at prerouting and output",
        "snat": "snat works in nat chains at postrouting and input",
        "masquerade": "masquerade works in nat chains at postrouting",
        "reject": "reject works at prerouting, input, forward and output",
        "notrack": "notrack has an effect only before connection tracking: hook prerouting or output, priority raw",
    }.get(name, "")  # fmt: skip
