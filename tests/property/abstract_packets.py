"""Packets as bare register values, run through one base chain: what an exhaustive search needs and no more.

The registers of a packet are given; every free choice falls anew, at random, each time it is asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from random import Random

from fireproof.evaluate.concrete import Concrete
from fireproof.lint.chain_rules import ENTRY
from fireproof.model.ruleset import Chain, Rule, Ruleset
from fireproof.semantics import register as reg
from fireproof.semantics.flight import Flight, World
from fireproof.semantics.register import Register
from fireproof.semantics.traverse import Translation, Traversal
from fireproof.verify.universe import interfaces_of

Packet = Mapping[Register, int]


class _Chances(Concrete):
    def __init__(self, packet: Packet, random: Random) -> None:
        super().__init__()
        self._values = packet
        self._random = random

    def arriving(self, register: Register) -> int:
        found = self._values.get(register)
        if found is not None:
            return found
        return self._random.getrandbits(register.bits) if register.choice else 0

    def choose(self, name: str, description: str) -> bool:
        return self._random.random() < 0.5


class _Binder:
    def bind(self, flight: Flight[bool, int], hook: str, where: bool, target: Translation[int]) -> bool:
        return where

    def untrack(self, flight: Flight[bool, int], where: bool) -> None:
        if where and flight.read(reg.CT_STATE) == reg.INVALID:
            flight.set(reg.CT_STATE, reg.UNTRACKED)


def rules_hit(ruleset: Ruleset, chain: Chain, packets: list[dict[Register, int]], seed: int = 0) -> set[Rule]:
    """The rules that some packet gets to the end of, in this base chain and all that it calls."""
    assert chain.base is not None
    interfaces = interfaces_of(ruleset)
    random = Random(seed)
    hit: set[Rule] = set()

    def watch(_: Chain, rule: Rule | None, where: bool, verdict: str) -> None:
        if where and rule is not None:
            hit.add(rule)

    sites: dict[tuple[Rule, int], object] = {}
    for packet in packets:
        world: World[bool, int] = World(_Chances(packet, random), interfaces, None, cut=True)
        world.sites = sites  # type: ignore[assignment]
        flight: Flight[bool, int] = Flight(world, tracked=packet.get(reg.CT_STATE, reg.NEW) in ENTRY)
        Traversal(flight, chain.base.hook, _Binder(), watch).run(chain, True)
    return hit
