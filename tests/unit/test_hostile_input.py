"""Input that means harm: each ends soon, in exit status 2, with a diagnostic that fits a screen, never a traceback.

The large ones run in a process of their own with a bound on its memory.
"""

from __future__ import annotations

import os
import random
import re
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from fireproof.cli import main
from fireproof.source.diagnostic import InputError
from fireproof.syntax.build import load_text

ROOT = Path(__file__).resolve().parent.parent.parent
SCREEN = 80
SECONDS = 10.0
MEMORY = 1536 * 1024 * 1024
MEGABYTES_10 = 10_000_000

RULES = "table inet t {{\n chain c {{\n  type filter hook input priority 0;\n{}\n }}\n}}\n"


def lint(capsys: pytest.CaptureFixture[str], path: Path, status: int = 2) -> str:
    """The diagnostic of a file that lint refuses."""
    started = time.process_time()
    assert main(["lint", str(path)]) == status
    assert time.process_time() - started < SECONDS
    captured = capsys.readouterr()
    text = captured.out + captured.err
    assert "Traceback" not in text
    assert "internal error" not in text
    assert text.strip()
    assert len(text.splitlines()) <= SCREEN
    assert max(map(len, text.splitlines())) <= 400
    return text


def lint_apart(path: Path) -> str:
    """The same in a process of its own, with a bound on its memory."""

    def bound() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))

    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    result = subprocess.run(
        [sys.executable, "-m", "fireproof", "lint", str(path)],
        capture_output=True, text=True, check=False, preexec_fn=bound, timeout=120,
        env={**os.environ, "PYTHONPATH": str(ROOT / "compiler")},
    )  # fmt: skip
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    text = result.stdout + result.stderr
    assert result.returncode == 2, text[-2000:]
    assert "Traceback" not in text
    assert len(text.splitlines()) <= SCREEN
    assert after.ru_utime - before.ru_utime < SECONDS
    return text


# ---- not a ruleset at all ------------------------------------------------------------------------------------------
@pytest.mark.parametrize("seed", range(10))
def test_random_bytes(seed: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "noise.nft"
    path.write_bytes(random.Random(seed).randbytes(20_000))
    assert "is not a text file" in lint(capsys, path)


@pytest.mark.parametrize("seed", range(10))
def test_random_printable_text(seed: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = random.Random(seed)
    path = tmp_path / "noise.nft"
    path.write_text("".join(source.choice('abc {}();"#$@.,:=!\n 0123456789') for _ in range(20_000)))
    lint(capsys, path)


def test_nothing_but_zero_bytes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "zero.nft"
    path.write_bytes(bytes(10_000))
    assert "byte 0x00 in line 1, column 1" in lint(capsys, path)


def test_an_empty_file_is_an_empty_ruleset(tmp_path: Path) -> None:
    path = tmp_path / "empty.nft"
    path.write_text("")
    assert main(["lint", str(path)]) in (0, 1)


def test_a_directory(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "is a directory" in lint(capsys, tmp_path)


def test_a_file_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "No such file" in lint(capsys, tmp_path / "absent.nft")


def test_a_device(capsys: pytest.CaptureFixture[str]) -> None:
    assert "not a regular file" in lint(capsys, Path("/dev/zero"))


# ---- too much of it ------------------------------------------------------------------------------------------------
def _ten_megabytes(kind: str) -> str:
    rule = "ip saddr 10.1.2.0/24 tcp dport 443 accept "
    element = "10.1.2.3, "
    return {
        "one word": "a" * MEGABYTES_10,
        "one word in a chain": RULES.format("a" * MEGABYTES_10),
        "one number": RULES.format("tcp dport " + "1" * MEGABYTES_10),
        "rules without an end": RULES.format(rule * (MEGABYTES_10 // len(rule))),
        "a set in a rule": RULES.format("ip saddr { " + element * (MEGABYTES_10 // len(element)) + "} accept"),
        "elements and no set": "add element inet t s { " + element * (MEGABYTES_10 // len(element)) + "}",
        "spaces": RULES.format("tcp dport" + " " * MEGABYTES_10 + "22 acept"),
        "a quote that is never closed": RULES.format('log prefix "' + "a" * MEGABYTES_10),
        "quotes": RULES.format('"' * MEGABYTES_10),
        "empty braces": "{}" * (MEGABYTES_10 // 2),
        "semicolons and a mistake": RULES.format(";" * MEGABYTES_10 + "acept"),
        "backslashes": RULES.format("\\" * MEGABYTES_10),
        "commas": RULES.format("tcp dport { " + "," * MEGABYTES_10 + " }"),
        "bad lines": "nonsense\n" * (MEGABYTES_10 // 9),
        "bad rules": RULES.format("acept\n" * (MEGABYTES_10 // 6)),
        "a comment": "# " + "a" * MEGABYTES_10 + "\nnonsense\n",
        "dots": RULES.format("ip saddr" + " . ip saddr" * (MEGABYTES_10 // 11)),
        "line continuations": RULES.format("tcp \\\n" * (MEGABYTES_10 // 6)),
    }[kind]


@pytest.mark.parametrize("kind", [
    "one word", "one word in a chain", "one number", "rules without an end", "a set in a rule", "elements and no set",
    "spaces", "a quote that is never closed", "quotes", "empty braces", "semicolons and a mistake", "backslashes",
    "commas", "bad lines", "bad rules", "a comment", "dots", "line continuations",
])  # fmt: skip
def test_ten_megabytes_of(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "large.nft"
    path.write_text(_ten_megabytes(kind))
    assert "error[" in lint_apart(path)


def test_a_set_of_ten_megabytes_with_one_bad_element(tmp_path: Path) -> None:
    path = tmp_path / "large.nft"
    elements = ", ".join(f"10.{i >> 16 & 255}.{i >> 8 & 255}.{i & 255}" for i in range(100_000))
    path.write_text(f"table ip t {{\n set s {{\n type ipv4_addr\n elements = {{ {elements}, 300.1.2.3 }}\n }}\n}}\n")
    assert "`300.1.2.3` is not a valid address" in lint_apart(path)


# ---- too deep ------------------------------------------------------------------------------------------------------
DEEP = 100_000


@pytest.mark.parametrize(
    "text",
    [
        "{" * DEEP,
        "}" * DEEP,
        "table inet t { " * DEEP,
        RULES.format("jump { " * DEEP),
        RULES.format("tcp dport " + "(" * DEEP + "22" + ")" * DEEP),
        RULES.format("tcp dport " + "{" * DEEP + "22" + "}" * DEEP),
        RULES.format("tcp dport { " * 30 + "22" + " }" * 30),
        RULES.format("tcp dport " + "(" * 30 + "22" + ")" * 30),
        RULES.format("jhash " * DEEP + "ip saddr mod 2 0"),
        RULES.format("meta mark set " + "jhash ip saddr mod 2 " * DEEP),
        RULES.format("meta mark set " + "(" * DEEP),
        RULES.format("[" * DEEP),
        'assert "x" { ' * DEEP,
        "host { " * DEEP,
        "define a = " + "(" * DEEP,
        RULES.format("ip saddr " + "10.0.0.1 | " * DEEP + "1 acept"),
    ],
)
def test_nesting(text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "deep.nft"
    path.write_text(text)
    lint(capsys, path)


def test_the_deepest_that_is_read_is_read_without_recursion_errors() -> None:
    chains = "jump { " * 30 + "accept\n" + "\n}" * 30
    assert not load_text(RULES.format(chains)).diagnostics.errors
    inner = "(" * 12 + "22" + ")" * 12
    assert not load_text(RULES.format(f"tcp dport {inner} accept")).diagnostics.errors
    nested = "{ " * 11 + "22" + " }" * 11
    defines = ["define a0 = " + nested]
    for number in range(1, 60):
        defines.append(f"define a{number} = " + "{ " * 11 + f"$a{number - 1}" + " }" * 11)
    for use in ("tcp dport $a{}", "tcp dport {{ $a{} }}", "tcp dport ($a{})", "meta mark set tcp dport map $a{}"):
        for number in (1, 5, 59):
            text = "\n".join(defines) + "\n" + RULES.format(use.format(number) + " accept")
            load_text(text)


# ---- names that refer to one another -------------------------------------------------------------------------------
def test_a_hundred_thousand_defines_in_a_row(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "defines.nft"
    lines = ["define a0 = 1", *(f"define a{i} = $a{i - 1}" for i in range(1, 100_000))]
    path.write_text("\n".join(lines) + "\n" + RULES.format("tcp dport $a99999 accept"))
    assert "too deep" in lint(capsys, path)


def test_a_define_of_itself_and_of_one_below(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "circle.nft"
    path.write_text("define a = $a\ndefine b = $c\ndefine c = $b\n" + RULES.format("tcp dport $b accept"))
    text = lint(capsys, path)
    assert "`$a` is not defined" in text
    assert "`$c` is not defined" in text


@pytest.mark.parametrize("list_", ["{{ {} }}", "{}"])
def test_billion_laughs(list_: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "laughs.nft"
    lines = ["define a0 = " + list_.format(", ".join(str(n) for n in range(10)))]
    lines += [f"define a{i} = " + list_.format(", ".join([f"$a{i - 1}"] * 10)) for i in range(1, 15)]
    path.write_text("\n".join(lines) + "\n" + RULES.format("tcp dport $a14 accept"))
    assert "stands for more than 1,000,000 values" in lint(capsys, path)


def test_a_large_variable_used_again_and_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "again.nft"
    values = ", ".join(f"10.{i >> 8}.{i & 255}.0/24" for i in range(20_000))
    rule = "ip saddr { " + ", ".join(["$a"] * 20) + ", 192.0.2.%d } accept"
    path.write_text(f"define a = {{ {values} }}\n" + RULES.format("\n".join(rule % n for n in range(1000))))
    assert "stand for more than" in lint(capsys, path)


def test_a_product_of_variables(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "product.nft"
    values = ", ".join(map(str, range(1, 2000)))
    rule = "tcp sport . tcp dport . tcp sport { $a . $a . $a } accept"
    path.write_text(f"define a = {{ {values} }}\n" + RULES.format(rule))
    assert "more than 1,000,000 elements" in lint(capsys, path)


# ---- includes ------------------------------------------------------------------------------------------------------
def test_an_include_cycle(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.nft").write_text('include "./b.nft"\n')
    (tmp_path / "b.nft").write_text('include "../' + tmp_path.name + '/a.nft"\n')
    assert "includes itself" in lint(capsys, tmp_path / "a.nft")


def test_includes_that_multiply(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(12):
        (tmp_path / f"{number}.nft").write_text(f'include "{number + 1}.nft"\n' * 10)
    (tmp_path / "12.nft").write_text("table ip t { }\n")
    assert "too many files" in lint(capsys, tmp_path / "0.nft")


# ---- damaged rulesets ----------------------------------------------------------------------------------------------
def _never_raises(text: str) -> None:
    try:
        load_text(text)
    except InputError:
        return


def _examples() -> list[str]:
    return [path.read_text(encoding="utf-8") for path in sorted((ROOT / "rulesets").glob("*.fw"))]


@pytest.mark.corpus
def test_the_corpus_cut_at_random_places(corpus_dir: Path) -> None:
    source = random.Random(7)
    files = sorted((corpus_dir / "nft").glob("*.nft"))
    assert files
    for path in files:
        text = path.read_bytes().decode("utf-8", "replace")
        for _ in range(20):
            _never_raises(text[: source.randrange(len(text) + 1)][:20_000])


_FRAGMENTS = (
    *'{}();\n"@$:.,-/!=#&|*\\', "$x", "==", "!=", "define x = ", 'include "a"', "jump {", "vmap", "map", "set", "0x",
    "update @s {", "::", "1.2.3.4", "/24", "\\\n", "comment", "accept", "ct", "meta", "<<", "9" * 30, "é", "\x00", "“",
    "to", "with", "elements = {", "type", "flags", "counter", "limit rate", "timeout", "zone", "host {", "assert",
)  # fmt: skip


def _mutated(text: str, source: random.Random, split: Callable[[str], list[str]]) -> str:
    start = source.randrange(max(1, len(text) - 1500))
    words = split(("table inet t {\n chain c {\n" if source.random() < 0.5 else "") + text[start : start + 1500])
    for _ in range(source.choice((1, 1, 2, 3, 8))):
        at = source.randrange(len(words) + 1)
        choice = source.random()
        if choice < 0.4:
            words.insert(at, source.choice(_FRAGMENTS))
        elif choice < 0.6:
            del words[at : at + 1]
        elif choice < 0.8 and words:
            words[at : at + 1] = [source.choice(words)]
        else:
            words[at:at] = words[source.randrange(len(words) + 1) :][:6]
    return "".join(words)


@pytest.mark.parametrize("seed", range(5))
def test_mutations_never_raise_anything_else(seed: int) -> None:
    source = random.Random(seed)
    texts = _examples()
    for _ in range(1000):
        _never_raises(_mutated(source.choice(texts), source, re.compile(r"\w+|\s+|.", re.DOTALL).findall))
