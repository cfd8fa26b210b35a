"""Reading input files: size and type checks, decoding, include paths."""

from __future__ import annotations

import glob
import os
import stat
import sys
from pathlib import Path

from fireproof.source.diagnostic import input_error
from fireproof.source.text import SourceFile, Span

MAX_FILE = 256 * 1024 * 1024
"""Largest input in bytes."""
MAX_INCLUDE_DEPTH = 16
"""As nft."""


def read(path: str, span: Span | None = None) -> SourceFile:
    """The file at `path`, or standard input for `-`. `span` is the include statement that names it.

    Raises InputError when it is missing, not a regular file, too large or not text.
    """
    if path == "-":
        data = sys.stdin.buffer.read(MAX_FILE + 1)
        name = "<stdin>"
    else:
        name = path
        try:
            # Non-blocking, so that a FIFO cannot make us wait for a writer.
            descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise input_error(
                "missing-file" if span is None else "missing-include", f"cannot read {path}: {reason}", span
            ) from None
        try:
            data = _content(descriptor, path, span)
        except OSError as error:
            raise input_error("bad-file", f"cannot read {path}: {error.strerror}", span) from None
        finally:
            os.close(descriptor)
    if len(data) > MAX_FILE:
        raise input_error("bad-file", f"{name} is larger than {MAX_FILE // 1024**2} MiB", span)
    return SourceFile(name, decode(data, name, span))


def _content(descriptor: int, path: str, span: Span | None) -> bytes:
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISDIR(mode):
        raise input_error("bad-file", f"{path} is a directory", span, help="name the file inside it")
    # A pipe is read when it is the input itself (`<(…)` of a shell), never when it is included.
    if not stat.S_ISREG(mode) and not (stat.S_ISFIFO(mode) and span is None):
        raise input_error("bad-file", f"{path} is not a regular file", span)
    os.set_blocking(descriptor, True)
    with os.fdopen(descriptor, "rb", closefd=False) as file:
        return file.read(MAX_FILE + 1)


def decode(data: bytes, name: str, span: Span | None = None) -> str:
    """UTF-8, or Latin-1 for the comments of old files. Binary content is refused."""
    for number, line in enumerate(data.split(b"\n"), 1) if _has_control(data) else ():
        at = next((i for i, byte in enumerate(line) if _is_control(byte)), None)
        if at is not None:
            raise input_error(
                "bad-file", f"{name} is not a text file: byte 0x{line[at]:02x} in line {number}, column {at + 1}", span
            )
    try:
        return data.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError:
        return data.decode("latin-1")


_CONTROL = bytes(byte for byte in range(32) if byte not in b"\t\n\r\f\x0b\x1b")


def _is_control(byte: int) -> bool:
    return byte in _CONTROL


def _has_control(data: bytes) -> bool:
    return len(data.translate(None, _CONTROL)) != len(data)


def included(pattern: str, including: SourceFile) -> list[str]:
    """The files that `include "pattern"` means, relative to the including file; sorted, as nft reads them.

    A pattern with wildcards may match nothing.
    """
    base = Path(including.name).parent if including.name != "<stdin>" else Path()
    if not glob.has_magic(pattern):
        return [str(base / pattern)]
    # Not Path.glob, which takes no absolute patterns and enters hidden folders.
    found = [base / name for name in glob.glob(pattern, root_dir=base)]  # noqa: PTH207
    return sorted(str(path) for path in found if not path.is_dir())
