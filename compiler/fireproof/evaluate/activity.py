"""Which IP versions the kernel would track connections of, and which have NAT: only those whose tables ask for it.

Source: Linux 6.18 switches connection tracking on for a family when the first rule that needs it is loaded.
"""

from __future__ import annotations

from fireproof.model.expression import Ct
from fireproof.model.ruleset import Chain, Ruleset
from fireproof.model.statement import FlowOffload, Nat, ObjectReference, Statement, Synproxy
from fireproof.extensions.connlimit import ConnectionLimit
from fireproof.syntax.references import expressions, walk

_VERSIONS = {"ip": frozenset((4,)), "ip6": frozenset((6,)), "inet": frozenset((4, 6))}


def tracked_versions(ruleset: Ruleset) -> frozenset[int]:
    found: frozenset[int] = frozenset()
    for table in ruleset.tables.values():
        versions = _VERSIONS.get(table.family, frozenset())
        if versions <= found:
            continue
        if any(_asks(chain) for chain in table.chains.values()):
            found |= versions
    return found


def nat_versions(ruleset: Ruleset) -> frozenset[int]:
    found: frozenset[int] = frozenset()
    for chain in ruleset.registration:
        if chain.base is not None and chain.base.type == "nat" and "dormant" not in chain.table.flags:
            found |= _VERSIONS.get(chain.table.family, frozenset())
    return found


def _asks(chain: Chain) -> bool:
    if chain.base is not None and chain.base.type == "nat":
        return True
    return any(_needs(statement) for rule in chain.rules for statement in rule.statements)


def _needs(statement: Statement) -> bool:
    if isinstance(statement, Nat | Synproxy | FlowOffload | ConnectionLimit):
        return True
    if isinstance(statement, ObjectReference) and statement.kind.startswith("ct"):
        return True
    if any(isinstance(inner, Ct) for expression in expressions(statement) for inner in walk(expression)):
        return True
    return any(isinstance(inner, ConnectionLimit) for inner in getattr(statement, "stateful", ()))
