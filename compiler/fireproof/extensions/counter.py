"""`counter`: counts packets and bytes that reach it. It decides nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fireproof.model.statement import ExtensionStatement


@dataclass(frozen=True, slots=True)
class Counter(ExtensionStatement):
    packets: int = 0
    bytes: int = 0

    def nft(self) -> str:
        return f"counter packets {self.packets} bytes {self.bytes}" if self.packets or self.bytes else "counter"

    def json(self) -> object:
        return {"counter": {"packets": self.packets, "bytes": self.bytes} if self.packets or self.bytes else None}


def _read(context: Any, node: Any) -> Counter:
    from fireproof.syntax.values import integer

    return Counter(*(integer(context.text(leaf)) for leaf in node.children if leaf is not None))


READERS = {"counter": _read}
