"""Where a command's results go: standard output, standard error, or a file that is written whole or not at all.

Results are the product and go to standard output; remarks about the run go to standard error and `--quiet` drops
them. Nothing here adds colour or progress unless the stream is a terminal that wants it.
"""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from fireproof.cli.progress import Progress
    from fireproof.source.diagnostic import Diagnostic


class OutputFailedError(Exception):
    """Standard output or standard error cannot be written, for another reason than that its reader has gone."""


def safe(text: str) -> str:
    """`text` on one line, with nothing in it that a terminal obeys."""
    from fireproof.report.terminal import printable

    return printable(text)


class Output:
    """The streams of one run, and how its result is to be shown."""

    def __init__(self, out: TextIO | None, err: TextIO | None) -> None:
        # A stream closed by the caller is None. What a stream cannot encode is written as an escape, never an error.
        self.out = out if out is not None else io.StringIO()
        self.err = err if err is not None else io.StringIO()
        for stream in (self.out, self.err):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="backslashreplace")
        self.format = "text"
        self.quiet = False
        self.color = "auto"

    def options(self, *, format: str = "text", quiet: bool = False, color: str = "auto") -> None:
        """What the command line asked for."""
        self.format, self.quiet, self.color = format, quiet, color

    def colour(self, stream: TextIO) -> bool:
        """Whether to colour what goes to `stream`: https://no-color.org, unless --color says always or never."""
        if self.color != "auto":
            return self.color == "always"
        return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"

    # ---- results -----------------------------------------------------------------------------------------------------
    def write(self, text: str) -> None:
        """Part of the result, as it is: text from the input must have been made `safe`."""
        _put(self.out, text)

    def json(self, document: dict[str, Any]) -> None:
        """The whole result. Written at once, so that an interrupted run prints no half document."""
        import json

        _put(self.out, json.dumps(document) + "\n")

    def diagnostics(self, found: Sequence[Diagnostic], limit: int | None) -> None:
        """Findings as text, or one to a line when the format is `concise`; `limit` is for the long form."""
        from fireproof.report import text

        if self.format == "concise":
            _put(self.out, "".join(map(text.concise, found)))
        else:
            _put(self.out, text.all_full(found, self.colour(self.out), limit))

    def errors(self, found: Sequence[Diagnostic]) -> None:
        """Why there is no result: text to standard error, or the JSON document in place of the result."""
        from fireproof.report import json, text

        if self.format == "json":
            self.json(json.error_document(found))
        elif self.format == "concise":
            _put(self.err, "".join(map(text.concise, found)))
        else:
            _put(self.err, text.all_full(found, self.colour(self.err)))

    def save(self, path: str, content: str) -> None:
        """Writes a file whole or not at all; `-` is standard output. Raises InputError when it cannot be written."""
        from fireproof.cli import whole_file

        if path == "-":
            self.write(content)
        else:
            whole_file.write(path, content.encode("utf-8", "surrogateescape"))

    # ---- remarks -----------------------------------------------------------------------------------------------------
    def note(self, text: str) -> None:
        """A line about the run, on standard error and after the results so far; not with --quiet."""
        if not self.quiet:
            self.flush()
            _put(self.err, f"{safe(text)}\n")

    def progress(self) -> Progress:
        """A line of progress, to be used as a context manager; shows nothing where it would be in the way."""
        from fireproof.cli.progress import Progress

        return Progress(self.err, self.err.isatty() and not self.quiet and os.environ.get("TERM") != "dumb")

    # ---- ends --------------------------------------------------------------------------------------------------------
    def flush(self) -> None:
        _put(self.out, "", flush=True)
        _put(self.err, "", flush=True)

    def complain(self, text: str) -> None:
        """Last words, on a stream that may be gone too."""
        try:
            self.err.write(text)
            self.err.flush()
        except OSError:
            pass

    def abandon(self) -> None:
        """Gives the streams up: what is still in a buffer goes nowhere when Python flushes it at exit."""
        for stream in (self.out, self.err):
            try:
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, stream.fileno())
                os.close(nowhere)
            except OSError:
                pass  # not a stream of the process


def _put(stream: TextIO, text: str, flush: bool = False) -> None:
    try:
        stream.write(text)
        if flush:
            stream.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputFailedError(error.strerror or str(error)) from None
