"""Tuples of a flow and how a binding translates its packets: one formula for every algebra.

A flow has two tuples, that of its original direction as it arrived and that of the replies it expects. A packet of one
direction leaves with the inverse of the other direction's tuple: destinations change before routing, sources after.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic

from fireproof.semantics import register as reg
from fireproof.semantics.algebra import P, V
from fireproof.semantics.flight import Flight
from fireproof.semantics.register import Register

SOURCE_HOOKS = frozenset(("input", "postrouting"))


@dataclass(frozen=True, slots=True)
class Ends(Generic[V]):
    """Addresses (of both IP versions; only one counts) and ports of a tuple."""

    saddr4: V
    daddr4: V
    saddr6: V
    daddr6: V
    sport: V
    dport: V

    def inverse(self) -> Ends[V]:
        return Ends(self.daddr4, self.saddr4, self.daddr6, self.saddr6, self.dport, self.sport)


_REGISTERS = (reg.IP_SADDR, reg.IP_DADDR, reg.IP6_SADDR, reg.IP6_DADDR, reg.SPORT, reg.DPORT)


def ends_of(flight: Flight[P, V]) -> Ends[V]:
    """The tuple of a packet as it is now."""
    return Ends(*(flight.read(register) for register in _REGISTERS))


def translate(flight: Flight[P, V], hook: str, where: P, target: Ends[V], ports: P) -> None:
    """Gives the packets of `where` the addresses of `target` on the side that this hook translates.

    `ports`: where the protocol has ports to translate.
    """
    algebra = flight.world.algebra
    source = hook in SOURCE_HOOKS
    rows: tuple[tuple[Register, V], ...] = (
        ((reg.IP_SADDR, target.saddr4), (reg.IP6_SADDR, target.saddr6))
        if source
        else ((reg.IP_DADDR, target.daddr4), (reg.IP6_DADDR, target.daddr6))
    )
    for register, value in rows:
        flight.write(where, register, value)
    port, value = (reg.SPORT, target.sport) if source else (reg.DPORT, target.dport)
    flight.write(algebra.both(where, ports), port, value)
