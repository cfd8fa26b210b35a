"""Facts about the machine that carries the ruleset: interfaces, addresses, routes, zones, conntrack settings.

Proofs may rely on them. Addresses are integers beside their IP version (4 or 6).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fireproof.source.text import Span


@dataclass(frozen=True, slots=True)
class Address:
    """An address of the host with the prefix length of the network it sits in."""

    version: int
    value: int
    prefix: int

    @property
    def bits(self) -> int:
        return 32 if self.version == 4 else 128

    @property
    def network(self) -> tuple[int, int]:
        """First and last address of the connected network."""
        rest = self.bits - self.prefix
        low = self.value >> rest << rest
        return low, low | (1 << rest) - 1


@dataclass(slots=True, eq=False)
class Interface:
    """`name` may end in `*`: any number of interfaces with that prefix."""

    name: str
    span: Span
    addresses: list[Address] = field(default_factory=list)
    zone: str | None = None


@dataclass(frozen=True, slots=True)
class Route:
    version: int
    value: int
    prefix: int
    device: str
    via: int | None = None


@dataclass(slots=True, eq=False)
class Conntrack:
    tcp_loose: bool = True
    be_liberal: bool = False
    max: int = 262144


@dataclass(slots=True, eq=False)
class Host:
    interfaces: dict[str, Interface] = field(default_factory=dict)
    routes: list[Route] = field(default_factory=list)
    conntrack: Conntrack = field(default_factory=Conntrack)

    def zone(self, name: str) -> list[str]:
        """The names of the interfaces in a zone, in the order written."""
        return [interface.name for interface in self.interfaces.values() if interface.zone == name]

    def zones(self) -> list[str]:
        return list(dict.fromkeys(i.zone for i in self.interfaces.values() if i.zone))

    def table(self) -> list[Route]:
        """All routes, connected networks included, longest prefix first."""
        connected = [
            Route(a.version, a.network[0], a.prefix, interface.name)
            for interface in self.interfaces.values()
            for a in interface.addresses
        ]
        return sorted([*connected, *self.routes], key=lambda route: -route.prefix)
