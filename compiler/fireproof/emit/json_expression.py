"""Expressions in libnftables' JSON. Numbers, where nft's text has names: no file of the machine is asked for them."""

from __future__ import annotations

from collections.abc import Sequence

from fireproof.emit.naming import clean, name, pattern
from fireproof.emit.nft_expression import Types, data_types, types_of
from fireproof.emit.place import COMMENT_BYTES
from fireproof.emit.problem import Unsayable
from fireproof.emit.value import (
    ADDRESS_BITS,
    NANOSECONDS,
    address,
    duration,
    ether,
    flag_names,
    kind,
    prefix_length,
    whole_seconds,
)
from fireproof.extensions.last import Last
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
    Part,
    Payload,
    Routing,
    SetLiteral,
    SetReference,
    SocketKey,
    VerdictTarget,
)
from fireproof.model.statement import ExtensionStatement

Json = object
_LARGEST = (1 << 63) - 1


# ---- constants -----------------------------------------------------------------------------------------------------
def number(value: int) -> Json:
    """libnftables reads signed 64 bits; longer numbers go as text."""
    return value if value <= _LARGEST else f"{value:#x}"


def scalar(value: int, datatype: str) -> Json:
    form = kind(datatype)
    if form in ("address4", "address6"):
        return address(value, ADDRESS_BITS[datatype])
    if form == "ether":
        return ether(value)
    if form == "time":
        return duration(value) if value % 1000 else value // 1000
    if form == "date":
        return whole_seconds(value, NANOSECONDS, "a date")
    if form == "boolean":
        return bool(value)
    # The number of a connection label is the place of its bit; only text is read that way.
    return str(value) if datatype == "ct_label" else number(value)


def flags(value: int, datatype: str) -> Json:
    """The flags by name, as listings have them."""
    names = flag_names(value, datatype)
    if names is None:
        return scalar(value, datatype)
    return names[0] if len(names) == 1 else names


def text(value: str, prefix: bool = False) -> Json:
    """A name to compare with. A leading `@` would be a set to libnftables."""
    if value.startswith("@"):
        raise Unsayable(f"{value!r} would be read as a set")
    return pattern(value, prefix)


def part(value: Part, datatype: str) -> Json:
    if isinstance(value, Name):
        if datatype == "iface_index" and value.text in ("exists", "missing"):
            return value.text == "exists"
        return text(value.text, value.prefix)
    if value.low == value.high:
        return scalar(value.low, datatype)
    bits = ADDRESS_BITS.get(datatype)
    length = prefix_length(value.low, value.high, bits) if bits else None
    if bits and length is not None:
        return {"prefix": {"addr": address(value.low, bits), "len": length}}
    return {"range": [scalar(value.low, datatype), scalar(value.high, datatype)]}


def key(parts: Key, types: Types) -> Json:
    if len(parts) != len(types):
        raise Unsayable(f"a key of {len(parts)} parts where {len(types)} are needed")
    found = [part(value, datatype) for value, (datatype, _) in zip(parts, types, strict=True)]
    return found[0] if len(found) == 1 else {"concat": found}


def constant(node: Constant) -> Json:
    if isinstance(node.value, str):
        prefix = node.value.endswith("*")
        return text(node.value[:-1] if prefix else node.value, prefix)
    return flags(node.value, node.datatype)


# ---- selectors and computed values ---------------------------------------------------------------------------------
def expression(node: Expression) -> Json:
    match node:
        case Payload():
            if node.protocol is None or node.name is None:
                return {"payload": {"base": node.base, "offset": node.offset, "len": node.bits}}
            return {"payload": {"protocol": node.protocol, "field": node.name}}
        case Meta():
            return {"meta": {"key": node.key}}
        case Ct():
            key_name = f"{node.family} {node.key}" if node.family else node.key
            return {"ct": _given(key=key_name, dir=node.direction)}
        case HeaderOption():
            return _header_option(node)
        case Fib():
            return {"fib": {"result": node.result, "flags": list(node.keys)}}
        case Routing():
            return {"rt": _given(key=node.key, family=node.family)}
        case SocketKey():
            if node.level is not None:
                raise Unsayable("`socket cgroupv2` has a level, which nft's JSON has no word for")
            return {"socket": {"key": node.key}}
        case OsFingerprint():
            return {"osf": _given(key=node.key, ttl=node.ttl)}
        case Ipsec():
            return {"ipsec": _given(key=node.key, dir=node.direction, family=node.family, spnum=node.spnum or None)}
        case Numgen():
            return {"numgen": {"mode": node.mode, "mod": node.modulus, "offset": node.offset}}
        case Hash():
            if node.operand is None:
                return {"symhash": _given(mod=node.modulus, offset=node.offset or None)}
            given = _given(mod=node.modulus, seed=node.seed, offset=node.offset or None)
            return {"jhash": {**given, "expr": expression(node.operand)}}
        case Binary():
            return {node.operator: [expression(node.left), _right(node)]}
        case Concat():
            return {"concat": [expression(each) for each in node.parts]}
        case MapLookup():
            data = mapping(node.map, types_of(node.key), data_types(node))
            return {"map": {"key": expression(node.key), "data": data}}
        case Constant():
            return constant(node)


def _given(**values: object) -> dict[str, object]:
    return {name: value for name, value in values.items() if value is not None}


def _header_option(node: HeaderOption) -> Json:
    if node.protocol == "exthdr":
        return {"exthdr": _given(name=node.option, field=node.name)}
    if node.option.startswith("@"):
        if node.protocol != "tcp" or node.name is None:
            raise Unsayable(f"raw bits of an option of {node.protocol}")
        offset, length = (int(word) for word in node.name.split(","))
        return {"tcp option": {"base": int(node.option[1:]), "offset": offset, "len": length}}
    word = {"tcp": "tcp option", "ip": "ip option", "sctp": "sctp chunk"}[node.protocol]
    if node.option.isdigit():
        raise Unsayable(f"{word} {node.option} has no name, and nft's JSON knows options by name only")
    return {word: _given(name=node.option, field=node.name)}


def _right(node: Binary) -> Json:
    right = node.right
    if isinstance(right, Constant) and isinstance(right.value, int):
        if node.operator in ("<<", ">>"):
            return right.value
        if kind(right.datatype) in ("boolean", "time", "date"):
            return number(right.value)
        return flags(right.value, right.datatype)
    return expression(right)


# ---- sets and maps -------------------------------------------------------------------------------------------------
def verdict(target: VerdictTarget) -> dict[str, object]:
    return {target.kind: None if target.chain is None else {"target": name(target.chain)}}


def mapping(target: SetReference | SetLiteral, keys: Types, data: Types) -> Json:
    if isinstance(target, SetReference):
        return f"@{name(target.name, 'set')}"
    if not target.elements:
        raise Unsayable("an empty set can not be written; nothing is in it, so the rule never matches")
    return {"set": [element(each, keys, data) for each in target.elements]}


def stateful(statements: Sequence[object]) -> list[dict[str, object]]:
    found: list[dict[str, object]] = []
    for each in statements:
        if not isinstance(each, ExtensionStatement) or isinstance(each, Last):
            raise Unsayable(f"an element can not carry {type(each).__name__}")
        made = each.json()
        assert isinstance(made, dict)
        found.append(made)
    return found


def seconds(milliseconds: int) -> int:
    """Times of sets. JSON has them in whole seconds."""
    if milliseconds % 1000:
        raise Unsayable(f"a timeout of {milliseconds} ms: nft's JSON counts whole seconds")
    return milliseconds // 1000


def element(node: Element, keys: Types, data: Types = ()) -> Json:
    value = "*" if node.key is None else key(node.key, keys)
    extra: dict[str, object] = {}
    if node.timeout is not None:
        extra["timeout"] = seconds(node.timeout)
    if node.expires is not None:
        extra["expires"] = seconds(node.expires)
    comment = clean(node.comment, COMMENT_BYTES) if node.comment else ""
    if comment:
        extra["comment"] = comment
    if node.stateful:
        raise Unsayable("an element with a counter or limit of its own: nft 1.0.6 loses it when it reads JSON")
    if extra:
        value = {"elem": {"val": value, **extra}}
    match node.data:
        case None:
            return value
        case VerdictTarget():
            return [value, verdict(node.data)]
        case str():
            return [value, name(node.data)]
        case _:
            return [value, key(node.data, data)]
