"""What is emitted for whole rulesets, as text and as JSON; `rules.nft` stands beside what it becomes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import jsonschema
import pytest

from fireproof.emit import nft_json, nft_text
from fireproof.emit.problem import Unsayable
from fireproof.resources import schema
from fireproof.source.text import SourceFile
from fireproof.syntax.build import load, load_source

CASES = sorted((Path(__file__).parent / "emit").iterdir())


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_text(case: Path, golden: Callable[[Path, str], None]) -> None:
    text = nft_text.emit(load(str(case / "rules.nft")).require())
    golden(case / "golden.nft", text)
    # What is read back from our own output is written the same.
    plain = nft_text.emit(load_source(SourceFile("rules.nft", text)).require(), tag=False)
    assert nft_text.emit(load_source(SourceFile("rules.nft", plain)).require(), tag=False) == plain


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_json(case: Path, golden: Callable[[Path, str], None]) -> None:
    ruleset = load(str(case / "rules.nft")).require()
    if case.name.endswith("text-only"):
        with pytest.raises(Unsayable):
            nft_json.emit(ruleset)
        return
    emitted = nft_json.emit(ruleset)
    jsonschema.validate(emitted, schema("nft"))
    lines = ",\n".join(json.dumps(each, ensure_ascii=False) for each in emitted["nftables"])
    golden(case / "golden.json", f'{{"nftables": [\n{lines}\n]}}\n')
