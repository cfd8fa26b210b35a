"""`quota until 500 mbytes`, `quota over 1 gbytes`: bytes used, counted from the IP header.

Observed: packets count even when they are dropped next; `over` is true once more than the quota is used, `until` while
no more than it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fireproof.extensions.limit import SIZES
from fireproof.model.statement import ExtensionStatement, Moment


@dataclass(slots=True)
class Usage:
    bytes: int


@dataclass(frozen=True, slots=True)
class Quota(ExtensionStatement):
    """`bytes` is the budget, `used` what is already gone."""

    bytes: int
    over: bool = False
    used: int = 0

    @property
    def sometimes(self) -> str:
        return f"the quota `{self.nft()}`"

    def _amount(self) -> tuple[int, str]:
        # nft 1.0.6 knows no gbytes.
        for unit in ("mbytes", "kbytes"):
            if self.bytes and self.bytes % SIZES[unit] == 0:
                return self.bytes // SIZES[unit], unit
        return self.bytes, "bytes"

    def nft(self) -> str:
        value, unit = self._amount()
        used = f" used {self.used} bytes" if self.used else ""
        return f"quota {'over ' if self.over else ''}{value} {unit}{used}"

    def json(self) -> object:
        value, unit = self._amount()
        result: dict[str, object] = {"val": value, "val_unit": unit}
        if self.used:
            result |= {"used": self.used, "used_unit": "bytes"}
        if self.over:
            result["inv"] = True
        return {"quota": result}

    def start(self) -> Usage:
        return Usage(self.used)

    def passes(self, state: Usage, moment: Moment) -> bool:
        state.bytes += moment.length
        return (state.bytes > self.bytes) is self.over


def read_amount(context: Any, node: Any, children: list[Any]) -> Quota:
    from fireproof.syntax.scope import MeaningError, suggest
    from fireproof.syntax.values import integer

    sense, *amounts = children

    def amount(number: Any, unit: Any) -> int:
        name = context.text(unit)
        if name not in SIZES:
            raise MeaningError(f"`{name}` is not a unit of size", unit, suggest(name, SIZES), "value")
        total = integer(context.text(number)) * SIZES[name]
        if total >= 1 << 64:
            raise MeaningError("a quota must be below 2^64 bytes", number, code="value")
        return total

    used = amount(amounts[2], amounts[3]) if len(amounts) > 2 and amounts[2] is not None else 0
    over = sense is not None and context.text(sense) == "over"
    return Quota(amount(amounts[0], amounts[1]), over, used)


READERS = {"quota": lambda context, node: read_amount(context, node, node.children)}
