"""The concrete algebra: conditions are bools, values are integers, and the packet at hand answers for the registers.

What nothing decides (`choose`) is no, unless the caller said otherwise; every choice that was asked for is noted.
"""

from __future__ import annotations

from collections.abc import Mapping

from fireproof.evaluate.arrival import Arrival
from fireproof.semantics.interval import Intervals
from fireproof.semantics.register import Register


class Concrete:
    """`packet` is the packet under way; `asked` the choices that were consulted for it, with their descriptions."""

    true = True
    false = False

    def __init__(self, choices: Mapping[str, bool] | None = None) -> None:
        self.choices = dict(choices or {})
        self.numbers: dict[str, int] = {}
        self.asked: dict[str, str] = {}
        self.packet: Arrival

    def both(self, left: bool, right: bool) -> bool:
        return left and right

    def either(self, left: bool, right: bool) -> bool:
        return left or right

    def negate(self, condition: bool) -> bool:
        return not condition

    def is_false(self, condition: bool) -> bool:
        return not condition

    def arriving(self, register: Register) -> int:
        if register.choice and register.name in self.numbers:
            return self.numbers[register.name]
        return self.packet.value(register)

    def constant(self, value: int, bits: int) -> int:
        return value

    def select(self, condition: bool, then: int, otherwise: int, bits: int) -> int:
        return then if condition else otherwise

    def slice(self, value: int, bits: int, shift: int, width: int) -> int:
        return value >> shift & ((1 << width) - 1)

    def join(self, parts: list[tuple[int, int]]) -> int:
        joined = 0
        for value, width in parts:
            joined = joined << width | value
        return joined

    def operate(self, operator: str, left: int, right: int, bits: int) -> int:
        return left & right if operator == "&" else left | right if operator == "|" else left ^ right

    def shift(self, value: int, bits: int, distance: int) -> int:
        return (value << distance) & ((1 << bits) - 1) if distance >= 0 else value >> -distance

    def minus_one(self, value: int, bits: int) -> int:
        return (value - 1) & ((1 << bits) - 1)

    def member(self, value: int, bits: int, values: Intervals) -> bool:
        return value in values

    def equal(self, left: int, right: int, bits: int) -> bool:
        return left == right

    def choose(self, name: str, description: str) -> bool:
        self.asked[name] = description
        if name == "delivered locally" and self.packet.local is not None:
            return self.packet.local
        return self.choices.get(name, False)
