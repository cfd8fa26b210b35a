"""What fireproof has to say about a place in the input.

One type serves syntax errors, lint findings and refusals; `report/` prints it. A diagnostic always has a code, a
sentence, and where the input is at fault a place and what to do about it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from fireproof.source.text import Span


class Severity(Enum):
    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True, slots=True)
class Related:
    """A second place that explains the first."""

    message: str
    span: Span


@dataclass(frozen=True, slots=True)
class Fix:
    """A change that is proved to keep the meaning: replace `span` by `text`."""

    title: str
    span: Span
    text: str


@dataclass(frozen=True, slots=True)
class Diagnostic:
    code: str
    severity: Severity
    message: str
    span: Span | None
    label: str = ""
    help: str = ""
    related: tuple[Related, ...] = ()
    fix: Fix | None = None


class TooManyErrors(Exception):
    """A collector is full."""


@dataclass(slots=True)
class Diagnostics:
    """A collector, so that one bad statement does not hide the next. It takes `limit` errors, then TooManyErrors."""

    found: list[Diagnostic] = field(default_factory=list)
    limit: int | None = None
    _left: int = field(default=0, repr=False)

    def __post_init__(self) -> None:
        self._left = self.limit if self.limit is not None else -1

    def add(self, diagnostic: Diagnostic) -> None:
        if diagnostic.severity is Severity.ERROR:
            if self._left == 0:
                raise TooManyErrors
            self._left -= 1
        self.found.append(diagnostic)

    def error(self, code: str, message: str, span: Span | None, *, label: str = "", help: str = "") -> None:
        self.add(Diagnostic(code, Severity.ERROR, message, span, label, help))

    def warning(self, code: str, message: str, span: Span | None, *, label: str = "", help: str = "") -> None:
        self.add(Diagnostic(code, Severity.WARNING, message, span, label, help))

    @property
    def errors(self) -> list[Diagnostic]:
        return [d for d in self.found if d.severity is Severity.ERROR]


class InputError(Exception):
    """The input or the call is wrong (exit status 2). Carries the diagnostics to print; never empty."""

    def __init__(self, diagnostics: list[Diagnostic]) -> None:
        super().__init__(diagnostics[0].message if diagnostics else "bad input")
        self.diagnostics = diagnostics


def input_error(code: str, message: str, span: Span | None = None, *, help: str = "", label: str = "") -> InputError:
    """An InputError with a single diagnostic."""
    return InputError([Diagnostic(code, Severity.ERROR, message, span, label, help)])
