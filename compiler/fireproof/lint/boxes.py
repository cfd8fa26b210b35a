"""Boxes: what a rule matches as one set of values for each slice of a register.

This is one more algebra of the same semantics, and a coarse one: a condition is a box, or only known to lie inside a
box. It is cheap, so it sorts out the many rules that plainly overlap or plainly do not; what it cannot say exactly is
left to packet sets.
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass

from fireproof.semantics import register as reg
from fireproof.semantics.interval import Intervals
from fireproof.semantics.register import Register

Field = tuple[Register, int, int]
"""Register, shift and width of a slice."""

SMALL = 8
"""Registers up to this width are kept as a table of values, which takes masks and arithmetic without loss."""


@dataclass(frozen=True, slots=True)
class View:
    """A value that is a slice of an arriving register; `table` maps its raw value to what it has become."""

    field: Field
    table: tuple[int, ...] | None = None


Value = int | View | None
"""A number, a slice, or something only packet sets can follow."""

DOMAINS: dict[Register, Intervals] = {reg.CT_STATE: Intervals((v, v) for v in reg.STATES.values())}
"""Registers that do not take all values of their width."""


class Box:
    """`tests` must all hold. `exact`: that is also enough. `free`: some free choice decides as well."""

    __slots__ = ("exact", "free", "tests")

    def __init__(self, tests: dict[Field, Intervals], exact: bool = True, free: bool = False) -> None:
        self.tests = tests
        self.exact = exact
        self.free = free


class Boxes:
    """The algebra. `volatile` registers are written on the way, so a test of them says nothing about arrival."""

    def __init__(self, volatile: Container[Register] = ()) -> None:
        self.true = Box({})
        self.false: Box = Box({}, exact=True)
        self.false.tests = {(Register("nothing", 1), 0, 1): Intervals()}
        self.volatile = volatile

    def is_false(self, condition: Box) -> bool:
        return any(not values for values in condition.tests.values())

    def both(self, left: Box, right: Box) -> Box:
        if not right.tests and right.exact and not right.free:
            return left
        if not left.tests and left.exact and not left.free:
            return right
        tests = dict(left.tests)
        for field, values in right.tests.items():
            known = tests.get(field)
            tests[field] = values if known is None else known & values
        return Box(tests, left.exact and right.exact, left.free or right.free)

    def either(self, left: Box, right: Box) -> Box:
        if self.is_false(left):
            return right
        if self.is_false(right) or left is self.true:
            return left
        if right is self.true:
            return right
        plain = left.exact and right.exact and not left.free and not right.free
        if plain and len(left.tests) == 1 and left.tests.keys() == right.tests.keys():
            ((field, values),) = left.tests.items()
            return Box({field: values | right.tests[field]})
        hull = {f: v | right.tests[f] for f, v in left.tests.items() if f in right.tests}
        return Box(hull, exact=False, free=left.free or right.free)

    def negate(self, condition: Box) -> Box:
        if not condition.tests and condition.exact and not condition.free:
            return self.false
        if self.is_false(condition):
            return self.true
        if condition.exact and not condition.free and len(condition.tests) == 1:
            ((field, values),) = condition.tests.items()
            domain = DOMAINS.get(field[0])
            rest = values.complement(field[2])
            return Box({field: rest & domain if domain else rest})
        return Box({}, exact=False, free=condition.free)

    def choose(self, name: str, description: str) -> Box:
        return Box({}, exact=False, free=True)

    # ---- values ----------------------------------------------------------------------------------------------------
    def arriving(self, register: Register) -> Value:
        if register in self.volatile or register.choice:
            return None
        return View((register, 0, register.bits))

    def constant(self, value: int, bits: int) -> Value:
        return value

    def select(self, condition: Box, then: Value, otherwise: Value, bits: int) -> Value:
        if condition is self.true or then == otherwise:
            return then
        if self.is_false(condition):
            return otherwise
        if isinstance(then, int) and isinstance(otherwise, int) and len(condition.tests) == 1 and condition.exact:
            ((field, values),) = condition.tests.items()
            if field[2] <= SMALL and field[1] == 0 and field[0].bits == field[2]:
                return View(field, tuple(then if raw in values else otherwise for raw in range(1 << field[2])))
        return None

    def slice(self, value: Value, bits: int, shift: int, width: int) -> Value:
        if isinstance(value, int):
            return value >> shift & (1 << width) - 1
        if value is None or value.table is not None:
            return self._mapped(value, lambda v: v >> shift & (1 << width) - 1)
        register, start, _ = value.field
        if register.bits <= SMALL:
            return self._mapped(value, lambda v: v >> shift & (1 << width) - 1)
        return View((register, start + shift, width))

    def _mapped(self, value: Value, change: object) -> Value:
        if not isinstance(value, View) or value.field[2] > SMALL:
            return None
        table = value.table or tuple(range(1 << value.field[2]))
        return View(value.field, tuple(change(v) for v in table))  # type: ignore[operator]

    def join(self, parts: list[tuple[Value, int]]) -> Value:
        total = 0
        for value, bits in parts:
            if not isinstance(value, int):
                return None
            total = total << bits | value
        return total

    def operate(self, operator: str, left: Value, right: Value, bits: int) -> Value:
        if isinstance(left, int) and isinstance(right, int):
            return {"&": left & right, "|": left | right, "^": left ^ right}[operator]
        if isinstance(left, int):
            left, right = right, left
        if isinstance(left, View) and isinstance(right, int):
            number = right
            operations = {"&": lambda v: v & number, "|": lambda v: v | number, "^": lambda v: v ^ number}
            if left.field[2] <= SMALL:
                return self._mapped(left, operations[operator])
        return None

    def shift(self, value: Value, bits: int, distance: int) -> Value:
        top = (1 << bits) - 1
        if isinstance(value, int):
            return value << distance & top if distance >= 0 else value >> -distance
        return self._mapped(value, lambda v: v << distance & top if distance >= 0 else v >> -distance)

    def minus_one(self, value: Value, bits: int) -> Value:
        top = (1 << bits) - 1
        return value - 1 & top if isinstance(value, int) else self._mapped(value, lambda v: v - 1 & top)

    def member(self, value: Value, bits: int, values: Intervals) -> Box:
        if isinstance(value, int):
            return self.true if value in values else self.false
        if value is None:
            return Box({}, exact=False)
        if value.table is not None:
            return Box({value.field: Intervals((raw, raw) for raw, v in enumerate(value.table) if v in values)})
        domain = DOMAINS.get(value.field[0])
        return Box({value.field: values & domain if domain else values})

    def equal(self, left: Value, right: Value, bits: int) -> Box:
        if isinstance(left, int) and isinstance(right, int):
            return self.true if left == right else self.false
        if isinstance(right, int):
            return self.member(left, bits, Intervals.of(right))
        if isinstance(left, int):
            return self.member(right, bits, Intervals.of(left))
        return Box({}, exact=False)
