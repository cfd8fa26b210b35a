"""The benchmarks: `python -m tests.bench.run [--quick]`.

Reading and checking generated rulesets beside `nft -c` and `nft -o -c` of the same file, small files, compiling,
proving the example rulesets, and the rate of the kernel fixture. Needs root and nft for all but fireproof's own times.
Rulesets full of anonymous sets are compared at 1,000 rules only: the kernel's time grows with the square of their
number (10,000 rules took it six minutes).
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
from pathlib import Path
from random import Random
from time import perf_counter

from tests.bench.generate import generate
from tests.bench.measure import FIREPROOF, NFT, Program, rate, table, take_turns

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = sorted((ROOT / "rulesets").glob("*.fw"))
LOAD = "import sys; from fireproof.syntax.build import load; load(sys.argv[1]).require()"
FINDINGS = (0, 1)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.run", description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="fewer runs, and no 50,000 rules (`nft -o` takes a minute for them)"
    )
    parser.add_argument("--runs", type=int, help="runs of each program (default: 5, or 3 with --quick)")
    quick: bool = (arguments := parser.parse_args()).quick
    runs: int = arguments.runs or (3 if quick else 5)
    nft = _can_nft()
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} processors, load {os.getloadavg()[0]:.2f},")
    print(f"Python {platform.python_version()}, Linux {platform.release()}. Seconds: least, median, most.")
    if not nft:
        print("Without root and nft: no comparison with nft, no kernel fixture.")
    with tempfile.TemporaryDirectory(prefix="fireproof-bench-") as name:
        folder = Path(name)
        _start(folder, runs)
        for size in (1_000, 10_000) if quick else (1_000, 10_000, 50_000):
            for style in ("objects", "random", "chains"):
                _against_nft(folder, style, size, runs, nft)
        for size in (1_000,) if quick else (1_000, 10_000):
            _against_nft(folder, "sets", size, runs, nft and size == 1_000)
        _compile(folder, runs, nft)
    _verify(runs)
    if nft:
        _fixture(runs)
    return 0


def _can_nft() -> bool:
    from fireproof.kernel import unavailable

    return unavailable() is None


def _write(folder: Path, style: str, size: int) -> str:
    path = folder / f"{style}-{size}.nft"
    if not path.exists():
        path.write_text(generate(style, size).text, encoding="utf-8")
    return str(path)


def _start(folder: Path, runs: int) -> None:
    small = _write(folder, "objects", 10)
    bare = Program("python -c pass", (sys.executable, "-c", "pass"))
    programs = [
        bare,
        Program("fireproof --version", (*FIREPROOF, "--version")),
        Program("fireproof lint, 10 rules", (*FIREPROOF, "lint", small), FINDINGS),
        *(Program(f"fireproof lint {path.name}", (*FIREPROOF, "lint", str(path)), FINDINGS) for path in EXAMPLES),
    ]
    take_turns(programs, max(runs, 5))
    table("Small files, beside a Python that does nothing", programs, bare)


def _against_nft(folder: Path, style: str, size: int, runs: int, nft: bool) -> None:
    path = _write(folder, style, size)
    lint = Program("fireproof lint", (*FIREPROOF, "lint", "-q", path), FINDINGS)
    reading = Program("reading alone", (sys.executable, "-c", LOAD, path))
    check = Program("nft -c", (*NFT, "-c", "-f", path))
    merge = Program("nft -o -c", (*NFT, "-o", "-c", "-f", path))
    # What takes a minute is run once: its noise is small beside its length.
    often = [lint, reading]
    once = [merge] if nft and size > 10_000 else []
    if nft:
        often += [check] if once else [check, merge]
    take_turns(often, runs)
    take_turns(once, 1)
    table(f"{size:,} rules, {style}", often + once, check if nft else None)


def _compile(folder: Path, runs: int, nft: bool) -> None:
    for size in (1_000, 10_000):
        path = _write(folder, "objects", size)
        check = Program("nft -c", (*NFT, "-c", "-f", path))
        programs = [Program("fireproof compile --to nft", (*FIREPROOF, "compile", path, "-o", os.devnull))]
        programs += [check] if nft else []
        take_turns(programs, runs)
        table(f"Compiling {size:,} rules, objects", programs, check if nft else None)


def _verify(runs: int) -> None:
    programs = [
        Program(f"fireproof verify {path.name}", (*FIREPROOF, "verify", str(path)), FINDINGS) for path in EXAMPLES
    ]
    take_turns(programs, runs)
    table("Proving every assertion of the examples", programs)


def _fixture(runs: int) -> None:
    """UDP packets at the edges of random rules, one by one, each with its verdict read back."""
    from fireproof.kernel import Oracle, Port, Route
    from fireproof.packet.build import udp

    print("\nThe kernel fixture: packets sent, each with its verdict")
    ports = [Port("lan", ("10.255.1.1/24",)), Port("wan", ("10.255.2.1/24",))]
    random = Random(1)
    packets = [
        udp(f"10.255.1.{random.randint(2, 250)}", 1000, f"10.{random.getrandbits(8)}.7.{n % 250}", 1 + n % 60000)
        for n in range(1000)
    ]
    for trace in (False, True):
        for size in (10, 1_000):
            counts = []
            for _ in range(runs):
                with Oracle(ports, [Route("default", "wan", "10.255.2.2")], trace=trace) as oracle:
                    oracle.load(generate("chains" if size > 100 else "objects", size).text)
                    start = perf_counter()
                    for packet in packets:
                        oracle.send(packet, "lan")
                    counts.append(len(packets) / (perf_counter() - start))
            rate(f"{size:,} rules{', with the path through them' if trace else ''}", counts)


if __name__ == "__main__":
    sys.exit(main())
