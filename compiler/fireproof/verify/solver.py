"""The algebra of Z3 terms: conditions are Bool, values are BitVec. For questions about several packets at once."""

from __future__ import annotations

from time import monotonic
from typing import Any, TypeAlias

import z3

from fireproof.semantics.interval import Intervals
from fireproof.semantics.register import Register
from fireproof.verify.diagram import OutOfTime

Condition: TypeAlias = Any
"""A `z3.BoolRef`; Z3 publishes no types."""
Value: TypeAlias = Any
"""A `z3.BitVecRef`."""


class Terms:
    """The algebra. Constants are folded on the way, so that what is plainly false is seen to be."""

    def __init__(self, deadline: float | None = None) -> None:
        """`deadline` is a moment of time.monotonic(); past it OutOfTime is raised."""
        self.deadline = deadline
        self.context = z3.Context()
        self.true: Condition = z3.BoolVal(True, self.context)
        self.false: Condition = z3.BoolVal(False, self.context)
        self.registers: dict[Register, Value] = {}
        self.choices: dict[str, tuple[Condition, str]] = {}

    # ---- conditions ------------------------------------------------------------------------------------------------
    def both(self, left: Condition, right: Condition) -> Condition:
        if self.deadline is not None and monotonic() > self.deadline:
            raise OutOfTime
        if z3.is_true(left) or z3.is_false(right):
            return right
        if z3.is_true(right) or z3.is_false(left):
            return left
        return z3.And(left, right)

    def either(self, left: Condition, right: Condition) -> Condition:
        if z3.is_false(left) or z3.is_true(right):
            return right
        if z3.is_false(right) or z3.is_true(left):
            return left
        return z3.Or(left, right)

    def negate(self, condition: Condition) -> Condition:
        if z3.is_true(condition):
            return self.false
        if z3.is_false(condition):
            return self.true
        return z3.Not(condition)

    def is_false(self, condition: Condition) -> bool:
        return bool(z3.is_false(condition))

    def choose(self, name: str, description: str) -> Condition:
        found = self.choices.get(name)
        if found is None:
            found = self.choices[name] = (z3.Bool(f"choice {name}", self.context), description)
        return found[0]

    # ---- values ----------------------------------------------------------------------------------------------------
    def arriving(self, register: Register) -> Value:
        found = self.registers.get(register)
        if found is None:
            found = self.registers[register] = z3.BitVec(register.name, register.bits, self.context)
        return found

    def constant(self, value: int, bits: int) -> Value:
        return z3.BitVecVal(value, bits, self.context)

    def select(self, condition: Condition, then: Value, otherwise: Value, bits: int) -> Value:
        if z3.is_true(condition) or then.eq(otherwise):
            return then
        if z3.is_false(condition):
            return otherwise
        return z3.If(condition, then, otherwise)

    def slice(self, value: Value, bits: int, shift: int, width: int) -> Value:
        if width == bits:
            return value
        return _fold(z3.Extract(shift + width - 1, shift, value))

    def join(self, parts: list[tuple[Value, int]]) -> Value:
        return parts[0][0] if len(parts) == 1 else z3.Concat(*(value for value, _ in parts))

    def operate(self, operator: str, left: Value, right: Value, bits: int) -> Value:
        if operator == "&":
            return _fold(left & right)
        return _fold(left | right) if operator == "|" else _fold(left ^ right)

    def shift(self, value: Value, bits: int, distance: int) -> Value:
        if abs(distance) >= bits:
            return self.constant(0, bits)
        if distance >= 0:
            return _fold(value << distance)
        return _fold(z3.LShR(value, -distance))

    def minus_one(self, value: Value, bits: int) -> Value:
        return _fold(value - 1)

    def member(self, value: Value, bits: int, values: Intervals) -> Condition:
        if z3.is_bv_value(value):
            return self.true if value.as_long() in values else self.false
        top = (1 << bits) - 1
        found = []
        for low, high in values.pairs:
            if low == 0 and high >= top:
                return self.true
            if low > top:
                continue
            found.append(self._between(value, bits, low, min(high, top)))
        if not found:
            return self.false
        return found[0] if len(found) == 1 else z3.Or(*found)

    def _between(self, value: Value, bits: int, low: int, high: int) -> Condition:
        if low == high:
            return value == self.constant(low, bits)
        size = high - low + 1
        if size & (size - 1) == 0 and low % size == 0:
            # A prefix: compare the upper bits only, which bit-blasts to almost nothing.
            rest = size.bit_length() - 1
            return z3.Extract(bits - 1, rest, value) == self.constant(low >> rest, bits - rest)
        bounds = []
        if low:
            bounds.append(z3.UGE(value, self.constant(low, bits)))
        if high < (1 << bits) - 1:
            bounds.append(z3.ULE(value, self.constant(high, bits)))
        return bounds[0] if len(bounds) == 1 else z3.And(*bounds)

    def equal(self, left: Value, right: Value, bits: int) -> Condition:
        if z3.is_bv_value(left) and z3.is_bv_value(right):
            return self.true if left.as_long() == right.as_long() else self.false
        return self.true if left.eq(right) else left == right

    # ---- asking ----------------------------------------------------------------------------------------------------
    def solve(self, conditions: list[Condition], milliseconds: int) -> tuple[str, z3.ModelRef | None]:
        """`sat` with a model, `unsat`, or `unknown` when the time is over."""
        solver = z3.SolverFor("QF_BV", ctx=self.context)
        solver.set("timeout", milliseconds)
        solver.add(*conditions)
        answer = str(solver.check())
        return answer, solver.model() if answer == "sat" else None

    def assignment(self, model: z3.ModelRef) -> tuple[dict[Register, int], dict[str, bool]]:
        """What the registers hold in a model, and how the choices fall."""
        values = {r: model.eval(v, model_completion=True).as_long() for r, v in self.registers.items()}
        choices = {
            name: bool(z3.is_true(model.eval(term, model_completion=True))) for name, (term, _) in self.choices.items()
        }
        return values, choices


def _fold(value: Value) -> Value:
    """The number, where an operation was between numbers."""
    return z3.simplify(value) if all(z3.is_bv_value(child) for child in value.children()) else value
