"""Which earlier rules a rule overlaps, and which cover it alone: asked for all rules of a chain at once.

Each block of rules gets, for every field, its interval ends in order and for each of them a bit mask of the rules
there. A rule then finds all rules of a block that it overlaps by a few look-ups and a few operations on masks, so a
chain of n rules costs n²/BLOCK small steps: below the cost of reading it up to a few hundred thousand rules.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass

from fireproof.lint.boxes import Field
from fireproof.semantics.interval import Intervals

BLOCK = 8192


@dataclass(slots=True)
class Cover:
    """Something that takes packets off a chain: `number` is its place in the order of rules."""

    number: int
    tests: dict[Field, Intervals]
    exact: bool


@dataclass(slots=True)
class _Axis:
    """One field of a block. The masks hold for values from `ends[k]` up to the next end."""

    ends: list[int]
    inside: list[int]
    """By hull: from the smallest to the largest value of a rule."""
    exactly: list[int]
    """By the values themselves."""
    started: list[int]
    ended: list[int]
    anywhere: int
    """Rules that do not test the field."""


def _axis(covers: list[Cover], key: Field) -> _Axis:
    # For each end: hulls that start and stop there, and values that start and stop there.
    changes: dict[int, list[int]] = {0: [0, 0, 0, 0]}
    anywhere = 0
    for index, cover in enumerate(covers):
        bit = 1 << index
        values = cover.tests.get(key)
        if values is None:
            anywhere |= bit
            continue
        pairs = values.pairs
        changes.setdefault(pairs[0][0], [0, 0, 0, 0])[0] |= bit
        changes.setdefault(pairs[-1][1] + 1, [0, 0, 0, 0])[1] |= bit
        for low, high in pairs:
            changes.setdefault(low, [0, 0, 0, 0])[2] |= bit
            changes.setdefault(high + 1, [0, 0, 0, 0])[3] |= bit
    ends = sorted(changes)
    inside: list[int] = []
    exactly: list[int] = []
    started: list[int] = []
    ended: list[int] = []
    current = precise = begun = over = 0
    for end in ends:
        starts, stops, values_start, values_stop = changes[end]
        current = current & ~stops | starts
        precise = precise & ~values_stop | values_start
        begun |= starts
        over |= stops
        inside.append(current)
        exactly.append(precise)
        started.append(begun)
        ended.append(over)
    return _Axis(ends, inside, exactly, started, ended, anywhere)


def _crowd(axis: _Axis) -> int:
    """How many covers a value of the field meets, summed over a few values."""
    step = max(1, len(axis.inside) // 16)
    return sum((mask | axis.anywhere).bit_count() for mask in axis.inside[::step])


class Block:
    """An index over up to BLOCK covers."""

    def __init__(self, covers: list[Cover]) -> None:
        self.covers = covers
        keys = {key for cover in covers for key in cover.tests}
        axes = {key: _axis(covers, key) for key in keys}
        # The field that tells most rules apart first: most look-ups then end with it.
        self.axes = dict(sorted(axes.items(), key=lambda item: _crowd(item[1])))
        self.exact = sum(1 << index for index, cover in enumerate(covers) if cover.exact)
        self.single = sum(1 << index for index, cover in enumerate(covers) if cover.exact and _single(cover))

    def overlapping(self, tests: dict[Field, Intervals], earlier: int) -> tuple[int, int]:
        """Masks of the covers among `earlier` that overlap these tests (as hulls), and of those that hold them."""
        overlap = earlier
        alone = earlier & self.single
        for key, axis in self.axes.items():
            values = tests.get(key)
            if values is None:
                alone &= axis.anywhere
                continue
            low, high = values.pairs[0][0], values.pairs[-1][1]
            ends = axis.ends
            first = bisect_right(ends, low) - 1
            inside = axis.inside[first]
            if low == high:
                overlap &= inside | axis.anywhere
                alone &= inside | axis.anywhere
            else:
                last = bisect_right(ends, high) - 1
                overlap &= inside | axis.started[last] & ~axis.started[first] | axis.anywhere
                alone &= inside & ~axis.ended[last] | axis.anywhere
            if not overlap:
                return 0, 0
        return overlap, alone

    def at(self, point: dict[Field, int], earlier: int) -> int:
        """The covers that contain a point."""
        mask = earlier
        for key, axis in self.axes.items():
            value = point.get(key)
            if value is None:
                mask &= axis.anywhere
            else:
                mask &= axis.exactly[bisect_right(axis.ends, value) - 1] | axis.anywhere
            if not mask:
                return 0
        return mask


def _single(cover: Cover) -> bool:
    return all(len(values.pairs) == 1 for values in cover.tests.values())


def holds_all(cover: Cover, tests: dict[Field, Intervals]) -> bool:
    """Whether the cover takes everything that these tests allow."""
    return all(key in tests and values.covers(tests[key]) for key, values in cover.tests.items())


def bits(mask: int) -> list[int]:
    """The numbers of the set bits, lowest first."""
    found = []
    while mask:
        low = mask & -mask
        found.append(low.bit_length() - 1)
        mask ^= low
    return found
