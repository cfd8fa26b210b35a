"""Reads the rule tests of nftables in JSON: a `#` line with the rule as text, then its statements as a JSON list."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def json_rule_blocks(file: Path) -> Iterator[tuple[str, list[Any]]]:
    """Every (rule as text, statements) of a `.t.json` file, in its order."""
    rule, lines = "", list[str]()

    def block() -> Iterator[tuple[str, list[Any]]]:
        if text := "".join(lines).strip():
            yield rule, json.loads(text)

    for line in file.read_text(encoding="utf-8").splitlines(keepends=True):
        if line.startswith("#"):
            yield from block()
            rule, lines = line[1:].strip(), []
        else:
            lines.append(line)
    yield from block()
