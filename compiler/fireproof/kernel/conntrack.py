"""The kernel's flow table: list, look up, flush, and the events of new, changed and destroyed flows.

Speaks ctnetlink; layouts: linux/netfilter/nfnetlink_conntrack.h and nf_conntrack_common.h. A dump walks every hash
bucket of the machine (about 10 ms), a look-up by tuple does not. Needs CAP_NET_ADMIN in the namespace.
"""

from __future__ import annotations

import errno
import ipaddress
import socket
import struct
from dataclasses import dataclass
from typing import Literal

from fireproof.kernel import netlink
from fireproof.kernel.netlink import Attributes, Netlink, NetlinkError

_NEW, _GET, _DELETE = 0x100, 0x101, 0x102
_EXPECTATION_DELETE = 0x202
_GROUPS = (1, 2, 3)

_TUPLE_ORIGINAL, _TUPLE_REPLY, _STATUS, _PROTOINFO, _HELP, _TIMEOUT, _MARK = 1, 2, 3, 4, 5, 7, 8
_TUPLE_MASTER, _ZONE, _ID = 14, 18, 12
_TUPLE_IP, _TUPLE_PROTO, _TUPLE_ZONE = 1, 2, 3
_IP4_SOURCE, _IP4_DESTINATION, _IP6_SOURCE, _IP6_DESTINATION = 1, 2, 3, 4
_PROTO_NUMBER, _PROTO_SPORT, _PROTO_DPORT = 1, 2, 3
_ICMP_ID, _ICMP_TYPE, _ICMP_CODE, _ICMP6_ID, _ICMP6_TYPE, _ICMP6_CODE = 4, 5, 6, 7, 8, 9
_PROTOINFO_STATE = {1: "tcp", 2: "dccp", 3: "sctp"}
_HELP_NAME = 1

TCP_STATES = (
    "NONE", "SYN_SENT", "SYN_RECV", "ESTABLISHED", "FIN_WAIT", "CLOSE_WAIT", "LAST_ACK", "TIME_WAIT", "CLOSE",
    "SYN_SENT2",
)  # fmt: skip

STATUS_BITS = {
    "expected": 0x1,
    "seen_reply": 0x2,
    "assured": 0x4,
    "confirmed": 0x8,
    "src_nat": 0x10,
    "dst_nat": 0x20,
    "seq_adjust": 0x40,
    "src_nat_done": 0x80,
    "dst_nat_done": 0x100,
    "dying": 0x200,
    "fixed_timeout": 0x400,
    "helper": 0x2000,
    "offload": 0x4000,
}


@dataclass(frozen=True, slots=True)
class FlowTuple:
    """One direction of a flow, by conntrack's own idea of it. ICMP has no ports but an identifier, type and code."""

    source: str
    destination: str
    protocol: int
    sport: int | None = None
    dport: int | None = None
    icmp_id: int | None = None
    icmp_type: int | None = None
    icmp_code: int | None = None


@dataclass(frozen=True, slots=True)
class FlowEntry:
    original: FlowTuple
    reply: FlowTuple
    status: frozenset[str]
    """Names out of STATUS_BITS."""
    mark: int
    zone: int
    original_zone: int | None
    """The zone of this direction only, if the directions have different ones."""
    reply_zone: int | None
    timeout: int | None
    """Seconds left; None in an event that does not say."""
    tcp_state: str | None
    helper: str | None
    master: FlowTuple | None
    """The flow whose helper expected this one."""
    id: int

    @property
    def protocol(self) -> int:
        return self.original.protocol


@dataclass(frozen=True, slots=True)
class FlowEvent:
    kind: Literal["new", "update", "destroy"]
    flow: FlowEntry


def _tuple(data: bytes) -> tuple[FlowTuple, int | None]:
    parts = netlink.attributes(data)
    ends = netlink.attributes(parts.get(_TUPLE_IP, b""))
    if _IP4_SOURCE in ends:
        source = socket.inet_ntop(socket.AF_INET, ends[_IP4_SOURCE])
        destination = socket.inet_ntop(socket.AF_INET, ends[_IP4_DESTINATION])
    else:
        source = socket.inet_ntop(socket.AF_INET6, ends[_IP6_SOURCE])
        destination = socket.inet_ntop(socket.AF_INET6, ends[_IP6_DESTINATION])
    proto = netlink.attributes(parts.get(_TUPLE_PROTO, b""))

    def number(*kinds: int) -> int | None:
        return next((int.from_bytes(proto[kind]) for kind in kinds if kind in proto), None)

    flow = FlowTuple(
        source,
        destination,
        proto[_PROTO_NUMBER][0],
        number(_PROTO_SPORT),
        number(_PROTO_DPORT),
        number(_ICMP_ID, _ICMP6_ID),
        number(_ICMP_TYPE, _ICMP6_TYPE),
        number(_ICMP_CODE, _ICMP6_CODE),
    )
    zone = parts.get(_TUPLE_ZONE)
    return flow, int.from_bytes(zone) if zone is not None else None


def _number(found: Attributes, kind: int) -> int:
    return int.from_bytes(found.get(kind, b""))


def _tcp_state(data: bytes) -> str | None:
    for kind, value in netlink.each_attribute(data):
        if _PROTOINFO_STATE.get(kind) == "tcp":
            state = netlink.attributes(value).get(1)
            if state is not None:
                return TCP_STATES[state[0]] if state[0] < len(TCP_STATES) else str(state[0])
    return None


def decode(body: bytes) -> FlowEntry:
    """A ctnetlink message, without the netlink header."""
    found = netlink.attributes(body, 4)
    original, original_zone = _tuple(found[_TUPLE_ORIGINAL])
    reply, reply_zone = _tuple(found[_TUPLE_REPLY])
    bits = _number(found, _STATUS)
    helper = netlink.attributes(found.get(_HELP, b"")).get(_HELP_NAME)
    return FlowEntry(
        original=original,
        reply=reply,
        status=frozenset(name for name, bit in STATUS_BITS.items() if bits & bit),
        mark=_number(found, _MARK),
        zone=_number(found, _ZONE),
        original_zone=original_zone,
        reply_zone=reply_zone,
        timeout=_number(found, _TIMEOUT) if _TIMEOUT in found else None,
        tcp_state=_tcp_state(found.get(_PROTOINFO, b"")),
        helper=netlink.string(helper) if helper else None,
        master=_tuple(found[_TUPLE_MASTER])[0] if _TUPLE_MASTER in found else None,
        id=_number(found, _ID),
    )


def _encode(flow: FlowTuple) -> tuple[int, bytes]:
    source, destination = ipaddress.ip_address(flow.source), ipaddress.ip_address(flow.destination)
    four = source.version == 4
    proto = [netlink.attribute(_PROTO_NUMBER, bytes([flow.protocol]))]
    for kind, value, size in (
        (_PROTO_SPORT, flow.sport, 2),
        (_PROTO_DPORT, flow.dport, 2),
        (_ICMP_ID if four else _ICMP6_ID, flow.icmp_id, 2),
        (_ICMP_TYPE if four else _ICMP6_TYPE, flow.icmp_type, 1),
        (_ICMP_CODE if four else _ICMP6_CODE, flow.icmp_code, 1),
    ):
        if value is not None:
            proto.append(netlink.attribute(kind, value.to_bytes(size)))
    ends = netlink.nested(
        _TUPLE_IP,
        netlink.attribute(_IP4_SOURCE if four else _IP6_SOURCE, source.packed),
        netlink.attribute(_IP4_DESTINATION if four else _IP6_DESTINATION, destination.packed),
    )
    return (socket.AF_INET if four else socket.AF_INET6), ends + netlink.nested(_TUPLE_PROTO, *proto)


class Conntrack:
    """The flow table of the network namespace in which the calling thread is when this is made."""

    def __init__(self, *, events: bool = False) -> None:
        self._requests = Netlink(netlink.NETLINK_NETFILTER)
        self._events: Netlink | None = None
        if events:
            try:
                self._events = Netlink(netlink.NETLINK_NETFILTER, *_GROUPS, buffer=16 << 20)
            except BaseException:
                self._requests.close()
                raise

    def close(self) -> None:
        self._requests.close()
        if self._events is not None:
            self._events.close()

    def fileno(self) -> int:
        """Readable when an event is queued."""
        if self._events is None:
            raise ValueError("made without events")
        return self._events.fileno()

    def dump(self) -> list[FlowEntry]:
        messages = self._requests.request(_GET, netlink.nfgenmsg(0), netlink.DUMP, "listing flows")
        return [decode(body) for _, body in messages]

    def get(self, flow: FlowTuple, zone: int = 0) -> FlowEntry | None:
        """The flow one of whose directions is this tuple. ICMP types are those of the tuple, not of a reply packet."""
        family, encoded = _encode(flow)
        payload = netlink.nfgenmsg(family) + netlink.nested(_TUPLE_ORIGINAL, encoded)
        if zone:
            payload += netlink.attribute(_ZONE, struct.pack(">H", zone))
        try:
            answer = self._requests.request(_GET, payload, what="looking up a flow")
        except NetlinkError as error:
            if error.errno == errno.ENOENT:
                return None
            raise
        return decode(answer[0][1])

    def flush(self) -> None:
        """Every flow and every expectation."""
        self._requests.request(_DELETE, netlink.nfgenmsg(0), what="flushing flows")
        self._requests.request(_EXPECTATION_DELETE, netlink.nfgenmsg(0), what="flushing expectations")

    def events(self) -> list[FlowEvent]:
        """What has happened since the last call; never waits."""
        result: list[FlowEvent] = []
        if self._events is None:
            raise ValueError("made without events")
        for kind, flags, body in self._events.pending():
            if kind == _NEW:
                # NLM_F_CREATE tells the first message about a flow from the later ones.
                result.append(FlowEvent("new" if flags & netlink.CREATE else "update", decode(body)))
            elif kind == _DELETE:
                result.append(FlowEvent("destroy", decode(body)))
        return result
