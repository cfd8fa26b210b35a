"""Fixtures and reporting shared by all tests.

What cannot run is skipped with a reason and counted again at the very end, in words, so that a green line never
hides that the kernel or the corpus was not there.
"""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="write golden files anew instead of comparing")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(ROOT / "tests" / "kernel"):
            item.add_marker(pytest.mark.kernel)


@pytest.fixture(scope="session")
def corpus_dir() -> Path:
    """The folder of real rulesets: $FIREPROOF_CORPUS, or ../shared/corpus beside the checkout."""
    named = os.environ.get("FIREPROOF_CORPUS")
    folder = Path(named) if named else ROOT.parent / "shared" / "corpus"
    if not folder.is_dir():
        pytest.skip(f"no corpus at {folder}: set FIREPROOF_CORPUS to its folder")
    return folder


@pytest.fixture(scope="session")
def unshared_network() -> list[str]:
    """The words in front of a command that give it an empty network of its own, so that nft may be used in it."""
    if os.geteuid() != 0:
        pytest.skip("not root: no network namespace to load a ruleset in")
    for tool in ("unshare", "nft"):
        if not shutil.which(tool):
            pytest.skip(f"{tool} is not installed: run `make system` as root")
    return ["unshare", "--net"]


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[Path, str], None]:
    """``golden(path, text)`` compares text with a golden file, or writes the file under ``--update-golden``."""
    update = bool(request.config.getoption("--update-golden"))

    def check(path: Path, text: str) -> None:
        if update:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            return
        assert path.is_file(), f"{path} is not there: run `make golden` and read what it wrote"
        assert text == path.read_text(encoding="utf-8"), f"differs from {path}: if it is meant, run `make golden`"

    return check


def _skip_reasons(reports: list[pytest.TestReport]) -> Iterator[tuple[str, str]]:
    for report in reports:
        kind = "KERNEL" if "kernel" in report.keywords else "OTHER"
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        yield kind, reason.removeprefix("Skipped: ")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    skipped = Counter(_skip_reasons(terminalreporter.stats.get("skipped", [])))
    if not skipped:
        return
    terminalreporter.section("NOT RUN", sep="!", red=True, bold=True)
    for (kind, reason), count in sorted(skipped.items()):
        terminalreporter.line(f"{kind} tests not run: {count}, because {reason}", red=kind == "KERNEL")
