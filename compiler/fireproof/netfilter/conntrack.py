"""What connection tracking knows of protocols: ports, ICMP types, TCP flags, status bits. Observed on Linux 6.18.

The evaluator and the proofs both read these tables.
"""

from __future__ import annotations

ICMP, TCP, UDP, DCCP, ICMPV6, SCTP, UDPLITE = 1, 6, 17, 33, 58, 132, 136

WITH_PORTS = frozenset((TCP, UDP, SCTP, UDPLITE))
"""Protocols whose ports tell flows apart and are translated."""

ANSWERS = {
    ICMP: {8: 0, 0: 8, 13: 14, 14: 13, 15: 16, 16: 15, 17: 18, 18: 17},
    ICMPV6: {128: 129, 129: 128, 139: 140, 140: 139},
}
"""Query and answer, both ways: echo, timestamp, information, address mask; in ICMPv6 echo and node information."""
QUERIES = {ICMP: frozenset((8, 13, 15, 17)), ICMPV6: frozenset((128, 139))}
"""The ICMP types that may open a flow."""
ERRORS = {ICMP: frozenset((3, 4, 5, 11, 12)), ICMPV6: frozenset(range(128))}
"""The ICMP types that speak of another packet."""
NEVER_TRACKED_ICMPV6 = frozenset((*range(130, 137), 143))
"""Neighbour discovery and multicast listeners."""

FIN, SYN, RST, PSH, ACK, URG, ECE, CWR = 1, 2, 4, 8, 16, 32, 64, 128
IGNORED_FLAGS = PSH | ECE | CWR
SENSIBLE_FLAGS = frozenset((SYN, SYN | URG, SYN | ACK, RST, RST | ACK, FIN | ACK, FIN | ACK | URG, ACK, ACK | URG))
"""Combinations that TCP tracking takes once the ignored flags are put aside; every other one is invalid."""

SEEN_REPLY, ASSURED, CONFIRMED, SRC_NAT, DST_NAT = 2, 4, 8, 16, 32
"""Bits of `ct status`."""
