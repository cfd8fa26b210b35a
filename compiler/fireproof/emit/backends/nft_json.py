"""libnftables JSON, for `nft -j -f`. Checked against a strict schema: libnftables ignores what it does not know."""

from __future__ import annotations

import json
from typing import Any

from fireproof.emit import nft_json
from fireproof.emit.problem import CannotEmit
from fireproof.model.ruleset import Ruleset
from fireproof.resources import schema
from fireproof.syntax import nft_json as reader
from fireproof.syntax.build import load_text

TARGET = "nft-json"
LOADS_AS = "nft-json"


def write(ruleset: Ruleset, tag: bool) -> str:
    document = nft_json.emit(ruleset, tag)
    check(document)
    return json.dumps(document, ensure_ascii=False, indent=1) + "\n"


def check(document: dict[str, Any]) -> None:
    """Raises CannotEmit at the first place that the schema refuses."""
    from jsonschema import Draft202012Validator

    error = next(iter(Draft202012Validator(schema("nft")).iter_errors(document)), None)
    if error is not None:
        raise CannotEmit(f"the schema of libnftables JSON refuses {error.json_path}: {error.message[:200]}")


def read(text: str) -> Ruleset:
    return read_document(json.loads(text))


def read_document(document: dict[str, Any]) -> Ruleset:
    """Also for what `nft -j list ruleset` prints. Raises JsonProblem for what is not known."""
    return load_text(reader.to_text(document).text, "<output>").require()
