"""What a rule looks at: payload fields, meta and conntrack keys, options, computed values."""

from __future__ import annotations

from typing import Any

from fireproof.model.expression import (
    Binary,
    Concat,
    Constant,
    Ct,
    Expression,
    Fib,
    Hash,
    HeaderOption,
    Ipsec,
    Meta,
    Numgen,
    OsFingerprint,
    Payload,
    Routing,
    SocketKey,
)
from fireproof.netfilter.headers import (
    EXTENSION_HEADERS,
    HEADERS,
    IP_OPTIONS,
    SCTP_CHUNKS,
    TCP_OPTION_ALIASES,
    TCP_OPTIONS,
    Option,
)
from fireproof.netfilter.keys import (
    CT_KEYS,
    FIB_FLAGS,
    FIB_RESULTS,
    IPSEC_KEYS,
    META_KEYS,
    OSF_KEYS,
    OSF_TTL,
    RT_KEYS,
    SOCKET_KEYS,
)
from fireproof.syntax import values
from fireproof.syntax.grammar import Node, Tree
from fireproof.syntax.scope import Context, MeaningError, suggest
from fireproof.syntax.values import Type, integer, type_of

_NUMBER = type_of("integer", 64)


def type_of_expression(expression: Expression) -> Type:
    return type_of(expression.datatype, expression.bits)


def types_of(expression: Expression) -> tuple[Type, ...]:
    """One type for each component of a concatenation."""
    if isinstance(expression, Concat):
        return tuple(type_of_expression(part) for part in expression.parts)
    return (type_of_expression(expression),)


# ---- selectors -----------------------------------------------------------------------------------------------------
def selector(context: Context, node: Node) -> Expression:
    """The left side of a match, map or mangle."""
    parts = tuple(_term(context, child) for child in node.children)
    return parts[0] if len(parts) == 1 else Concat(parts)


def _term(context: Context, node: Node) -> Expression:
    children = node.children
    left = field(context, children[0])
    for index in range(1, len(children), 2):
        operation = values.operator(context.text(children[index]))
        left = _binary(context, left, operation, children[index + 1])
    return left


def _binary(context: Context, left: Expression, operation: str, node: Any) -> Expression:
    type = _NUMBER if operation in ("<<", ">>") else type_of_expression(left)
    value = values.constant(context, node, type)
    return Binary(operation, left, Constant(value, left.datatype, left.bits))


def field(context: Context, node: Any) -> Expression:
    if node.data == "selector":
        return selector(context, node)
    return _FIELDS[node.data](context, node)


def _payload(context: Context, node: Node) -> Expression:
    protocol, name = (context.text(child) for child in node.children)
    return _header_field(protocol, name, node.children[1])


def _header_field(protocol: str, name: str, leaf: Any) -> Payload:
    header = HEADERS.get(protocol)
    if header is None:
        raise MeaningError(
            f"the header of {protocol} can not be read here", leaf, "newer kernels read it in tunnels only"
        )
    found = header.fields.get(name)
    if found is None:
        known = suggest(name, header.fields) or f"{protocol} has " + ", ".join(header.fields)
        raise MeaningError(f"{protocol} has no field `{name}`", leaf, known)
    return Payload(header.base, header.start + found.offset, found.bits, found.datatype, protocol, name)


def _arp_payload(context: Context, node: Node) -> Expression:
    _, name, kind = context.text(node.children[0]).split()
    return _header_field("arp", f"{name} {kind}", node.children[0])


def _inner_payload(context: Context, node: Node) -> Expression:
    raise MeaningError(
        "headers inside a tunnel can not be matched", node.children[0],
        "nft reads them from release 1.0.7 on; match the outer header, or the inner packet after decapsulation",
        "needs-newer-nft",
    )  # fmt: skip


def _raw_payload(context: Context, node: Node) -> Expression:
    base, offset, bits = (part.strip() for part in context.text(node.children[0])[1:].split(","))
    if int(bits) == 0:
        raise MeaningError("a match on no bits", node.children[0])
    # nft 1.0.6 stops with an assertion from 1024 bits on, the kernel compares at most 128 in one expression.
    if int(bits) > 128:
        raise MeaningError(
            f"{bits} bits are more than one match can hold", node.children[0], "split it into pieces of 128 bits"
        )
    return Payload(base, int(offset), int(bits), "integer")


def _option(context: Context, node: Node) -> Expression:
    protocol = context.text(node.children[0])
    name = context.text(node.children[1])
    table = {"tcp": TCP_OPTIONS, "ip": IP_OPTIONS}.get(protocol)
    if table is None:
        raise MeaningError(f"{protocol} has no options that can be matched", node.children[0])
    if protocol == "tcp":
        name = TCP_OPTION_ALIASES.get(name, name)
    if name.isdigit():
        name = next((o.name for o in table.values() if o.number == int(name)), name)
    option = table.get(name)
    if option is None and not (name.isdigit() and int(name) < 256):
        raise MeaningError(f"{protocol} has no option `{name}`", node.children[1], suggest(name, table))
    return _option_field(protocol, name, option, node.children[2] and context.text(node.children[2]), node)


def _option_field(protocol: str, name: str, option: Option | None, part: str | None, node: Node) -> HeaderOption:
    if not part:
        return HeaderOption(protocol, name, None, "boolean", 1)
    found = option.fields.get(part) if option else None
    if found is None:
        known = suggest(part, option.fields) if option else ""
        raise MeaningError(f"`{protocol} option {name}` has no field `{part}`", node.children[-1], known)
    return HeaderOption(protocol, name, part, found.datatype, found.bits, found.offset)


def _option_raw(context: Context, node: Node) -> Expression:
    number, offset, bits = (int(part) for part in context.text(node.children[1])[1:].split(","))
    if number > 255 or not 0 < bits <= 128:
        raise MeaningError(
            "an option has a number up to 255, and 1 to 128 bits of it can be matched", node, code="value"
        )
    return HeaderOption(context.text(node.children[0]), f"@{number}", f"{offset},{bits}", "integer", bits, offset)


def _chunk(context: Context, node: Node) -> Expression:
    name = context.text(node.children[1])
    chunk = SCTP_CHUNKS.get(name)
    if chunk is None:
        raise MeaningError(f"sctp has no chunk `{name}`", node.children[1], suggest(name, SCTP_CHUNKS))
    return _option_field("sctp", name, chunk, node.children[2] and context.text(node.children[2]), node)


def _exthdr(context: Context, node: Node) -> Expression:
    name = context.text(node.children[0])
    return _extension_field(context, name, node.children[1], node.children[2])


def _extension_field(context: Context, name: str, leaf: Any, index: Any) -> HeaderOption:
    header = EXTENSION_HEADERS[name]
    part = context.text(leaf)
    found = header.fields.get(part)
    if found is None:
        raise MeaningError(f"the {name} header has no field `{part}`", leaf, suggest(part, header.fields))
    number = integer(context.text(index)) if index is not None else 0
    if bool(found.count) != bool(number) or number > found.count:
        raise MeaningError(f"`{name} {part}` is numbered from 1 to {found.count}" if found.count else
                           f"`{name} {part}` has no index", leaf)  # fmt: skip
    shown = f"{part}[{number}]" if number else part
    return HeaderOption(
        "exthdr", name, shown, found.datatype, found.bits, found.offset + max(number - 1, 0) * found.bits
    )


def _exthdr_presence(context: Context, node: Node) -> Expression:
    name = context.text(node.children[0])
    header = EXTENSION_HEADERS.get(name)
    if header is None or not header.testable:
        raise MeaningError(
            f"there is no extension header `{name}` to look for", node.children[0], suggest(name, EXTENSION_HEADERS)
        )
    return HeaderOption("exthdr", name, None, "boolean", 1)


_BRIDGE_KEYS = frozenset(("ibrname", "obrname", "ibrpvid", "ibrvproto"))


def _meta(context: Context, node: Node) -> Expression:
    name = context.text(node.children[0])
    name = {"ibriport": "ibrname", "obriport": "obrname", "secpath": "ipsec"}.get(name, name)
    key = META_KEYS.get(name)
    if key is None:
        raise MeaningError(f"meta has no key `{name}`", node.children[0], suggest(name, META_KEYS))
    if name in _BRIDGE_KEYS and context.family != "bridge":
        raise MeaningError(f"`meta {name}` is only known in the bridge family", node.children[0], code="value")
    return Meta(name, key.datatype, key.bits)


def _ct(context: Context, node: Node) -> Expression:
    name = context.text(node.children[-1])
    if name == "labels":
        name = "label"
    direction = context.text(node.children[0]) if len(node.children) > 1 else None
    family = context.text(node.children[1]) if len(node.children) > 2 else None
    key = CT_KEYS.get(f"{family} {name}" if family else name)
    if key is None:
        raise MeaningError(
            f"ct has no key `{name}`", node.children[-1], suggest(name, [k for k in CT_KEYS if " " not in k])
        )
    if (key.direction == "required" and not direction) or (key.direction == "no" and direction):
        raise MeaningError(
            f"`ct {name}` needs a direction" if not direction else f"`ct {name}` is the same in both directions",
            node.children[-1], f"write `ct original {name}` or `ct reply {name}`" if not direction else "leave it out",
        )  # fmt: skip
    datatype, bits = key.datatype, key.bits
    if name in ("saddr", "daddr") and not family and context.family in ("ip", "ip6"):
        datatype, bits = ("ipv4_addr", 32) if context.family == "ip" else ("ipv6_addr", 128)
        family = context.family
    return Ct(name, datatype, bits, direction, family)


def _fib(context: Context, node: Node) -> Expression:
    names = [context.text(child) for child in node.children]
    result = FIB_RESULTS.get(names[-1])
    if result is None:
        raise MeaningError(f"fib has no result `{names[-1]}`", node.children[-1], suggest(names[-1], FIB_RESULTS))
    for name, leaf in zip(names[:-1], node.children, strict=False):
        if name not in FIB_FLAGS:
            raise MeaningError(f"fib has no key `{name}`", leaf, suggest(name, FIB_FLAGS))
    if ("saddr" in names[:-1]) == ("daddr" in names[:-1]):
        raise MeaningError("fib needs exactly one of saddr and daddr", node.children[0])
    if "iif" in names[:-1] and "oif" in names[:-1]:
        raise MeaningError("fib can not look up by iif and oif at once", node.children[0])
    return Fib(tuple(names[:-1]), names[-1], result.datatype, result.bits)


def _rt(context: Context, node: Node) -> Expression:
    family = node.children[0] and context.text(node.children[0])
    name = context.text(node.children[-1])
    if name in EXTENSION_HEADERS["rt"].fields and not family:
        return _extension_field(context, "rt", node.children[-1], None)
    key = RT_KEYS.get(f"{family} {name}" if family else name)
    if key is None:
        raise MeaningError(
            f"rt has no key `{name}`", node.children[-1], suggest(name, [k for k in RT_KEYS if " " not in k])
        )
    datatype, bits = key.datatype, key.bits
    if name == "nexthop" and not family and context.family in ("ip", "ip6"):
        datatype, bits = ("ipv4_addr", 32) if context.family == "ip" else ("ipv6_addr", 128)
    return Routing(name, datatype, bits, family)


def _socket(context: Context, node: Node) -> Expression:
    leaf = node.children[0]
    if leaf.type == "NUMBER":
        return SocketKey("cgroupv2", "cgroupsv2", 64, integer(context.text(leaf)))
    name = context.text(leaf)
    key = SOCKET_KEYS.get(name)
    if key is None:
        raise MeaningError(f"socket has no key `{name}`", leaf, suggest(name, SOCKET_KEYS))
    return SocketKey(name, key.datatype, key.bits)


def _numgen(context: Context, node: Node) -> Expression:
    mode = context.text(node.children[0])
    if mode not in ("inc", "random"):
        raise MeaningError(f"numgen has no mode `{mode}`", node.children[0], "write `inc` or `random`")
    modulus, offset = _modulus(context, node.children[1], node.children[2])
    return Numgen(mode, modulus, offset)


def _modulus(context: Context, modulus: Any, offset: Any) -> tuple[int, int]:
    value = integer(context.text(modulus))
    start = integer(context.text(offset)) if offset is not None else 0
    if not 0 < value < 1 << 32 or start + value - 1 >= 1 << 32:
        raise MeaningError("the modulus must be at least 1, and modulus plus offset fit 32 bits", modulus, code="value")
    return value, start


def _jhash(context: Context, node: Node) -> Expression:
    operand, modulus_leaf, seed, offset_leaf = node.children
    modulus, offset = _modulus(context, modulus_leaf, offset_leaf)
    return Hash(value(context, operand, None), modulus, seed and integer(context.text(seed)), offset)


def _symhash(context: Context, node: Node) -> Expression:
    modulus, offset = _modulus(context, *node.children)
    return Hash(None, modulus, None, offset)


def _osf(context: Context, node: Node) -> Expression:
    name = context.text(node.children[1])
    if name not in OSF_KEYS:
        raise MeaningError(f"osf has no key `{name}`", node.children[1], suggest(name, OSF_KEYS))
    ttl = node.children[0] and context.text(node.children[0])
    if ttl is not None and ttl not in OSF_TTL:
        raise MeaningError(f"osf compares no ttl by `{ttl}`", node.children[0], "write `loose` or `skip`")
    return OsFingerprint(name, ttl)


def _ipsec(context: Context, node: Node) -> Expression:
    direction, spnum, family, leaf = node.children
    name = f"{context.text(family)} {context.text(leaf)}" if family else context.text(leaf)
    key = IPSEC_KEYS.get(name)
    if key is None or context.text(direction) not in ("in", "out"):
        raise MeaningError(f"ipsec has no key `{name}`", leaf, suggest(name, IPSEC_KEYS))
    number = integer(context.text(spnum)) if spnum else 0
    if number > 255:
        raise MeaningError("spnum is a number up to 255", spnum, code="value")
    return Ipsec(
        context.text(direction), context.text(leaf), number, family and context.text(family), key.datatype, key.bits
    )


_FIELDS = {
    "payload": _payload, "inner_payload": _inner_payload, "arp_payload": _arp_payload, "raw_payload": _raw_payload,
    "option": _option, "option_raw": _option_raw, "chunk": _chunk, "exthdr": _exthdr,
    "exthdr_presence": _exthdr_presence, "meta": _meta, "ct": _ct, "ct_directed": _ct, "ct_directed_family": _ct,
    "fib": _fib, "rt": _rt, "socket": _socket, "numgen": _numgen, "jhash": _jhash, "symhash": _symhash, "osf": _osf,
    "ipsec": _ipsec,
}  # fmt: skip


# ---- values that may be computed -----------------------------------------------------------------------------------
def value(context: Context, node: Node, type: Type | None) -> Expression:
    """What `set`, `to` or a dynamic set takes. `type` is what is needed; None where the value brings its own."""
    from fireproof.syntax.sets import map_lookup

    key_node, map_node = (node.children[0], node.children[1]) if node.data == "value" else (node, None)
    if map_node is not None:
        return map_lookup(context, concatenation(context, key_node, None), map_node, (type,) if type else None)
    return concatenation(context, key_node, (type,) if type else None)


def concatenation(context: Context, node: Node, types: tuple[Type, ...] | None) -> Expression:
    if types is not None and len(types) not in (1, len(node.children)):
        raise MeaningError(f"{len(types)} values joined by ` . ` are needed here", node, code="value")
    parts = []
    for index, child in enumerate(node.children):
        type = None if types is None else types[index] if len(types) > 1 else types[0]
        parts.append(_value_term(context, child, type))
    return parts[0] if len(parts) == 1 else Concat(tuple(parts))


def _value_term(context: Context, node: Node, type: Type | None) -> Expression:
    children = node.children
    if type is not None and all(_is_constant(child) for child in children[::2]):
        if len(children) == 1 and isinstance(children[0], Tree) and children[0].data == "literal":
            inner = values.sole(context, children[0])
            if isinstance(inner, Tree) and inner.data == "literal" and inner.children[0].type != "SETREF":
                part = values.literal(context, inner.children[-1], type)
                return values.as_constant(part, type)
        return Constant(values.fold(context, children, type), type.datatype.name, type.bits)
    # A constant may stand first (`0x100 | meta mark`): start from the packet, the operations commute.
    first = _value_primary(context, children[0], type)
    for index in range(1, len(children), 2):
        operation = values.operator(context.text(children[index]))
        if _is_constant(children[index + 1]):
            width = _NUMBER if operation in ("<<", ">>") else type_of_expression(first)
            right: Expression = Constant(
                values.constant(context, children[index + 1], width), first.datatype, first.bits
            )
        else:
            right = _value_primary(context, children[index + 1], type_of_expression(first))
        first = Binary(operation, first, right)
    return first


def _is_constant(node: Any) -> bool:
    if node.data == "literal":
        return True
    if node.data in ("value", "selector_value", "value_term"):
        return all(_is_constant(c) for c in node.children if isinstance(c, Tree)) and (
            node.data != "value" or node.children[1] is None
        )
    return False


def _value_primary(context: Context, node: Any, type: Type | None) -> Expression:
    if node.data == "literal":
        leaf = node.children[-1]
        if leaf.type == "VARIABLE":
            inner = values.sole(context, node)
            if isinstance(inner, Tree) and inner.data == "literal":
                leaf = inner.children[-1]
            else:
                raise MeaningError("a single value is needed here", leaf, code="value")
        if type is None:
            return _untyped(context, leaf)
        return values.as_constant(values.literal(context, leaf, type), type)
    if node.data == "value":
        return value(context, node, type)
    return field(context, node)


_UNTYPED = {"IPV4": ("ipv4_addr", 32), "IPV6": ("ipv6_addr", 128), "MAC": ("ether_addr", 48), "NUMBER": ("integer", 32)}


def _untyped(context: Context, leaf: Any) -> Expression:
    name, bits = _UNTYPED.get(leaf.type, ("string", 0))
    type = type_of(name, bits)
    return values.as_constant(values.literal(context, leaf, type), type)
