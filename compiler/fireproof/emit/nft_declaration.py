"""Named sets, maps, objects and flowtables in nft's text syntax."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from fireproof.emit.naming import clean, name, quoted
from fireproof.emit.nft_expression import Types, element
from fireproof.emit.place import COMMENT_BYTES
from fireproof.emit.problem import CannotEmit, Unprintable
from fireproof.emit.value import duration, is_single
from fireproof.extensions.last import Last
from fireproof.extensions.limit import Limit
from fireproof.extensions.quota import Quota
from fireproof.model.expression import Element
from fireproof.model.ruleset import Flowtable, NamedObject, NamedSet
from fireproof.model.statement import ExtensionStatement
from fireproof.netfilter.datatypes import NOT_SET_TYPES
from fireproof.syntax.sets import merge

# An expression as `typeof` takes it; what else a source can hold (quotes, braces, variables) has no place there.
_TYPEOF = re.compile(r"[A-Za-z0-9_.@,/&|()<> \[\]-]+\Z")
_WORD = re.compile(r"[A-Za-z0-9_-]+\Z")


def key_types(named: NamedSet) -> Types:
    return tuple(zip(named.key, named.key_bits, strict=True))


def value_types(named: NamedSet) -> Types:
    return tuple(zip(named.data, named.data_bits, strict=True))


def elements(named: NamedSet) -> list[Element]:
    """What to put into the set: merged where nft would merge, because its JSON cannot ask for that."""
    return merge(named.elements) if named.auto_merge else named.elements


def set_flags(named: NamedSet) -> tuple[str, ...]:
    """The set's flags; a set with ranges must say so."""
    ranges = any(each.key and not all(map(is_single, each.key)) for each in named.elements)
    return (*named.flags, "interval") if ranges and "interval" not in named.flags else named.flags


def has_data_ranges(named: NamedSet) -> bool:
    return any(isinstance(each.data, tuple) and not all(map(is_single, each.data)) for each in named.elements)


def named_set(named: NamedSet) -> list[str]:
    """The block of a set or map, line by line. Raises Unprintable."""
    try:
        lines = [f"{'map' if named.is_map else 'set'} {name(named.name, 'set')} {{", f"\t{_type(named)}"]
        flags = set_flags(named)
        if flags:
            lines.append(f"\tflags {','.join(flags)}")
        if named.timeout is not None:
            lines.append(f"\ttimeout {duration(named.timeout)}")
        if named.gc_interval is not None:
            lines.append(f"\tgc-interval {duration(named.gc_interval)}")
        if named.size is not None:
            lines.append(f"\tsize {named.size}")
        if named.policy:
            lines.append(f"\tpolicy {named.policy}")
        if named.auto_merge:
            lines.append("\tauto-merge")
        lines += [f"\t{_stateful(each)}" for each in named.stateful]
        lines += _comment(named.comment)
        members = [element(each, key_types(named), value_types(named)) for each in elements(named)]
        if members:
            lines.append("\telements = {")
            lines += [f"\t\t{member}," for member in members[:-1]]
            lines += [f"\t\t{members[-1]}", "\t}"]
        return [*lines, "}"]
    except CannotEmit as problem:
        raise problem.at(named.span) from None


def _stateful(node: object) -> str:
    if not isinstance(node, ExtensionStatement) or isinstance(node, Last):
        raise Unprintable(f"the elements of a set can not carry {type(node).__name__}")
    return node.nft()


def _type(named: NamedSet) -> str:
    interval = "interval " if has_data_ranges(named) else ""
    if named.typeof:
        data = ""
        if named.is_map:
            data = f" : {interval}{_typeof(named.data_typeof or named.data[0])}"
        return f"typeof {_typeof(named.typeof)}{data}"
    for each in named.key:
        if each in NOT_SET_TYPES:
            raise Unprintable(f"`{each}` has no fixed size: the set needs a `typeof`")
    data = f" : {interval}{' . '.join(named.data)}" if named.is_map else ""
    return f"type {' . '.join(named.key)}{data}"


def _typeof(text: str) -> str:
    one_line = " ".join(text.split())
    if not _TYPEOF.match(one_line):
        raise Unprintable(f"`typeof {one_line}` can not be written")
    return one_line


def _comment(comment: str | None) -> list[str]:
    cleaned = clean(comment, COMMENT_BYTES) if comment else ""
    return [f'\tcomment "{cleaned}"'] if cleaned else []


def flowtable(node: Flowtable) -> list[str]:
    try:
        lines = [f"flowtable {name(node.name)} {{", f"\thook ingress priority {node.priority}"]
        if node.devices:
            lines.append(f"\tdevices = {{ {', '.join(map(quoted, node.devices))} }}")
        lines += [f"\tflags {_word(flag)}" for flag in node.flags]
        if node.counter:
            lines.append("\tcounter")
        return [*lines, "}"]
    except CannotEmit as problem:
        raise problem.at(node.span) from None


def named_object(node: NamedObject) -> list[str]:
    """The block of a counter, quota, limit, helper …, line by line. Raises Unprintable."""
    try:
        lines = [f"\t{line}" for line in _settings(node) if line]
        return [f"{node.kind} {name(node.name, node.kind)} {{", *lines, *_comment(node.comment), "}"]
    except CannotEmit as problem:
        raise problem.at(node.span) from None


def _settings(node: NamedObject) -> list[str]:
    given = node.settings
    match node.kind:
        case "counter" | "quota" | "limit":
            return _statement_settings(node)
        case "synproxy":
            flags = given.get("flags", ())
            assert isinstance(flags, Sequence)
            # Each on a line of its own: nft takes that or all on one line, nothing between.
            return [f"mss {_number(given, 'mss')}", f"wscale {_number(given, 'wscale')}", " ".join(map(_word, flags))]
        case "secmark":
            return [quoted(str(given["context"]))]
        case "ct helper":
            lines = [f"type {quoted(str(given['type']))} protocol {_word(given['protocol'])}"]
        case "ct timeout":
            policy = given.get("policy", {})
            assert isinstance(policy, Mapping)
            pairs = ", ".join(f"{_word(state)} : {int(seconds)}" for state, seconds in policy.items())
            lines = [f"protocol {_word(given['protocol'])}"]
            # l3proto has to stand in front of the policy.
            return [*lines, *_l3proto(given), *([f"policy = {{ {pairs} }}"] if pairs else [])]
        case "ct expectation":
            timeout = duration(_number(given, "timeout"))
            lines = [f"protocol {_word(given['protocol'])}", f"dport {_number(given, 'dport')}", f"timeout {timeout}",
                     f"size {_number(given, 'size')}"]  # fmt: skip
        case _:
            raise Unprintable(f"there is no object `{node.kind}` in nft")
    return [*lines, *_l3proto(given)]


def _l3proto(given: Mapping[str, object]) -> list[str]:
    return [f"l3proto {_word(given['l3proto'])}"] if given.get("l3proto") else []


def _statement_settings(node: NamedObject) -> list[str]:
    inner = node.statement
    if inner is None:
        return []
    if not isinstance(inner, ExtensionStatement):
        raise Unprintable(f"a {node.kind} can not be made of {type(inner).__name__}")
    text = inner.nft().removeprefix(node.kind).strip()
    if isinstance(inner, Quota | Limit) or text:
        return [text] if text else []
    return []


def _number(given: Mapping[str, object], key: str) -> int:
    value = given.get(key)
    if not isinstance(value, int):
        raise Unprintable(f"`{key}` is missing or not a number")
    return value


def _word(value: object) -> str:
    text = str(value)
    if not _WORD.match(text):
        raise Unprintable(f"{text!r} is not a word nft can read")
    return text
