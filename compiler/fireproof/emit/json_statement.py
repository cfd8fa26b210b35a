"""Statements in libnftables' JSON, as nft 1.0.6 reads it."""

from __future__ import annotations

from fireproof.emit.json_expression import (
    Json,
    expression,
    flags,
    key,
    mapping,
    number,
    seconds,
    stateful,
    verdict,
)
from fireproof.emit.naming import check_quotable, name
from fireproof.emit.nft_expression import types_of
from fireproof.emit.nft_statement import nat_address_type
from fireproof.emit.problem import Unsayable
from fireproof.emit.rewrite import loadable
from fireproof.emit.value import ADDRESS_BITS, is_flags, is_single, sole
from fireproof.extensions.last import Last
from fireproof.model.expression import Binary, Concat, Constant, Expression, Key, MapLookup, SetLiteral, SetReference
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

_PORT = (("inet_service", 16),)


def statement(node: Statement) -> Json:
    match node:
        case Match():
            return {"match": _match(loadable(node))}
        case Verdict():
            return verdict(node.target)
        case VerdictMap():
            return {"vmap": {"key": expression(node.key), "data": mapping(node.map, types_of(node.key), ())}}
        case Mangle():
            return {"mangle": {"key": expression(node.target), "value": expression(node.value)}}
        case Nat():
            return {node.kind: _nat(node) or None}
        case Reject():
            if node.kind == "tcp-reset":
                return {"reject": {"type": "tcp reset"}}
            return {"reject": {"type": node.kind, "expr": node.code}}
        case Log():
            return {"log": _log(node) or None}
        case Notrack():
            return {"notrack": None}
        case Queue():
            return {"queue": _queue(node) or None}
        case ObjectReference():
            if isinstance(node.name, MapLookup):
                return {node.kind: expression(node.name)}
            assert isinstance(node.name, str)
            return {node.kind: name(node.name)}
        case SetUpdate():
            return _set_update(node)
        case Meter():
            return {"meter": _meter(node)}
        case Tproxy():
            return {"tproxy": _target(node.family, node.address, node.port)}
        case Synproxy():
            return {"synproxy": synproxy(node) or None}
        case Duplicate():
            device = {} if node.device is None else {"dev": expression(node.device)}
            return {"dup": {"addr": expression(node.address), **device}}
        case Forward():
            where = {} if node.address is None else {"family": node.family, "addr": expression(node.address)}
            return {"fwd": {"dev": expression(node.device), **where}}
        case FlowOffload():
            return {"flow": {"op": "add", "flowtable": f"@{name(node.flowtable)}"}}
        case ResetOption():
            return {"reset": {"tcp option": {"name": node.option}}}
        case ForeignMatch():
            raise Unsayable(f"`{node.name}` ({node.kind}) is only known by name, and nft can not load it")
        case Last():
            raise Unsayable("`last` needs nft 1.0.8 or newer")
        case ExtensionStatement():
            return node.json()


def _match(node: Match) -> dict[str, object]:
    left, operator, right = node.left, node.operator, node.right
    types = types_of(left)
    if isinstance(right, SetReference | SetLiteral):
        if operator not in ("==", "!="):
            raise Unsayable(f"`{operator}` does not go with a set")
        return _relation(operator, left, mapping(right, types, ()))
    datatype, bits = types[0]
    if isinstance(left, Concat):
        raise Unsayable(f"`{operator}` does not go with joined fields")
    value = sole(right)
    if operator in ("in", "!"):
        if value is None:
            raise Unsayable("flags are tested with a single number")
        if isinstance(left, Binary) or not is_flags(datatype):
            # Flags of a masked field: nft compares it as a number.
            masked = Binary("&", left, Constant(value, datatype, bits))
            return _relation("!=" if operator == "in" else "==", masked, 0)
        return _relation(operator, left, flags(value, datatype))
    if operator in ("<", ">", "<=", ">=") and not is_single(right[0]):
        raise Unsayable(f"`{operator}` compares with a single number")
    if is_flags(datatype) and value is not None:
        # A list would be any of them, whatever the operator.
        return _relation(operator, left, number(value) if datatype != "ct_label" else str(value))
    return _relation(operator, left, key(right, types))


def _relation(operator: str, left: Expression, right: Json) -> dict[str, object]:
    return {"op": operator, "left": expression(left), "right": right}


# ---- changes -------------------------------------------------------------------------------------------------------
def _target(family: str | None, where: Key | Expression | None, port: Key | Expression | None) -> dict[str, object]:
    made: dict[str, object] = {}
    if where is not None:
        if family:
            made["family"] = family
        if isinstance(where, tuple):
            datatype = nat_address_type(family, where)
            made["addr"] = key(where, ((datatype, ADDRESS_BITS[datatype]),))
        else:
            made["addr"] = expression(where)
    if port is not None:
        made["port"] = key(port, _PORT) if isinstance(port, tuple) else expression(port)
    return made


def _nat(node: Nat) -> dict[str, object]:
    made = _target(node.family, node.address, node.port)
    # nft 1.0.6 does not read `prefix`, but the flag that it stands for.
    given = [*node.flags, "netmap"] if node.prefix else list(node.flags)
    if given:
        made["flags"] = given
    kinds = [word for word, given in (("prefix", node.prefix), ("concat", node.pair)) if given]
    if kinds:
        made["type_flags"] = kinds
    return made


# ---- the rest ------------------------------------------------------------------------------------------------------
def _log(node: Log) -> dict[str, object]:
    made: dict[str, object] = {}
    if node.prefix is not None:
        made["prefix"] = check_quotable(node.prefix)
    for word, value in (
        ("level", node.level),
        ("group", node.group),
        ("snaplen", node.snaplen),
        ("queue-threshold", node.threshold),
    ):
        if value is not None:
            made[word] = value
    if node.flags:
        made["flags"] = list(node.flags)
    return made


def _queue(node: Queue) -> dict[str, object]:
    made: dict[str, object] = {}
    if node.number is not None:
        made["num"] = (
            key(node.number, (("integer", 16),)) if isinstance(node.number, tuple) else expression(node.number)
        )
    if node.flags:
        made["flags"] = list(node.flags)
    return made


def _timed(node: Expression, timeout: int | None) -> Json:
    value = expression(node)
    return value if timeout is None else {"elem": {"val": value, "timeout": seconds(timeout)}}


def _set_update(node: SetUpdate) -> dict[str, object]:
    if node.data is not None:
        raise Unsayable(f"nft before 1.0.9 does not read from JSON that a rule adds to the map `{node.set}`")
    made: dict[str, object] = {"op": node.operation, "elem": _timed(node.key, node.timeout)}
    if node.stateful:
        made["stmt"] = stateful(node.stateful)
    return {"set": {**made, "set": f"@{name(node.set, 'set')}"}}


def _meter(node: Meter) -> dict[str, object]:
    if len(node.stateful) != 1:
        raise Unsayable("a meter holds exactly one statement")
    made: dict[str, object] = {
        "name": name(node.name),
        "key": _timed(node.key, node.timeout),
        "stmt": stateful(node.stateful)[0],
    }
    if node.size is not None:
        made["size"] = node.size
    return made


def synproxy(node: Synproxy) -> dict[str, object]:
    made: dict[str, object] = {}
    if node.mss is not None:
        made["mss"] = node.mss
    if node.wscale is not None:
        made["wscale"] = node.wscale
    if node.flags:
        made["flags"] = list(node.flags)
    return made
