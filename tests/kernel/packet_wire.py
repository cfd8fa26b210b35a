"""A throw-away router for packet tests: a network namespace of its own with two TUN ports held by this process.

lan0 is 10.0.1.1/24 and fd00:1::1/64, wan0 is 10.0.2.1/24 and fd00:2::1/64. A write to a port runs the kernel's whole
receive path before it returns, so what comes out can be read at once: nothing sleeps.
"""

import ctypes
import fcntl
import json
import os
import shutil
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

_CLONE_NEWNET = 0x40000000
_TUNSETIFF, _IFF_TUN, _IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
_LIBC = ctypes.CDLL(None, use_errno=True)

_SETTINGS = MappingProxyType(
    {
        "ipv4/ip_forward": "1",
        "ipv4/icmp_ratelimit": "0",
        "ipv4/icmp_msgs_per_sec": "1000000",
        "ipv4/icmp_msgs_burst": "1000000",
        "ipv4/conf/all/rp_filter": "0",
        "ipv4/conf/default/rp_filter": "0",
        "ipv6/conf/all/forwarding": "1",
        "ipv6/conf/default/accept_dad": "0",
        "ipv6/conf/default/addr_gen_mode": "1",
        "ipv6/conf/default/accept_source_route": "1",
        "ipv6/icmp/ratelimit": "0",
    }
)


class Wire:
    """The router, while `packet_wire` is open."""

    def __init__(self) -> None:
        for name, value in _SETTINGS.items():
            # icmp_msgs_per_sec cannot be written in a namespace on older kernels
            with suppress(OSError):
                Path("/proc/sys/net", name).write_text(value)
        self._ports = {name: _port(name) for name in ("lan0", "wan0")}
        for number, name in enumerate(self._ports, start=1):
            run("ip", "addr", "add", f"10.0.{number}.1/24", "dev", name)
            run("ip", "-6", "addr", "add", f"fd00:{number}::1/64", "dev", name, "nodad")
            run("ip", "link", "set", name, "up")
        run("ip", "link", "set", "lo", "up")
        self.collect("lan0")
        self.collect("wan0")

    def load(self, ruleset: str) -> None:
        """Put a ruleset in place of the last one, and forget what came out before."""
        run("nft", "-f", "-", text="flush ruleset\n" + ruleset)
        for port in self._ports:
            self.collect(port)

    def send(self, port: str, raw: bytes) -> None:
        with suppress(OSError):  # the driver reports some drops as EINVAL
            os.write(self._ports[port], raw)

    def collect(self, port: str) -> list[bytes]:
        """What came out of a port since the last look; the router's own multicast chatter is left out."""
        packets: list[bytes] = []
        while True:
            try:
                raw = os.read(self._ports[port], 70000)
            except BlockingIOError:
                return packets
            if raw[0] >> 4 == 4 or raw[24] != 0xFF:
                packets.append(raw)

    def counters(self) -> dict[str, int]:
        """Packets seen by every named counter, which are zero again afterwards."""
        listed: dict[str, Any] = json.loads(run("nft", "-j", "reset", "counters"))
        return {o["counter"]["name"]: o["counter"]["packets"] for o in listed["nftables"] if "counter" in o}

    def close(self) -> None:
        for port in self._ports.values():
            os.close(port)


def run(*command: str, text: str | None = None) -> str:
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    if done.returncode:
        raise AssertionError(f"{' '.join(command)}: {done.stderr}")
    return done.stdout


def _port(name: str) -> int:
    port = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(port, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _IFF_TUN | _IFF_NO_PI))
    return port


@contextmanager
def packet_wire() -> Iterator[Wire]:
    """The calling thread lives in the namespace while this is open; the test is skipped where that is not possible."""
    if os.geteuid() != 0:
        pytest.skip("needs root: a network namespace with TUN ports is made")
    for tool in ("nft", "ip"):
        if shutil.which(tool) is None:
            pytest.skip(f"needs {tool}")
    if not Path("/dev/net/tun").exists():
        pytest.skip("needs /dev/net/tun")
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        if _LIBC.unshare(_CLONE_NEWNET) != 0:
            pytest.skip(f"no network namespace: {os.strerror(ctypes.get_errno())}")
        try:
            wire = Wire()
            try:
                yield wire
            finally:
                wire.close()
        finally:
            if _LIBC.setns(home, _CLONE_NEWNET) != 0:
                raise RuntimeError("cannot return to the network namespace of the test run")
    finally:
        os.close(home)
