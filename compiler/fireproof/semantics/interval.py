"""Sets of integers as sorted, disjoint, inclusive intervals."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from functools import lru_cache

Pair = tuple[int, int]


class Intervals:
    """An immutable set of non-negative integers. `pairs` are sorted, disjoint and not adjoining."""

    __slots__ = ("_hash", "_lows", "pairs")

    def __init__(self, pairs: Iterable[Pair] = ()) -> None:
        joined: list[Pair] = []
        for low, high in sorted(pairs):
            if joined and low <= joined[-1][1] + 1:
                if high > joined[-1][1]:
                    joined[-1] = (joined[-1][0], high)
            else:
                joined.append((low, high))
        self.pairs = tuple(joined)
        self._lows: list[int] | None = None
        self._hash = hash(self.pairs)

    @classmethod
    def of(cls, low: int, high: int | None = None) -> Intervals:
        return _single(low, low if high is None else high)

    def __contains__(self, value: int) -> bool:
        pairs = self.pairs
        if len(pairs) == 1:
            return pairs[0][0] <= value <= pairs[0][1]
        if self._lows is None:
            self._lows = [low for low, _ in pairs]
        index = bisect_right(self._lows, value) - 1
        return index >= 0 and value <= pairs[index][1]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Intervals) and self.pairs == other.pairs

    def __hash__(self) -> int:
        return self._hash

    def __bool__(self) -> bool:
        return bool(self.pairs)

    def __iter__(self) -> Iterator[Pair]:
        return iter(self.pairs)

    def __or__(self, other: Intervals) -> Intervals:
        return Intervals((*self.pairs, *other.pairs))

    def __and__(self, other: Intervals) -> Intervals:
        found: list[Pair] = []
        mine, theirs = self.pairs, other.pairs
        i = j = 0
        while i < len(mine) and j < len(theirs):
            low, high = max(mine[i][0], theirs[j][0]), min(mine[i][1], theirs[j][1])
            if low <= high:
                found.append((low, high))
            if mine[i][1] < theirs[j][1]:
                i += 1
            else:
                j += 1
        return Intervals(found)

    def complement(self, bits: int) -> Intervals:
        """Everything of `bits` bits that is not in the set."""
        found: list[Pair] = []
        at = 0
        for low, high in self.pairs:
            if low > at:
                found.append((at, low - 1))
            at = high + 1
        if at < 1 << bits:
            found.append((at, (1 << bits) - 1))
        return Intervals(found)

    def covers(self, other: Intervals) -> bool:
        return (self & other).pairs == other.pairs

    def __repr__(self) -> str:
        return "{" + ", ".join(f"{low}-{high}" if low != high else str(low) for low, high in self.pairs) + "}"


@lru_cache(maxsize=65_536)
def _single(low: int, high: int) -> Intervals:
    return Intervals(((low, high),))
