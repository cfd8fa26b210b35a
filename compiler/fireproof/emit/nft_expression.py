"""Expressions in nft's text syntax: selectors, constants, keys, anonymous sets and maps."""

from __future__ import annotations

from collections.abc import Sequence

from fireproof.emit.naming import clean, name, pattern, quoted
from fireproof.emit.place import COMMENT_BYTES
from fireproof.emit.problem import Unprintable
from fireproof.emit.value import duration, flag_names, part, scalar
from fireproof.model.expression import (
    Binary,
    Concat,
    Constant,
    Ct,
    Element,
    Expression,
    Fib,
    Hash,
    HeaderOption,
    Ipsec,
    Key,
    MapLookup,
    Meta,
    Name,
    Numgen,
    OsFingerprint,
    Payload,
    Routing,
    SetLiteral,
    SetReference,
    SocketKey,
    VerdictTarget,
)
from fireproof.model.statement import ExtensionStatement

Types = tuple[tuple[str, int], ...]
"""Datatype and width of each component of a key."""

_BARE_META = frozenset(("iif", "oif", "iifname", "oifname"))


def types_of(expression: Expression) -> Types:
    parts = expression.parts if isinstance(expression, Concat) else (expression,)
    return tuple((each.datatype, each.bits) for each in parts)


def data_types(lookup: MapLookup) -> Types:
    """The types of a map's values. The widths of joined types are their own; a sole one has the lookup's."""
    names = lookup.datatype.split(" . ")
    return ((names[0], lookup.bits),) if len(names) == 1 else tuple((each, 0) for each in names)


# ---- selectors and computed values ---------------------------------------------------------------------------------
def expression(node: Expression) -> str:
    match node:
        case Payload():
            if node.protocol is None or node.name is None:
                return f"@{node.base},{node.offset},{node.bits}"
            return f"{node.protocol} {node.name}"
        case Meta():
            return node.key if node.key in _BARE_META else f"meta {node.key}"
        case Ct():
            return _words("ct", node.direction, node.family, node.key)
        case HeaderOption():
            return _header_option(node)
        case Fib():
            return f"fib {' . '.join(node.keys)} {node.result}"
        case Routing():
            return _words("rt", node.family, node.key)
        case SocketKey():
            return _words("socket", node.key, None if node.level is None else f"level {node.level}")
        case OsFingerprint():
            return _words("osf", node.ttl and f"ttl {node.ttl}", node.key)
        case Ipsec():
            return _words("ipsec", node.direction, node.spnum and f"spnum {node.spnum}", node.family, node.key)
        case Numgen():
            return f"numgen {node.mode} mod {node.modulus}{_offset(node.offset)}"
        case Hash():
            if node.operand is None:
                return f"symhash mod {node.modulus}{_offset(node.offset)}"
            seed = "" if node.seed is None else f" seed {node.seed:#x}"
            return f"jhash {expression(node.operand)} mod {node.modulus}{seed}{_offset(node.offset)}"
        case Binary():
            return _binary(node)
        case Concat():
            return " . ".join(_operand(each) for each in node.parts)
        case MapLookup():
            return f"{expression(node.key)} map {mapping(node.map, types_of(node.key), data_types(node))}"
        case Constant():
            return constant(node)


def _words(*words: object) -> str:
    return " ".join(str(word) for word in words if word)


def _offset(offset: int) -> str:
    return f" offset {offset}" if offset else ""


def _header_option(node: HeaderOption) -> str:
    if node.protocol == "exthdr":
        return f"{node.option} {node.name}" if node.name else f"exthdr {node.option}"
    if node.option.startswith("@"):
        return f"{node.protocol} option {node.option},{node.name}"
    return _words(node.protocol, "chunk" if node.protocol == "sctp" else "option", node.option, node.name)


def _operand(node: Expression) -> str:
    """An operand in parentheses unless it stands alone."""
    text = expression(node)
    return f"({text})" if isinstance(node, Binary | Concat | MapLookup) else text


def _binary(node: Binary) -> str:
    # A chain of one operator reads from left to right, as it nests.
    left = node.left
    first = expression(left) if isinstance(left, Binary) and left.operator == node.operator else _operand(left)
    if isinstance(node.right, Constant) and isinstance(node.right.value, int):
        if node.operator in ("<<", ">>"):
            return f"{first} {node.operator} {node.right.value}"
        return f"{first} {node.operator} {_mask(node.right.value, node.right.datatype, node.right.bits)}"
    return f"{first} {node.operator} {_operand(node.right)}"


def _mask(value: int, datatype: str, bits: int) -> str:
    names = flag_names(value, datatype)
    if names:
        return names[0] if len(names) == 1 else f"({' | '.join(names)})"
    if datatype in ("ipv4_addr", "ipv6_addr", "ether_addr"):
        return scalar(value, datatype, bits)
    return f"{value:#x}"


def flags(value: int, datatype: str, bits: int) -> str:
    """A number of a type made of flags, to compare with or to set."""
    names = flag_names(value, datatype)
    return " | ".join(names) if names else scalar(value, datatype, bits)


def constant(node: Constant) -> str:
    if isinstance(node.value, str):
        prefix = node.value.endswith("*")
        return quoted(pattern(node.value[:-1] if prefix else node.value, prefix))
    return flags(node.value, node.datatype, node.bits)


# ---- keys, sets, maps ----------------------------------------------------------------------------------------------
def key(parts: Key, types: Types) -> str:
    if len(parts) != len(types):
        raise Unprintable(f"a key of {len(parts)} parts where {len(types)} are needed")
    return " . ".join(_part(value, *each) for value, each in zip(parts, types, strict=True))


def _part(value: object, datatype: str, bits: int) -> str:
    if isinstance(value, Name) and datatype == "iface_index" and value.text in ("exists", "missing"):
        # `fib … oif exists` asks for a route rather than for an interface.
        return value.text
    return part(value, datatype, bits)  # type: ignore[arg-type]


def verdict(target: VerdictTarget) -> str:
    return f"{target.kind} {name(target.chain)}" if target.chain is not None else target.kind


def reference(target: SetReference) -> str:
    return f"@{name(target.name, 'set')}"


def mapping(target: SetReference | SetLiteral, keys: Types, data: Types) -> str:
    if isinstance(target, SetReference):
        return reference(target)
    if not target.elements:
        raise Unprintable("an empty set can not be written; nothing is in it, so the rule never matches")
    return f"{{ {', '.join(element(each, keys, data) for each in target.elements)} }}"


def stateful(statements: Sequence[object]) -> str:
    """The statements that an element carries, each with a space in front."""
    text = ""
    for each in statements:
        if not isinstance(each, ExtensionStatement):
            raise Unprintable(f"an element can not carry {type(each).__name__}")
        text += " " + each.nft()
    return text


def element(node: Element, keys: Types, data: Types = ()) -> str:
    """An element as nft orders it: key, statements, times, comment, value."""
    text = ("*" if node.key is None else key(node.key, keys)) + stateful(node.stateful)
    if node.timeout is not None:
        text += f" timeout {duration(node.timeout)}"
    if node.expires is not None:
        text += f" expires {duration(node.expires)}"
    if node.comment:
        cleaned = clean(node.comment, COMMENT_BYTES)
        text += f' comment "{cleaned}"' if cleaned else ""
    match node.data:
        case None:
            return text
        case VerdictTarget():
            return f"{text} : {verdict(node.data)}"
        case str():
            return f"{text} : {quoted(name(node.data))}"
        case _:
            return f"{text} : {key(node.data, data)}"
