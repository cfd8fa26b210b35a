"""What is said about wrong input, word for word: each `diagnostics/NAME.nft` with the text that it gives, NAME.txt."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from fireproof.report.text import all_full
from fireproof.syntax.build import load_text

FOLDER = Path(__file__).parent / "diagnostics"


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.nft")), ids=lambda path: path.stem)
def test_diagnostics(path: Path, golden: Callable[[Path, str], None]) -> None:
    text = all_full(load_text(path.read_text(encoding="utf-8"), path.name).diagnostics.found)
    assert max(map(len, text.splitlines())) <= 160
    golden(path.with_suffix(".txt"), text)
