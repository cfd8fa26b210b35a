"""A ruleset as nft text: one batch that replaces our own tables and touches no other.

Loads with nft 1.0.6 and newer, and says exactly what the ruleset says, or `Unprintable` is raised. Every rule carries
its place in the source in its comment.
"""

from __future__ import annotations

from pathlib import Path

from fireproof.emit.naming import clean, name, quoted
from fireproof.emit.nft_declaration import flowtable, named_object, named_set
from fireproof.emit.nft_statement import statement
from fireproof.emit.order import base_chains, interleaved
from fireproof.emit.place import COMMENT_BYTES, comment_of
from fireproof.emit.problem import CannotEmit, Unprintable
from fireproof.model.ruleset import BaseHook, Chain, Rule, Ruleset, Table


def emit(ruleset: Ruleset, tag: bool = True) -> str:
    """The whole batch. `tag`: write the place of every rule into its comment. Raises Unprintable."""
    lines = ["#!/usr/sbin/nft -f", _header(ruleset), ""]
    lines += _reset(ruleset)
    early = interleaved(ruleset)
    if early:
        lines += ["# base chains in the order of registration: of two with the same priority the later one runs first"]
        for table in ruleset.tables.values():
            lines += [f"table {_of(table)} {{", *_table_lines(table), "}"]
        lines += [line for chain in base_chains(ruleset) for line in _early_chain(chain)]
        lines.append("")
    for table in ruleset.tables.values():
        lines += [f"table {_of(table)} {{", *_table_body(table, tag, early), "}", ""]
    return "\n".join(lines)


def rule_text(rule: Rule, tag: bool = False) -> str:
    """One rule as it stands in a chain. Raises Unprintable with the rule's place."""
    try:
        words = [statement(each) for each in rule.statements]
        comment = comment_of(rule, tag)
        if comment:
            words.append(f'comment "{comment}"')
        if not words:
            raise Unprintable("a rule without statements can not be written")
        return " ".join(words)
    except CannotEmit as problem:
        raise problem.at(rule.span) from None


def _header(ruleset: Ruleset) -> str:
    names = ", ".join(clean(Path(file.name).name, 80) for file in ruleset.files[:8])
    more = f" and {len(ruleset.files) - 8} others" if len(ruleset.files) > 8 else ""
    return f"# made by fireproof from {names}{more}" if names else "# made by fireproof"


def _of(table: Table) -> str:
    try:
        return f"{table.family} {name(table.name)}"
    except CannotEmit as problem:
        raise problem.at(table.span) from None


def _reset(ruleset: Ruleset) -> list[str]:
    """Our tables are emptied by adding, so that it is there, and deleting, within the same transaction."""
    if ruleset.replaces:
        return ["flush ruleset", ""]
    keys = list(dict.fromkeys([*ruleset.resets, *ruleset.tables]))
    lines = []
    for family, table in keys:
        lines += [f"add table {family} {name(table)}", f"delete table {family} {name(table)}"]
    return [*lines, ""]


def _table_lines(table: Table) -> list[str]:
    lines = [f"\tflags {','.join(table.flags)}"] if table.flags else []
    return lines + _comment(table.comment, "\t")


def _comment(comment: str | None, indent: str) -> list[str]:
    cleaned = clean(comment, COMMENT_BYTES) if comment else ""
    return [f'{indent}comment "{cleaned}"'] if cleaned else []


def _table_body(table: Table, tag: bool, early: bool) -> list[str]:
    lines = [] if early else _table_lines(table)
    blocks: list[list[str]] = []
    blocks += [named_object(each) for each in table.objects.values()]
    blocks += [named_set(each) for each in table.sets.values()]
    blocks += [flowtable(each) for each in table.flowtables.values()]
    blocks += [_chain(each, tag, early) for each in table.chains.values()]
    for block in blocks:
        lines += ([""] if lines else []) + [f"\t{line}" for line in block]
    return lines


def _chain(chain: Chain, tag: bool, early: bool) -> list[str]:
    try:
        lines = [f"chain {name(chain.name)} {{"]
        if not (early and chain.base):
            if chain.base:
                lines += [f"\t{line}" for line in _hook(chain.base)]
            lines += _comment(chain.comment, "\t")
        return [*lines, *(f"\t{rule_text(rule, tag)}" for rule in chain.rules), "}"]
    except CannotEmit as problem:
        raise problem.at(chain.span) from None


def _early_chain(chain: Chain) -> list[str]:
    assert chain.base is not None
    try:
        inner = [*_hook(chain.base), *_comment(chain.comment, "")]
        return [f"add chain {_of(chain.table)} {name(chain.name)} {{ {' '.join(f'{line};' for line in inner)} }}"]
    except CannotEmit as problem:
        raise problem.at(chain.span) from None


def _hook(base: BaseHook) -> list[str]:
    device = ""
    if len(base.devices) == 1:
        device = f" device {quoted(base.devices[0])}"
    elif base.devices:
        device = f" devices = {{ {', '.join(map(quoted, base.devices))} }}"
    lines = [f"type {base.type} hook {base.hook}{device} priority {base.priority}"]
    if base.flags:
        lines.append(f"flags {','.join(base.flags)}")
    return [*lines, f"policy {base.policy}"]
