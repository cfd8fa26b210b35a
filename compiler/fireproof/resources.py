"""Grammars and JSON schemas that ship with the package.

An installed wheel carries them in fireproof/grammar; a checkout or an editable install keeps them in
grammar/ at the top of the tree. Nothing else is searched, so a stray file can never take their place.
"""

import json
from functools import cache
from pathlib import Path
from typing import Any

_PACKAGE = Path(__file__).resolve().parent
_FOLDERS = (_PACKAGE / "grammar", _PACKAGE.parents[1] / "grammar")


class MissingResourceError(RuntimeError):
    """A file of the distribution is not there: the installation is broken."""


@cache
def grammar_text(name: str) -> str:
    """The text of a file under grammar/, such as ``nft.lark`` or ``nft.schema.json``."""
    if Path(name).name != name:
        raise ValueError(f"a resource is named without a folder: {name!r}")
    for folder in _FOLDERS:
        file = folder / name
        if file.is_file():
            return file.read_text(encoding="utf-8")
    looked = " and ".join(str(folder) for folder in _FOLDERS)
    raise MissingResourceError(
        f"{name} is missing from the installation of fireproof (looked in {looked}); install it again"
    )


def schema(name: str) -> dict[str, Any]:
    """The JSON schema ``grammar/<name>.schema.json``; a new dictionary each time, so a caller may change it."""
    loaded: dict[str, Any] = json.loads(grammar_text(f"{name}.schema.json"))
    return loaded


def prebuilt_tables() -> bytes | None:
    """The parser's tables as they were made for the wheel; None in a checkout, which makes its own."""
    file = _FOLDERS[0] / "nft-tables"
    return file.read_bytes() if file.is_file() else None
