"""nft text: what `nft -f` loads."""

from __future__ import annotations

from fireproof.emit import nft_text
from fireproof.model.ruleset import Ruleset
from fireproof.syntax.build import load_text

TARGET = "nft"
LOADS_AS = "nft"


def write(ruleset: Ruleset, tag: bool) -> str:
    return nft_text.emit(ruleset, tag)


def read(text: str) -> Ruleset:
    return load_text(text, "<output>").require()
