"""Findings about a ruleset: one file for each check in `checks`, all run by `check`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from importlib import import_module

from fireproof.model.ruleset import Ruleset
from fireproof.source.diagnostic import Diagnostic

CHECKS = ("placement", "nesting", "unreachable", "unused")
"""Modules of `fireproof.lint.checks`; each has CODES and a function `run(ruleset)`."""
REFUSED = ("placement", "nesting")
"""The checks whose findings the kernel would refuse to load."""

Check = Callable[[Ruleset], Iterable[Diagnostic]]


def check(ruleset: Ruleset, checks: tuple[str, ...] = CHECKS) -> list[Diagnostic]:
    """All findings, in the order of the files."""
    found: list[Diagnostic] = []
    for name in checks:
        run: Check = import_module(f"fireproof.lint.checks.{name}").run
        found += run(ruleset)
    order = {id(file): number for number, file in enumerate(ruleset.files)}
    found.sort(key=lambda d: (order.get(id(d.span.file), -1), d.span.start) if d.span else (-1, 0))
    return found


def refusals(ruleset: Ruleset) -> list[Diagnostic]:
    """What the kernel would refuse, seen before anybody tries."""
    return check(ruleset, REFUSED)
