"""Statements and matches where the kernel does not allow them: `dnat` in postrouting, `fib saddr oif` in output."""

from __future__ import annotations

from collections.abc import Iterator

from fireproof.extensions.connlimit import ConnectionLimit
from fireproof.lint.calls import calls_of, hooks_reaching
from fireproof.model.expression import Ct, Expression, Fib, Ipsec, Meta, OsFingerprint, Payload, Routing, SocketKey
from fireproof.model.ruleset import Chain, Rule, Ruleset, Table
from fireproof.model.statement import (
    Duplicate,
    FlowOffload,
    Forward,
    Mangle,
    Match,
    Nat,
    Notrack,
    ObjectReference,
    Queue,
    Reject,
    Statement,
    Synproxy,
    Tproxy,
)
from fireproof.netfilter.hooks import expression_allowed, statement_allowed, statements
from fireproof.source.diagnostic import Diagnostic, Related, Severity
from fireproof.syntax.references import expressions, walk

REFUSED = True
CODES = {
    "wrong-place": "a statement in a chain where the kernel refuses it",
}

_STATEMENTS = statements()
_NAMES: dict[type, str] = {
    Reject: "reject", Notrack: "notrack", Queue: "queue", Tproxy: "tproxy", Synproxy: "synproxy", Duplicate: "dup",
    Forward: "fwd", FlowOffload: "flow", ConnectionLimit: "ct count",
}  # fmt: skip


def run(ruleset: Ruleset) -> Iterator[Diagnostic]:
    for table in ruleset.tables.values():
        reaching = hooks_reaching(table, calls_of(table))
        for chain in table.chains.values():
            bases = reaching.get(chain.name, [])
            verdicts: dict[str, Chain | None] = {}
            for rule in chain.rules:
                for name in _names(rule):
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


_PLAIN = (Payload,)
"""What nearly every rule reads: legal everywhere."""


def _names(rule: Rule) -> Iterator[str]:
    """What stands in a rule, by the names of the tables of what is legal where."""
    for statement in rule.statements:
        if name := _name(statement):
            yield name
        if type(statement) is Match and type(statement.left) in _PLAIN:
            continue
        for expression in expressions(statement):
            for inner in walk(expression):
                if name := _expression_name(inner):
                    yield name
        for inner_statement in getattr(statement, "stateful", ()):
            if name := _name(inner_statement):
                yield name


def _expression_name(expression: Expression) -> str:
    if isinstance(expression, Fib):
        return "fib type" if expression.result == "type" else "fib oif"
    if isinstance(expression, Routing):
        return "rt mtu" if expression.key == "mtu" else "rt"
    if isinstance(expression, Ipsec):
        return f"ipsec {expression.direction}"
    if isinstance(expression, Meta):
        return _META.get(expression.key, "")
    return {SocketKey: "socket", OsFingerprint: "osf", Ct: "ct"}.get(type(expression), "")


_META = {
    "ipsec": "meta ipsec", "secpath": "meta ipsec", "sdif": "meta sdif", "sdifname": "meta sdif",
    "ibrname": "meta ibrname", "obrname": "meta ibrname", "ibriport": "meta ibrname", "obriport": "meta ibrname",
}  # fmt: skip


def _name(statement: Statement) -> str:
    """The name of a statement that is not legal everywhere; empty for the others."""
    name = ""
    if isinstance(statement, Nat):
        return statement.kind
    if isinstance(statement, Mangle):
        if isinstance(statement.target, Meta | Ct):
            name = f"{'meta' if isinstance(statement.target, Meta) else 'ct'} {statement.target.key} set"
    elif isinstance(statement, ObjectReference):
        name = f"{statement.kind} set"
    else:
        name = _NAMES.get(type(statement), "")
    return name if name in _STATEMENTS else ""


def _allowed(name: str, table: Table, base: Chain) -> bool:
    assert base.base is not None
    if name not in _STATEMENTS:
        return expression_allowed(name, table.family, base.base.type, base.base.hook)
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
