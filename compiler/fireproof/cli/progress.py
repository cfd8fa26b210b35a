"""A line of progress on a terminal, rewritten in place and gone at the end; elsewhere nothing is written."""

from __future__ import annotations

import os
import time
from types import TracebackType
from typing import TextIO

from fireproof.report.terminal import printable

INTERVAL = 0.1
_CLEAR = "\r\x1b[K"


class Progress:
    def __init__(self, stream: TextIO, shown: bool) -> None:
        self.stream = stream
        self.shown = shown
        self._next = 0.0

    def step(self, text: str, done: int | None = None, total: int | None = None) -> None:
        """Says what is being done; more often than ten times a second is dropped."""
        if not self.shown or (now := time.monotonic()) < self._next:
            return
        self._next = now + INTERVAL
        count = f" {done:,}/{total:,}" if done is not None and total is not None else ""
        try:
            columns = os.get_terminal_size(self.stream.fileno()).columns or 80
        except (OSError, ValueError):
            columns = 80
        # Wide characters may make the line wrap; a file name has few of them.
        room = max(columns - len(count) - 1, 10)
        self.stream.write(f"{_CLEAR}{printable(text, room - 1)[:room]}{count}")
        self.stream.flush()

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.shown and self._next:
            self.stream.write(_CLEAR)
            self.stream.flush()
