"""What the statements of a rule need of one another: the protocols they speak of must agree, nothing follows a verdict.

nft refuses such rules, so a ruleset that holds one never loads. Which combinations it refuses was asked of nft 1.0.6,
one rule at a time; what it lets pass (`tcp dport 1 meta l4proto udp`) passes here, and lint says that it never matches.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from lark import Token

from fireproof.model.expression import (
    Ct,
    Expression,
    HeaderOption,
    Interval,
    Meta,
    Payload,
    Routing,
    SetLiteral,
)
from fireproof.model.statement import Match, Nat, Reject, Statement, Tproxy
from fireproof.netfilter.headers import HEADERS
from fireproof.netfilter.protocols import PROTOCOLS
from fireproof.syntax.grammar import Node
from fireproof.syntax.references import expressions, walk
from fireproof.syntax.scope import MeaningError, leaves

_L3 = {2: "ip", 10: "ip6"}
_ETHER_TYPES = {0x0800: "ip", 0x86DD: "ip6"}
_TERMINAL = frozenset(
    (
        "verdict",
        "reject",
        "reject_icmp",
        "reject_reset",
        "queue",
        "nat_plain",
        "nat_to",
        "nat_prefix",
        "nat_pair",
        "fwd",
    )
)
_TCP, _UDP = 6, 17
_SOME = -1
"""A transport protocol is fixed, but to one of several."""


def check_order(nodes: list[Any]) -> None:
    """Refuses statements behind one that ends the rule. Raises MeaningError."""
    for node, following in pairwise(nodes):
        if node.data not in _TERMINAL or following is None or following.data == "comment":
            continue
        if node.data == "verdict" and str(node.children[0]) == "continue":
            continue
        raise MeaningError(
            "this is never reached: the statement before it ends the rule", following,
            "write it before the verdict; or a `;` or a line end is missing before it", "syntax",
        )  # fmt: skip


@dataclass(slots=True)
class _Known:
    """What the statements so far say about the packet. `network` is ip or ip6, `transport` a protocol number."""

    family: str
    network: str | None
    transport: int | None = None
    icmp_type: int | None = None

    def need_network(self, network: str, node: Node) -> None:
        if self.network not in (None, network):
            raise _conflict(self.network, network, node)
        self.network = network

    def need_transport(self, number: int, node: Node) -> None:
        if self.transport not in (None, _SOME, number):
            raise _conflict(_name(self.transport), _name(number), node)
        self.transport = number


def _name(number: int | None) -> str:
    return next((name for name, value in PROTOCOLS.items() if value == number), str(number))


def _conflict(one: str | None, other: str, node: Node) -> MeaningError:
    return MeaningError(
        f"no packet is both {one} and {other}, so nft refuses this rule", node, "make it two rules", "conflict"
    )


_TELLING = frozenset(("nfproto", "l4proto", "protocol", "nexthdr", "type"))


def by_value(tree: Node) -> bool:
    """Whether `check` may come out otherwise for the same rule with other literals or variables."""
    return any(isinstance(leaf, Token) and (leaf in _TELLING or leaf.type == "VARIABLE") for leaf in leaves(tree))


def check(family: str, nodes: list[Any], statements: tuple[Statement, ...]) -> None:
    """Refuses statements that speak of different protocols, or of none where one is needed. Raises MeaningError."""
    known = _Known(family, family if family in ("ip", "ip6") else None)
    statement_nodes = [node for node in nodes if node is not None and node.data != "comment"]
    for node, statement in zip(statement_nodes, statements, strict=True):
        for expression in expressions(statement):
            for part in walk(expression):
                _expression(known, part, node)
        if isinstance(statement, Match):
            _match(known, statement)
        elif isinstance(statement, Nat):
            _nat(known, statement, node)
        elif isinstance(statement, Reject):
            _reject(known, statement, node)
        elif isinstance(statement, Tproxy):
            _tproxy(known, statement, node)


def _expression(known: _Known, part: Expression, node: Node) -> None:
    if isinstance(part, Payload) and part.protocol is not None:
        header = HEADERS[part.protocol]
        for key, value in header.requires:
            if key == "l4proto":
                known.need_transport(value, node)
            elif key == "nfproto" and header.base == "nh":
                known.need_network(_L3[value], node)
        field = header.fields.get(part.name or "")
        if field is not None and field.types:
            if known.icmp_type is not None and known.icmp_type not in field.types:
                raise MeaningError(
                    f"an ICMP packet of type {known.icmp_type} has no {part.name}",
                    node,
                    "make it two rules",
                    "conflict",
                )
            known.icmp_type = field.types[0] if len(field.types) == 1 else None
    elif isinstance(part, HeaderOption) and part.protocol == "exthdr":
        known.need_network("ip6", node)
    elif isinstance(part, HeaderOption) and part.protocol == "ip":
        known.need_network("ip", node)
    elif isinstance(part, Ct | Routing) and part.family in ("ip", "ip6"):
        known.need_network(part.family, node)
    elif isinstance(part, Ct | Routing) and part.key in ("saddr", "daddr", "nexthop") and known.network is None:
        what = f"ct {part.direction} ip {part.key}" if isinstance(part, Ct) else "rt ip nexthop"
        raise MeaningError("ip or ip6 is not known here", node, f"write `{what}`, or ip6", "value")


def _values(statement: Match) -> list[int] | None:
    """The numbers that a match asks for, when it asks for some."""
    if statement.operator != "==":
        return None
    right = statement.right
    keys = [element.key for element in right.elements] if isinstance(right, SetLiteral) else [right]
    found = []
    for key in keys:
        if not isinstance(key, tuple) or len(key) != 1 or not isinstance(key[0], Interval) or key[0].low != key[0].high:
            return None
        found.append(key[0].low)
    return found


def _match(known: _Known, statement: Match) -> None:
    left = statement.left
    asked = _values(statement)
    if not asked:
        return
    single = asked[0] if len(asked) == 1 else None
    if isinstance(left, Meta) and left.key == "nfproto" and single in _L3:
        known.network = _L3[single]
    elif isinstance(left, Payload) and left.protocol == "ether" and left.name == "type" and single in _ETHER_TYPES:
        known.network = _ETHER_TYPES[single]
    elif (isinstance(left, Meta) and left.key == "l4proto") or (
        isinstance(left, Payload) and left.name in ("protocol", "nexthdr") and left.protocol in ("ip", "ip6")
    ):
        if known.transport is None or single is None:
            known.transport = single if single is not None else (known.transport or _SOME)
    elif isinstance(left, Payload) and left.protocol in ("icmp", "icmpv6") and left.name == "type":
        known.icmp_type = single


def _port_needs_transport(known: _Known, node: Node) -> None:
    if known.transport is None:
        raise MeaningError(
            "a port needs a transport protocol, which this rule does not match", node,
            "match it before, for example with `meta l4proto tcp`", "value",
        )  # fmt: skip


def _key_has_transport(statement: Nat) -> bool:
    """Whether the map that gives address and port is asked with the protocol too: nft needs no more."""
    key = getattr(statement.address, "key", None)
    for part in getattr(key, "parts", (key,)):
        if isinstance(part, Meta) and part.key == "l4proto":
            return True
        if isinstance(part, Payload) and part.base == "nh" and part.name in ("protocol", "nexthdr"):
            return True
    return False


def _nat(known: _Known, statement: Nat, node: Node) -> None:
    if statement.port is not None or (statement.pair and not _key_has_transport(statement)):
        _port_needs_transport(known, node)
    if statement.address is None or statement.family is None:
        return
    explicit = any(getattr(child, "data", "") == "nat_family" for child in node.children if child is not None)
    if known.network is None and not explicit and known.family not in ("ip", "ip6"):
        raise MeaningError(
            "ip or ip6 is not known here", node, f"write `{statement.kind} {statement.family} to …`", "value"
        )
    known.need_network(statement.family, node)


def _reject(known: _Known, statement: Reject, node: Node) -> None:
    if statement.kind == "tcp-reset":
        if known.transport not in (None, _SOME):
            known.need_transport(_TCP, node)
    elif statement.kind == "icmpx":
        if known.family in ("ip", "ip6") and node.data != "reject":
            raise MeaningError("icmpx is for tables of both families", node, "write `icmp` or `icmpv6`", "value")
    elif node.data != "reject":
        known.need_network("ip" if statement.kind == "icmp" else "ip6", node)


def _tproxy(known: _Known, statement: Tproxy, node: Node) -> None:
    if known.transport is None or known.transport not in (_TCP, _UDP, _SOME):
        raise MeaningError(
            "tproxy needs a match on tcp or udp before it", node, "for example `meta l4proto tcp`", "value"
        )
    if statement.family is None:
        return
    explicit = node.children[0] is not None
    if known.network is None and not explicit:
        raise MeaningError("ip or ip6 is not known here", node, f"write `tproxy {statement.family} to …`", "value")
    known.need_network(statement.family, node)
