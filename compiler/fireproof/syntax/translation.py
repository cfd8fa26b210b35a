"""Address translation: snat, dnat, masquerade, redirect, and tproxy, with the address family nft would take."""

from __future__ import annotations

from typing import Any

from fireproof.model.expression import (
    Constant,
    Expression,
    Interval,
    Key,
    MapLookup,
)
from fireproof.model.statement import (
    Nat,
    Tproxy,
)
from fireproof.syntax import selectors, values
from fireproof.syntax.grammar import Node, Tree
from fireproof.syntax.scope import Context, MeaningError, leaves
from fireproof.syntax.values import Type, type_of

_PORT = type_of("inet_service", 16)
ADDRESS = {"ip": type_of("ipv4_addr", 32), "ip6": type_of("ipv6_addr", 128)}


def nat(context: Context, node: Node) -> Nat:
    kind = context.text(node.children[0])
    family: str | None = None
    target: Any = None
    flags: tuple[str, ...] = ()
    for child in node.children[1:]:
        if child is None:
            continue
        if child.data == "nat_family":
            family = context.text(child.children[0])
            if family not in ("ip", "ip6"):
                raise MeaningError("NAT works on ip or ip6", child, code="value")
        elif child.data == "nat_flags":
            flags = tuple(context.text(leaf) for leaf in child.children)
        else:
            target = child
    if target is None:
        if kind in ("snat", "dnat"):
            raise MeaningError(f"`{kind}` needs `to` and an address", node.children[0], code="value")
        return Nat(kind, family, None, None, flags)
    address, port, pair = _nat_target(context, target, family)
    if address is not None and family is None and context.family not in ("ip", "ip6"):
        family = guess_family(context, target)
    if kind in ("masquerade", "redirect") and address is not None:
        raise MeaningError(
            f"`{kind}` chooses the address itself; only a port can follow", target, f"write `{kind} to :PORT`", "value"
        )
    if address is not None and family is None and not pair:
        family = _family_of(address) or (context.family if context.family in ("ip", "ip6") else None)
    return Nat(kind, family, address, port, flags, pair or node.data == "nat_pair", node.data == "nat_prefix")


def _family_of(address: Key | Expression) -> str | None:
    datatype = getattr(address, "datatype", "")
    if isinstance(address, tuple):
        return None
    return {"ipv4_addr": "ip", "ipv6_addr": "ip6"}.get(datatype.split(" ")[0])


def _nat_target(
    context: Context, node: Node, family: str | None
) -> tuple[Key | Expression | None, Key | Expression | None, bool]:
    if node.data == "nat_port":
        return None, _nat_value(context, node.children[0], _PORT), False
    if family is None:
        family = context.family if context.family in ("ip", "ip6") else guess_family(context, node.children[0])
    needed = ADDRESS[family or "ip"]
    address = _nat_value(context, node.children[0], needed)
    if isinstance(address, MapLookup) and " . " in address.datatype:
        return address, None, True
    port = _nat_value(context, node.children[1], _PORT) if node.data == "nat_address_port" else None
    return address, port, False


def guess_family(context: Context, node: Node) -> str | None:
    for leaf in leaves(node):
        if leaf.type == "VARIABLE":
            kinds = {item.type for item in leaves(values.sole(context, Tree("literal", [leaf])))}
        else:
            kinds = {leaf.type}
        if "IPV6" in kinds:
            return "ip6"
        if "IPV4" in kinds:
            return "ip"
    return None


def _nat_value(context: Context, node: Any, type: Type) -> Key | Expression:
    """One value, a range, a prefix, or something computed."""
    low_node = node.children[0]
    dash = node.children[1] if node.data == "nat_range" else None
    slash = node.children[1] if node.data == "nat_prefixed" else None
    plain = low_node.children[0]
    if low_node.children[1] is None and len(plain.children) == 1 and len(plain.children[0].children) == 1:
        inner = values.sole(context, plain.children[0].children[0])
        if isinstance(inner, Tree) and inner.data in ("range", "prefix"):
            return (values.part_values(context, inner, type)[0],)
    low = selectors.value(context, low_node, type)
    if dash is None and slash is None:
        return (Interval(low.value, low.value),) if isinstance(low, Constant) and isinstance(low.value, int) else low
    if not isinstance(low, Constant) or not isinstance(low.value, int):
        raise MeaningError("a range goes between two plain values", node, code="value")
    if slash is not None:
        length = selectors.value(context, slash, type_of("integer", 8))
        bits = type.bits
        if not isinstance(length, Constant) or not isinstance(length.value, int) or length.value > bits:
            raise MeaningError(f"a prefix length is a number up to {bits}", slash, code="value")
        rest = bits - length.value
        first = low.value >> rest << rest
        return (Interval(first, first | (1 << rest) - 1),)
    assert dash is not None
    high = selectors.value(context, dash, type)
    if not isinstance(high, Constant) or not isinstance(high.value, int):
        raise MeaningError("a range goes between two plain values", node, code="value")
    if high.value < low.value:
        raise MeaningError("this range ends before it starts", node, "swap its ends", "value")
    return (Interval(low.value, high.value),)


def tproxy(context: Context, node: Node) -> Tproxy:
    family_node, target = node.children
    family = context.text(family_node.children[0]) if family_node else None
    if family is not None and family not in ADDRESS:
        raise MeaningError("tproxy works on ip or ip6", family_node, code="value")
    address, port, _ = _nat_target(context, target, family)
    if address is not None and family is None:
        family = context.family if context.family in ("ip", "ip6") else guess_family(context, target)
    return Tproxy(family, address, port)
