"""Tables, chains, rules, sets and named objects.

A `Ruleset` is what the kernel would hold after the input was loaded into an empty one, in the order of registration,
plus the facts about the host and the assertions that came with it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fireproof.model.expression import Element
from fireproof.model.statement import Statement

if TYPE_CHECKING:
    from fireproof.model.assertion import Assertion
    from fireproof.model.host import Host
    from fireproof.source.text import SourceFile, Span


@dataclass(slots=True, eq=False)
class Rule:
    """One rule. Equality is identity; compare `statements` for content."""

    statements: tuple[Statement, ...]
    span: Span
    comment: str | None = None
    handle: int | None = None


@dataclass(slots=True, eq=False)
class BaseHook:
    """Where a base chain is registered. `priority` as the kernel has it; `devices` for ingress and egress."""

    type: str
    hook: str
    priority: int
    policy: str = "accept"
    devices: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    span: Span | None = None


@dataclass(slots=True, eq=False)
class Chain:
    name: str
    table: Table
    span: Span
    base: BaseHook | None = None
    rules: list[Rule] = field(default_factory=list)
    comment: str | None = None


@dataclass(slots=True, eq=False)
class NamedSet:
    """A named set, or a map when `data` is not empty. Times are in milliseconds.

    `data` holds datatypes, or the single word `verdict`, `counter`, `quota`, `limit`, `synproxy` or `secmark`.
    `typeof` keeps the expression that the type was taken from, for output.
    """

    name: str
    table: Table
    span: Span
    key: tuple[str, ...]
    key_bits: tuple[int, ...]
    data: tuple[str, ...] = ()
    data_bits: tuple[int, ...] = ()
    flags: tuple[str, ...] = ()
    timeout: int | None = None
    gc_interval: int | None = None
    size: int | None = None
    policy: str | None = None
    auto_merge: bool = False
    elements: list[Element] = field(default_factory=list)
    stateful: tuple[Statement, ...] = ()
    comment: str | None = None
    typeof: str | None = None
    data_typeof: str | None = None
    updated: bool = False
    """Some rule adds to it or takes from it, so its text does not tell what it holds."""

    @property
    def is_map(self) -> bool:
        return bool(self.data)


@dataclass(slots=True, eq=False)
class NamedObject:
    """A counter, quota, limit, ct helper, ct timeout, ct expectation, synproxy or secmark.

    `settings` are the values as nft's JSON names them.
    """

    kind: str
    name: str
    table: Table
    span: Span
    settings: dict[str, object] = field(default_factory=dict)
    statement: Statement | None = None
    comment: str | None = None


@dataclass(slots=True, eq=False)
class Flowtable:
    name: str
    table: Table
    span: Span
    priority: int
    devices: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    counter: bool = False


@dataclass(slots=True, eq=False)
class Table:
    family: str
    name: str
    span: Span
    chains: dict[str, Chain] = field(default_factory=dict)
    sets: dict[str, NamedSet] = field(default_factory=dict)
    objects: dict[tuple[str, str], NamedObject] = field(default_factory=dict)
    flowtables: dict[str, Flowtable] = field(default_factory=dict)
    flags: tuple[str, ...] = ()
    comment: str | None = None


@dataclass(slots=True, eq=False)
class Definition:
    """A `define`, kept for lint: `used` counts how often it was read."""

    name: str
    span: Span
    used: int = 0


@dataclass(slots=True, eq=False)
class Ruleset:
    """Everything an input says. `registration` lists the base chains in the order the kernel registers them.

    `replaces` is true when the input starts from nothing (`flush ruleset`); `resets` are tables that it deletes or
    empties first (family, name).
    """

    files: list[SourceFile] = field(default_factory=list)
    tables: dict[tuple[str, str], Table] = field(default_factory=dict)
    registration: list[Chain] = field(default_factory=list)
    definitions: list[Definition] = field(default_factory=list)
    host: Host | None = None
    assertions: list[Assertion] = field(default_factory=list)
    replaces: bool = False
    resets: list[tuple[str, str]] = field(default_factory=list)
    rule_count: int = 0
