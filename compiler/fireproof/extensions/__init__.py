"""The match extensions: each is one file with its type, its syntax tree, its meaning and its output.

A module listed in `MODULES` offers `READERS`: for each name of a grammar rule, the function that makes the statement
from its tree. To add one: a file here, its alternative under `extension` in grammar/nft.lark, its tests.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from fireproof.extensions import connlimit, counter, last, limit, quota, zone
from fireproof.model.statement import Statement

MODULES = (connlimit, counter, last, limit, quota, zone)

Reader = Callable[[Any, Any], Statement]


@cache
def readers() -> dict[str, Reader]:
    """Grammar rule → the function that reads it (context, tree)."""
    return {name: reader for module in MODULES for name, reader in module.READERS.items()}
