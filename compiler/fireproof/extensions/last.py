"""`last`: remembers when it was last reached. It decides nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fireproof.model.statement import ExtensionStatement


@dataclass(frozen=True, slots=True)
class Last(ExtensionStatement):
    def nft(self) -> str:
        return "last"

    def json(self) -> object:
        return {"last": None}


def _read(context: Any, node: Any) -> Last:
    return Last()


READERS = {"last": _read}
