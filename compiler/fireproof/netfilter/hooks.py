"""Families, hooks, chain types and priorities, and what may stand in which chain.

Everything here was loaded into Linux 6.18 by nft 1.0.6, one chain or one rule at a time. Not loadable there, so taken
from nft's manual and marked below: queue, flow offload, and in the bridge family reject, conntrack and the bridge keys.
A chain without a hook is checked by the kernel at every base chain that reaches it.
"""

from collections.abc import Mapping

FAMILIES = ("ip", "ip6", "inet", "arp", "bridge", "netdev")
IP_FAMILIES = frozenset(("ip", "ip6", "inet"))

_IP_HOOKS = ("prerouting", "input", "forward", "output", "postrouting")

HOOKS: Mapping[str, tuple[str, ...]] = {
    "ip": _IP_HOOKS,
    "ip6": _IP_HOOKS,
    "inet": ("ingress", *_IP_HOOKS),
    # nft also accepts forward for arp; the kernel does not.
    "arp": ("input", "output"),
    "bridge": _IP_HOOKS,
    "netdev": ("ingress", "egress"),
}
# Chains that need `device` (one or more): netdev's, and inet's ingress.
DEVICE_HOOKS = frozenset(("ingress", "egress"))

_NAT_HOOKS = ("prerouting", "input", "output", "postrouting")
# (family, chain type) → hooks at which such a chain loads.
CHAIN_TYPES: Mapping[tuple[str, str], tuple[str, ...]] = {
    **{(family, "filter"): hooks for family, hooks in HOOKS.items()},
    **{(family, "nat"): _NAT_HOOKS for family in ("ip", "ip6", "inet")},
    **{(family, "route"): ("output",) for family in ("ip", "ip6", "inet")},
}

# Priorities of the kernel's own work; a chain with a smaller number runs before it.
CONNTRACK_PRIORITY = -200
# nat chains all run where the NAT core does, whatever they declare: their own priority only orders them among
# themselves.
DNAT_PRIORITY = -100
SNAT_PRIORITY = 100
NAT_HOOK_PRIORITY: Mapping[str, int] = {
    "prerouting": DNAT_PRIORITY,
    "output": DNAT_PRIORITY,
    "input": SNAT_PRIORITY,
    "postrouting": SNAT_PRIORITY,
}
# A nat chain at -200 or less is refused (EOPNOTSUPP).
NAT_PRIORITY_MIN = -199
PRIORITY_MIN, PRIORITY_MAX = -(1 << 31), (1 << 31) - 1

# A chain of 15 nested jumps from a base chain loads, the 16th is EMLINK; so is a loop.
MAX_JUMPS = 16

_ANYWHERE: Mapping[str, int] = {"raw": -300, "mangle": -150, "filter": 0, "security": 50}
_BRIDGE_FILTER: Mapping[str, int] = {"filter": -200}


def _named_priorities() -> dict[tuple[str, str], Mapping[str, int]]:
    named: dict[tuple[str, str], Mapping[str, int]] = {}
    for family in IP_FAMILIES:
        for hook in HOOKS[family]:
            named[family, hook] = _ANYWHERE
        named[family, "prerouting"] = {**_ANYWHERE, "dstnat": -100}
        named[family, "postrouting"] = {**_ANYWHERE, "srcnat": 100}
    for family in ("arp", "netdev"):
        for hook in HOOKS[family]:
            named[family, hook] = {"filter": 0}
    for hook in HOOKS["bridge"]:
        named["bridge", hook] = _BRIDGE_FILTER
    named["bridge", "prerouting"] = {**_BRIDGE_FILTER, "dstnat": -300}
    named["bridge", "output"] = {**_BRIDGE_FILTER, "out": 100}
    named["bridge", "postrouting"] = {**_BRIDGE_FILTER, "srcnat": 300}
    return named


# (family, hook) → names legal after `priority` there. The chain's type plays no part: `type nat … priority raw`
# parses and then fails on the number.
NAMED_PRIORITIES: Mapping[tuple[str, str], Mapping[str, int]] = _named_priorities()

Places = frozenset[tuple[str, str, str]]


def _places(families: str, hooks: str, types: str = "filter nat route") -> Places:
    """Every chain (family, type, hook) that exists and is named by the three lists."""
    wanted, kinds = hooks.split(), types.split()
    return frozenset(
        (family, kind, hook)
        for family in families.split()
        for kind in kinds
        for hook in CHAIN_TYPES.get((family, kind), ())
        if hook in wanted
    )


_EVERY_HOOK = " ".join(("ingress", "egress", *_IP_HOOKS))
_IP = "ip ip6 inet"
_ALL = _places(" ".join(FAMILIES), _EVERY_HOOK)
# Conntrack: ip, ip6, inet; in bridge with nf_conntrack_bridge (manual).
_CONNTRACK = _places(_IP + " bridge", _EVERY_HOOK)
_INCOMING = _places(_IP, "prerouting input forward")
_OUTGOING = _places(_IP, "forward output postrouting")
_FIB = _places("ip ip6 inet", " ".join(_IP_HOOKS)) | _places("netdev", "ingress egress")

_STATEMENTS: Mapping[str, Places] = {
    **dict.fromkeys(
        (
            *("accept", "drop", "continue", "return", "jump", "goto", "counter", "limit", "quota", "log", "last"),
            # Accepted everywhere, useful only before conntrack (below -200).
            "notrack",
            *("set", "map", "payload set", "tcp option set", "tcp option reset"),
            *("meta mark set", "meta priority set", "meta nftrace set", "meta secmark set"),
        ),
        _ALL,
    ),
    "reject": _places(_IP, "ingress prerouting input forward output")
    | _places("netdev", "ingress")
    # Manual: bridge rejects at prerouting and input.
    | _places("bridge", "prerouting input"),
    "dnat": _places(_IP, "prerouting output", "nat"),
    "redirect": _places(_IP, "prerouting output", "nat"),
    "snat": _places(_IP, "input postrouting", "nat"),
    "masquerade": _places(_IP, "postrouting", "nat"),
    "tproxy": _places(_IP, "prerouting"),
    "synproxy": _places(_IP, "input forward"),
    # Manual: the kernel used for the rest has no nft_queue and no flow tables.
    "queue": _places("ip ip6 inet bridge", " ".join(_IP_HOOKS)),
    "flow": _places(_IP, "forward", "filter"),
    # `dup to ADDRESS` in ip and ip6, `dup to DEVICE` in netdev; inet has neither.
    "dup": _places("ip ip6", " ".join(_IP_HOOKS)) | _places("netdev", "ingress egress"),
    "fwd": _places("netdev", "ingress egress"),
    "meta pkttype set": _places("ip ip6 inet bridge", "prerouting") | _places("netdev", "ingress"),
    **dict.fromkeys(("ct mark set", "ct zone set", "ct event set", "ct label set", "ct secmark set"), _CONNTRACK),
    **dict.fromkeys(("ct helper set", "ct timeout set", "ct expectation set", "ct count"), _CONNTRACK),
}

_EXPRESSIONS: Mapping[str, Places] = {
    "ct": _CONNTRACK,
    "rt": _places(_IP, _EVERY_HOOK),
    "rt mtu": _OUTGOING,
    "socket": _places(_IP, "prerouting input output"),
    # IPv4 only.
    "osf": _places("ip inet", "prerouting input forward"),
    "fib type": _FIB,
    # The reverse-path question has no answer once the packet has been sent on its way.
    "fib oif": _INCOMING | _places("netdev", "ingress"),
    "ipsec in": _INCOMING,
    "ipsec out": _OUTGOING,
    "meta ipsec": _INCOMING | _places("netdev", "ingress"),
    "meta sdif": _places(_IP, "input forward"),
    # Manual: needs the kernel's nft_meta_bridge.
    "meta ibrname": _places("bridge", _EVERY_HOOK),
}


def statement_allowed(statement: str, family: str, chain_type: str, hook: str) -> bool:
    """Whether the kernel takes the statement in a base chain of this family, type and hook. KeyError: unknown name.

    A statement that belongs to a protocol (`tproxy to :80`, `tcp option`) may still need an earlier match on it.
    """
    return (family, chain_type, hook) in _STATEMENTS[statement]


def expression_allowed(expression: str, family: str, chain_type: str, hook: str) -> bool:
    """The same for a match; keys without an entry here are legal in every chain their family can express."""
    places = _EXPRESSIONS.get(expression)
    return places is None or (family, chain_type, hook) in places


def statements() -> frozenset[str]:
    """The names `statement_allowed` knows."""
    return frozenset(_STATEMENTS)
