"""Where a packet goes, from the host facts: local delivery, the way out, martians, and what `fib` answers.

Without host facts every choice is possible. Sources: routing behaviour as observed on Linux 6.18 (martians are dropped
by routing after prerouting; a source address of the host itself is one, in IPv4).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Generic

from fireproof.model.expression import Fib, Name
from fireproof.model.host import Host
from fireproof.netfilter.datatypes import DATATYPES
from fireproof.semantics import register as reg
from fireproof.semantics.algebra import P, V
from fireproof.semantics.flight import Flight
from fireproof.semantics.interval import Intervals

_BITS = {4: 32, 6: 128}
_DADDR = {4: reg.IP_DADDR, 6: reg.IP6_DADDR}
_SADDR = {4: reg.IP_SADDR, 6: reg.IP6_SADDR}


def _net(text: str) -> tuple[int, int]:
    from ipaddress import ip_network

    network = ip_network(text)
    return int(network.network_address), int(network.broadcast_address)


LOOPBACK4, ZERO4, MULTICAST4 = _net("127.0.0.0/8"), _net("0.0.0.0/32"), _net("224.0.0.0/4")
BROADCAST4 = (0xFFFFFFFF, 0xFFFFFFFF)
LOOPBACK6, UNSPECIFIED6 = (1, 1), (0, 0)
MULTICAST6, LINK_LOCAL6 = _net("ff00::/8"), _net("fe80::/10")
ALL_NODES6, SOLICITED6 = _net("ff02::1/128"), _net("ff02::1:ff00:0/104")
ALL_ROUTERS6 = _net("ff02::2/128")
ALL_HOSTS4 = _net("224.0.0.1/32")


_NO_SOURCE4, _NO_DESTINATION4 = Intervals([LOOPBACK4, MULTICAST4, BROADCAST4, ZERO4]), Intervals([LOOPBACK4, ZERO4])
_NO_SOURCE6, _NO_DESTINATION6 = Intervals([LOOPBACK6, MULTICAST6]), Intervals([LOOPBACK6])
_TO_MANY4, _ALWAYS_JOINED6 = (
    Intervals([BROADCAST4, MULTICAST4, ZERO4]),
    Intervals([ALL_NODES6, SOLICITED6, ALL_ROUTERS6]),
)


@lru_cache(maxsize=32)
def local_addresses(host: Host, version: int) -> Intervals:
    """The addresses of the host itself, its loopback network included, and in IPv6 the routers' anycast addresses."""
    own = [(a.value, a.value) for i in host.interfaces.values() for a in i.addresses if a.version == version]
    if version == 4:
        return Intervals([*own, LOOPBACK4])
    return Intervals([*own, LOOPBACK6]) | network_addresses(host, 6)


@lru_cache(maxsize=32)
def broadcast_addresses(host: Host) -> Intervals:
    """Limited broadcast and those of the connected networks (both ends of each, as Linux has them)."""
    found = [BROADCAST4]
    for interface in host.interfaces.values():
        for address in interface.addresses:
            if address.version == 4 and address.prefix < 31:
                found += [(address.network[1], address.network[1])]
    return Intervals(found)


@lru_cache(maxsize=32)
def received_addresses(host: Host) -> Intervals:
    """The IPv4 destinations that are delivered here."""
    return local_addresses(host, 4) | broadcast_addresses(host)


@lru_cache(maxsize=32)
def network_addresses(host: Host, version: int) -> Intervals:
    """The first address of each connected network: the old broadcast of IPv4, the routers' anycast of IPv6."""
    found = []
    for interface in host.interfaces.values():
        for address in interface.addresses:
            if address.version == version and address.prefix < _BITS[version] - 1:
                found.append((address.network[0], address.network[0]))
    return Intervals(found)


@lru_cache(maxsize=32)
def destinations(host: Host, version: int) -> list[tuple[str, Intervals]]:
    """For each way out, all addresses that leave by it: the longest prefix wins. Own addresses are left out."""
    taken = local_addresses(host, version)
    found: dict[str, Intervals] = {}
    for route in host.table():
        if route.version != version:
            continue
        rest = _BITS[version] - route.prefix
        covered = Intervals.of(route.value, route.value | (1 << rest) - 1)
        free = covered & taken.complement(_BITS[version])
        found[route.device] = found.get(route.device, Intervals()) | free
        taken = taken | covered
    return list(found.items())


@dataclass(frozen=True, slots=True)
class Routed(Generic[P, V]):
    """Where routing sends the packets: to a local socket, out through `oif`, or nowhere."""

    local: P
    forwarded: P
    dropped: P
    oif: V


def _address(flight: Flight[P, V], version: int, source: bool, values: Intervals) -> P:
    algebra = flight.world.algebra
    mine = flight.is_family(0 if version == 4 else 1)
    if algebra.is_false(mine):
        return mine
    register = (_SADDR if source else _DADDR)[version]
    return algebra.both(mine, algebra.member(flight.read(register), register.bits, values))


def _either(flight: Flight[P, V], *conditions: P) -> P:
    algebra = flight.world.algebra
    found = algebra.false
    for condition in conditions:
        found = algebra.either(found, condition)
    return found


def martian(flight: Flight[P, V]) -> P:
    """Packets that routing drops on arrival for their addresses alone."""
    algebra = flight.world.algebra
    host = flight.world.host
    loopback = flight.world.interfaces.matching(Name("lo"))
    outside = algebra.negate(algebra.member(flight.read(reg.IIF), reg.IIF.bits, loopback))
    sources = [_NO_SOURCE4]
    if host is not None:
        sources.append(local_addresses(host, 4))
    four = _either(
        flight,
        *[_address(flight, 4, True, values) for values in sources],
        _address(flight, 4, False, _NO_DESTINATION4),
    )
    six = _either(
        flight,
        _address(flight, 6, True, _NO_SOURCE6),
        _address(flight, 6, False, _NO_DESTINATION6),
    )
    # DHCP: a source of all zeros may reach the limited broadcast address.
    booting = algebra.both(_address(flight, 4, True, Intervals.of(0)), _address(flight, 4, False, _TO_MANY4))
    return algebra.both(outside, algebra.both(algebra.either(four, six), algebra.negate(booting)))


def route(flight: Flight[P, V]) -> Routed[P, V]:
    """The routing decision for a packet that arrived, by its destination as it is now."""
    algebra = flight.world.algebra
    host = flight.world.host
    dropped = martian(flight)
    good = algebra.negate(dropped)
    multicast = _either(
        flight,
        _address(flight, 4, False, Intervals.of(*MULTICAST4)),
        _address(flight, 6, False, Intervals.of(*MULTICAST6)),
    )
    link_local = _address(flight, 6, False, Intervals.of(*LINK_LOCAL6))
    joined = ours = algebra.false
    if not algebra.is_false(multicast):
        always = _either(
            flight, _address(flight, 4, False, Intervals.of(*ALL_HOSTS4)), _address(flight, 6, False, _ALWAYS_JOINED6)
        )
        chosen = flight.choose("multicast joined", "whether this host joined the multicast group")
        joined = algebra.either(always, chosen)
    if not algebra.is_false(link_local):
        ours = flight.choose("link-local is ours", "whether the link-local address is this host's")
    special = _either(flight, algebra.both(multicast, joined), algebra.both(link_local, ours))
    nowhere = _either(
        flight, algebra.both(multicast, algebra.negate(joined)), algebra.both(link_local, algebra.negate(ours))
    )
    if host is None:
        local = flight.choose("delivered locally", "routing: whether the address is this host's")
        oif = flight.arriving(reg.OIF)
        there = algebra.negate(algebra.member(oif, reg.OIF.bits, Intervals.of(0)))
        unicast = algebra.both(good, algebra.negate(algebra.either(multicast, link_local)))
        local_all = algebra.either(algebra.both(unicast, local), algebra.both(good, special))
        forwarded = algebra.both(algebra.both(unicast, algebra.negate(local)), there)
        lost = algebra.negate(algebra.either(local_all, forwarded))
        return Routed(local_all, forwarded, lost, oif)
    local = _either(
        flight,
        _address(flight, 4, False, received_addresses(host)),
        # Only from 0.0.0.0, else it is a martian: an old way to say broadcast.
        _address(flight, 4, False, Intervals([ZERO4])),
        _address(flight, 6, False, local_addresses(host, 6)),
        special,
    )
    local = algebra.both(good, local)
    oif, routable = way_out(flight, host)
    forwarded = algebra.both(good, algebra.both(routable, algebra.negate(local)))
    forwarded = algebra.both(forwarded, algebra.negate(algebra.either(nowhere, special)))
    forwarded = algebra.both(forwarded, algebra.both(_lives(flight), algebra.negate(_stays_on_link(flight))))
    dropped = algebra.negate(algebra.either(local, forwarded))
    return Routed(local, forwarded, dropped, oif)


def _stays_on_link(flight: Flight[P, V]) -> P:
    """IPv6 sources that Linux does not forward: none at all, loopback, multicast, link-local."""
    return _address(flight, 6, True, Intervals([UNSPECIFIED6, LOOPBACK6, MULTICAST6, LINK_LOCAL6]))


def _lives(flight: Flight[P, V]) -> P:
    """A packet with a TTL or hop limit of 1 or less goes no further."""
    algebra = flight.world.algebra
    above = Intervals.of(2, 255)
    four = algebra.both(flight.is_family(0), algebra.member(flight.read(reg.TTL), 8, above))
    six = algebra.both(flight.is_family(1), algebra.member(flight.read(reg.HOPLIMIT), 8, above))
    return algebra.either(four, six)


def decrement(flight: Flight[P, V]) -> None:
    """Forwarding takes one from TTL or hop limit before the forward hook sees the packet."""
    algebra = flight.world.algebra
    for register in (reg.TTL, reg.HOPLIMIT):
        flight.set(register, algebra.minus_one(flight.read(register), 8))


def way_out(flight: Flight[P, V], host: Host) -> tuple[V, P]:
    """The interface that the destination leaves by, and where there is one."""
    algebra = flight.world.algebra
    oif = algebra.constant(0, reg.OIF.bits)
    routable = algebra.false
    for version in (4, 6):
        for device, values in destinations(host, version):
            hit = _address(flight, version, False, values)
            oif = algebra.select(hit, interface_value(flight, device), oif, reg.OIF.bits)
            routable = algebra.either(routable, hit)
    return oif, routable


def interface_value(flight: Flight[P, V], name: str) -> V:
    return flight.world.algebra.constant(flight.world.interfaces.number(name), reg.OIF.bits)


# ---- fib -----------------------------------------------------------------------------------------------------------
_TYPES = DATATYPES["fib_addrtype"].symbols


def fib(flight: Flight[P, V], expression: Fib) -> tuple[V, P]:
    """`fib daddr type`, `fib saddr . iif oif` and the like; free where the host facts do not tell."""
    algebra = flight.world.algebra
    host = flight.world.host
    source = "saddr" in expression.keys
    if host is None:
        bits = 32 if expression.result == "type" else reg.OIF.bits
        name = f"fib {' . '.join(expression.keys)} {expression.result}"
        return flight.arriving(reg.choice_register(name, bits, f"`{name}`, without facts about the host")), algebra.true
    if expression.result == "type":
        return _fib_type(flight, host, source), algebra.true
    number = algebra.constant(0, reg.OIF.bits)
    for version in (4, 6):
        for device, values in destinations(host, version):
            hit = _address(flight, version, source, values)
            number = algebra.select(hit, interface_value(flight, device), number, reg.OIF.bits)
        # Own addresses are found on the loopback interface, or on the one they belong to where `iif` restricts it.
        own = _address(flight, version, source, local_addresses(host, version))
        number = algebra.select(own, interface_value(flight, "lo"), number, reg.OIF.bits)
    if "iif" in expression.keys:
        same = algebra.equal(number, flight.read(reg.IIF), reg.OIF.bits)
        number = algebra.select(same, number, algebra.constant(0, reg.OIF.bits), reg.OIF.bits)
    return number, algebra.true


def _fib_type(flight: Flight[P, V], host: Host, source: bool) -> V:
    algebra = flight.world.algebra
    result = algebra.constant(_TYPES["unicast"], 32)
    unreachable = algebra.constant(_TYPES["unreachable"], 32)
    for version in (4, 6):
        routed = Intervals()
        for _, values in destinations(host, version):
            routed = routed | values
        known = routed | local_addresses(host, version)
        missing = _address(flight, version, source, known.complement(_BITS[version]))
        result = algebra.select(missing, unreachable, result, 32)
        kinds = [
            ("multicast", Intervals([MULTICAST4 if version == 4 else MULTICAST6])),
            ("local", local_addresses(host, version)),
        ]
        if version == 4:
            kinds.append(("broadcast", broadcast_addresses(host)))
        for name, values in kinds:
            hit = _address(flight, version, source, values)
            result = algebra.select(hit, algebra.constant(_TYPES[name], 32), result, 32)
    return result
