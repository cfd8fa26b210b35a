"""The match extensions: each is one file with its type, its syntax tree, its meaning and its output.

A module here offers `READERS`: for each name of a grammar rule, the function that makes the statement from its tree. To
add one: a file here, which is found by itself, its alternative under `extension` in grammar/nft.lark, its tests.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

from fireproof.model.statement import Statement

Reader = Callable[[Any, Any], Statement]


@cache
def readers() -> dict[str, Reader]:
    """Grammar rule → the function that reads it (context, tree)."""
    modules = [import_module(f"{__name__}.{found.name}") for found in iter_modules(__path__)]
    return {name: reader for module in modules for name, reader in module.READERS.items()}
