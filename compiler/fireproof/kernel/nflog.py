"""Whole packets that reach an nft `log group N` statement (NFLOG), one message per packet, read without waiting.

Layouts: linux/netfilter/nfnetlink_log.h. Without a threshold of 1 the kernel would hold packets back.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from fireproof.kernel import netlink
from fireproof.kernel.netlink import Netlink

_CONFIG, _PACKET = 0x401, 0x400
_CFG_COMMAND, _CFG_MODE, _CFG_THRESHOLD = 1, 2, 5
_COMMAND_BIND, _COPY_PACKET = 1, 2
_PAYLOAD = 9


class PacketLog:
    """The log group of the network namespace in which the calling thread is when this is made."""

    def __init__(self, group: int) -> None:
        self._netlink = Netlink(netlink.NETLINK_NETFILTER, buffer=16 << 20)
        try:
            self._configure(group, netlink.attribute(_CFG_COMMAND, bytes([_COMMAND_BIND])))
            self._configure(group, netlink.attribute(_CFG_MODE, struct.pack(">IBx", 0xFFFF, _COPY_PACKET)))
            self._configure(group, netlink.attribute(_CFG_THRESHOLD, struct.pack(">I", 1)))
        except BaseException:
            self._netlink.close()
            raise

    def _configure(self, group: int, setting: bytes) -> None:
        self._netlink.request(_CONFIG, netlink.nfgenmsg(0, group) + setting, what="setting up the packet log")

    def close(self) -> None:
        self._netlink.close()

    def fileno(self) -> int:
        return self._netlink.fileno()

    def read(self) -> Iterator[bytes]:
        """Every packet logged so far, from the IP header on."""
        for kind, _, body in self._netlink.pending():
            if kind == _PACKET:
                payload = netlink.attributes(body, 4).get(_PAYLOAD)
                if payload is not None:
                    yield payload
