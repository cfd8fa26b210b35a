"""A ruleset as libnftables JSON: the same batch as the text, for those who load through the library.

Says exactly what the ruleset says, or raises `Unsayable`: nft 1.0.6 ignores keys that it does not know, so what it has
no word for must not be written. Load it from a file, never from standard input, and read back what was loaded.
"""

from __future__ import annotations

from fireproof.emit import json_declaration as declare
from fireproof.emit.json_statement import statement
from fireproof.emit.naming import name
from fireproof.emit.order import base_chains
from fireproof.emit.place import comment_of
from fireproof.emit.problem import CannotEmit, Unsayable
from fireproof.model.ruleset import Chain, Rule, Ruleset, Table

Command = dict[str, object]


def emit(ruleset: Ruleset, tag: bool = True) -> dict[str, list[Command]]:
    """The whole batch. `tag`: write the place of every rule into its comment. Raises Unsayable."""
    tables = list(ruleset.tables.values())
    commands: list[Command] = [{"metainfo": {"json_schema_version": 1}}]
    commands += _reset(ruleset)
    commands += [_add("table", declare.table(table)) for table in tables]
    # All chains before any element or rule that jumps there, base chains in their order of registration.
    plain = [chain for table in tables for chain in table.chains.values() if not chain.base]
    commands += [_add("chain", _declared(chain)) for chain in (*plain, *base_chains(ruleset))]
    for table in tables:
        commands += _declarations(table)
    commands += [
        _add("rule", _rule(chain, rule, tag))
        for table in tables
        for chain in table.chains.values()
        for rule in chain.rules
    ]
    return {"nftables": commands}


def _add(kind: str, what: dict[str, object]) -> Command:
    return {"add": {kind: what}}


def _reset(ruleset: Ruleset) -> list[Command]:
    if ruleset.replaces:
        return [{"flush": {"ruleset": None}}]
    commands: list[Command] = []
    for family, table in dict.fromkeys([*ruleset.resets, *ruleset.tables]):
        place = {"family": family, "name": name(table)}
        commands += [{"add": {"table": place}}, {"delete": {"table": place}}]
    return commands


def _declared(chain: Chain) -> dict[str, object]:
    try:
        return declare.chain(chain)
    except CannotEmit as problem:
        raise problem.at(chain.span) from None


def _declarations(table: Table) -> list[Command]:
    commands = [_add(each.kind, declare.named_object(each)) for each in table.objects.values()]
    commands += [_add("map" if each.is_map else "set", declare.named_set(each)) for each in table.sets.values()]
    commands += [_add("flowtable", declare.flowtable(each)) for each in table.flowtables.values()]
    return commands


def _rule(chain: Chain, rule: Rule, tag: bool) -> dict[str, object]:
    try:
        made: dict[str, object] = {
            "family": chain.table.family,
            "table": name(chain.table.name),
            "chain": name(chain.name),
            "expr": [statement(each) for each in rule.statements],
        }
    except CannotEmit as problem:
        raise problem.at(rule.span) from None
    if not rule.statements:
        raise Unsayable("a rule without statements can not be written", rule.span)
    comment = comment_of(rule, tag)
    return made | {"comment": comment} if comment else made
