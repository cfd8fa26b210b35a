"""The tuple of a flow: what connection tracking looks a packet up by, and how it is read from bytes.

ICMP has an identifier in place of the source port, type and code in place of the destination port. Source: Linux 6.18
as observed; GRE and other protocols are told apart by their addresses only.
"""

from __future__ import annotations

from typing import NamedTuple

from fireproof.netfilter.conntrack import ANSWERS, ICMP, ICMPV6, WITH_PORTS
from fireproof.packet.parse import Headers, parse


class FlowTuple(NamedTuple):
    """One direction of a flow. Addresses are integers of IP version `version`."""

    version: int
    source: int
    destination: int
    protocol: int
    sport: int
    dport: int

    def inverse(self) -> FlowTuple:
        """The tuple of the answers; only for tuples that `has_inverse`."""
        version, source, destination, protocol, sport, dport = self
        if protocol in (ICMP, ICMPV6):
            answer = ANSWERS[protocol][dport >> 8]
            return FlowTuple(version, destination, source, protocol, sport, answer << 8 | dport & 0xFF)
        return FlowTuple(version, destination, source, protocol, dport, sport)

    @property
    def has_inverse(self) -> bool:
        return self.protocol not in ANSWERS or self.dport >> 8 in ANSWERS[self.protocol]


def of_bytes(headers: Headers) -> FlowTuple | None:
    """The tuple of a packet as its bytes say; None when connection tracking cannot read one."""
    raw, th, protocol = headers.raw, headers.th, headers.l4proto
    if th is None or protocol is None or headers.fragment:
        return None
    if headers.family == 4:
        source, destination = int.from_bytes(raw[12:16], "big"), int.from_bytes(raw[16:20], "big")
    else:
        source, destination = int.from_bytes(raw[8:24], "big"), int.from_bytes(raw[24:40], "big")
    if protocol in WITH_PORTS:
        if th + 4 > len(raw):
            return None
        sport, dport = raw[th] << 8 | raw[th + 1], raw[th + 2] << 8 | raw[th + 3]
    elif protocol in (ICMP, ICMPV6):
        if th + 8 > len(raw):
            return None
        sport, dport = raw[th + 4] << 8 | raw[th + 5], raw[th] << 8 | raw[th + 1]
    else:
        sport = dport = 0
    return FlowTuple(headers.family, source, destination, protocol, sport, dport)


def quoted(headers: Headers) -> FlowTuple | None:
    """The tuple of the packet that an ICMP error quotes."""
    if headers.th is None:
        return None
    inner = headers.raw[headers.th + 8 :]
    if headers.family == 4:
        # The quote is cut short, and its length field still tells the length of the whole.
        if len(inner) < 20 or inner[0] >> 4 != 4 or (inner[0] & 15) < 5 or inner[6] & 0x1F or inner[7]:
            return None
        th = (inner[0] & 15) << 2
        return of_bytes(Headers(inner, 4, True, inner[9], th, None, 0, False, len(inner), ()))
    if len(inner) < 40 or inner[0] >> 4 != 6:
        return None
    return of_bytes(parse(inner)._replace(raw=inner))
