"""Whole-process times for the benchmarks: what a user waits for, start of the interpreter included.

Programs that are compared take turns, so that a busy moment of the machine hits all of them; every figure is printed
with the smallest and the largest of its runs, which is the noise to read it by.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median
from time import perf_counter

FIREPROOF = (sys.executable, "-m", "fireproof")
NFT = ("unshare", "-n", "nft")


@dataclass(slots=True)
class Program:
    """`normal`: the exit statuses of a program that did its work; any other is shown beside the time."""

    name: str
    command: Sequence[str]
    normal: tuple[int, ...] = (0,)
    seconds: list[float] = field(default_factory=list)
    note: str = ""

    @property
    def median(self) -> float:
        return median(self.seconds)

    def run(self, limit: float) -> None:
        start = perf_counter()
        try:
            done = subprocess.run(self.command, capture_output=True, text=True, timeout=limit, check=False)
        except subprocess.TimeoutExpired:
            self.seconds.append(perf_counter() - start)
            self.note = f"stopped after {limit:g} s"
            return
        self.seconds.append(perf_counter() - start)
        if done.returncode not in self.normal:
            said = done.stderr.partition("rror: ")[2].partition("\n")[0]
            self.note = f"exit {done.returncode} {said[:60]}".rstrip()


def take_turns(programs: Sequence[Program], runs: int, limit: float = 120.0) -> None:
    """Each program once, then each once more. One that had to be stopped is not tried again."""
    for _ in range(runs):
        for program in programs:
            if not program.note.startswith("stopped"):
                program.run(limit)


def table(title: str, programs: Sequence[Program], base: Program | None = None) -> None:
    """Prints min, median and max; with `base`, how many times its median each median is."""
    print(f"\n{title}")
    for program in programs:
        least, most = min(program.seconds), max(program.seconds)
        ratio = f"{program.median / base.median:7.2f} x" if base is not None else " " * 9
        runs = f"{len(program.seconds)} run" + "s" * (len(program.seconds) != 1)
        row = f"  {program.name:<44} {least:8.3f} {program.median:8.3f} {most:8.3f} s {ratio}  {runs}"
        print(f"{row}  {program.note}".rstrip())


def rate(title: str, counts: Sequence[float]) -> None:
    """Prints min, median and max of something per second."""
    print(f"  {title:<44} {min(counts):8,.0f} {median(counts):8,.0f} {max(counts):8,.0f} /s")
