"""Reads the `.t` rule tests of nftables: tables and chains to try in, then `rule;ok`, `rule;ok;listing`, `rule;fail`.

`:chain;spec` declares a chain, `*family;table;chains` a table, `!`, `?` and `%` add a set, elements and an object. A
line that starts with `-` or `#` is switched off. The expectations are those of nft 1.0.6, where the files come from.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Case:
    """One line: the `commands` that stand for it in each family, after the `preludes` that they need."""

    place: str
    text: str
    accepted: bool
    listing: str
    programs: tuple[tuple[str, str], ...]
    """(family, whole program), one for each table and chain that the file names."""

    @property
    def is_rule(self) -> bool:
        return self.text[0] not in "!?%"


@dataclass
class _Table:
    family: str
    name: str
    chains: list[str]
    declared: list[str] = field(default_factory=list)


def cases(file: Path) -> Iterator[Case]:
    chains: dict[str, str] = {}
    tables: list[_Table] = []
    for number, raw in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
        line = raw.strip()
        place = f"{file.parent.name}/{file.name}:{number}"
        if not line or line[0] in "#-":
            continue
        if line[0] == ":":
            name, _, spec = line[1:].partition(";")
            chains[name] = spec
        elif line[0] == "*":
            family, name, of_table = line[1:].split(";")[:3]
            tables.append(_Table(family, name, of_table.split(",")))
        else:
            text, state, listing = _parts(line)
            if state not in ("ok", "fail"):
                continue
            programs = []
            for table in tables:
                commands = _commands(text, table)
                for command in commands:
                    programs.append((table.family, _prelude(table, chains) + command + "\n"))
                if line[0] in "!?%" and state == "ok":
                    table.declared.append(commands[0])
            yield Case(place, text, state == "ok", listing, tuple(programs))


def _parts(line: str) -> tuple[str, str, str]:
    """The line at its `;ok` or `;fail`, since a block in it has semicolons of its own."""
    found = re.match(r"(.*?);\s*(ok|fail)\s*(?:;(.*))?\Z", line)
    return (found[1].strip(), found[2], found[3] or "") if found else (line, "", "")


def _prelude(table: _Table, chains: dict[str, str]) -> str:
    lines = [f"add table {table.family} {table.name}"]
    lines += [f"add chain {table.family} {table.name} {name} {{ {chains[name]}; }}" for name in table.chains]
    return "\n".join([*lines, *table.declared, ""])


def _commands(text: str, table: _Table) -> list[str]:
    at = f"{table.family} {table.name}"
    if text[0] == "!":
        name, _, rest = text[1:].partition(" ")
        kind = "map" if re.match(r"type[^:]*:", rest) else "set"
        rest = re.sub(r"\s+(?=(?:flags|timeout)\b)", "; ", rest)
        return [f"add {kind} {at} {name} {{ {rest}; }}"]
    if text[0] == "?":
        name, _, rest = text[1:].partition(" ")
        return [f"add element {at} {name} {{ {rest} }}"]
    if text[0] == "%":
        name, _, rest = text[1:].partition(" ")
        found = re.match(r"type\s+(ct \w+|\w+)\s*(.*)", rest)
        assert found, text
        kind, settings = found.groups()
        if kind == "limit" and not settings.startswith("rate"):
            settings = settings.removeprefix("limit ")
        settings = settings.removeprefix(f"{kind} ")
        return [f"add {kind} {at} {name} {settings}"]
    return [f"add rule {at} {chain} {text}" for chain in table.chains]
