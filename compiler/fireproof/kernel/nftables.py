"""What is loaded, read straight from the kernel: the hook of every base chain, the comment of every rule, and whether
the rules switch connection tracking on. Read-only; needs no nft process, so it also sees rules that nft cannot list.

Numbers: linux/netfilter/nf_tables.h. A rule's comment is a record of its user data, as nft stores it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass, field

from fireproof.kernel import netlink
from fireproof.kernel.netlink import Netlink

SUBSYSTEM = 10 << 8
_GETCHAIN, _GETRULE = SUBSYSTEM | 4, SUBSYSTEM | 7
_CHAIN_TABLE, _CHAIN_NAME, _CHAIN_HOOK = 1, 3, 4
_HOOK_NUMBER = 1
_RULE_TABLE, _RULE_CHAIN, _RULE_HANDLE, _RULE_EXPRESSIONS, _RULE_USERDATA = 1, 2, 3, 4, 7
_EXPRESSION_NAME, _EXPRESSION_DATA = 1, 2
_MATCH_NAME = 1
_DYNSET_EXPRESSION, _DYNSET_EXPRESSIONS = 7, 10
_USERDATA_COMMENT = 0

FAMILIES = {1: "inet", 2: "ip", 3: "arp", 5: "netdev", 7: "bridge", 10: "ip6"}
_INET_HOOKS = {0: "prerouting", 1: "input", 2: "forward", 3: "output", 4: "postrouting", 5: "ingress"}
_HOOKS = {
    "arp": {0: "input", 1: "output", 2: "forward"},
    "netdev": {0: "ingress", 1: "egress"},
}

# Expressions and x_tables extensions whose set-up makes the kernel track connections in this namespace.
_TRACKING = frozenset({"ct", "ct_helper", "ct_timeout", "ct_expect", "nat", "masq", "redir", "connlimit", "synproxy"})
_TRACKING_XT = frozenset(
    {"conntrack", "state", "helper", "connmark", "connlimit", "connbytes", "connlabel", "cluster"}
    | {"CT", "CONNMARK", "CONNSECMARK", "SNAT", "DNAT", "MASQUERADE", "REDIRECT", "NETMAP", "SYNPROXY", "CLUSTERIP"}
)

ChainKey = tuple[str, str, str]
"""Family, table, chain."""
RuleKey = tuple[str, str, str, int]
"""Family, table, chain, handle."""


@dataclass
class Loaded:
    """The ruleset of the namespace as far as a trace reader needs it."""

    hooks: dict[ChainKey, str] = field(default_factory=dict)
    comments: dict[RuleKey, str | None] = field(default_factory=dict)
    tracking: frozenset[int] = frozenset()
    """The IP versions whose packets are tracked."""


def loaded(sock: Netlink) -> Loaded:
    result = Loaded()
    tracking: set[int] = set()
    for _, body in sock.request(_GETCHAIN, netlink.nfgenmsg(0), netlink.DUMP, "listing chains"):
        found = netlink.attributes(body, 4)
        family = FAMILIES.get(body[0], str(body[0]))
        if _CHAIN_HOOK in found:
            number = struct.unpack(">I", netlink.attributes(found[_CHAIN_HOOK])[_HOOK_NUMBER])[0]
            key = (family, netlink.string(found[_CHAIN_TABLE]), netlink.string(found[_CHAIN_NAME]))
            result.hooks[key] = _HOOKS.get(family, _INET_HOOKS).get(number, str(number))
    for _, body in sock.request(_GETRULE, netlink.nfgenmsg(0), netlink.DUMP, "listing rules"):
        found = netlink.attributes(body, 4)
        family = FAMILIES.get(body[0], str(body[0]))
        handle = struct.unpack(">Q", found[_RULE_HANDLE])[0]
        rule = (family, netlink.string(found[_RULE_TABLE]), netlink.string(found[_RULE_CHAIN]), handle)
        result.comments[rule] = _comment(found.get(_RULE_USERDATA, b""))
        if _tracks(value for _, value in netlink.each_attribute(found.get(_RULE_EXPRESSIONS, b""))):
            tracking |= {"ip": {4}, "ip6": {6}}.get(family, {4, 6})
    result.tracking = frozenset(tracking)
    return result


def _tracks(expressions: Iterable[bytes]) -> bool:
    for expression in expressions:
        found = netlink.attributes(expression)
        name = netlink.string(found.get(_EXPRESSION_NAME, b""))
        data = netlink.attributes(found.get(_EXPRESSION_DATA, b""))
        if name in _TRACKING:
            return True
        if name in ("match", "target") and netlink.string(data.get(_MATCH_NAME, b"")) in _TRACKING_XT:
            return True
        if name == "dynset":
            inner = [data[_DYNSET_EXPRESSION]] if _DYNSET_EXPRESSION in data else []
            inner += [value for _, value in netlink.each_attribute(data.get(_DYNSET_EXPRESSIONS, b""))]
            if _tracks(inner):
                return True
    return False


def _comment(userdata: bytes) -> str | None:
    offset = 0
    while offset + 2 <= len(userdata):
        kind, length = userdata[offset], userdata[offset + 1]
        if kind == _USERDATA_COMMENT:
            return netlink.string(userdata[offset + 2 : offset + 2 + length])
        offset += 2 + length
    return None
