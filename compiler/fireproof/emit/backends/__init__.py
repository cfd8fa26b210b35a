"""The targets of `compile`, one file each; a file put here is found by its TARGET.

A backend offers `write(ruleset, tag) -> str` (raising CannotEmit for what its format cannot say), `read(text)`, by
which the output is proved, and `LOADS_AS`, the format in which nft loads it (None when it does not).
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from typing import Any


@cache
def backends() -> dict[str, Any]:
    """Target → module."""
    modules = [import_module(f"{__name__}.{found.name}") for found in iter_modules(__path__)]
    return {module.TARGET: module for module in modules}
