"""Statements in nft's text syntax, as nft 1.0.6 loads them."""

from __future__ import annotations

from fireproof.emit.naming import name, quoted
from fireproof.emit.nft_expression import (
    constant,
    data_types,
    expression,
    flags,
    key,
    mapping,
    reference,
    stateful,
    types_of,
    verdict,
)
from fireproof.emit.problem import Unprintable
from fireproof.emit.rewrite import loadable
from fireproof.emit.value import (
    ADDRESS_BITS,
    address,
    duration,
    flag_names,
    is_flags,
    is_single,
    part,
    prefix_length,
    sole,
)
from fireproof.extensions.last import Last
from fireproof.model.expression import (
    Binary,
    Concat,
    Constant,
    Expression,
    Interval,
    Key,
    MapLookup,
    SetLiteral,
    SetReference,
)
from fireproof.model.statement import (
    Duplicate,
    ExtensionStatement,
    FlowOffload,
    ForeignMatch,
    Forward,
    Log,
    Mangle,
    Match,
    Meter,
    Nat,
    Notrack,
    ObjectReference,
    Queue,
    Reject,
    ResetOption,
    SetUpdate,
    Statement,
    Synproxy,
    Tproxy,
    Verdict,
    VerdictMap,
)
from fireproof.netfilter.datatypes import DATATYPES

_ADDRESS_TYPE = {"ip": "ipv4_addr", "ip6": "ipv6_addr"}
_REJECT_TYPE = {"icmp": "icmp_code", "icmpv6": "icmpv6_code", "icmpx": "icmpx_code"}


def statement(node: Statement) -> str:
    match node:
        case Match():
            return _match(loadable(node))
        case Verdict():
            return verdict(node.target)
        case VerdictMap():
            return f"{expression(node.key)} vmap {mapping(node.map, types_of(node.key), ())}"
        case Mangle():
            return f"{expression(node.target)} set {_mangled(node.value)}"
        case Nat():
            return _nat(node)
        case Reject():
            return _reject(node)
        case Log():
            return _log(node)
        case Notrack():
            return "notrack"
        case Queue():
            return _queue(node)
        case ObjectReference():
            return _object_reference(node)
        case SetUpdate():
            return _set_update(node)
        case Meter():
            return _meter(node)
        case Tproxy():
            family = f" {node.family}" if node.family and node.address is not None else ""
            return f"tproxy{family} to {_target(node.family, node.address, node.port)}"
        case Synproxy():
            return synproxy(node)
        case Duplicate():
            device = f" device {expression(node.device)}" if node.device is not None else ""
            return f"dup to {expression(node.address)}{device}"
        case Forward():
            if node.address is None:
                return f"fwd to {expression(node.device)}"
            return f"fwd {node.family} to {expression(node.address)} device {expression(node.device)}"
        case FlowOffload():
            return f"flow add @{name(node.flowtable)}"
        case ResetOption():
            return f"reset tcp option {node.option}"
        case ForeignMatch():
            raise Unprintable(f"`{node.name}` ({node.kind}) is only known by name, and nft can not load it")
        case Last():
            raise Unprintable("`last` needs nft 1.0.8 or newer")
        case ExtensionStatement():
            return node.nft()


# ---- matches -------------------------------------------------------------------------------------------------------
def _match(node: Match) -> str:
    left, operator, right = expression(node.left), node.operator, node.right
    types = types_of(node.left)
    if isinstance(right, SetReference | SetLiteral):
        if operator not in ("==", "!="):
            raise Unprintable(f"`{operator}` does not go with a set")
        return f"{left}{' !=' if operator == '!=' else ''} {_set(right, node)}"
    datatype, bits = types[0]
    if isinstance(node.left, Concat):
        raise Unprintable(f"`{operator}` does not go with joined fields")
    if operator in ("in", "!"):
        return _bits(node, left, right)
    number = sole(right)
    if is_flags(datatype):
        text = flags(number, datatype, bits) if number is not None else key(right, types)
        return f"{left} {operator} {text}"
    shown = "" if operator == "==" and not isinstance(node.left, Binary) else f"{operator} "
    if operator in ("<", ">", "<=", ">=") and not is_single(right[0]):
        raise Unprintable(f"`{operator}` compares with a single number")
    return f"{left} {shown}{key(right, types)}"


def _set(right: SetReference | SetLiteral, node: Match) -> str:
    return reference(right) if isinstance(right, SetReference) else mapping(right, types_of(node.left), ())


def _bits(node: Match, left: str, right: Key) -> str:
    """`in`: any of the flags; `!`: none of them."""
    datatype, bits = node.left.datatype, node.left.bits
    number = sole(right)
    if number is None:
        raise Unprintable("flags are tested with a single number")
    if isinstance(node.left, Binary) or not is_flags(datatype):
        masked = expression(Binary("&", node.left, Constant(number, datatype, bits)))
        zero = part(Interval(0, 0), datatype, bits)
        return f"{masked} {'!=' if node.operator == 'in' else '=='} {zero}"
    names = flag_names(number, datatype)
    text = ",".join(names) if names else flags(number, datatype, bits)
    return f"{left} {text}" if node.operator == "in" else f"{left} ! {text}"


# ---- changes -------------------------------------------------------------------------------------------------------
def _mangled(value: Expression) -> str:
    return constant(value) if isinstance(value, Constant) else expression(value)


def _nat(node: Nat) -> str:
    words = [node.kind]
    if node.address is not None or node.port is not None:
        if node.address is not None and node.family:
            words.append(node.family)
        if node.pair:
            words += ["addr", ".", "port"]
        if node.prefix:
            words.append("prefix")
        words += ["to", _target(node.family, node.address, node.port)]
    if node.flags:
        words.append(",".join(node.flags))
    return " ".join(words)


def _target(family: str | None, where: Key | Expression | None, port: Key | Expression | None) -> str:
    text = ""
    if isinstance(where, tuple):
        text = _nat_address(family, where, port is not None)
    elif where is not None:
        text = expression(where)
    if port is None:
        return text
    if isinstance(port, tuple):
        return f"{text}:{key(port, (('inet_service', 16),))}"
    # A port out of a map is written as it is; two maps would run into one another without the spaces.
    return f"{text} : {expression(port)}" if isinstance(where, MapLookup) else f"{text}:{expression(port)}"


def nat_address_type(family: str | None, where: Key) -> str:
    """The type of a NAT address: the family's, and without one that of an address too long for IPv4."""
    first = where[0]
    assert isinstance(first, Interval)
    return _ADDRESS_TYPE[family] if family else ("ipv6_addr" if first.high >> 32 else "ipv4_addr")


def _nat_address(family: str | None, where: Key, with_port: bool) -> str:
    first = where[0]
    assert isinstance(first, Interval)
    datatype = nat_address_type(family, where)
    bits = ADDRESS_BITS[datatype]
    if bits == 32 or not with_port:
        return part(first, datatype, bits)
    low, high = address(first.low, bits), address(first.high, bits)
    if low == high:
        return f"[{low}]"
    length = prefix_length(first.low, first.high, bits)
    return f"[{low}]/{length}" if length is not None else f"[{low}]-[{high}]"


# ---- the rest ------------------------------------------------------------------------------------------------------
def _reject(node: Reject) -> str:
    if node.kind == "tcp-reset":
        return "reject with tcp reset"
    symbols = DATATYPES[_REJECT_TYPE[node.kind]].symbols
    code = next((word for word, number in symbols.items() if number == node.code), str(node.code))
    return f"reject with {node.kind} type {code}"


def _log(node: Log) -> str:
    text = "log"
    if node.prefix is not None:
        if "$" in node.prefix:
            raise Unprintable("nft takes `$` in a log prefix for a variable")
        text += f" prefix {quoted(node.prefix)}"
    for word, value in (("level", node.level), ("group", node.group), ("snaplen", node.snaplen),
                        ("queue-threshold", node.threshold)):  # fmt: skip
        if value is not None:
            text += f" {word} {value}"
    return text + "".join(f" flags {flag}" for flag in node.flags)


def _queue(node: Queue) -> str:
    flag = f" flags {','.join(node.flags)}" if node.flags else ""
    if node.number is None:
        return f"queue{flag}"
    number = key(node.number, (("integer", 16),)) if isinstance(node.number, tuple) else expression(node.number)
    return f"queue{flag} to {number}"


def _object_reference(node: ObjectReference) -> str:
    target = quoted(name(node.name)) if isinstance(node.name, str) else expression(node.name)
    if node.kind.startswith("ct "):
        return f"{node.kind} set {target}"
    return f"meta secmark set {target}" if node.kind == "secmark" else f"{node.kind} name {target}"


def _set_update(node: SetUpdate) -> str:
    text = expression(node.key)
    if node.timeout is not None:
        text += f" timeout {duration(node.timeout)}"
    text += stateful(node.stateful)
    if node.data is not None:
        text += f" : {expression(node.data)}"
    return f"{node.operation} @{name(node.set, 'set')} {{ {text} }}"


def _meter(node: Meter) -> str:
    size = f" size {node.size}" if node.size is not None else ""
    timeout = f" timeout {duration(node.timeout)}" if node.timeout is not None else ""
    if len(node.stateful) != 1:
        raise Unprintable("a meter holds exactly one statement")
    return f"meter {name(node.name)}{size} {{ {expression(node.key)}{timeout}{stateful(node.stateful)} }}"


def synproxy(node: Synproxy) -> str:
    text = "synproxy"
    if node.mss is not None:
        text += f" mss {node.mss}"
    if node.wscale is not None:
        text += f" wscale {node.wscale}"
    return text + "".join(f" {flag}" for flag in node.flags)


__all__ = ["data_types", "nat_address_type", "statement", "synproxy"]
