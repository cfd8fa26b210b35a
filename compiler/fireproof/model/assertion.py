"""Questions about a ruleset, and assertions, which are questions with a claimed answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fireproof.model.statement import Match

if TYPE_CHECKING:
    from fireproof.model.expression import Key
    from fireproof.source.text import Span


@dataclass(frozen=True, slots=True)
class Place:
    """Where traffic comes from or goes to.

    `kind`: `zone` and `interface` (names in `interfaces`), `host` (this machine), or `address` (`version` and `key`).
    """

    kind: str
    interfaces: tuple[str, ...] = ()
    version: int = 0
    key: Key = ()
    name: str = ""


@dataclass(frozen=True, slots=True)
class Clause:
    """`from` or `to` with a place, or `match` with a condition on a header field as it arrives."""

    kind: str
    place: Place | None = None
    match: Match | None = None


@dataclass(frozen=True, slots=True)
class Claim:
    """What must happen to it: reaches, via, translated, rejected.

    `version`/`address`/`port` describe a target; `interface` the way out; `kind`/`code` how it is rejected.
    """

    kind: str
    version: int = 0
    address: int | None = None
    port: int | None = None
    interface: str | None = None
    reject: str | None = None
    code: int | None = None


@dataclass(frozen=True, slots=True)
class Question:
    """`quantifier`: always, no or possible. `subject`: connection or packet."""

    quantifier: str
    subject: str
    clauses: tuple[Clause, ...]
    exceptions: tuple[tuple[Clause, ...], ...]
    claims: tuple[Claim, ...]
    text: str
    span: Span


@dataclass(frozen=True, slots=True)
class Assertion:
    name: str
    question: Question
    span: Span
