"""Expressions of libnftables' JSON as nft text. Used by `nft_json`; every key is asked for by name."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping
from typing import Any

from fireproof.netfilter.datatypes import DATATYPES
from fireproof.netfilter.protocols import PROTOCOLS

Path = tuple[str | int, ...]


class JsonProblem(Exception):
    """JSON that is not understood. `path` leads to it: `/nftables/7/rule/expr/2`."""

    def __init__(self, path: Path, message: str) -> None:
        super().__init__(message)
        self.path = "".join(f"/{part}" for part in path)
        self.message = message

    def __str__(self) -> str:
        return f"{self.path}: {self.message}"


_NAME = re.compile(r"[A-Za-z_.][A-Za-z0-9_./-]*\Z")
_WORD = re.compile(r"[A-Za-z0-9_.][A-Za-z0-9_.+-]*\Z")
_FIELD = re.compile(r"[A-Za-z0-9_.-]+(?: (?:ip|ether))?(?:\[\d+\])?\Z")
_UNQUOTED = re.compile(
    r"(?:(?:[0-9a-fA-F]{1,2}:){5}[0-9a-fA-F]{1,2}|0x[0-9a-fA-F]+|\d+|\d+(?:ms|[smhd])(?:\d+(?:ms|[smhd]))*)\Z"
)
_SYMBOLS = frozenset(word for each in DATATYPES.values() for word in each.symbols) | frozenset(PROTOCOLS)
_BARE = _SYMBOLS - {"mark"} - frozenset(DATATYPES["day"].symbols)
_TEXT_META = frozenset(
    ("iif", "oif", "iifname", "oifname", "ibrname", "obrname", "ibriport", "obriport", "iifkind", "oifkind", "sdif",
     "sdifname", "ibridgename", "obridgename")
)  # fmt: skip
_FLAG_CT = frozenset(("state", "status", "event"))


# ---- access --------------------------------------------------------------------------------------------------------
def fields(node: Any, path: Path, known: Iterable[str], needed: Iterable[str] = ()) -> Mapping[str, Any]:
    """A JSON object whose keys are all known; one that nobody asks for is not passed over."""
    if not isinstance(node, dict):
        raise JsonProblem(path, "an object is needed here")
    allowed = {*known, *needed}
    for key in node:
        if key not in allowed:
            raise JsonProblem((*path, key), "this key is not known")
    for key in needed:
        if key not in node:
            raise JsonProblem(path, f"`{key}` is missing")
    return node


def only(node: Any, path: Path) -> tuple[str, Any]:
    """The one key of an object and what it holds."""
    if not isinstance(node, dict) or len(node) != 1:
        raise JsonProblem(path, "an object with one key is needed here")
    return next(iter(node.items()))


def listed(node: Any) -> list[Any]:
    """Flags come as one word or as a list of them, depending on the release."""
    return node if isinstance(node, list) else [node]


def number(node: Any, path: Path) -> int:
    if isinstance(node, bool) or not isinstance(node, int):
        raise JsonProblem(path, "a number is needed here")
    return node


def name(node: Any, path: Path) -> str:
    if not isinstance(node, str) or not _NAME.match(node):
        raise JsonProblem(path, f"{node!r} is not a name that nft text can hold")
    return node


def word(node: Any, path: Path) -> str:
    if not isinstance(node, str) or not _WORD.match(node):
        raise JsonProblem(path, f"{node!r} is not a word")
    return node


def quoted(node: Any, path: Path) -> str:
    if not isinstance(node, str):
        raise JsonProblem(path, "text is needed here")
    if '"' in node or not node.isprintable():
        raise JsonProblem(path, f"{node!r} holds a quote or a control character, which nft text can not hold")
    return f'"{node}"'


def reference(node: Any, path: Path) -> str:
    """`@name` of a set, map or flowtable."""
    if not isinstance(node, str) or not node.startswith("@"):
        raise JsonProblem(path, "a reference such as `@name` is needed here")
    return "@" + name(node[1:], path)


# ---- what a value is compared with ---------------------------------------------------------------------------------
def is_text(left: Any) -> tuple[bool, ...]:
    """For each component of a selector whether it holds text (interface names and the like) rather than symbols."""
    if not isinstance(left, dict) or len(left) != 1:
        return (False,)
    kind, inner = next(iter(left.items()))
    if kind == "concat" and isinstance(inner, list):
        return tuple(is_text(each)[0] for each in inner)
    key = inner.get("key") if isinstance(inner, dict) else None
    if kind == "meta":
        return (key in _TEXT_META,)
    if kind == "fib":
        return (inner.get("result") in ("oif", "oifname", "check"),) if isinstance(inner, dict) else (False,)
    return ((kind == "ct" and key == "helper") or kind == "osf",)


def is_flags(left: Any) -> bool:
    """Whether nft tests single bits of this selector when there is no operator."""
    match left:
        case {"payload": {"protocol": "tcp" | "comp", "field": "flags"}}:
            return True
        case {"ct": {"key": key}}:
            return key in _FLAG_CT or key == "label"
    return False


def immediate(node: Any, path: Path, text: bool = False) -> str:
    """A boolean, number or word. `text`: it stands for a name, so it is quoted whatever it looks like."""
    if isinstance(node, bool):
        return "exists" if node else "missing"
    if isinstance(node, int):
        # Listings show 64 bits as if they had a sign.
        return str(node) if node >= 0 else f"{node + (1 << 64):#x}"
    if not isinstance(node, str):
        raise JsonProblem(path, "a value is needed here")
    if node.startswith("@"):
        return reference(node, path)
    if not text and (_UNQUOTED.match(node) or _is_address(node) or node in _BARE):
        return node
    return quoted(node, path)


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return "%" not in text


def value(node: Any, path: Path, texts: tuple[bool, ...] = (False,), joint: str = " | ") -> str:
    """The right-hand side of a match, an element of a set, a value to set. `joint` stands between flags of a list."""
    text = texts[0]
    if isinstance(node, list):
        if not node:
            raise JsonProblem(path, "the list is empty")
        return joint.join(immediate(each, (*path, i), text) for i, each in enumerate(node))
    if not isinstance(node, dict):
        return immediate(node, path, text)
    kind, inner = only(node, path)
    here = (*path, kind)
    match kind:
        case "prefix":
            found = fields(inner, here, (), ("addr", "len"))
            return f"{immediate(found['addr'], (*here, 'addr'))}/{number(found['len'], (*here, 'len'))}"
        case "range":
            if not isinstance(inner, list) or len(inner) != 2:
                raise JsonProblem(here, "a range has two ends")
            return "-".join(_end(each, (*here, i), texts) for i, each in enumerate(inner))
        case "concat":
            return concat(inner, here, texts)
        case "set":
            return elements(inner, here, texts)
        case "elem":
            return elem(inner, here, texts)
        case "|" if all(isinstance(each, str) for each in listed(inner)):
            return value(inner, here, texts)
    return expression(node, path)


def _end(node: Any, path: Path, texts: tuple[bool, ...]) -> str:
    """An end of a range. A bare word would swallow the dash."""
    return quoted(node, path) if isinstance(node, str) and node in _BARE else value(node, path, texts)


def concat(inner: Any, path: Path, texts: tuple[bool, ...] = (False,)) -> str:
    if not isinstance(inner, list) or not inner:
        raise JsonProblem(path, "a list is needed here")
    kinds = texts if len(texts) == len(inner) else (texts[0],) * len(inner)
    return " . ".join(value(each, (*path, i), (text,)) for i, (each, text) in enumerate(zip(inner, kinds, strict=True)))


# ---- sets ----------------------------------------------------------------------------------------------------------
def elements(inner: Any, path: Path, texts: tuple[bool, ...] = (False,)) -> str:
    """Elements between braces: keys, or pairs of key and value."""
    found = inner if isinstance(inner, list) else [inner]
    return f"{{ {', '.join(member(each, (*path, i), texts) for i, each in enumerate(found))} }}"


def member(node: Any, path: Path, texts: tuple[bool, ...] = (False,)) -> str:
    """One element; a pair is a key of a map and what it leads to."""
    if not isinstance(node, list):
        return "*" if node == "*" and not texts[0] else value(node, path, texts)
    if len(node) != 2:
        raise JsonProblem(path, "a pair of key and value is needed here")
    key = "*" if node[0] == "*" else value(node[0], (*path, 0), texts)
    return f"{key} : {data(node[1], (*path, 1))}"


def data(node: Any, path: Path) -> str:
    """What a map holds for a key: a verdict, a value, or the name of an object."""
    if isinstance(node, dict) and len(node) == 1 and next(iter(node)) in VERDICTS:
        return verdict(node, path)
    return value(node, path)


VERDICTS = ("accept", "drop", "continue", "return", "jump", "goto")


def verdict(node: Any, path: Path) -> str:
    kind, inner = only(node, path)
    if kind in ("jump", "goto"):
        found = fields(inner, (*path, kind), (), ("target",))
        return f"{kind} {name(found['target'], (*path, kind, 'target'))}"
    if inner is not None:
        raise JsonProblem((*path, kind), "a verdict holds nothing")
    return kind


_STATEFUL = ("counter", "limit", "quota", "ct count", "last")


def elem(inner: Any, path: Path, texts: tuple[bool, ...] = (False,)) -> str:
    """An element with times, a comment, or statements of its own."""
    from fireproof.syntax.nft_json_statement import statement

    found = fields(inner, path, ("timeout", "expires", "comment", *_STATEFUL), ("val",))
    text = "*" if found["val"] == "*" and not texts[0] else value(found["val"], (*path, "val"), texts)
    for kind in _STATEFUL:
        if kind in found:
            text += " " + statement({kind: found[kind]}, path)
    for key in ("timeout", "expires"):
        if key in found:
            text += f" {key} {number(found[key], (*path, key))}s"
    if "comment" in found:
        text += f" comment {quoted(found['comment'], (*path, 'comment'))}"
    return text


# ---- what is read from the packet ----------------------------------------------------------------------------------
def expression(node: Any, path: Path) -> str:
    """A selector, a computed value, or a constant."""
    if not isinstance(node, dict):
        return value(node, path)
    kind, inner = only(node, path)
    here = (*path, kind)
    reader = _READERS.get(kind)
    if reader is not None:
        text: str = reader(inner, here)
        return text
    if kind in ("&", "|", "^", "<<", ">>"):
        if not isinstance(inner, list) or len(inner) < 2:
            raise JsonProblem(here, "an operation has two operands")
        return f" {kind} ".join(_operand(each, (*here, i)) for i, each in enumerate(inner))
    if kind in ("prefix", "range", "set", "elem"):
        return value(node, path)
    raise JsonProblem(here, "this expression is not known")


def _operand(node: Any, path: Path) -> str:
    if isinstance(node, list) and len(node) > 1:
        return f"({value(node, path)})"
    text = expression(node, path)
    simple = not isinstance(node, dict) or next(iter(node)) not in ("&", "|", "^", "<<", ">>", "map", "concat")
    return text if simple else f"({text})"


def _payload(inner: Any, path: Path) -> str:
    found = fields(inner, path, ("protocol", "field", "tunnel", "base", "offset", "len"))
    if "base" in found:
        place = (word(found["base"], path), number(found.get("offset"), path), number(found.get("len"), path))
        return "@{},{},{}".format(*place)
    tunnel = word(found["tunnel"], path) + " " if "tunnel" in found else ""
    return f"{tunnel}{word(found.get('protocol'), path)} {_field(found.get('field'), path)}"


def _field(node: Any, path: Path) -> str:
    if not isinstance(node, str) or not _FIELD.match(node):
        raise JsonProblem(path, f"{node!r} is not the name of a field")
    return node


def _meta(inner: Any, path: Path) -> str:
    key = word(fields(inner, path, (), ("key",))["key"], (*path, "key"))
    return key if key in ("iif", "oif", "iifname", "oifname") else f"meta {key}"


def _ct(inner: Any, path: Path) -> str:
    found = fields(inner, path, ("dir", "family"), ("key",))
    parts = ["ct", *(word(found[key], (*path, key)) for key in ("dir", "family") if key in found)]
    return " ".join([*parts, *(word(part, (*path, "key")) for part in str(found["key"]).split(" "))])


def _named_option(keyword: str) -> Any:
    def read(inner: Any, path: Path) -> str:
        found = fields(inner, path, ("name", "field", "base", "offset", "len"))
        if "base" in found:
            return "{} @{},{},{}".format(keyword, *(number(found.get(key), path) for key in ("base", "offset", "len")))
        field = f" {_field(found['field'], path)}" if "field" in found else ""
        return f"{keyword} {word(found.get('name'), path)}{field}"

    return read


def _exthdr(inner: Any, path: Path) -> str:
    found = fields(inner, path, ("field", "offset"), ("name",))
    header = word(found["name"], path)
    if "field" not in found:
        return f"exthdr {header}"
    index = f"[{number(found['offset'], path) + 1}]" if found.get("offset") and "[" not in found["field"] else ""
    return f"{header} {_field(found['field'], path)}{index}"


def _fib(inner: Any, path: Path) -> str:
    found = fields(inner, path, (), ("result", "flags"))
    keys = " . ".join(word(each, (*path, "flags")) for each in listed(found["flags"]))
    # Newer releases say `check` for the question whether there is a route at all.
    result = "oif" if found["result"] == "check" else word(found["result"], (*path, "result"))
    return f"fib {keys} {result}"


def _keyed(keyword: str, *before: str) -> Any:
    """`keyword [options] key` with the options in front of the key."""

    def read(inner: Any, path: Path) -> str:
        found = fields(inner, path, before, ("key",))
        parts = [keyword]
        for option in before:
            if option in found:
                text = str(number(found[option], path)) if option == "spnum" else word(found[option], (*path, option))
                parts.append(f"{option} {text}" if option in ("ttl", "spnum") else text)
        return " ".join([*parts, word(found["key"], (*path, "key"))])

    return read


def _offset(found: Mapping[str, Any], path: Path) -> str:
    return f" offset {number(found['offset'], path)}" if found.get("offset") else ""


def _numgen(inner: Any, path: Path) -> str:
    found = fields(inner, path, ("offset",), ("mode", "mod"))
    return f"numgen {word(found['mode'], path)} mod {number(found['mod'], path)}{_offset(found, path)}"


def _jhash(inner: Any, path: Path) -> str:
    found = fields(inner, path, ("seed", "offset"), ("mod", "expr"))
    seed = f" seed {number(found['seed'], path)}" if "seed" in found else ""
    text = expression(found["expr"], (*path, "expr"))
    return f"jhash {text} mod {number(found['mod'], path)}{seed}{_offset(found, path)}"


def _symhash(inner: Any, path: Path) -> str:
    found = fields(inner, path, ("offset",), ("mod",))
    return f"symhash mod {number(found['mod'], path)}{_offset(found, path)}"


def _map(inner: Any, path: Path) -> str:
    found = fields(inner, path, (), ("key", "data"))
    return f"{expression(found['key'], (*path, 'key'))} map {mapping(found['data'], (*path, 'data'), found['key'])}"


def mapping(node: Any, path: Path, key: Any) -> str:
    """A named map, or an anonymous one."""
    if isinstance(node, str):
        return reference(node, path)
    return elements(fields(node, path, (), ("set",))["set"], (*path, "set"), is_text(key))


_READERS: dict[str, Any] = {
    "payload": _payload,
    "meta": _meta,
    "ct": _ct,
    "exthdr": _exthdr,
    "tcp option": _named_option("tcp option"),
    "ip option": _named_option("ip option"),
    "sctp chunk": _named_option("sctp chunk"),
    "rt": _keyed("rt", "family"),
    "socket": _keyed("socket"),
    "osf": _keyed("osf", "ttl"),
    "ipsec": _keyed("ipsec", "dir", "spnum", "family"),
    "fib": _fib,
    "numgen": _numgen,
    "jhash": _jhash,
    "symhash": _symhash,
    "map": _map,
    "concat": lambda inner, path: concat(inner, path),
}
