"""Findings about a ruleset: one file for each check in `checks`, all run by `check`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

from fireproof.lint import checks
from fireproof.model.ruleset import Ruleset
from fireproof.source.diagnostic import Diagnostic, Severity

Check = Callable[[Ruleset], Iterable[Diagnostic]]


@cache
def modules() -> tuple[Any, ...]:
    """The checks: a file put into `checks` is found by itself."""
    return tuple(import_module(f"{checks.__name__}.{found.name}") for found in iter_modules(checks.__path__))


def check(ruleset: Ruleset, refused_only: bool = False) -> list[Diagnostic]:
    """All findings, in the order of the files; `refused_only` leaves it at what the kernel would refuse to load."""
    found: list[Diagnostic] = []
    for module in modules():
        if module.REFUSED or not refused_only:
            run: Check = module.run
            found += (d for d in run(ruleset) if d.severity is Severity.ERROR or not refused_only)
    order = {id(file): number for number, file in enumerate(ruleset.files)}
    found.sort(key=lambda d: (order.get(id(d.span.file), -1), d.span.start) if d.span else (-1, 0))
    return found


def refusals(ruleset: Ruleset) -> list[Diagnostic]:
    """What the kernel would refuse, seen before anybody tries."""
    return check(ruleset, refused_only=True)
