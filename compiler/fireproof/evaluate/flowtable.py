"""The flow table: entries with both tuples, their status, zones, marks and timeouts, found by either tuple.

Nothing runs beside the packets: an entry whose time is over goes away when it is next met, or when the table is looked
at. Status bits are those of the kernel (linux/netfilter/nf_conntrack_common.h).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from fireproof.evaluate import tcp
from fireproof.evaluate.flowtuple import FlowTuple
from fireproof.netfilter.conntrack import ASSURED, CONFIRMED, DST_NAT, SRC_NAT

SRC_NAT_DONE, DST_NAT_DONE, DYING = 128, 256, 512
NAT_DONE = {"source": SRC_NAT_DONE, "destination": DST_NAT_DONE}
NAT = {"source": SRC_NAT, "destination": DST_NAT}


@dataclass(slots=True, eq=False)
class Flow:
    """`zones` are those its two tuples are looked up in. `expires` is a moment of the evaluator's clock."""

    id: int
    original: FlowTuple
    reply: FlowTuple
    zone: int = 0
    zones: tuple[int, int] = (0, 0)
    status: int = 0
    mark: int = 0
    expires: float = 0.0
    tcp: tcp.Connection | None = None
    steady: float = 0.0
    """UDP: when a flow that is still answered becomes assured."""
    now: float = field(default=0.0, repr=False)

    @property
    def tcp_state(self) -> str | None:
        return None if self.tcp is None else self.tcp.state

    @property
    def timeout(self) -> float:
        """Seconds left when the table was looked at."""
        return max(0.0, self.expires - self.now)

    def tuple_of(self, direction: int) -> FlowTuple:
        return self.reply if direction else self.original


class FlowTable:
    """All confirmed flows."""

    def __init__(self) -> None:
        self._by_tuple: dict[tuple[FlowTuple, int], tuple[Flow, int]] = {}
        self._flows: dict[int, Flow] = {}
        self._by_source: dict[tuple[int, int, int, int], dict[int, Flow]] = {}
        self.now = 0.0

    def __len__(self) -> int:
        self._expire()
        return len(self._flows)

    def __iter__(self) -> Iterator[Flow]:
        self._expire()
        for flow in self._flows.values():
            flow.now = self.now
        return iter(list(self._flows.values()))

    @property
    def size(self) -> int:
        """How many entries there are, those included whose time is over."""
        return len(self._flows)

    def _expire(self) -> None:
        for flow in [flow for flow in self._flows.values() if flow.expires <= self.now]:
            self.remove(flow)

    def find(self, ends: FlowTuple, zone: int = 0) -> tuple[Flow, int] | None:
        """The flow one of whose tuples this is, and which one."""
        found = self._by_tuple.get((ends, zone))
        if found is not None and found[0].expires <= self.now:
            self.remove(found[0])
            return None
        return found

    def get(self, number: int) -> Flow | None:
        found = self._flows.get(number)
        return found if found is not None and found.expires > self.now else None

    def add(self, flow: Flow) -> bool:
        """Enters a flow; False when one of its tuples is taken."""
        for direction in (0, 1):
            if self.find(flow.tuple_of(direction), flow.zones[direction]) is not None:
                return False
        flow.status |= CONFIRMED
        self._flows[flow.id] = flow
        for direction in (0, 1):
            self._by_tuple[flow.tuple_of(direction), flow.zones[direction]] = (flow, direction)
        self._by_source.setdefault(_source_key(flow.original), {})[flow.id] = flow
        return True

    def remove(self, flow: Flow) -> None:
        if self._flows.pop(flow.id, None) is None:
            return
        flow.status |= DYING
        for direction in (0, 1):
            self._by_tuple.pop((flow.tuple_of(direction), flow.zones[direction]), None)
        key = _source_key(flow.original)
        same = self._by_source[key]
        del same[flow.id]
        if not same:
            del self._by_source[key]

    def flush(self) -> None:
        for flow in list(self._flows.values()):
            self.remove(flow)

    def from_source(self, original: FlowTuple) -> list[Flow]:
        """The flows of the same sender: address, port and protocol. The one entered last comes first."""
        same = self._by_source.get(_source_key(original), {})
        return [flow for flow in reversed(same.values()) if flow.expires > self.now]

    def evict(self) -> bool:
        """Makes room in a full table: the oldest flow that is not assured goes."""
        victim = next((flow for flow in self._flows.values() if not flow.status & ASSURED), None)
        if victim is None:
            return False
        self.remove(victim)
        return True


def _source_key(ends: FlowTuple) -> tuple[int, int, int, int]:
    return ends.version, ends.source, ends.protocol, ends.sport
