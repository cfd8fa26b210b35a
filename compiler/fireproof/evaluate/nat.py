"""Choosing the translation of a new flow: addresses, ports, and what happens when a tuple is taken.

The order of attempts and the ranges ports are drawn from are those observed on Linux 6.18: a source port below 512 is
replaced by one of 1-511, below 1024 by one of 600-1023, others by one of 1024-65535. Where the kernel draws at random,
the evaluator's seed decides. Left out: giving a TIME_WAIT entry's port to a newer connection when a pool is nearly
empty.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from random import Random

from fireproof.evaluate.flowtable import NAT, NAT_DONE, Flow, FlowTable
from fireproof.evaluate.flowtuple import FlowTuple
from fireproof.netfilter.conntrack import ICMP, ICMPV6, WITH_PORTS

_ATTEMPTS = 128
_FEWEST_ATTEMPTS = 16


@dataclass(frozen=True, slots=True)
class Target:
    """Where a flow is translated to. Ranges include both ends; None leaves the address or port as it is."""

    addresses: tuple[int, int] | None = None
    ports: tuple[int, int] | None = None
    flags: tuple[str, ...] = ()
    keep_host: bool = False
    """The range is a network, and the host part of the address stays (netmap)."""

    @property
    def draws(self) -> bool:
        return "random" in self.flags or "fully-random" in self.flags


class Translator:
    def __init__(self, table: FlowTable, seed: int) -> None:
        self.table = table
        self._random = Random(f"nat {seed}")
        self._seed = seed

    def bind(self, flow: Flow, side: str, target: Target) -> None:
        """Gives a new flow its translation on one side; a tuple that stays taken is refused on confirmation."""
        current = flow.reply.inverse()
        new = self._choose(flow, side, target, current)
        if new != current:
            flow.reply = new.inverse()
            flow.status |= NAT[side]
        flow.status |= NAT_DONE[side]

    def bind_nothing(self, flow: Flow, side: str) -> None:
        """A flow that no rule translates; it may get another source port if its tuple is taken."""
        current = flow.reply.inverse()
        address = current.source if side == "source" else current.destination
        self.bind(flow, side, Target((address, address)))

    # ---- the attempts in order -------------------------------------------------------------------------------------
    def _choose(self, flow: Flow, side: str, target: Target, current: FlowTuple) -> FlowTuple:
        if side == "source" and not target.draws:
            if _within(current, target):
                if not self._taken(flow, current):
                    return current
            else:
                # One sender keeps one face towards everybody, as long as that is free.
                known = self._same_face(flow, current, target)
                if known is not None and not self._taken(flow, known):
                    return known
        new = self._with_address(current, side, target)
        if not target.draws:
            if target.ports is not None:
                low, high = target.ports
                if low <= _port(new, side) <= high and (low == high or not self._taken(flow, new)):
                    return new
            elif not self._taken(flow, new):
                return new
        return self._with_port(flow, new, side, target)

    def _same_face(self, flow: Flow, current: FlowTuple, target: Target) -> FlowTuple | None:
        for other in self.table.from_source(flow.original):
            if other.zone != flow.zone:
                continue
            face = other.reply.inverse()
            new = current._replace(source=face.source, sport=face.sport)
            if _within(new, target):
                return new
        return None

    def _with_address(self, current: FlowTuple, side: str, target: Target) -> FlowTuple:
        if target.addresses is None:
            return current
        low, high = target.addresses
        own = current.source if side == "source" else current.destination
        if target.keep_host:
            own = low | own & (high - low)
        elif low == high:
            own = low
        else:
            own = low + self._spread(current, "persistent" in target.flags) % (high - low + 1)
        return current._replace(source=own) if side == "source" else current._replace(destination=own)

    def _spread(self, current: FlowTuple, persistent: bool) -> int:
        """The same for the same two ends; `persistent` looks at the sender alone."""
        text = f"{self._seed} {current.source} {0 if persistent else current.destination}"
        return int.from_bytes(blake2b(text.encode(), digest_size=4).digest(), "big")

    def _with_port(self, flow: Flow, new: FlowTuple, side: str, target: Target) -> FlowTuple:
        protocol = new.protocol
        if protocol in (ICMP, ICMPV6):
            side, low, high = "source", 0, 65535
        elif protocol not in WITH_PORTS or (target.ports is None and side == "destination"):
            return new
        else:
            low, high = _port_class(_port(new, side))
        if target.ports is not None:
            low, high = target.ports
        size = high - low + 1
        # A destination range is filled from its start, unless asked otherwise; a source is drawn.
        first = self._random.randrange(size) if side == "source" or target.draws else 0
        attempts = min(size, _ATTEMPTS)
        while True:
            for offset in range(first, first + attempts):
                new = _with(new, side, low + offset % size)
                if not self._taken(flow, new):
                    return new
            if attempts >= size or attempts < _FEWEST_ATTEMPTS:
                return new
            attempts //= 2
            first = self._random.randrange(size)

    def _taken(self, flow: Flow, new: FlowTuple) -> bool:
        """Whether another flow's packets already answer to the tuple that the replies would have."""
        return self.table.find(new.inverse(), flow.zones[1]) is not None


def _port_class(port: int) -> tuple[int, int]:
    if port < 512:
        return 1, 511
    return (600, 1023) if port < 1024 else (1024, 65535)


def _port(ends: FlowTuple, side: str) -> int:
    return ends.sport if side == "source" or ends.protocol in (ICMP, ICMPV6) else ends.dport


def _with(ends: FlowTuple, side: str, port: int) -> FlowTuple:
    return ends._replace(sport=port) if side == "source" else ends._replace(dport=port)


def _within(ends: FlowTuple, target: Target) -> bool:
    """Whether the sender is already what the target asks for."""
    if target.addresses is not None and not target.addresses[0] <= ends.source <= target.addresses[1]:
        return False
    return target.ports is None or target.ports[0] <= ends.sport <= target.ports[1]
