"""Which IP versions the kernel would track connections of, and which have NAT: only those whose tables ask for it.

Source: Linux 6.18 switches connection tracking on for a family when the first rule that needs it is loaded.
"""

from __future__ import annotations

from fireproof.extensions.connlimit import ConnectionLimit
from fireproof.model.expression import Ct
from fireproof.model.ruleset import Ruleset
from fireproof.model.statement import FlowOffload, Nat, ObjectReference, Statement, Synproxy
from fireproof.syntax.references import expressions, walk

_VERSIONS = {"ip": frozenset((4,)), "ip6": frozenset((6,)), "inet": frozenset((4, 6))}


def tracked_versions(ruleset: Ruleset) -> frozenset[int]:
    found: frozenset[int] = frozenset()
    for table in ruleset.tables.values():
        versions = _VERSIONS.get(table.family, frozenset())
        for chain in table.chains.values():
            for rule in chain.rules:
                for statement in rule.statements:
                    if not versions <= found:
                        found |= _asked_by(statement, versions)
    return found


def nat_versions(ruleset: Ruleset) -> frozenset[int]:
    found: frozenset[int] = frozenset()
    for chain in ruleset.registration:
        if chain.base is not None and chain.base.type == "nat" and "dormant" not in chain.table.flags:
            found |= _VERSIONS.get(chain.table.family, frozenset())
    return found


def _asked_by(statement: Statement, versions: frozenset[int]) -> frozenset[int]:
    """The versions that a statement in a table of `versions` has tracked; a NAT chain as such asks for nothing."""
    if isinstance(statement, Nat) and statement.family is not None:
        return _VERSIONS[statement.family]
    return versions if _needs(statement) else frozenset()


def _needs(statement: Statement) -> bool:
    if isinstance(statement, Nat | Synproxy | FlowOffload | ConnectionLimit):
        return True
    if isinstance(statement, ObjectReference) and statement.kind.startswith("ct"):
        return True
    if any(isinstance(inner, Ct) for expression in expressions(statement) for inner in walk(expression)):
        return True
    return any(isinstance(inner, ConnectionLimit) for inner in getattr(statement, "stateful", ()))
