"""The router of an oracle: TUN ports, addresses, routes and settings in a network namespace of its own."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from fireproof.kernel import links
from fireproof.kernel.namespace import Namespace

# Reverse path filter and redirects would decide before or beside the rules. The ICMP limits would silence `reject`.
# fwmark_reflect lets the observer tell what the stack answers from what a rule does.
_SETTINGS = {
    "net.ipv4.ip_forward": "1",
    "net.ipv4.fwmark_reflect": "1",
    "net.ipv4.icmp_ratelimit": "0",
    "net.ipv4.icmp_msgs_per_sec": "1000000",
    "net.ipv4.icmp_msgs_burst": "1000000",
    "net.ipv4.conf.all.rp_filter": "0",
    "net.ipv4.conf.default.rp_filter": "0",
    "net.ipv4.conf.all.send_redirects": "0",
    "net.ipv4.conf.default.send_redirects": "0",
    "net.ipv6.conf.all.disable_ipv6": "0",
    "net.ipv6.conf.default.disable_ipv6": "0",
    "net.ipv6.conf.default.accept_dad": "0",
    "net.ipv6.conf.default.accept_ra": "0",
    "net.ipv6.conf.default.addr_gen_mode": "1",
    "net.ipv6.conf.default.router_solicitations": "0",
    "net.ipv6.conf.all.forwarding": "1",
    "net.ipv6.fwmark_reflect": "1",
    "net.ipv6.icmp.ratelimit": "0",
}


@dataclass(frozen=True)
class Port:
    """A TUN interface of the router and its addresses in CIDR notation, IPv4 and IPv6."""

    name: str
    addresses: tuple[str, ...] = ()


@dataclass(frozen=True)
class Route:
    """`default` is IPv6 if `via` is, otherwise IPv4; an IPv6 default without a gateway is written `::/0`."""

    prefix: str
    dev: str
    via: str | None = None


class Router:
    """Lives until `stack` is closed."""

    def __init__(
        self,
        stack: ExitStack,
        ports: Sequence[Port],
        routes: Sequence[Route],
        settings: Mapping[str, str],
        loopback: bool,
    ) -> None:
        self.namespace = stack.enter_context(Namespace())
        self.ports: dict[str, int] = {}
        """The far end of every port."""
        self._networks = [ipaddress.ip_interface(address).network for port in ports for address in port.addresses]
        self._networks += [links.network(route.prefix, route.via) for route in routes]
        with self.namespace.entered():
            _set(_SETTINGS, missing_ok=True)
            _set(settings, missing_ok=True)
            rtnetlink = links.Links()
            try:
                if loopback:
                    rtnetlink.up("lo")
                for port in ports:
                    descriptor = links.open_tun(port.name)
                    stack.callback(os.close, descriptor)
                    self.ports[port.name] = descriptor
                    rtnetlink.up(port.name)
                    for address in port.addresses:
                        rtnetlink.address(port.name, address)
                for route in routes:
                    rtnetlink.route(route.prefix, route.dev, route.via)
            finally:
                rtnetlink.close()
            # Again, for the settings of the ports, and because these must not fail in silence.
            _set(settings, missing_ok=False)

    def routes(self, packet: bytes) -> bool:
        """Whether there is a route to the packet's destination, before any translation."""
        destination = ipaddress.ip_address(packet[16:20] if packet[0] >> 4 == 4 else packet[24:40])
        return any(destination in network for network in self._networks)


def read_port(descriptor: int) -> Iterable[bytes]:
    """Every packet that left by a port since the last call; never waits."""
    while True:
        try:
            yield os.read(descriptor, 1 << 16)
        except BlockingIOError:
            return


def _set(settings: Mapping[str, str], *, missing_ok: bool) -> None:
    for name, value in settings.items():
        try:
            links.set_sysctl(name, value)
        except (FileNotFoundError, PermissionError):
            # No IPv6, a port that is yet to come, or what older kernels keep for the first namespace.
            if not missing_ok:
                raise
