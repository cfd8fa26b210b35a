"""The nft program as a child process: version and check. Always from a file, never from standard input.

A file, because nft before 1.1.0 exits 0 for JSON on standard input that it could not read; a child, because libnftables
1.0.6 aborts its process on some inputs. A check needs no root where the system lets users make user namespaces.
"""

from __future__ import annotations

import re
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import NamedTuple

from fireproof.kernel.links import Links
from fireproof.kernel.namespace import CHILD_ENVIRONMENT, KernelUnavailable, Namespace, program, run

Runner = Callable[[Sequence[str]], "subprocess.CompletedProcess[str]"]


class NftRefused(Exception):
    """nft, or the kernel through it, did not take the ruleset; nothing has changed. The message is nft's own."""


class NftVersion(NamedTuple):
    major: int
    minor: int
    patch: int

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}.{self.patch}"


def nft_path() -> str:
    path = program("nft")
    if path is None:
        raise KernelUnavailable("the program nft is not installed")
    return path


@cache
def version() -> NftVersion:
    answer = run([nft_path(), "--version"]).stdout
    found = re.search(r"v(\d+)\.(\d+)(?:\.(\d+))?", answer)
    if found is None:
        raise KernelUnavailable(f"nft does not tell its version: {answer.strip()!r}")
    return NftVersion(int(found[1]), int(found[2]), int(found[3] or 0))


@contextmanager
def files(**contents: str) -> Iterator[dict[str, str]]:
    """Private files named after the keywords, with `.nft`; gone at the end."""
    with tempfile.TemporaryDirectory(prefix="fireproof-") as directory:
        paths = {}
        for name, content in contents.items():
            path = Path(directory, f"{name}.nft")
            path.write_text(content, encoding="utf-8", errors="surrogateescape")
            paths[name] = str(path)
        yield paths


def refusal(result: subprocess.CompletedProcess[str], paths: Mapping[str, str]) -> str | None:
    """What went wrong in words, with file names as the caller knows them; None if nothing did."""
    if result.returncode == 0:
        return None
    lines = [line for line in result.stderr.strip().splitlines() if not line.startswith("In file included from ")]
    message = "\n".join(lines)
    for name, path in paths.items():
        message = message.replace(path, name)
    if result.returncode < 0:
        message = f"nft crashed ({signal.Signals(-result.returncode).name}) {message}".rstrip()
    return message or f"nft failed with status {result.returncode}"


def check(nft_text: str, devices: Sequence[str] = ()) -> str | None:
    """What nft and the kernel say against a ruleset; None if they take it. Nothing outside is changed.

    It is loaded into a new, empty namespace: `nft -c` stops short of the commit, where the kernel finds loops and jumps
    nested too deep. `devices` are made first, since older kernels refuse chains of a device that is not there.
    """
    return _check(nft_text, devices, [])


def check_json(text: str, devices: Sequence[str] = ()) -> str | None:
    """As check, for libnftables JSON. It ignores unknown keys, so silence is no proof that all of it was understood."""
    return _check(text, devices, ["-j"])


def _check(content: str, devices: Sequence[str], options: Sequence[str]) -> str | None:
    with files(ruleset=content) as paths, _throw_away(devices) as runner:
        return refusal(runner([nft_path(), *options, "-f", paths["ruleset"]]), paths)


@contextmanager
def _throw_away(devices: Sequence[str]) -> Iterator[Runner]:
    """A way to run programs in a new namespace that holds only the devices."""
    try:
        namespace = Namespace()
    except PermissionError:
        with _user_namespace(devices) as runner:
            yield runner
        return
    with namespace:
        if devices:
            with namespace.entered():
                links = Links()
                try:
                    for device in devices:
                        links.placeholder(device)
                finally:
                    links.close()
        yield namespace.run


@contextmanager
def _user_namespace(devices: Sequence[str]) -> Iterator[Runner]:
    """For an ordinary user: a child that holds a user and a network namespace open while others join it."""
    unshare, nsenter, ip, cat = (program(name) for name in ("unshare", "nsenter", "ip", "cat"))
    if unshare is None or nsenter is None or cat is None or (ip is None and devices):
        raise KernelUnavailable("without root, checking needs the programs unshare, nsenter, ip and cat")
    holder = subprocess.Popen(
        [unshare, "--map-root-user", "--net", "--", cat],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=dict(CHILD_ENVIRONMENT),
    )
    with holder:
        assert holder.stdin is not None
        assert holder.stdout is not None
        assert holder.stderr is not None
        try:
            # Its echo shows that the namespaces exist.
            try:
                holder.stdin.write(b"\n")
                holder.stdin.flush()
                ready = holder.stdout.read(1) == b"\n"
            except BrokenPipeError:
                ready = False
            if not ready:
                raise KernelUnavailable(
                    "checking needs root, or user namespaces: " + holder.stderr.read().decode(errors="replace").strip()
                )
            enter = [nsenter, "--preserve-credentials", "--user", "--net", "--target", str(holder.pid), "--"]
            for device in devices:
                made = run([*enter, str(ip), "link", "add", "name", device, "type", "bridge"])
                if made.returncode != 0:
                    raise KernelUnavailable(f"no device {device!r} for the check: {made.stderr.strip()}")
            yield lambda argv: run([*enter, *argv])
        finally:
            holder.stdin.close()
            holder.terminate()
