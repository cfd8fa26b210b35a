"""Interfaces as numbers, so that names and patterns become sets of numbers.

Number 0 is "no interface", whose name is empty. Besides every name that ruleset and host facts mention, each name
pattern stands for one more interface that matches it and nothing longer, and one last number for every other interface.
Host facts close the world: with them, only the interfaces they name exist.
"""

from __future__ import annotations

from collections.abc import Iterable

from fireproof.model.expression import Interval, Name, Part
from fireproof.semantics.interval import Intervals

ABSENT = 0


class Interfaces:
    """A universe of interfaces. `names[n]` is the name of number n."""

    def __init__(self, names: Iterable[str] = (), patterns: Iterable[str] = ()) -> None:
        self.names: list[str] = [""]
        self._numbers: dict[str, int] = {"": ABSENT}
        self._patterns: dict[int, str] = {}
        self._cache: dict[tuple[Part, int], Intervals] = {}
        self.existing: Intervals | None = None
        """The numbers that can occur; None for all."""
        for name in names:
            self.number(name)
        for pattern in patterns:
            self._patterns[self.number(f"{pattern}*")] = pattern

    def number(self, name: str) -> int:
        """The number of an interface, a new one for a new name."""
        found = self._numbers.get(name)
        if found is None:
            found = self._numbers[name] = len(self.names)
            self.names.append(name)
        return found

    def matching_device(self, name: str) -> Intervals:
        """The interfaces that a name of the host facts stands for; it may end in `*`."""
        return self.matching(Name(name.removesuffix("*"), name.endswith("*")))

    def matching(self, part: Part) -> Intervals:
        """The interfaces that a name, pattern or index means."""
        key = (part, len(self.names))
        found = self._cache.get(key)
        if found is None:
            found = self._cache[key] = Intervals(
                (n, n) for n, name in enumerate(self.names) if self._matches(n, name, part)
            )
        return found

    def _matches(self, number: int, name: str, part: Part) -> bool:
        if isinstance(part, Interval):
            # An index says nothing about names; 0 alone is known.
            return number == ABSENT and part.low == 0
        if part.prefix:
            return number != ABSENT and self._patterns.get(number, name).startswith(part.text)
        return name == part.text and number not in self._patterns
