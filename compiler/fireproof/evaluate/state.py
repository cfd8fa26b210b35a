"""What rules remember between packets: limits, quotas, connection counts, round-robin counters, dynamic sets and maps.

Limits: an element of a dynamic set that is an interval is searched one by one; hashes spread flows by the evaluator's
seed, not as the kernel's would.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import blake2b
from random import Random

from fireproof.evaluate.arrival import Arrival
from fireproof.model.expression import Element, Hash, Interval, Key, Numgen, Payload
from fireproof.model.ruleset import NamedSet, Table
from fireproof.model.statement import ExtensionStatement, Meter, Moment, SetUpdate, Statement
from fireproof.semantics.flight import Flight, Site, read_parts
from fireproof.semantics.match import Values, element_matches

_DEFAULT_SIZE = 65_535


@dataclass(slots=True)
class Held:
    """An element that a set holds now. `expires` None is never; `states` are those of its own limits and counters."""

    element: Element
    expires: float | None
    states: list[tuple[ExtensionStatement, object]] = field(default_factory=list)


@dataclass(slots=True)
class Content:
    """`exact` finds elements of single values, `spans` holds the others."""

    exact: dict[tuple[int, ...], Held] = field(default_factory=dict)
    spans: list[Held] = field(default_factory=list)


class State:
    """`packet` and `now` are those of the packet under way; the evaluator sets them."""

    def __init__(self, seed: int, counts: Callable[[int], bool]) -> None:
        self._random = Random(f"numgen {seed}")
        self._seed = seed
        self._counts = counts
        self._statements: dict[tuple[Table, str], object] = {}
        self._counters: dict[str, int] = {}
        self._contents: dict[tuple[Table, str], Content] = {}
        self.packet: Arrival
        self.now = 0.0
        self._moment: tuple[Arrival, Moment] | None = None

    def moment(self) -> Moment:
        packet = self.packet
        if self._moment is None or self._moment[0] is not packet or self._moment[1].flow is None:
            flow = None if packet.flow is None else packet.flow.id
            self._moment = packet, Moment(self.now, len(packet.raw), flow, self._counts)
        return self._moment[1]

    # ---- statements ------------------------------------------------------------------------------------------------
    def stateful(self, site: Site, statement: ExtensionStatement, where: bool) -> bool:
        if not where or statement.sometimes is None:
            return where
        key = site.table, site.name
        state = self._statements.get(key)
        if state is None:
            state = self._statements[key] = statement.start()
        return statement.passes(state, self.moment())

    def number(self, flight: Flight[bool, int], expression: Numgen | Hash, site: Site) -> int:
        if isinstance(expression, Numgen):
            if expression.mode == "random":
                return expression.offset + self._random.randrange(expression.modulus)
            name = f"{site.name} {expression!r}"
            count = self._counters.get(name, 0)
            self._counters[name] = count + 1
            return expression.offset + count % expression.modulus
        seen: list[int] = []
        if expression.operand is not None:
            seen = [value for value, _ in read_parts(flight, expression.operand, site)[0]]
        elif self.packet.flow is not None:
            seen = [*self.packet.flow.original]
        text = f"{self._seed if expression.seed is None else expression.seed} {seen}"
        return (
            expression.offset
            + int.from_bytes(blake2b(text.encode(), digest_size=4).digest(), "big") % expression.modulus
        )

    # ---- what only the packet knows --------------------------------------------------------------------------------
    def holds(self, flight: Flight[bool, int], expression: Payload) -> bool:
        return self.packet.holds(expression)

    # ---- dynamic sets ----------------------------------------------------------------------------------------------
    def find(self, flight: Flight[bool, int], source: NamedSet, values: Values[int]) -> Element | None:
        content = self._content(source)
        held = self._alive(content, tuple(value for value, _ in values))
        if held is not None:
            return held.element
        fallback: Element | None = None
        for held in content.spans:
            if held.expires is not None and held.expires <= self.now:
                continue
            if held.element.key is None:
                fallback = held.element
            elif element_matches(flight, values, held.element):
                return held.element
        return fallback

    def _alive(self, content: Content, key: tuple[int, ...]) -> Held | None:
        held = content.exact.get(key)
        if held is not None and held.expires is not None and held.expires <= self.now:
            del content.exact[key]
            return None
        return held

    def _content(self, source: NamedSet) -> Content:
        found = self._contents.get((source.table, source.name))
        if found is None:
            found = self._contents[source.table, source.name] = Content()
            for element in source.elements:
                left = element.expires if element.expires is not None else element.timeout
                if left is None:
                    left = source.timeout
                held = Held(element, None if not left else self.now + left / 1000, _states(source.stateful))
                exact = _exact(element.key)
                if exact is None:
                    found.spans.append(held)
                else:
                    found.exact[exact] = held
        return found

    def update(self, flight: Flight[bool, int], site: Site, statement: SetUpdate | Meter, where: bool) -> bool:
        if not where:
            return False
        key = tuple(value for value, _ in read_parts(flight, statement.key, site)[0])
        if isinstance(statement, Meter):
            content = self._contents.setdefault((site.table, f"meter {statement.name}"), Content())
            return self._touch(content, key, None, "add", statement.timeout, statement.size, statement.stateful)
        source = site.table.sets[statement.set]
        content = self._content(source)
        if statement.operation == "delete":
            content.exact.pop(key, None)
            return True
        data: Key | None = None
        if statement.data is not None:
            values, there = read_parts(flight, statement.data, site)
            if not there:
                return False
            data = tuple(Interval(value, value) for value, _ in values)
        timeout = source.timeout if statement.timeout is None else statement.timeout
        templates = statement.stateful or source.stateful
        return self._touch(content, key, data, statement.operation, timeout, source.size, templates)

    def _touch(
        self, content: Content, key: tuple[int, ...], data: Key | None, operation: str, timeout: int | None,
        size: int | None, templates: tuple[Statement, ...],
    ) -> bool:  # fmt: skip
        """Adds or renews an element, and asks its own limits. A full set takes nothing new."""
        held = self._alive(content, key)
        expires = self.now + timeout / 1000 if timeout else None
        if held is None:
            if len(content.exact) + len(content.spans) >= (size or _DEFAULT_SIZE):
                self._expire(content)
                if len(content.exact) + len(content.spans) >= (size or _DEFAULT_SIZE):
                    return False
            element = Element(tuple(Interval(value, value) for value in key), data, timeout)
            held = content.exact[key] = Held(element, expires, _states(templates))
        elif operation == "update" and held.expires is not None:
            held.expires = expires
        # Every one of them is asked: a counter behind a limit counts only what the limit lets through.
        return all(statement.passes(state, self.moment()) for statement, state in held.states)

    def _expire(self, content: Content) -> None:
        for key, held in list(content.exact.items()):
            if held.expires is not None and held.expires <= self.now:
                del content.exact[key]


def _states(templates: tuple[Statement, ...]) -> list[tuple[ExtensionStatement, object]]:
    return [(statement, statement.start()) for statement in templates if isinstance(statement, ExtensionStatement)]


def _exact(key: Key | None) -> tuple[int, ...] | None:
    """The values of a key without ranges and names."""
    if key is None:
        return None
    values: list[int] = []
    for part in key:
        if not isinstance(part, Interval) or part.low != part.high:
            return None
        values.append(part.low)
    return tuple(values)
