"""`limit rate 10/second burst 5 packets`: a token bucket.

Observed: five packets of burst unless written; counting bytes, the bucket holds rate plus burst; `over` is the exact
complement of the same bucket.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fireproof.model.statement import ExtensionStatement, Moment

UNITS = {"second": 1, "minute": 60, "hour": 3600, "day": 86_400, "week": 604_800}
SIZES = {"bytes": 1, "kbytes": 1024, "mbytes": 1024**2, "gbytes": 1024**3}
DEFAULT_BURST = 5


@dataclass(slots=True)
class Bucket:
    """Tokens in seconds' worth of rate, and when they were counted."""

    tokens: float
    at: float


@dataclass(frozen=True, slots=True)
class Limit(ExtensionStatement):
    """`rate` per `unit`, in packets or (with `bytes`) in bytes; burst in the same."""

    rate: int
    unit: str
    burst: int = DEFAULT_BURST
    bytes: bool = False
    over: bool = False

    @property
    def sometimes(self) -> str:
        return f"the rate limit `{self.nft()}`"

    def nft(self) -> str:
        over = "over " if self.over else ""
        if self.bytes:
            burst = f" burst {self.burst} bytes" if self.burst else ""
            return f"limit rate {over}{self.rate} bytes/{self.unit}{burst}"
        return f"limit rate {over}{self.rate}/{self.unit} burst {self.burst} packets"

    def json(self) -> object:
        value: dict[str, object] = {"rate": self.rate, "burst": self.burst, "per": self.unit}
        if self.bytes:
            value["rate_unit"] = "bytes"
            value["burst_unit"] = "bytes"
            if not self.burst:
                del value["burst"], value["burst_unit"]
        if self.over:
            value["inv"] = True
        return {"limit": value}

    @property
    def depth(self) -> float:
        """What the full bucket holds, in seconds of its rate."""
        held = self.rate + self.burst if self.bytes else self.burst
        return held * UNITS[self.unit] / self.rate

    def start(self) -> Bucket:
        return Bucket(self.depth, 0.0)

    def passes(self, state: Bucket, moment: Moment) -> bool:
        state.tokens = min(self.depth, state.tokens + max(0.0, moment.now - state.at))
        state.at = moment.now
        cost = (moment.length if self.bytes else 1) * UNITS[self.unit] / self.rate
        # A nanosecond of tolerance: the kernel counts whole nanoseconds.
        within = state.tokens + 1e-9 >= cost
        if within:
            state.tokens -= cost
        return within is not self.over


def read_rate(context: Any, node: Any, children: list[Any]) -> Limit:
    """A limit from the children of its tree: sense, rate, unit, burst and the burst's unit."""
    from fireproof.syntax.scope import MeaningError, suggest
    from fireproof.syntax.values import integer

    sense, rate_leaf, unit_node, *burst = children
    rate = integer(context.text(rate_leaf))
    size = 1
    in_bytes = hasattr(unit_node, "children")
    leaf = unit_node
    if in_bytes:
        leaf = unit_node.children[0]
        text = "/".join(context.text(child) for child in unit_node.children if child is not None)
        size_name, _, unit = text.partition("/")
        size = _size(context, size_name, leaf)
    else:
        unit = context.text(leaf)
    if unit not in UNITS:
        raise MeaningError(f"`{unit}` is not a unit of time", leaf, suggest(unit, UNITS), "value")
    if rate == 0:
        raise MeaningError("a rate of 0 lets nothing through", rate_leaf, "use `drop`", "value")
    given = burst[0] if burst else None
    if in_bytes:
        amount = (
            integer(context.text(given)) * _size(context, context.text(burst[1]), burst[1]) if given is not None else 0
        )
    else:
        amount = integer(context.text(given)) if given is not None else DEFAULT_BURST
        if amount == 0:
            amount = DEFAULT_BURST
    over = sense is not None and context.text(sense) == "over"
    return Limit(rate * size, unit, amount, in_bytes, over)


def _size(context: Any, name: str, leaf: Any) -> int:
    from fireproof.syntax.scope import MeaningError, suggest

    if name not in SIZES:
        raise MeaningError(f"`{name}` is not a unit of size", leaf, suggest(name, SIZES), "value")
    return SIZES[name]


READERS = {"limit": lambda context, node: read_rate(context, node, node.children)}
