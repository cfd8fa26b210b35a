"""Statements of libnftables' JSON as nft text. Used by `nft_json`."""

from __future__ import annotations

import re
from typing import Any

from fireproof.syntax.nft_json_expression import (
    VERDICTS,
    JsonProblem,
    Path,
    expression,
    fields,
    is_flags,
    is_text,
    listed,
    mapping,
    name,
    number,
    only,
    quoted,
    reference,
    value,
    verdict,
    word,
)

_OPERATORS = ("==", "!=", "<", ">", "<=", ">=", "in", "!")
# What nft prints as text where its release has no JSON for it; it must not end the statement or the line.
_PLAIN = re.compile(r'(?:"[^"\n]*"|[^"\n;#])+\Z')


def statement(node: Any, path: Path) -> str:
    if isinstance(node, str):
        if not _PLAIN.match(node) or not node.isprintable() or node.count("{") != node.count("}"):
            raise JsonProblem(path, f"{node!r} is no statement")
        return node
    kind, inner = only(node, path)
    if kind in VERDICTS:
        return verdict(node, path)
    reader = _READERS.get(kind)
    if reader is None:
        raise JsonProblem((*path, kind), "this statement is not known")
    text: str = reader(inner, (*path, kind))
    return text


# ---- matches -------------------------------------------------------------------------------------------------------
def _match(inner: Any, path: Path) -> str:
    found = fields(inner, path, (), ("op", "left", "right"))
    operator, left, right = found["op"], found["left"], found["right"]
    if operator not in _OPERATORS:
        raise JsonProblem((*path, "op"), f"{operator!r} is no operator")
    there = (*path, "right")
    selector = expression(left, (*path, "left"))
    match left:
        case {"tcp option": {"base": int(kind), "offset": 0, "len": 8}} if isinstance(right, bool):
            # How nft lists an option that has a number only.
            selector = f"tcp option {kind}"
    is_set = (isinstance(right, str) and right.startswith("@")) or (isinstance(right, dict) and "set" in right)
    masked = isinstance(left, dict) and next(iter(left)) in ("&", "|", "^", "<<", ">>")
    if operator in ("in", "!") and masked and not is_set:
        operand = value(right, there)
        return f"({selector}) & ({operand}) {'!=' if operator == 'in' else '=='} 0"
    if operator in ("in", "!"):
        sign = "! " if operator == "!" else ""
        return f"{selector} {sign}{value(right, there, is_text(left), ',')}"
    plain = operator == "==" and (is_set or not (masked or is_flags(left)))
    return f"{selector} {'' if plain else operator + ' '}{value(right, there, is_text(left))}"


def _vmap(inner: Any, path: Path) -> str:
    found = fields(inner, path, (), ("key", "data"))
    return f"{expression(found['key'], (*path, 'key'))} vmap {mapping(found['data'], (*path, 'data'), found['key'])}"


# ---- counting and limiting -----------------------------------------------------------------------------------------
def named_object(keyword: str, inner: Any, path: Path) -> str | None:
    """`counter name "x"`, or with a map that chooses; None when it is no reference."""
    if isinstance(inner, str):
        return f"{keyword} {quoted(inner, path)}"
    if isinstance(inner, dict) and "map" in inner:
        fields(inner, path, ("map",))
        return f"{keyword} {expression(inner, path)}"
    return None


def counter(inner: Any, path: Path) -> str:
    if inner is None:
        return "counter"
    named = named_object("counter name", inner, path)
    if named:
        return named
    found = fields(inner, path, (), ("packets", "bytes"))
    return f"counter packets {number(found['packets'], path)} bytes {number(found['bytes'], path)}"


def quota(inner: Any, path: Path) -> str:
    named = named_object("quota name", inner, path)
    if named:
        return named
    found = fields(inner, path, ("val_unit", "used", "used_unit", "inv"), ("val",))
    sense = "over " if found.get("inv") else ""
    text = f"quota {sense}{number(found['val'], path)} {word(found.get('val_unit', 'bytes'), path)}"
    if found.get("used"):
        text += f" used {number(found['used'], path)} {word(found.get('used_unit', 'bytes'), path)}"
    return text


def limit(inner: Any, path: Path) -> str:
    named = named_object("limit name", inner, path)
    if named:
        return named
    found = fields(inner, path, ("rate_unit", "burst", "burst_unit", "inv"), ("rate", "per"))
    unit = word(found.get("rate_unit", "packets"), path)
    size = "" if unit == "packets" else f" {unit}"
    sense = "over " if found.get("inv") else ""
    text = f"limit rate {sense}{number(found['rate'], path)}{size}/{word(found['per'], path)}"
    if found.get("burst"):
        default = "packets" if unit == "packets" else "bytes"
        text += f" burst {number(found['burst'], path)} {word(found.get('burst_unit', default), path)}"
    return text


def _last(inner: Any, path: Path) -> str:
    if inner is not None:
        fields(inner, path, ("used",))
    return "last"


def _ct_count(inner: Any, path: Path) -> str:
    found = fields(inner, path, ("inv",), ("val",))
    return f"ct count {'over ' if found.get('inv') else ''}{number(found['val'], path)}"


# ---- verdicts with more to say -------------------------------------------------------------------------------------
def _reject(inner: Any, path: Path) -> str:
    if inner is None:
        return "reject"
    found = fields(inner, path, ("type", "expr"))
    if "type" not in found:
        return "reject"
    if found["type"] == "tcp reset":
        return "reject with tcp reset"
    kind = word(found["type"], (*path, "type"))
    code = f"type {value(found['expr'], (*path, 'expr'))}" if "expr" in found else ""
    return f"reject with {kind} {code}".rstrip()


_LOG = ("prefix", "level", "group", "snaplen", "queue-threshold", "flags")


def _log(inner: Any, path: Path) -> str:
    if inner is None:
        return "log"
    found = fields(inner, path, _LOG)
    text = "log"
    if "prefix" in found:
        text += f" prefix {quoted(found['prefix'], (*path, 'prefix'))}"
    if "level" in found:
        text += f" level {word(found['level'], (*path, 'level'))}"
    for key in ("group", "snaplen", "queue-threshold"):
        if key in found:
            text += f" {key} {number(found[key], (*path, key))}"
    for flag in listed(found.get("flags", [])):
        text += " flags " + " ".join(word(part, (*path, "flags")) for part in str(flag).split(" "))
    return text


def _queue(inner: Any, path: Path) -> str:
    found = fields(inner, path, ("num", "flags")) if inner is not None else {}
    flags = ",".join(word(each, (*path, "flags")) for each in listed(found.get("flags", [])))
    text = f"queue flags {flags}" if flags else "queue"
    if "num" in found:
        text += f" to {value(found['num'], (*path, 'num'))}"
    return text


# ---- addresses -----------------------------------------------------------------------------------------------------
def _target(found: Any, path: Path) -> str:
    address, port = "", ""
    if "addr" in found:
        address = value(found["addr"], (*path, "addr"))
        if "port" in found and ":" in address and isinstance(found["addr"], str):
            address = f"[{address}]"
        elif "port" in found and isinstance(found["addr"], dict) and "range" in found["addr"] and ":" in address:
            address = "-".join(f"[{end}]" for end in address.split("-"))
    if "port" in found:
        port = f":{value(found['port'], (*path, 'port'))}"
    return (
        f"{address} {port}"
        if address and isinstance(found.get("addr"), dict) and "map" in found["addr"]
        else address + port
    )


def _nat(kind: str) -> Any:
    def read(inner: Any, path: Path) -> str:
        found = fields(inner, path, ("family", "addr", "port", "flags", "type_flags")) if inner is not None else {}
        types = [word(each, path) for each in listed(found.get("type_flags", []))]
        flags = [word(each, (*path, "flags")) for each in listed(found.get("flags", []))]
        # `prefix` in text sets the flag netmap, which has no word of its own there.
        prefix = "prefix" in types or "netmap" in flags
        for each in types:
            if each not in ("prefix", "concat", "interval"):
                raise JsonProblem((*path, "type_flags"), f"{each!r} is not known")
        parts = [kind]
        if "addr" in found or "port" in found:
            if "family" in found and "addr" in found:
                parts.append(word(found["family"], (*path, "family")))
            parts += ["prefix"] if prefix else []
            parts += ["to", _target(found, path)]
        shown = [each for each in flags if each != "netmap"]
        return " ".join([*parts, *([",".join(shown)] if shown else [])])

    return read


def _tproxy(inner: Any, path: Path) -> str:
    found = fields(inner, path, ("family", "addr", "port"))
    family = f" {word(found['family'], path)}" if "family" in found and "addr" in found else ""
    return f"tproxy{family} to {_target(found, path)}"


def _dup(inner: Any, path: Path) -> str:
    found = fields(inner, path, ("addr", "dev"))
    if "addr" not in found:
        return f"dup to {value(found.get('dev'), (*path, 'dev'), (True,))}"
    device = f" device {value(found['dev'], (*path, 'dev'), (True,))}" if "dev" in found else ""
    return f"dup to {value(found['addr'], (*path, 'addr'))}{device}"


def _fwd(inner: Any, path: Path) -> str:
    found = fields(inner, path, ("family", "addr"), ("dev",))
    device = value(found["dev"], (*path, "dev"), (True,))
    if "addr" not in found:
        return f"fwd to {device}"
    return f"fwd {word(found.get('family'), path)} to {value(found['addr'], (*path, 'addr'))} device {device}"


# ---- sets ----------------------------------------------------------------------------------------------------------
def _stateful(found: Any, path: Path) -> str:
    return "".join(f" {statement(each, (*path, 'stmt', i))}" for i, each in enumerate(listed(found.get("stmt", []))))


def _set(inner: Any, path: Path) -> str:
    found = fields(inner, path, ("stmt",), ("op", "elem", "set"))
    key = value(found["elem"], (*path, "elem"))
    target = reference(found["set"], (*path, "set"))
    return f"{word(found['op'], path)} {target} {{ {key}{_stateful(found, path)} }}"


def _map(inner: Any, path: Path) -> str:
    found = fields(inner, path, ("stmt",), ("op", "elem", "data", "map"))
    key, data = value(found["elem"], (*path, "elem")), value(found["data"], (*path, "data"))
    target = reference(found["map"], (*path, "map"))
    return f"{word(found['op'], path)} {target} {{ {key}{_stateful(found, path)} : {data} }}"


def _meter(inner: Any, path: Path) -> str:
    found = fields(inner, path, ("size",), ("name", "key", "stmt"))
    size = f" size {number(found['size'], path)}" if "size" in found else ""
    key = value(found["key"], (*path, "key"))
    return f"meter {name(found['name'], path)}{size} {{ {key}{_stateful(found, path)} }}"


# ---- changes -------------------------------------------------------------------------------------------------------
def _mangle(inner: Any, path: Path) -> str:
    found = fields(inner, path, (), ("key", "value"))
    target = expression(found["key"], (*path, "key"))
    return f"{target} set {value(found['value'], (*path, 'value'), is_text(found['key']))}"


def _reset(inner: Any, path: Path) -> str:
    option = fields(inner, path, (), ("tcp option",))["tcp option"]
    return f"reset {expression({'tcp option': option}, path)}"


def _synproxy(inner: Any, path: Path) -> str:
    if inner is None:
        return "synproxy"
    named = named_object("synproxy name", inner, path)
    if named:
        return named
    found = fields(inner, path, ("mss", "wscale", "flags"))
    text = "synproxy" + "".join(f" {key} {number(found[key], path)}" for key in ("mss", "wscale") if key in found)
    return text + "".join(f" {word(flag, path)}" for flag in listed(found.get("flags", [])))


def _flow(inner: Any, path: Path) -> str:
    found = fields(inner, path, (), ("op", "flowtable"))
    if found["op"] != "add":
        raise JsonProblem((*path, "op"), "only `add` is known")
    return f"flow add {reference(found['flowtable'], (*path, 'flowtable'))}"


def _reference(keyword: str) -> Any:
    def read(inner: Any, path: Path) -> str:
        named = named_object(keyword, inner, path)
        if named is None:
            raise JsonProblem(path, "the name of an object is needed here")
        return named

    return read


def _notrack(inner: Any, path: Path) -> str:
    if inner is not None:
        raise JsonProblem(path, "notrack holds nothing")
    return "notrack"


def _xt(inner: Any, path: Path) -> str:
    if inner is None:
        return 'xt match "unknown"'
    found = fields(inner, path, (), ("type", "name"))
    return f"xt {word(found['type'], path)} {quoted(found['name'], path)}"


_READERS: dict[str, Any] = {
    "match": _match,
    "vmap": _vmap,
    "counter": counter,
    "quota": quota,
    "limit": limit,
    "last": _last,
    "ct count": _ct_count,
    "reject": _reject,
    "log": _log,
    "queue": _queue,
    "snat": _nat("snat"),
    "dnat": _nat("dnat"),
    "masquerade": _nat("masquerade"),
    "redirect": _nat("redirect"),
    "tproxy": _tproxy,
    "dup": _dup,
    "fwd": _fwd,
    "set": _set,
    "map": _map,
    "meter": _meter,
    "mangle": _mangle,
    "reset": _reset,
    "synproxy": _synproxy,
    "flow": _flow,
    "notrack": _notrack,
    "ct helper": _reference("ct helper set"),
    "ct timeout": _reference("ct timeout set"),
    "ct expectation": _reference("ct expectation set"),
    "secmark": _reference("meta secmark set"),
    "xt": _xt,
}
