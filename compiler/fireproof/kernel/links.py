"""Interfaces, addresses and routes of a throw-away namespace, and TUN ports whose far end is a file descriptor.

Everything goes by interface index through rtnetlink, so any legal name works, even one that shells misread.
Numbers: linux/rtnetlink.h, linux/if_link.h, linux/if_addr.h, linux/if_tun.h. Acts on the calling thread's namespace.
"""

from __future__ import annotations

import errno
import fcntl
import ipaddress
import os
import socket
import struct
from pathlib import Path

from fireproof.kernel import netlink
from fireproof.kernel.namespace import KernelUnavailable
from fireproof.kernel.netlink import Netlink, NetlinkError

_RTM_NEWLINK, _RTM_NEWADDR, _RTM_NEWROUTE = 16, 20, 24
_IFLA_IFNAME, _IFLA_LINKINFO, _IFLA_INFO_KIND = 3, 18, 1
_IFA_ADDRESS, _IFA_LOCAL = 1, 2
_RTA_DST, _RTA_OIF, _RTA_GATEWAY = 1, 4, 5
_IFF_UP = 0x1
_IFA_F_NODAD = 0x02
_RTNH_F_ONLINK = 4
_RT_TABLE_MAIN, _RTPROT_STATIC, _RTN_UNICAST = 254, 4, 1
_RT_SCOPE_UNIVERSE, _RT_SCOPE_LINK = 0, 253

TUN_DEVICE = "/dev/net/tun"
_TUNSETIFF = 0x400454CA
_IFF_TUN, _IFF_NO_PI, _IFF_TUN_EXCL = 0x0001, 0x1000, 0x8000

# `dummy` is the natural choice, but not every kernel has it; any device serves a chain that only names it.
_PLACEHOLDER_KINDS = ("dummy", "ifb", "veth", "bridge")


def check_name(name: str) -> None:
    """Raises ValueError unless the kernel would take the interface name; `%` would be a pattern to TUNSETIFF."""
    encoded = os.fsencode(name)
    if not 0 < len(encoded) < 16 or name in (".", "..", "lo", "all", "default") or any(c in b"/:%\0" for c in encoded):
        raise ValueError(f"not a usable interface name: {name!r}")
    if any(byte <= 0x20 or 0x09 <= byte <= 0x0D for byte in encoded):
        raise ValueError(f"an interface name holds no blanks: {name!r}")


def open_tun(name: str) -> int:
    """Makes TUN interface `name`; packets are read from and written to the descriptor without any header."""
    check_name(name)
    try:
        descriptor = os.open(TUN_DEVICE, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise KernelUnavailable(f"no {TUN_DEVICE}: {error.strerror}") from error
    try:
        request = struct.pack("16sH22x", os.fsencode(name), _IFF_TUN | _IFF_NO_PI | _IFF_TUN_EXCL)
        fcntl.ioctl(descriptor, _TUNSETIFF, request)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def network(prefix: str, via: str | None) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    """The destination of a route; `default` is IPv6 if the gateway is, otherwise IPv4."""
    gateway = ipaddress.ip_address(via) if via is not None else None
    if prefix == "default":
        prefix = "::/0" if gateway is not None and gateway.version == 6 else "0.0.0.0/0"
    destination = ipaddress.ip_network(prefix)
    if gateway is not None and gateway.version != destination.version:
        raise ValueError(f"route {prefix} via {via}: two address families")
    return destination


class Links:
    """rtnetlink for setting up."""

    def __init__(self) -> None:
        self._netlink = Netlink(netlink.NETLINK_ROUTE)

    def close(self) -> None:
        self._netlink.close()

    def up(self, name: str) -> None:
        payload = struct.pack("=BxHiII", 0, 0, socket.if_nametoindex(name), _IFF_UP, _IFF_UP)
        self._netlink.request(_RTM_NEWLINK, payload, what=f"interface {name} up")

    def placeholder(self, name: str) -> None:
        """A device that exists so that a chain can name it."""
        check_name(name)
        for kind in _PLACEHOLDER_KINDS:
            info = netlink.nested(_IFLA_LINKINFO, netlink.attribute(_IFLA_INFO_KIND, kind.encode()))
            payload = struct.pack("=BxHiII", 0, 0, 0, 0, 0) + netlink.text(_IFLA_IFNAME, name) + info
            try:
                self._netlink.request(_RTM_NEWLINK, payload, netlink.CREATE | netlink.EXCL, f"interface {name}")
            except NetlinkError as error:
                if error.errno != errno.EOPNOTSUPP:
                    raise
            else:
                return
        raise NetlinkError(errno.EOPNOTSUPP, f"interface {name}: the kernel offers none of {_PLACEHOLDER_KINDS}")

    def address(self, name: str, cidr: str) -> None:
        interface = ipaddress.ip_interface(cidr)
        family = socket.AF_INET if interface.version == 4 else socket.AF_INET6
        packed = interface.ip.packed
        payload = struct.pack(
            "=BBBBI", family, interface.network.prefixlen, _IFA_F_NODAD, 0, socket.if_nametoindex(name)
        )
        payload += netlink.attribute(_IFA_LOCAL, packed) + netlink.attribute(_IFA_ADDRESS, packed)
        self._netlink.request(_RTM_NEWADDR, payload, netlink.CREATE | netlink.EXCL, f"address {cidr} on {name}")

    def route(self, prefix: str, name: str, via: str | None = None) -> None:
        destination = network(prefix, via)
        gateway = ipaddress.ip_address(via) if via is not None else None
        family = socket.AF_INET if destination.version == 4 else socket.AF_INET6
        scope = _RT_SCOPE_LINK if gateway is None and destination.version == 4 else _RT_SCOPE_UNIVERSE
        # On-link: a port has no neighbours to resolve, and the gateway need not lie in a connected prefix.
        flags = _RTNH_F_ONLINK if gateway is not None else 0
        payload = struct.pack(
            "=BBBBBBBBI",
            family,
            destination.prefixlen,
            0,
            0,
            _RT_TABLE_MAIN,
            _RTPROT_STATIC,
            scope,
            _RTN_UNICAST,
            flags,
        )
        payload += netlink.attribute(_RTA_DST, destination.network_address.packed)
        payload += netlink.attribute(_RTA_OIF, struct.pack("=i", socket.if_nametoindex(name)))
        if gateway is not None:
            payload += netlink.attribute(_RTA_GATEWAY, gateway.packed)
        self._netlink.request(_RTM_NEWROUTE, payload, netlink.CREATE | netlink.EXCL, f"route {prefix} dev {name}")


def set_sysctl(name: str, value: str) -> None:
    """Dotted as in sysctl(8); with a slash in it the name is taken as a path, for interface names that hold a dot."""
    path = name if "/" in name else name.replace(".", "/")
    if not path.startswith("net/") or ".." in path.split("/"):
        raise ValueError(f"not a setting of a network namespace: {name!r}")
    Path("/proc/sys", path).write_text(value)
