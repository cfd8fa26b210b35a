"""Anonymous network namespaces: nothing under /run/netns, gone when the last descriptor is closed or the process dies.

A namespace is made by a thread that ends at once, so that a failure can never leave the caller in a foreign namespace;
the caller enters one with setns(2), for its own thread only, and child processes follow the thread that starts them.
Needs CAP_SYS_ADMIN.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Self

_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)

SYSTEM_PATH = ("/usr/sbin", "/sbin", "/usr/bin", "/bin", "/usr/local/sbin", "/usr/local/bin")
CHILD_ENVIRONMENT: Mapping[str, str] = {"PATH": ":".join(SYSTEM_PATH), "LC_ALL": "C", "TZ": "UTC"}
"""Nothing of the caller's environment reaches a child. UTC, because nft converts `meta hour` with its own time zone."""


class KernelUnavailable(RuntimeError):
    """This machine cannot answer for the kernel; the message names what is missing."""


def program(name: str) -> str | None:
    """The absolute path of a system program, looked for in the system directories only."""
    for directory in SYSTEM_PATH:
        path = f"{directory}/{name}"
        if os.access(path, os.X_OK):
            return path
    return None


def _new_namespace() -> int:
    result: list[int] = []
    problem: list[OSError] = []

    def unshare() -> None:
        if _libc.unshare(_CLONE_NEWNET) != 0:
            code = ctypes.get_errno()
            problem.append(OSError(code, f"unshare(CLONE_NEWNET): {os.strerror(code)}"))
            return
        try:
            result.append(os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC))
        except OSError as error:
            problem.append(error)

    thread = threading.Thread(target=unshare, name="fireproof-namespace")
    thread.start()
    thread.join()
    if problem:
        raise problem[0]
    return result[0]


class Namespace:
    """A network namespace of its own."""

    def __init__(self) -> None:
        self._descriptor = _new_namespace()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    @property
    def inode(self) -> int:
        """What tells this namespace from every other one (`net:[INODE]` in /proc)."""
        return os.fstat(self._descriptor).st_ino

    @contextmanager
    def entered(self) -> Iterator[None]:
        """The calling thread is inside: its sockets, devices, /proc/thread-self/net and children belong to it."""
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            _setns(self._descriptor)
            try:
                yield
            finally:
                _setns(home)
        finally:
            os.close(home)

    def run(self, argv: Sequence[str], *, timeout: float = 60.0) -> subprocess.CompletedProcess[str]:
        with self.entered():
            return run(argv, timeout=timeout)


def run(argv: Sequence[str], *, timeout: float = 60.0) -> subprocess.CompletedProcess[str]:
    """A child process with an empty standard input and a scrubbed environment; the caller judges its status."""
    return subprocess.run(
        list(argv),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        errors="surrogateescape",
        env=dict(CHILD_ENVIRONMENT),
        timeout=timeout,
        check=False,
    )


def _setns(descriptor: int) -> None:
    if _libc.setns(descriptor, _CLONE_NEWNET) != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"setns: {os.strerror(code)}")
