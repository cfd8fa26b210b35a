"""`ct count over 20`: how many connections reached this place and still live, the current one included.

Observed: connections in TIME_WAIT and CLOSE are not counted. Inside a dynamic set the count is one for each element.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from fireproof.model.statement import ExtensionStatement, Moment


@dataclass(slots=True)
class Connections:
    flows: set[int] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class ConnectionLimit(ExtensionStatement):
    count: int
    over: bool = False

    @property
    def sometimes(self) -> str:
        return f"the connection limit `{self.nft()}`"

    def nft(self) -> str:
        return f"ct count {'over ' if self.over else ''}{self.count}"

    def json(self) -> object:
        value: dict[str, object] = {"val": self.count}
        if self.over:
            value["inv"] = True
        return {"ct count": value}

    def start(self) -> Connections:
        return Connections()

    def passes(self, state: Connections, moment: Moment) -> bool:
        if moment.flow is None:
            # Without a tracked connection the kernel counts nothing and the rule does not match.
            return False
        state.flows = {flow for flow in state.flows if moment.counted(flow)}
        state.flows.add(moment.flow)
        return (len(state.flows) > self.count) is self.over


def _read(context: Any, node: Any) -> ConnectionLimit:
    from fireproof.syntax.values import integer

    sense, number = node.children
    return ConnectionLimit(integer(context.text(number)), sense is not None and context.text(sense) == "over")


READERS = {"connlimit": _read}
