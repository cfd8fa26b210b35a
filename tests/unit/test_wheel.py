"""The wheel, installed in a clean virtual environment, is a complete fireproof: command, grammars and schemas."""

from __future__ import annotations

import json
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

RULESET = """
table inet edge {
    chain input {
        type filter hook input priority filter; policy drop;
        ct state established,related accept
        tcp dport 22 accept
        tcp dport 22 accept
    }
}
"""

# One worker, so that the wheel is built and installed once.
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("wheel")]


def run(*command: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*map(str, command)], cwd=cwd, capture_output=True, text=True, timeout=600)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built by way of the sdist, so that what the sdist leaves out is missed here."""
    out = tmp_path_factory.mktemp("dist")
    built = run(sys.executable, "-m", "build", "--no-isolation", "--outdir", out, ROOT, cwd=out)
    assert built.returncode == 0, built.stdout + built.stderr
    (file,) = out.glob("*.whl")
    return file


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin folder of a new virtual environment that holds the wheel and what it depends on."""
    home = tmp_path_factory.mktemp("clean") / "venv"
    venv.create(home, with_pip=True)
    python = home / "bin" / "python"
    done = run(python, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", wheel, cwd=home)
    if done.returncode and "connection" in done.stderr.lower():
        pytest.skip(f"pip cannot reach its package index: {done.stderr.strip().splitlines()[-1]}")
    assert done.returncode == 0, done.stderr
    return home / "bin"


def test_the_wheel_holds_every_grammar_and_schema(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    shipped = {f"fireproof/grammar/{f.name}" for f in (ROOT / "grammar").iterdir() if f.suffix in {".lark", ".json"}}
    assert shipped
    assert shipped <= names
    assert "fireproof/py.typed" in names
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"fireproof"}


def test_version(installed: Path, tmp_path: Path) -> None:
    done = run(installed / "fireproof", "--version", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "0.1.0" in done.stdout


def test_schemas_come_from_the_wheel(installed: Path, tmp_path: Path) -> None:
    code = "import fireproof.resources as r; print(r.__file__); print(r.schema('nft')['$id'])"
    done = run(installed / "python", "-c", code, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    place, identity = done.stdout.splitlines()
    assert Path(place).is_relative_to(installed.parent)
    assert identity == "urn:fireproof:schema:nft"


def test_lint_from_another_folder(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "edge.nft").write_text(RULESET, encoding="utf-8")
    done = run(installed / "fireproof", "lint", "--format", "json", "edge.nft", cwd=tmp_path)
    assert done.returncode == 1, done.stdout + done.stderr
    report = json.loads(done.stdout)
    assert report["rules"] == 3
    assert any(finding["line"] == 7 for finding in report["findings"]), report
