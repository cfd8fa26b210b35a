"""Addresses of the host as the kernel picks them: for masquerade, redirect and the errors that reject sends.

From the host facts alone. Source: inet_select_addr and RFC 6724, as far as host facts tell; observed on Linux 6.18.
"""

from __future__ import annotations

from fireproof.model.host import Address, Host, Interface, Route
from fireproof.semantics.routing import local_addresses


def interface(host: Host, name: str) -> Interface | None:
    """The interface of this name, or the pattern that stands for it."""
    found = host.interfaces.get(name)
    if found is None:
        patterns = [i for i in host.interfaces.values() if i.name.endswith("*") and name.startswith(i.name[:-1])]
        found = max(patterns, key=lambda i: len(i.name), default=None)
    return found


def route_to(host: Host, version: int, destination: int) -> Route | None:
    for route in host.table():
        if route.version == version and destination >> _rest(route) == route.value >> _rest(route):
            return route
    return None


def _rest(route: Route) -> int:
    return (32 if route.version == 4 else 128) - route.prefix


def primary(host: Host, device: str, version: int) -> int | None:
    """The first address of an interface."""
    return next((a.value for a in _addresses(host, device, version)), None)


def _addresses(host: Host, device: str, version: int) -> list[Address]:
    found = interface(host, device)
    return [a for a in found.addresses if a.version == version] if found else []


def source_towards(host: Host, device: str, version: int, destination: int) -> int | None:
    """The address of `device` that packets to `destination` are sent from."""
    if version == 6 and destination in local_addresses(host, 6):
        return destination
    found = _addresses(host, device, version)
    if not found:
        # A device without an address of its own, such as lo, borrows from the first that has one.
        return next((a.value for i in host.interfaces.values() for a in i.addresses if a.version == version), None)
    if version == 4:
        route = route_to(host, 4, destination)
        hop = route.via if route is not None and route.via is not None else destination
        near = next((a for a in found if a.network[0] <= hop <= a.network[1]), None)
        return (near or found[0]).value
    # The longest common prefix wins; the first of equals.
    return max(found, key=lambda a: 128 - (a.value ^ destination).bit_length()).value
