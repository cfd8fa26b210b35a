"""Netlink framing: attributes, requests with acknowledgement, dumps, and reading of notifications without waiting.

Only what the kernel fixture and the conntrack reader need; no rule is ever written through it (that is nft's work).
Numbers and layouts: the kernel's uapi headers linux/netlink.h and linux/netfilter/nfnetlink.h.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterator

NETLINK_ROUTE = 0
NETLINK_NETFILTER = 12

REQUEST = 0x1
ACK = 0x4
DUMP = 0x300
CREATE = 0x400
EXCL = 0x200

_ERROR = 2
_DONE = 3
_DUMP_INTERRUPTED = 0x10
_SOL_NETLINK = 270
_ADD_MEMBERSHIP = 1
_EXT_ACK = 11
_SO_RCVBUFFORCE = 33
_NESTED = 0x8000
_TYPE_MASK = 0x3FFF
_ERRMSG_ATTRIBUTE = 1
_ACK_TLVS = 0x200

_HEADER = struct.Struct("=IHHII")
_ATTRIBUTE = struct.Struct("=HH")
_HEAD = struct.Struct("=IHH")

Attributes = dict[int, bytes]
Message = tuple[int, bytes]
"""Message type and payload (what follows the netlink header)."""
Notification = tuple[int, int, bytes]
"""Message type, flags and payload."""


class NetlinkError(OSError):
    """The kernel refused a request."""


class RecordsLostError(RuntimeError):
    """The kernel could not queue a notification: what was read is not the whole story."""


def attribute(kind: int, value: bytes) -> bytes:
    length = 4 + len(value)
    return _ATTRIBUTE.pack(length, kind) + value + b"\0" * (-length % 4)


def nested(kind: int, *members: bytes) -> bytes:
    return attribute(kind | _NESTED, b"".join(members))


def text(kind: int, value: str) -> bytes:
    return attribute(kind, os.fsencode(value) + b"\0")


def each_attribute(data: bytes, offset: int = 0) -> Iterator[tuple[int, bytes]]:
    """Type and value of every attribute from offset on; a damaged tail ends the walk."""
    end = len(data)
    while offset + 4 <= end:
        length, kind = _ATTRIBUTE.unpack_from(data, offset)
        if length < 4 or offset + length > end:
            return
        yield kind & _TYPE_MASK, data[offset + 4 : offset + length]
        offset += (length + 3) & ~3


def attributes(data: bytes, offset: int = 0) -> Attributes:
    return dict(each_attribute(data, offset))


def string(value: bytes) -> str:
    return os.fsdecode(value.rstrip(b"\0"))


def nfgenmsg(family: int, resource: int = 0) -> bytes:
    return struct.pack(">BBH", family, 0, resource)


def _messages(data: bytes) -> Iterator[tuple[int, int, int, bytes]]:
    offset = 0
    while offset + 16 <= len(data):
        length, kind, flags, sequence, _ = _HEADER.unpack_from(data, offset)
        if length < 16:
            return
        yield kind, flags, sequence, data[offset + 16 : offset + length]
        offset += (length + 3) & ~3


def _refusal(payload: bytes, flags: int, what: str) -> NetlinkError:
    code = -int(struct.unpack_from("=i", payload)[0])
    reason = os.strerror(code)
    if flags & _ACK_TLVS:
        # The request's header (and, unless capped, its payload) stands between the code and the attributes.
        capped = bool(flags & 0x100)
        length = 16 if capped else struct.unpack_from("=I", payload, 4)[0]
        message = attributes(payload, 4 + ((length + 3) & ~3)).get(_ERRMSG_ATTRIBUTE)
        if message:
            reason = f"{reason} ({string(message)})"
    return NetlinkError(code, f"{what}: {reason}")


class Netlink:
    """One netlink socket of the network namespace in which the calling thread is when it is made."""

    def __init__(self, protocol: int, *groups: int, buffer: int = 1 << 20) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
        try:
            self._socket.bind((0, 0))
            self._socket.setsockopt(_SOL_NETLINK, _EXT_ACK, 1)
            self._widen(buffer)
            for group in groups:
                self._socket.setsockopt(_SOL_NETLINK, _ADD_MEMBERSHIP, group)
        except BaseException:
            self._socket.close()
            raise
        self._sequence = 0

    def _widen(self, buffer: int) -> None:
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, buffer)
        except PermissionError:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)

    def fileno(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        self._socket.close()

    def request(self, kind: int, payload: bytes, flags: int = 0, what: str = "netlink request") -> list[Message]:
        """Sends one request and waits for its answer; the messages before the acknowledgement are returned."""
        self._sequence += 1
        sent = self._sequence
        flags |= REQUEST if flags & DUMP == DUMP else REQUEST | ACK
        self._socket.send(_HEADER.pack(16 + len(payload), kind, flags, sent, 0) + payload)
        answer: list[Message] = []
        while True:
            for kind, flags, sequence, body in _messages(self._socket.recv(1 << 17)):
                if sequence != sent:
                    continue
                if flags & _DUMP_INTERRUPTED:
                    raise NetlinkError(errno.EINTR, f"{what}: changed while being listed")
                if kind == _ERROR and struct.unpack_from("=i", body)[0] != 0:
                    raise _refusal(body, flags, what)
                if kind in (_ERROR, _DONE):
                    return answer
                answer.append((kind, body))

    def pending(self) -> Iterator[Notification]:
        """The notifications already queued; never waits."""
        receive = self._socket.recv
        while True:
            try:
                data = receive(1 << 17, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno == errno.ENOBUFS:
                    raise RecordsLostError("the kernel ran out of room for notifications") from error
                raise
            length, kind, flags = _HEAD.unpack_from(data)
            if length == len(data):
                yield kind, flags, data[16:]
            else:
                for kind, flags, _, body in _messages(data):
                    yield kind, flags, body
