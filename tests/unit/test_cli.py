"""The frame of the command line: one exit status for every way to end, never a traceback, files written whole."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
from jsonschema import Draft202012Validator

import fireproof
from fireproof.cli import COMMANDS, main, whole_file
from fireproof.cli.output import Output
from fireproof.resources import schema
from fireproof.source.diagnostic import Diagnostic, Diagnostics, InputError, Severity
from fireproof.source.text import SourceFile, Span

ROOT = Path(__file__).resolve().parents[2]
FILE = SourceFile("edge.fw", "accept\ndrop\n")
COMMAND = [sys.executable, "-m", "fireproof"]
# Buffered as for a user: without a buffer argparse meets the closed pipe itself, and hides it.
ENVIRONMENT = {
    **{name: value for name, value in os.environ.items() if not name.startswith("PYTHON")},
    "PYTHONPATH": str(ROOT / "compiler"),
}


def warning(message: str = "never reached", start: int = 7) -> Diagnostic:
    return Diagnostic("dead", Severity.WARNING, message, Span(FILE, start, start + 4))


def error(message: str = "no such word") -> Diagnostic:
    return Diagnostic("syntax", Severity.ERROR, message, Span(FILE, 0, 6))


Lint = Callable[[list[Diagnostic], list[Diagnostic] | BaseException], None]


@pytest.fixture
def lint(monkeypatch: pytest.MonkeyPatch) -> Lint:
    """Puts a loader and checks of the test's choosing behind `fireproof lint`."""

    def behind(loaded: list[Diagnostic], found: list[Diagnostic] | BaseException) -> None:
        def load(path: str, host: str | None = None) -> object:
            return SimpleNamespace(ruleset=SimpleNamespace(rule_count=3), diagnostics=Diagnostics(list(loaded)))

        def check(ruleset: object) -> list[Diagnostic]:
            if isinstance(found, BaseException):
                raise found
            return found

        for name, part in (("fireproof.syntax.build", load), ("fireproof.lint", check)):
            module = ModuleType(name)
            setattr(module, part.__name__, part)
            monkeypatch.setitem(sys.modules, name, module)

    return behind


def run(*arguments: str, **more: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # type: ignore[call-overload, no-any-return]
        [*COMMAND, *arguments], env=ENVIRONMENT, text=True, timeout=60, **{"capture_output": True, **more}
    )


# ---- calls -----------------------------------------------------------------------------------------------------------
def test_the_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert fireproof.__version__ == project["version"]
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"fireproof {project['version']}\n"


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    for name, line in COMMANDS.items():
        assert re.search(rf"^ +{name} +{re.escape(line.split()[0])}", shown, re.MULTILINE), shown


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--help"]) == 0
    shown = capsys.readouterr().out
    module = import_module(f"fireproof.cli.{command.replace('-', '_')}")
    assert module.HELP.splitlines()[0] in shown
    for option in ("--format", "--host FILE", "--quiet", "--color", "exit status:"):
        assert option in shown


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "usage: fireproof"),
        (["--quiet"], "required: COMMAND"),
        (["lnit"], "'lnit'"),
        (["lint"], "required: FILE"),
        (["lint", "--format", "xml", "a"], "'xml'"),
        (["lint", "--show", "-1", "a"], "--show"),
        (["lint", "--show", "9" * 5000, "a"], "--show"),
        (["lint", "--no\x1b[2Jne", "a"], "--no␛[2Jne"),
    ],
)
def test_a_wrong_call(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    shown = capsys.readouterr()
    assert said in shown.err
    assert shown.out == ""
    assert "\x1b" not in shown.err


@pytest.mark.parametrize("arguments", [["--version"], ["--help"], *([name, "--help"] for name in COMMANDS)])
def test_starting_loads_nothing_heavy(arguments: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "fireproof", *arguments],
        env=ENVIRONMENT, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    loaded = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()}
    assert {"fireproof", "argparse"} <= loaded
    assert not loaded & {"lark", "z3", "oxidd", "jsonschema", "dataclasses", "asyncio", "hypothesis"}


# ---- lint ------------------------------------------------------------------------------------------------------------
def test_nothing_found(lint: Lint, capsys: pytest.CaptureFixture[str]) -> None:
    lint([], [])
    assert main(["lint", "a", "b"]) == 0
    assert capsys.readouterr() == ("", "nothing found; 6 rules checked\n")
    assert main(["lint", "--quiet", "a"]) == 0
    assert capsys.readouterr() == ("", "")


def test_findings(lint: Lint, capsys: pytest.CaptureFixture[str]) -> None:
    lint([warning("from loading")], [warning("later", 7), warning("earlier", 0)])
    assert main(["lint", "--format", "concise", "edge.fw"]) == 1
    shown = capsys.readouterr()
    assert shown.out == lines_of(
        "1:1: warning[dead] earlier", "2:1: warning[dead] from loading", "2:1: warning[dead] later"
    )
    assert shown.err == "3 warnings; 3 rules checked\n"
    assert main(["lint", "--show", "1", "edge.fw"]) == 1
    assert capsys.readouterr().out.endswith("\n… and 2 more\n")
    assert main(["lint", "--show", "0", "edge.fw"]) == 1
    assert capsys.readouterr().out.count("warning[dead]") == 3


def lines_of(*lines: str) -> str:
    return "".join(f"edge.fw:{line}\n" for line in lines)


def test_findings_as_json(lint: Lint, capsys: pytest.CaptureFixture[str]) -> None:
    lint([], [warning()] * 60)
    assert main(["lint", "--format", "json", "edge.fw"]) == 1
    shown = capsys.readouterr()
    document = json.loads(shown.out)
    Draft202012Validator(schema("lint")).validate(document)
    assert (len(document["findings"]), document["rules"], shown.err) == (60, 3, "")


def test_a_file_with_errors_is_not_checked(lint: Lint, capsys: pytest.CaptureFixture[str]) -> None:
    lint([warning("first", 0), error()], AssertionError("checked all the same"))
    assert main(["lint", "edge.fw"]) == 2
    shown = capsys.readouterr()
    assert shown.out.index("error[syntax]") < shown.out.index("warning[dead]")
    assert shown.err == "1 error, 1 warning; 0 rules checked; files with errors were not checked\n"
    assert main(["lint", "--format", "json", "edge.fw"]) == 2
    document = json.loads(capsys.readouterr().out)
    Draft202012Validator(schema("diagnostics")).validate(document)
    assert [finding["code"] for finding in document["errors"]] == ["syntax"]


def test_a_missing_file_does_not_hide_the_others(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "bad.nft").write_text("table inet x { chain y { nonsense } }\n", encoding="utf-8")
    assert main(["lint", "--format", "concise", str(tmp_path / "none"), str(tmp_path / "bad.nft")]) == 2
    first, second = capsys.readouterr().out.splitlines()
    assert "none: No such file or directory" in first
    assert second.startswith(f"{tmp_path}/bad.nft:1:26: error[")


def test_standard_input_is_read_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lint", "-", "--host", "-"]) == 2
    assert "error[bad-call]: standard input" in capsys.readouterr().err


# ---- how a run ends --------------------------------------------------------------------------------------------------
def test_wrong_input_is_said_in_the_format_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    output = Output(io.StringIO(), io.StringIO())
    for format, out, err in (
        ("text", "", "error[syntax]: no"),
        ("concise", "", "edge.fw:1:1: error"),
        ("json", "{", ""),
    ):
        output.out, output.err = io.StringIO(), io.StringIO()
        output.options(format=format)
        output.errors([error()])
        assert output.out.getvalue()[:1] == out
        assert output.err.getvalue().startswith(err)
    assert main(["lint", "--format", "json", "-", "-"]) == 2
    shown = capsys.readouterr()
    Draft202012Validator(schema("diagnostics")).validate(json.loads(shown.out))
    assert shown.err == ""


@pytest.mark.parametrize(
    "fault", [ValueError("b\x1b[2Jad"), RecursionError("too deep"), MemoryError(), OSError(5, "io")]
)
def test_a_fault_of_ours(fault: Exception, lint: Lint, capsys: pytest.CaptureFixture[str]) -> None:
    lint([], fault)
    assert main(["lint", "a"]) == 70
    shown = capsys.readouterr()
    assert shown.err.startswith(f"fireproof: internal error: {type(fault).__name__}")
    assert "Traceback" not in shown.err
    assert "\x1b" not in shown.err
    assert "FIREPROOF_DEBUG=1" in shown.err


def test_the_traceback_of_a_fault(
    lint: Lint, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FIREPROOF_DEBUG", "1")
    lint([], ValueError("bad"))
    assert main(["lint", "a"]) == 70
    assert "Traceback (most recent call last)" in capsys.readouterr().err


def test_interrupted(lint: Lint, capsys: pytest.CaptureFixture[str]) -> None:
    lint([], KeyboardInterrupt())
    assert main(["lint", "a"]) == 130
    assert capsys.readouterr() == ("", "fireproof: interrupted\n")


@pytest.mark.parametrize("arguments", [["--help"], ["lint", "--format", "json", "/nonexistent"]])
def test_a_reader_that_has_gone(arguments: list[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = run(*arguments, capture_output=False, stdout=writing, stderr=subprocess.PIPE)
    finally:
        os.close(writing)
    assert (done.returncode, done.stderr) == (141, "")


def test_a_full_disk() -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here to stand for a full disk")
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        done = run(
            "lint", "--format", "json", "/nonexistent", capture_output=False, stdout=full, stderr=subprocess.PIPE
        )
    assert (done.returncode, done.stderr) == (2, "fireproof: cannot write the output: No space left on device\n")


def test_no_standard_output_at_all() -> None:
    done = run("lint", "--quiet", "/nonexistent", preexec_fn=lambda: os.close(1))
    assert (done.returncode, done.stderr) == (2, "")


def test_an_encoding_that_cannot_say_it(tmp_path: Path) -> None:
    (tmp_path / "a.nft").write_text("table inet café { chain y { nonsense } }\n", encoding="utf-8")
    environment = {**ENVIRONMENT, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(
        [*COMMAND, "lint", "a.nft"], env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 2, done.stderr
    assert "table inet caf\\xe9 {" in done.stdout


# ---- streams ---------------------------------------------------------------------------------------------------------
class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("stream", "color", "environment", "coloured"),
    [
        (Terminal, "auto", {}, True),
        (Terminal, "auto", {"NO_COLOR": ""}, True),
        (Terminal, "auto", {"NO_COLOR": "1"}, False),
        (Terminal, "auto", {"TERM": "dumb"}, False),
        (Terminal, "never", {}, False),
        (io.StringIO, "auto", {}, False),
        (io.StringIO, "always", {"NO_COLOR": "1"}, True),
    ],
)
def test_when_there_is_colour(
    stream: type[io.StringIO],
    color: str,
    environment: dict[str, str],
    coloured: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    out = stream()
    output = Output(out, io.StringIO())
    output.options(color=color)
    output.diagnostics([warning()], None)
    assert ("\x1b[" in out.getvalue()) is coloured


def test_progress_is_for_terminals_and_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    for err, quiet, shown in ((Terminal(), False, True), (Terminal(), True, False), (io.StringIO(), False, False)):
        output = Output(io.StringIO(), err)
        output.options(quiet=quiet)
        with output.progress() as progress:
            for number in range(1000):
                progress.step("checking e\x1b[2Jdge.fw" + "x" * 500, number, 1000)
        written = err.getvalue()
        assert bool(written) is shown
        if shown:
            assert written.endswith("\r\x1b[K")
            first = written.split("\r\x1b[K")[1]
            assert first.startswith("checking e␛[2Jdge")
            assert len(first) < 80
            assert written.count("checking") < 100


# ---- files -----------------------------------------------------------------------------------------------------------
def test_a_new_file_has_the_usual_mode(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        whole_file.write(str(tmp_path / "out.nft"), b"new")
    finally:
        os.umask(before)
    assert (tmp_path / "out.nft").read_bytes() == b"new"
    assert (tmp_path / "out.nft").stat().st_mode & 0o777 == 0o640


def test_a_file_is_replaced_through_a_link_and_keeps_its_mode(tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_bytes(b"old and longer")
    target.chmod(0o600)
    link.symlink_to(target)
    with target.open("rb") as reader:
        whole_file.write(str(link), b"new")
        assert reader.read() == b"old and longer"
    assert link.is_symlink()
    assert (target.read_bytes(), target.stat().st_mode & 0o777) == (b"new", 0o600)


@pytest.mark.parametrize("fault", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_write_that_fails_leaves_the_old_file(
    fault: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(descriptor: int) -> None:
        raise fault

    (tmp_path / "out.nft").write_bytes(b"old")
    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises((InputError, KeyboardInterrupt)):
        whole_file.write(str(tmp_path / "out.nft"), b"new")
    assert [file.name for file in tmp_path.iterdir()] == ["out.nft"]
    assert (tmp_path / "out.nft").read_bytes() == b"old"


@pytest.mark.parametrize("path", ["", ".", "none/out.nft", "file/out.nft", "n\0ul", "x" * 300])
def test_where_nothing_can_be_written(path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot write"):
        whole_file.write(path, b"new")
    assert [file.name for file in tmp_path.iterdir()] == ["file"]


def test_a_device_is_written_to_and_stays(tmp_path: Path) -> None:
    whole_file.write("/dev/null", b"new")
    assert Path("/dev/null").is_char_device()
    output = Output(io.StringIO(), io.StringIO())
    output.save("-", "to standard output")
    assert isinstance(output.out, io.StringIO)
    assert output.out.getvalue() == "to standard output"
    output.save(str(tmp_path / "out"), "café \udcff")
    assert (tmp_path / "out").read_bytes() == "café ".encode() + b"\xff"
