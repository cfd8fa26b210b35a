"""Constants: the text of a value and the datatype it must have, to numbers.

Names resolve as nft resolves them: services, protocols, ICMP types, marks, times. Everything is a number but
interface names and other texts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from socket import AF_INET, AF_INET6, inet_pton
from typing import Any

from lark import Token

from fireproof.model.expression import Constant, Interval, Key, Name, Part, SetReference
from fireproof.netfilter.datatypes import DATATYPES, Datatype
from fireproof.netfilter.protocols import PROTOCOLS
from fireproof.netfilter.services import SERVICES
from fireproof.syntax.grammar import Leaf, Node, Slot, Tree
from fireproof.syntax.scope import Context, MeaningError, suggest, unquote

MAX_KEYS = 1_000_000
"""Most elements that the lists in one concatenation may stand for."""
MAX_DIGITS = 40
_INTEGER = DATATYPES["integer"]
_TIME_PART = re.compile(r"([0-9]{1,20})(ms|d|h|m|s)")
_TIME = re.compile(r"(?:[0-9]{1,20}(?:ms|d|h|m|s))+")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-fA-F]+")
_MILLISECONDS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_CLOCK = re.compile(r"([0-9]{1,2}):([0-9]{2})(?::([0-9]{2}))?\Z")


@dataclass(frozen=True, slots=True)
class Type:
    """A datatype with the width it has at this place (integers come in many)."""

    datatype: Datatype
    bits: int

    @property
    def maximum(self) -> int:
        return (1 << self.bits) - 1 if self.bits else (1 << 64) - 1


def type_of(name: str, bits: int) -> Type:
    return Type(DATATYPES.get(name, _INTEGER), bits)


def milliseconds(text: str) -> int:
    """A time such as `1d2h30s`; a plain number is seconds."""
    if text.isdigit():
        return integer(text) * 1000
    return sum(integer(number) * _MILLISECONDS[unit] for number, unit in _TIME_PART.findall(text))


def integer(text: str) -> int:
    """A number as nft reads it: decimal, hexadecimal after 0x, octal after 0 (when all its digits are octal).

    One that is too long for any field comes out cut, and still too large for any field.
    """
    if text[:2] in ("0x", "0X"):
        return int(text[2:].lstrip("0")[:MAX_DIGITS] or "0", 16)
    digits = text.lstrip("0")[:MAX_DIGITS] or "0"
    return int(digits, 8 if text[0] == "0" and not set(digits) & {"8", "9"} else 10)


# ---- one literal ---------------------------------------------------------------------------------------------------
def literal(context: Context, leaf: Leaf, type: Type) -> Part:
    """The value of one token as `type`. Raises MeaningError where it has none."""
    text = context.text(leaf)
    kind = type.datatype.kind
    terminal = leaf.type
    try:
        if terminal == "NUMBER":
            return _number(text, type, leaf)
        if terminal == "IPV4":
            if kind == "address4" or (kind == "integer" and type.bits in (0, 32)):
                value = int.from_bytes(inet_pton(AF_INET, text), "big")
                return Interval(value, value)
            raise _mismatch(text, "an IPv4 address", type, leaf)
        if terminal == "IPV6":
            if kind == "address6" or (kind == "integer" and type.bits in (0, 128)):
                value = int.from_bytes(inet_pton(AF_INET6, text), "big")
                return Interval(value, value)
            raise _mismatch(text, "an IPv6 address", type, leaf)
        if terminal == "MAC":
            value = int("".join(group.zfill(2) for group in text.split(":")), 16)
            if kind == "ether" or (kind == "integer" and type.bits in (0, 48)):
                return Interval(value, value)
            raise _mismatch(text, "a MAC address", type, leaf)
        if terminal == "TIME":
            if kind == "time":
                value = milliseconds(text)
                return Interval(value, value)
            raise _mismatch(text, "a time", type, leaf)
        if terminal == "CLASSID" and type.datatype.name != "classid":
            raise MeaningError(f"`{text}` is one word to nft", leaf, "write a space around the colon", "value")
        if terminal == "QUOTED":
            return _word(context, unquote(text), type, leaf, quoted=True)
        if terminal == "WILDCARD":
            if kind != "string" and type.datatype.name != "iface_index":
                raise _mismatch(text, "a name pattern", type, leaf)
            return Name(text[:-1], prefix=True)
        return _word(context, text, type, leaf, quoted=False)
    except OSError:
        raise MeaningError(f"`{text}` is not a valid address", leaf, code="value") from None


def _mismatch(text: str, what: str, type: Type, leaf: Leaf) -> MeaningError:
    return MeaningError(
        f"`{text}` is {what}, but {_article(type.datatype.name)} is needed here", leaf, code="value",
    )  # fmt: skip


def _article(name: str) -> str:
    return f"{'an' if name[0] in 'aeio' else 'a'} {name}"


_LARGEST = {"day": 6, "ct_label": 127}
"""Where not every value of the width means something: days of the week, the numbers of the bits of a label."""


def _shown(text: str) -> str:
    return text if len(text) <= 40 else text[:39] + "…"


def _number(text: str, type: Type, leaf: Leaf) -> Part:
    kind = type.datatype.kind
    if kind == "string":
        return Name(text)
    value = integer(text)
    if kind in ("address4", "address6", "ether") and value > type.maximum:
        raise _mismatch(text, "a number", type, leaf)
    if kind == "time":
        value *= 1000
    if kind == "boolean":
        if value > 1:
            raise MeaningError(f"`{text}` is neither 0 nor 1", leaf, code="value")
        return Interval(value, value)
    maximum = _LARGEST.get(type.datatype.name, type.maximum)
    if value > maximum:
        raise MeaningError(
            f"{_shown(text)} is too large for {type.datatype.name}", leaf, f"the largest value is {maximum}", "value"
        )
    return Interval(value, value)


_LONGEST = {"string": 15}
"""Helpers have names of up to 15 bytes (Linux: NF_CT_HELPER_NAME_LEN is 16 with the closing zero byte)."""


def _word(context: Context, text: str, type: Type, leaf: Leaf, quoted: bool) -> Part:
    datatype = type.datatype
    kind = datatype.kind
    if kind == "string" or datatype.name == "iface_index":
        if datatype.name == "iface_index" and _NUMBER.fullmatch(text):
            return _number(text, type, leaf)
        # Linux: IFNAMSIZ is 16 with the closing zero byte.
        if datatype.name in ("ifname", "iface_index") and len(text.removesuffix("*").encode()) > 15:
            raise MeaningError(f"`{text}` is too long for an interface name", leaf, "Linux allows 15 bytes", "value")
        if not text:
            raise MeaningError("a name is empty", leaf, code="value")
        limit = _LONGEST.get(datatype.name if type.bits == 128 else "", 0)
        if limit and len(text.encode()) > limit:
            raise MeaningError(f"`{_shown(text)}` is longer than {limit} bytes", leaf, code="value")
        if quoted and text.endswith("\\*"):
            return Name(text[:-2] + "*")
        if text.endswith("*") and text != "*":
            return Name(text[:-1], prefix=True)
        return Name(text)
    symbols = datatype.symbols
    if text in symbols:
        value = symbols[text]
        return Interval(value, value)
    name = datatype.name
    if name == "inet_proto":
        symbols = PROTOCOLS
    elif name == "inet_service":
        symbols = SERVICES
    if text in symbols:
        return Interval(symbols[text], symbols[text])
    found = _by_kind(context, text, type, leaf)
    if found is not None:
        return Interval(found, found)
    if kind in ("address4", "address6") and re.fullmatch(r"[\w-]+(\.[\w-]+)*", text):
        raise MeaningError(
            f"`{text}` is a host name, which only a name server can resolve", leaf,
            "write the address, or `define` it: a firewall that needs DNS to load may not load at all", "host-name",
        )  # fmt: skip
    if _NUMBER.fullmatch(text):
        return _number(text, type, leaf)
    lower = {symbol.lower(): symbol for symbol in symbols}
    known = suggest(text, symbols) or (f"did you mean `{lower[text.lower()]}`?" if text.lower() in lower else "")
    if not known and 0 < len(symbols) <= 12:
        known = "known are " + ", ".join(symbols)
    raise MeaningError(f"`{_shown(text)}` is not {_article(name)}", leaf, known, "value")


def _by_kind(context: Context, text: str, type: Type, leaf: Leaf) -> int | None:
    """Values written in a form of their own: quoted addresses, clock times, dates, users, groups, time spans."""
    datatype = type.datatype
    kind = datatype.kind
    if kind == "address4" and re.fullmatch(r"[0-9.]+", text):
        return int.from_bytes(inet_pton(AF_INET, text), "big")
    if kind == "address6" and ":" in text:
        return int.from_bytes(inet_pton(AF_INET6, text), "big")
    if kind == "hour":
        clock = _CLOCK.match(text)
        if not clock or int(clock[1]) > 23 or int(clock[2]) > 59 or int(clock[3] or 0) > 59:
            raise MeaningError(f"`{text}` is not a time of day", leaf, 'write it as "08:00" or "08:00:30"', "value")
        return int(clock[1]) * 3600 + int(clock[2]) * 60 + int(clock[3] or 0)
    if kind == "date":
        return _date(text, leaf)
    if kind == "day":
        for name, number in datatype.symbols.items():
            if len(text) >= 3 and name.lower().startswith(text.lower()):
                return number
    if kind == "time" and _TIME.fullmatch(text):
        return milliseconds(text)
    if datatype.name in ("uid", "gid") and not _NUMBER.fullmatch(text):
        return _account(datatype.name, text, leaf)
    if datatype.name == "classid" and re.fullmatch(r"[0-9a-fA-F]{0,4}:[0-9a-fA-F]{0,4}", text):
        major, minor = text.split(":")
        return int(major or "0", 16) << 16 | int(minor or "0", 16)
    if kind == "boolean" and text in ("true", "false"):
        return int(text == "true")
    if datatype.name in _NUMBER_FILES and re.fullmatch(r"[A-Za-z_][\w.-]*", text):
        return _from_file(datatype.name, text, leaf)
    return None


_NUMBER_FILES = {
    "realm": "/etc/iproute2/rt_realms",
    "mark": "/etc/iproute2/rt_marks",
    "devgroup": "/etc/iproute2/group",
    "ct_label": "/etc/xtables/connlabel.conf",
}
"""Where nft looks up the names that each machine gives its own numbers."""
_EVERYWHERE = {"cosmos": 0}


def _from_file(datatype: str, text: str, leaf: Leaf) -> int:
    path = _NUMBER_FILES[datatype]
    try:
        lines = Path(path).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    for line in lines:
        words = line.split("#")[0].split()
        if len(words) == 2 and words[1] == text and _NUMBER.fullmatch(words[0]):
            return integer(words[0])
    if datatype == "realm" and text in _EVERYWHERE:
        return _EVERYWHERE[text]
    raise MeaningError(f"this machine knows no {datatype} `{_shown(text)}`", leaf, "write its number", "host-name")


def _date(text: str, leaf: Leaf) -> int:
    """Nanoseconds since 1970, UTC, as `meta time` counts."""
    from datetime import UTC, datetime

    for pattern in ("%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M", "%Y-%m-%d", "%Y/%m/%d %H:%M:%S", "%Y/%m/%d"):
        try:
            seconds = int(datetime.strptime(text, pattern).replace(tzinfo=UTC).timestamp())
        except ValueError:
            continue
        if seconds >= 0:
            return seconds * 1_000_000_000
    raise MeaningError(f"`{text}` is not a date", leaf, 'write it as "2026-12-24 23:00:00"', "value")


def _account(type_name: str, text: str, leaf: Leaf) -> int:
    import grp
    import pwd

    try:
        return pwd.getpwnam(text).pw_uid if type_name == "uid" else grp.getgrnam(text).gr_gid
    except KeyError:
        what = "user" if type_name == "uid" else "group"
        raise MeaningError(
            f"there is no {what} `{text}` on this machine", leaf, "write its number", "host-name"
        ) from None


# ---- the tree of a value -------------------------------------------------------------------------------------------
def expand(context: Context, node: Node) -> Iterator[Any]:
    """The members of a value list, with variables and nested sets replaced by what they hold.

    Yields concat trees and element trees.
    """
    for child in node.children:
        inner = _sole_primary(child)
        if isinstance(inner, Tree) and inner.data == "literal" and inner.children[0].type == "VARIABLE":
            yield from expand(context, context.variable(inner.children[0]).tree)
        elif isinstance(inner, Tree) and inner.data in ("set_literal", "value_list"):
            yield from expand(context, inner)
        elif child is not None:
            yield child


def _sole_primary(node: Any) -> Any:
    """What a list member holds when it is nothing but one literal, variable or set in parentheses or braces."""
    while isinstance(node, Tree) and node.data in ("concat", "operand", "value_list", "element"):
        if node.data == "element":
            if any(child is not None for child in node.children[1:]):
                return node
        elif len(node.children) != 1:
            return node
        node = node.children[0]
    return node


def sole(context: Context, node: Any) -> Any:
    """`node` with parentheses and variables that hold a single thing taken away."""
    inner = _sole_primary(node)
    if isinstance(inner, Tree) and inner.data == "literal" and inner.children[0].type == "VARIABLE":
        variable = context.variable(inner.children[0])
        return sole(context, variable.tree)
    return inner


def keys(context: Context, node: Node, types: tuple[Type, ...]) -> list[Key]:
    """A concat tree as keys; more than one when a variable in it holds a list."""
    if node.data != "concat":
        raise MeaningError("a single value is needed here", node, code="value")
    parts = node.children
    if len(parts) != len(types):
        inner = sole(context, node)
        if isinstance(inner, Tree) and inner.data == "concat" and inner is not node:
            return keys(context, inner, types)
        needed = "one value" if len(types) == 1 else f"{len(types)} values joined by ` . `"
        raise MeaningError(f"{needed} needed here, not {len(parts)}", node, code="value")
    found: list[Key] = [()]
    for part, type in zip(parts, types, strict=True):
        alternatives = part_values(context, part, type)
        if len(found) * len(alternatives) > MAX_KEYS:
            raise MeaningError(f"this stands for more than {MAX_KEYS:,} elements", node, code="too-large")
        found = [(*key, value) for key in found for value in alternatives]
    return found


def part_values(context: Context, node: Node, type: Type) -> list[Part]:
    """A range, prefix or operand as parts of a key."""
    if node.data == "range":
        low, high = (_single(context, child, type) for child in node.children)
        if not isinstance(low, Interval) or not isinstance(high, Interval):
            raise MeaningError("names have no order, so they make no range", node, code="value")
        # Only a time of day may run past its end: it wraps over midnight.
        if low.low > high.high and type.datatype.kind != "hour":
            raise MeaningError("this range ends before it starts", node, "swap its ends", "value")
        return [Interval(low.low, high.high)]
    if node.data == "prefix":
        return [_prefix(context, node, type)]
    if len(node.children) == 1:
        inner = sole(context, node)
        if isinstance(inner, Tree):
            if inner.data == "literal":
                return [literal(context, inner.children[-1], type)]
            if inner.data in ("value_list", "set_literal"):
                return [part for item in expand(context, inner) for part in plain(context, item, type)]
            if inner.data in ("range", "prefix"):
                return part_values(context, inner, type)
            if inner is not node and inner.data in ("operand", "concat"):
                return [key[0] for key in keys(context, _wrap(inner), (type,))]
    value = constant(context, node, type)
    return [Interval(value, value)]


def plain(context: Context, item: Any, type: Type) -> list[Part]:
    """The values of a member of a list that must be nothing but values."""
    return [key[0] for key in keys(context, _concat_of(item), (type,))]


def _wrap(node: Node) -> Node:
    return node if node.data == "concat" else Tree("concat", [node])


def _concat_of(item: Any) -> Node:
    if isinstance(item, Tree) and item.data == "element":
        if any(child is not None for child in item.children[1:]) or not isinstance(item.children[0], Tree):
            raise MeaningError("a plain value is needed here", item, code="value")
        item = item.children[0]
    if not isinstance(item, Tree):
        raise MeaningError("a plain value is needed here", item, code="value")
    return item


def _single(context: Context, node: Any, type: Type) -> Part:
    values = part_values(context, node, type)
    if len(values) != 1:
        raise MeaningError("a single value is needed here, not a list", node, code="value")
    return values[0]


def _prefix(context: Context, node: Node, type: Type) -> Interval:
    base = _single(context, node.children[0], type)
    length = constant(context, node.children[1], Type(_INTEGER, 16))
    if not isinstance(base, Interval) or type.datatype.kind == "bitmask":
        raise MeaningError("this has no prefix length", node, code="value")
    if base.low != base.high:
        raise MeaningError("a range has no prefix length", node, code="value")
    bits = type.bits
    if length > bits:
        raise MeaningError(f"/{length} is longer than the {bits} bits of {type.datatype.name}", node, code="value")
    rest = bits - length
    low = base.low >> rest << rest
    return Interval(low, low | (1 << rest) - 1)


def constant(context: Context, node: Any, type: Type) -> int:
    """The number that an operand with bit operations between constants makes."""
    children = node.children if isinstance(node, Tree) and node.data == "operand" else [node]
    return fold(context, children, type)


def fold(context: Context, children: list[Any], type: Type) -> int:
    """`a | b & c …` by precedence: shifts, then and, xor, or."""
    values: list[int] = []
    operators: list[str] = []
    for index, child in enumerate(children):
        if index % 2:
            operators.append(operator(context.text(child)))
        else:
            values.append(_number_of(context, child, type))
    for group in (("<<", ">>"), ("&",), ("^",), ("|",)):
        index = 0
        while index < len(operators):
            if operators[index] in group:
                left, right = values[index], values[index + 1]
                values[index : index + 2] = [apply(operators[index], left, right, type.bits or 64)]
                del operators[index]
            else:
                index += 1
    return values[0]


def operator(text: str) -> str:
    return {"and": "&", "or": "|", "xor": "^", "lshift": "<<", "rshift": ">>"}.get(text, text)


def apply(operation: str, left: int, right: int, bits: int) -> int:
    mask = (1 << bits) - 1
    if operation == "&":
        return left & right
    if operation == "|":
        return left | right
    if operation == "^":
        return left ^ right
    return left << min(right, 4096) & mask if operation == "<<" else left >> min(right, 4096)


def _number_of(context: Context, node: Any, type: Type) -> int:
    inner = sole(context, node)
    if isinstance(inner, Tree):
        if inner.data == "literal":
            value = literal(context, inner.children[-1], type)
            if isinstance(value, Interval):
                return value.low
            raise MeaningError("a number is needed here", inner, code="value")
        if inner.data == "value_list" and type.datatype.kind == "bitmask":
            total = 0
            for item in inner.children:
                total |= _number_of(context, item, type)
            return total
        if inner.data in ("operand", "value_term"):
            return fold(context, inner.children, type)
        if (
            inner.data in ("value", "selector_value", "concat")
            and len([c for c in inner.children if c is not None]) == 1
        ):
            return _number_of(context, inner.children[0], type)
        raise MeaningError("a single number is needed here", inner, code="value")
    assert isinstance(inner, Token | Slot)
    value = literal(context, inner, type)
    if isinstance(value, Interval):
        return value.low
    raise MeaningError("a number is needed here", inner, code="value")


def set_reference(context: Context, node: Any) -> SetReference | None:
    """The set that a value is nothing but a reference to."""
    inner = sole(context, node)
    if isinstance(inner, Tree) and inner.data == "literal" and inner.children[0].type == "SETREF":
        return SetReference(context.text(inner.children[0])[1:])
    return None


def as_constant(part: Part, type: Type) -> Constant:
    """A single-valued part as an expression."""
    if isinstance(part, Name):
        return Constant(part.text + ("*" if part.prefix else ""), type.datatype.name, type.bits)
    return Constant(part.low, type.datatype.name, type.bits)
