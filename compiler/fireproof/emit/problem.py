"""Why a ruleset can not be written in a format. Nothing that cannot be said exactly is left out or approximated."""

from __future__ import annotations

from fireproof.source.text import Span


class CannotEmit(Exception):
    """`message` says what has no spelling, `span` where it stands in the source (None until a rule is known)."""

    def __init__(self, message: str, span: Span | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.span = span

    def at(self, span: Span) -> CannotEmit:
        """The same with a place, unless it has one."""
        if self.span is None:
            self.span = span
        return self

    def __str__(self) -> str:
        return f"{self.span.place}: {self.message}" if self.span else self.message


class Unprintable(CannotEmit):
    """nft's text syntax has no way to say this."""


class Unsayable(CannotEmit):
    """libnftables' JSON has no way to say this."""
