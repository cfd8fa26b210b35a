"""Replacing a file in one step: a reader, or a crash at any moment, finds the old content or the new, never a part.

The mode of a file that was there is kept (its owner is not), and a link is followed. What is not a regular file, such
as /dev/stdout, is simply written to.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from fireproof.source.diagnostic import input_error


def write(path: str, content: bytes) -> None:
    """Writes `content` to `path`. Raises InputError when that cannot be done."""
    try:
        target = Path(os.path.realpath(path))
        mode = _mode(target)
        if mode is not None and stat.S_ISDIR(mode):
            raise input_error("bad-output", f"cannot write {path}: it is a directory", help="name a file in it")
        if mode is None or stat.S_ISREG(mode):
            _replace(target, content, mode)
        else:
            target.write_bytes(content)
    except BrokenPipeError:
        raise
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise input_error("bad-output", f"cannot write {path}: {reason}") from None


def _mode(target: Path) -> int | None:
    try:
        return target.stat().st_mode
    except FileNotFoundError:
        return None


def _replace(target: Path, content: bytes, mode: int | None) -> None:
    draft = target.with_name(f".fireproof-{os.urandom(8).hex()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
    try:
        with os.fdopen(descriptor, "wb") as file:
            if mode is not None:
                os.fchmod(descriptor, stat.S_IMODE(mode))
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        draft.replace(target)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    # The new name must survive a crash too.
    folder = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
