"""The order in which base chains are registered.

The kernel runs chains of one hook and priority in the opposite order of their registration, so it is part of the
meaning of a ruleset.
"""

from __future__ import annotations

from fireproof.model.ruleset import Chain, Ruleset


def by_table(ruleset: Ruleset) -> list[Chain]:
    """Base chains in the order in which table blocks, one after the other, register them."""
    return [chain for table in ruleset.tables.values() for chain in table.chains.values() if chain.base]


def base_chains(ruleset: Ruleset) -> list[Chain]:
    """Base chains in their order of registration; a ruleset that tells none has the order of its tables."""
    return ruleset.registration or by_table(ruleset)


def interleaved(ruleset: Ruleset) -> bool:
    """Whether table blocks alone would register chains in another order."""
    return base_chains(ruleset) != by_table(ruleset)
