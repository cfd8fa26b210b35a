"""What an algebra must offer to run the semantics: conditions `P` and values `V`.

The evaluator's conditions are bools and its values integers; packet sets use decision diagrams and vectors of them; the
solver uses Z3 terms. A value has a width in bits, known to whoever asks.
"""

from __future__ import annotations

from typing import Protocol, TypeVar

from fireproof.semantics.interval import Intervals
from fireproof.semantics.register import Register

P = TypeVar("P")
V = TypeVar("V")


class Algebra(Protocol[P, V]):
    true: P
    false: P

    def both(self, left: P, right: P) -> P: ...
    def either(self, left: P, right: P) -> P: ...
    def negate(self, condition: P) -> P: ...
    def is_false(self, condition: P) -> bool:
        """Whether it is known to be false. May say no for a condition that is false but hard to see."""
        ...

    def arriving(self, register: Register) -> V:
        """The value that a register has when the packet arrives."""
        ...

    def constant(self, value: int, bits: int) -> V: ...
    def select(self, condition: P, then: V, otherwise: V, bits: int) -> V: ...
    def slice(self, value: V, bits: int, shift: int, width: int) -> V: ...
    def join(self, parts: list[tuple[V, int]]) -> V:
        """Concatenates values given with their widths, the most significant first."""
        ...

    def operate(self, operator: str, left: V, right: V, bits: int) -> V:
        """Bitwise `&`, `|` or `^`."""
        ...

    def shift(self, value: V, bits: int, distance: int) -> V:
        """Left by a positive distance, right by a negative one; zeros move in."""
        ...

    def minus_one(self, value: V, bits: int) -> V: ...
    def member(self, value: V, bits: int, values: Intervals) -> P: ...
    def equal(self, left: V, right: V, bits: int) -> P: ...

    def choose(self, name: str, description: str) -> P:
        """A condition that nothing decides: the same name is the same choice."""
        ...
