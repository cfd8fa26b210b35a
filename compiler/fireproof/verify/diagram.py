"""The algebra of packet sets: conditions are binary decision diagrams over the bits of registers.

A value is an integer where it is constant, otherwise a tuple of diagrams, most significant bit first. The order of
variables decides between milliseconds and never: protocol and ports first, then conntrack, destination, source and
interfaces; what is met later comes last.
"""

from __future__ import annotations

from dataclasses import dataclass
from time import monotonic

from oxidd.bdd import BDDFunction, BDDManager
from oxidd.util import DDMemoryError

from fireproof.semantics import register as reg
from fireproof.semantics.interval import Intervals, Pair
from fireproof.semantics.register import Register

Value = int | tuple[BDDFunction, ...]

_NEXT_HEADER = reg.header_slices("ip6", 48, 8)[0].register
_ORDER = (
    # The next header of IPv6 is mostly the protocol: side by side, their equality takes few nodes.
    reg.FAMILY, reg.L4PROTO, _NEXT_HEADER, reg.DPORT, reg.SPORT, reg.TCP_FLAGS, reg.TRANSPORT, reg.CT_STATE,
    reg.CT_STATUS, reg.IP_DADDR, reg.IP6_DADDR, reg.IP_SADDR, reg.IP6_SADDR, reg.IIF, reg.OIF,
)  # fmt: skip
NODES = 1 << 23
"""Nodes before a proof gives up. A node takes 16 bytes, and as much again for the tables around it."""


class OutOfNodes(Exception):
    """The diagrams grew beyond what was allowed: the answer is not known."""


class OutOfTime(Exception):
    """The time for the question is over: the answer is not known."""


@dataclass(frozen=True, slots=True)
class Choice:
    name: str
    description: str


class Diagrams:
    """The algebra. One instance for one world of questions; diagrams of different instances do not mix."""

    def __init__(self, nodes: int = NODES, deadline: float | None = None) -> None:
        """`deadline` is a moment of time.monotonic(); past it OutOfTime is raised."""
        self.deadline = deadline
        self.manager = BDDManager(nodes, max(nodes // 8, 1 << 14), 1)
        self.true: BDDFunction = self.manager.true()
        self.false: BDDFunction = self.manager.false()
        self.registers: dict[Register, tuple[BDDFunction, ...]] = {}
        self.first: dict[Register, int] = {}
        self.choices: dict[str, tuple[int, str]] = {}
        self._choice_conditions: dict[str, BDDFunction] = {}
        self._members: dict[tuple[int, Intervals], tuple[Value, BDDFunction]] = {}
        for register in _ORDER:
            self.arriving(register)

    # ---- conditions ------------------------------------------------------------------------------------------------
    def both(self, left: BDDFunction, right: BDDFunction) -> BDDFunction:
        if self.deadline is not None and monotonic() > self.deadline:
            raise OutOfTime
        return left & right

    def either(self, left: BDDFunction, right: BDDFunction) -> BDDFunction:
        return left | right

    def negate(self, condition: BDDFunction) -> BDDFunction:
        return ~condition

    def is_false(self, condition: BDDFunction) -> bool:
        return not condition.satisfiable()

    def choose(self, name: str, description: str) -> BDDFunction:
        found = self._choice_conditions.get(name)
        if found is None:
            index = self.manager.add_vars(1)[0]
            self.choices[name] = (index, description)
            found = self._choice_conditions[name] = self.manager.var(index)
        return found

    # ---- values ----------------------------------------------------------------------------------------------------
    def arriving(self, register: Register) -> tuple[BDDFunction, ...]:
        found = self.registers.get(register)
        if found is None:
            indices = self.manager.add_vars(register.bits)
            found = tuple(self.manager.var(index) for index in indices)
            self.registers[register] = found
            self.first[register] = indices[0]
        return found

    def constant(self, value: int, bits: int) -> Value:
        return value

    def _bits(self, value: Value, bits: int) -> tuple[BDDFunction, ...]:
        if isinstance(value, int):
            return tuple(self.true if value >> at & 1 else self.false for at in range(bits - 1, -1, -1))
        return value

    def _value(self, bits: tuple[BDDFunction, ...]) -> Value:
        """An integer when all bits are constant."""
        total = 0
        for bit in bits:
            if bit == self.true:
                total = total << 1 | 1
            elif bit == self.false:
                total <<= 1
            else:
                return bits
        return total

    def select(self, condition: BDDFunction, then: Value, otherwise: Value, bits: int) -> Value:
        if condition == self.true or then is otherwise:
            return then
        if condition == self.false:
            return otherwise
        if isinstance(then, int) and then == otherwise:
            return then
        pairs = zip(self._bits(then, bits), self._bits(otherwise, bits), strict=True)
        return self._value(tuple(t if t == o else condition.ite(t, o) for t, o in pairs))

    def slice(self, value: Value, bits: int, shift: int, width: int) -> Value:
        if isinstance(value, int):
            return value >> shift & (1 << width) - 1
        return self._value(value[bits - shift - width : bits - shift])

    def join(self, parts: list[tuple[Value, int]]) -> Value:
        return self._value(tuple(bit for value, bits in parts for bit in self._bits(value, bits)))

    def operate(self, operator: str, left: Value, right: Value, bits: int) -> Value:
        pairs = zip(self._bits(left, bits), self._bits(right, bits), strict=True)
        if operator == "&":
            return self._value(tuple(a & b for a, b in pairs))
        if operator == "|":
            return self._value(tuple(a | b for a, b in pairs))
        return self._value(tuple(a ^ b for a, b in pairs))

    def shift(self, value: Value, bits: int, distance: int) -> Value:
        row = self._bits(value, bits)
        zeros = (self.false,) * min(abs(distance), bits)
        if distance >= 0:
            return self._value((row + zeros)[len(zeros) :])
        return self._value((zeros + row)[:bits])

    def minus_one(self, value: Value, bits: int) -> Value:
        if isinstance(value, int):
            return (value - 1) & (1 << bits) - 1
        result: list[BDDFunction] = []
        borrow = self.true
        for bit in reversed(value):
            result.append(bit ^ borrow)
            borrow = ~bit & borrow
        return tuple(reversed(result))

    def member(self, value: Value, bits: int, values: Intervals) -> BDDFunction:
        if isinstance(value, int):
            return self.true if value in values else self.false
        key = (id(value), values)
        found = self._members.get(key)
        if found is None:
            try:
                condition = self._build(value, 0, 0, (1 << bits) - 1, values.pairs)
            except DDMemoryError:
                raise OutOfNodes from None
            found = self._members[key] = (value, condition)
        return found[1]

    def _build(
        self, bits: tuple[BDDFunction, ...], at: int, low: int, high: int, pairs: tuple[Pair, ...]
    ) -> BDDFunction:
        if not pairs:
            return self.false
        if pairs[0][0] <= low and high <= pairs[0][1]:
            return self.true
        middle = (low + high) // 2
        left = tuple(pair for pair in pairs if pair[0] <= middle)
        right = tuple(pair for pair in pairs if pair[1] > middle)
        zero = self._build(bits, at + 1, low, middle, left)
        one = self._build(bits, at + 1, middle + 1, high, right)
        return zero if zero == one else bits[at].ite(one, zero)

    def equal(self, left: Value, right: Value, bits: int) -> BDDFunction:
        if isinstance(right, int):
            return self.member(left, bits, Intervals.of(right))
        if isinstance(left, int):
            return self.member(right, bits, Intervals.of(left))
        found = self.true
        for a, b in zip(left, right, strict=True):
            found = found & a.equiv(b)
        return found

    # ---- asking ----------------------------------------------------------------------------------------------------
    def hangs_on(self, condition: BDDFunction, within: BDDFunction) -> list[Choice]:
        """The choices that make a difference to `condition` for some packet of `within`."""
        found = []
        for name, (index, description) in self.choices.items():
            variable = self.manager.var(index)
            if ((condition.exists(variable) ^ condition.forall(variable)) & within).satisfiable():
                found.append(Choice(name, description))
        for register, row in self.registers.items():
            if not register.choice:
                continue
            cube = self.true
            for bit in row:
                cube = cube & bit
            if ((condition.exists(cube) ^ condition.forall(cube)) & within).satisfiable():
                found.append(Choice(register.name, register.choice))
        return found

    def holds(self, condition: BDDFunction, registers: dict[Register, int], choices: dict[str, bool]) -> bool:
        """Whether one packet is in a set: what is not given is zero, choices not given fall out as no."""
        values = [False] * self.manager.num_vars()
        for register, start in self.first.items():
            value = registers.get(register, 0)
            for at in range(register.bits):
                values[start + at] = bool(value >> register.bits - 1 - at & 1)
        for name, (index, _) in self.choices.items():
            values[index] = choices.get(name, False)
        return bool(condition.eval(list(enumerate(values))))

    def assignment(self, condition: BDDFunction) -> tuple[dict[Register, int], dict[str, bool]]:
        """One member: what its registers hold (zero where nothing matters) and how the choices fall."""
        cube = condition.pick_cube()
        assert cube is not None, "an empty set has no member"
        values = {}
        for register, start in self.first.items():
            total = 0
            for index in range(start, start + register.bits):
                total = total << 1 | bool(cube[index])
            values[register] = total
        return values, {name: bool(cube[index]) for name, (index, _) in self.choices.items()}
