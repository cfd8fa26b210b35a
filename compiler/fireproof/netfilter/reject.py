"""The `reject` statement: which answers exist, what a bare `reject` sends, and what icmpx means per address family.

Codes are those of ICMP destination unreachable (type 3) and ICMPv6 destination unreachable (type 1), from `nft
describe`; the icmpx mapping was read from the errors that Linux 6.18 sends.
"""

from collections.abc import Mapping

from fireproof.netfilter.datatypes import DATATYPES

ICMP_CODES: Mapping[str, int] = DATATYPES["icmp_code"].symbols
ICMPV6_CODES: Mapping[str, int] = DATATYPES["icmpv6_code"].symbols
ICMPX_CODES: Mapping[str, int] = DATATYPES["icmpx_code"].symbols

ICMP_UNREACHABLE = 3
ICMPV6_UNREACHABLE = 1

# icmpx code → code of the ICMP error, code of the ICMPv6 error.
ICMPX_TO_ICMP: Mapping[int, int] = {0: 0, 1: 3, 2: 1, 3: 13}
ICMPX_TO_ICMPV6: Mapping[int, int] = {0: 0, 1: 4, 2: 3, 3: 1}

# What a bare `reject` is, by table family. `with icmpx` itself is refused in ip and ip6 ("abstracted ICMP unreachable
# not supported"); in inet, bridge and netdev a rule that has already fixed the protocol gets that protocol's own kind.
DEFAULT_REJECT: Mapping[str, tuple[str, int]] = {
    "ip": ("icmp", 3),
    "ip6": ("icmpv6", 4),
    "inet": ("icmpx", 1),
    "bridge": ("icmpx", 1),
    "netdev": ("icmpx", 1),
}
REJECT_KINDS: Mapping[str, frozenset[str]] = {
    "ip": frozenset(("icmp", "tcp reset")),
    "ip6": frozenset(("icmpv6", "tcp reset")),
    "inet": frozenset(("icmp", "icmpv6", "icmpx", "tcp reset")),
    "bridge": frozenset(("icmp", "icmpv6", "icmpx", "tcp reset")),
    "netdev": frozenset(("icmp", "icmpv6", "icmpx", "tcp reset")),
    "arp": frozenset(),
}
