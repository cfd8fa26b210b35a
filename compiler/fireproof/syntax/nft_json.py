"""`nft -j list ruleset` (1.0.6 to 1.1) and libnftables' JSON commands as nft text, for our own parser to read.

All meaning stays in the text parser. What is not known here is a `JsonProblem` with its place, never passed over. Each
rule is one line, and its handle in the kernel is kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from fireproof.syntax.nft_json_expression import (
    JsonProblem,
    Path,
    expression,
    fields,
    listed,
    member,
    name,
    number,
    only,
    quoted,
    word,
)
from fireproof.syntax.nft_json_statement import limit, statement

__all__ = ["JsonProblem", "Listing", "RuleHandle", "to_text"]

RuleHandle = tuple[str, str, str, int]
"""Family, table, chain, handle."""


@dataclass(slots=True)
class Listing:
    """nft text, and for the line (from 1) of each rule that has one its handle."""

    text: str
    handles: dict[int, RuleHandle]


@dataclass(slots=True)
class _Chain:
    head: list[str]
    rules: list[tuple[str, int | None]] = field(default_factory=list)


@dataclass(slots=True)
class _Table:
    head: list[str]
    blocks: list[list[str]] = field(default_factory=list)
    chains: dict[str, _Chain] = field(default_factory=dict)


@dataclass(slots=True)
class _Writer:
    lines: list[str] = field(default_factory=list)
    handles: dict[int, RuleHandle] = field(default_factory=dict)
    tables: dict[tuple[str, str], _Table] = field(default_factory=dict)

    def flush(self) -> None:
        """Writes the objects of a listing, gathered by table and chain."""
        for (family, table), found in self.tables.items():
            self.lines += [f"table {family} {table} {{", *(f"\t{line}" for line in found.head)]
            for block in found.blocks:
                self.lines += [f"\t{line}" for line in block]
            for chain_name, chain in found.chains.items():
                self.lines += [f"\tchain {chain_name} {{", *(f"\t\t{line}" for line in chain.head)]
                for text, handle in chain.rules:
                    self.lines.append(f"\t\t{text}")
                    if handle is not None:
                        self.handles[len(self.lines)] = (family, table, chain_name, handle)
                self.lines.append("\t}")
            self.lines.append("}")
        self.tables.clear()


def to_text(document: Any) -> Listing:
    """Raises JsonProblem."""
    items = fields(document, (), (), ("nftables",))["nftables"]
    if not isinstance(items, list):
        raise JsonProblem(("nftables",), "a list is needed here")
    writer = _Writer()
    for index, item in enumerate(items):
        path: Path = ("nftables", index)
        kind, inner = only(item, path)
        here = (*path, kind)
        if kind == "metainfo":
            found = fields(inner, here, ("version", "release_name", "json_schema_version"))
            if found.get("json_schema_version", 1) != 1:
                raise JsonProblem((*here, "json_schema_version"), "only version 1 of the schema is known")
        elif kind in _COMMANDS:
            writer.flush()
            writer.lines += _COMMANDS[kind](kind, inner, here)
        else:
            _listed(writer, kind, inner, here)
    writer.flush()
    return Listing("\n".join([*writer.lines, ""]), writer.handles)


# ---- objects of a listing ------------------------------------------------------------------------------------------
def _listed(writer: _Writer, kind: str, inner: Any, path: Path) -> None:
    if kind == "table":
        family, table = _place(inner, path, "name")
        writer.tables.setdefault((family, table), _Table(_table_head(inner, path)))
        return
    if not isinstance(inner, dict):
        raise JsonProblem(path, "an object is needed here")
    family, table = _place(inner, path, "table")
    own = writer.tables.setdefault((family, table), _Table([]))
    if kind == "chain":
        own.chains[_name(inner, path)] = _Chain(_chain_head(inner, path))
    elif kind == "rule":
        text = rule(inner, path, ("handle",))
        chain = own.chains.setdefault(name(inner["chain"], (*path, "chain")), _Chain([]))
        chain.rules.append((text, number(inner["handle"], path) if "handle" in inner else None))
    elif kind == "element":
        raise JsonProblem(path, "an element needs a command, such as `add`")
    else:
        own.blocks.append(_block(kind, inner, path))


def _place(inner: Any, path: Path, key: str) -> tuple[str, str]:
    if not isinstance(inner, dict) or "family" not in inner or key not in inner:
        raise JsonProblem(path, f"`family` and `{key}` are needed")
    return word(inner["family"], (*path, "family")), name(inner[key], (*path, key))


def _name(inner: Any, path: Path) -> str:
    return name(inner.get("name"), (*path, "name"))


def _comment(inner: Any, path: Path) -> list[str]:
    return [f"comment {quoted(inner['comment'], (*path, 'comment'))}"] if "comment" in inner else []


def _table_head(inner: Any, path: Path) -> list[str]:
    found = fields(inner, path, ("handle", "flags", "comment"), ("family", "name"))
    flags = [word(each, (*path, "flags")) for each in listed(found.get("flags", []))]
    return ([f"flags {','.join(flags)}"] if flags else []) + _comment(found, path)


_OF_TABLE = ("family", "table", "name")
_HOOK = ("type", "hook", "prio")


def _chain_head(inner: Any, path: Path) -> list[str]:
    found = fields(inner, path, ("handle", "dev", "policy", "comment", *_HOOK), _OF_TABLE)
    given = [key for key in _HOOK if key in found]
    if not given:
        for key in ("policy", "dev"):
            if key in found:
                raise JsonProblem((*path, key), "only a chain with a hook has this")
        return _comment(found, path)
    if len(given) != len(_HOOK):
        raise JsonProblem(path, "a chain with a hook needs `type`, `hook` and `prio`")
    devices = [quoted(each, (*path, "dev")) for each in listed(found.get("dev", []))]
    device = ""
    if devices:
        device = f" device {devices[0]}" if len(devices) == 1 else f" devices = {{ {', '.join(devices)} }}"
    type_, hook = word(found["type"], (*path, "type")), word(found["hook"], (*path, "hook"))
    lines = [f"type {type_} hook {hook}{device} priority {number(found['prio'], (*path, 'prio'))}"]
    if "policy" in found:
        lines.append(f"policy {word(found['policy'], (*path, 'policy'))}")
    return lines + _comment(found, path)


def rule(inner: Any, path: Path, extra: tuple[str, ...] = ()) -> str:
    """The statements and comment of a rule on one line."""
    found = fields(inner, path, ("expr", "comment", *extra), ("family", "table", "chain"))
    statements = found.get("expr", [])
    if not isinstance(statements, list):
        raise JsonProblem((*path, "expr"), "a list is needed here")
    words = [statement(each, (*path, "expr", i)) for i, each in enumerate(statements)]
    if not words:
        raise JsonProblem(path, "a rule without statements")
    return " ".join([*words, *_comment(found, path)])


# ---- blocks --------------------------------------------------------------------------------------------------------
def _block(kind: str, inner: Any, path: Path) -> list[str]:
    """A set, map, flowtable or named object as the lines of a block."""
    reader = _BLOCKS.get(kind)
    if reader is None:
        raise JsonProblem(path, "this object is not known")
    word_ = "set" if kind == "meter" else kind
    lines = [*reader(inner, path), *_comment(inner, path)]
    return [f"{word_} {_name(inner, path)} {{", *(f"\t{line}" for line in lines), "}"]


def _type(node: Any, path: Path) -> str:
    if isinstance(node, dict):
        return expression(fields(node, path, (), ("typeof",))["typeof"], (*path, "typeof"))
    parts = [part for each in listed(node) for part in str(each).split(" . ")]
    return " . ".join(word(part, path) for part in parts)


_SET = ("policy", "flags", "elem", "timeout", "gc-interval", "size", "auto-merge", "stmt", "comment", "handle")


def _set(inner: Any, path: Path) -> Iterator[str]:
    found = fields(inner, path, _SET, (*_OF_TABLE, "type"))
    yield from _set_lines(found, path, "")


def _map(inner: Any, path: Path) -> Iterator[str]:
    found = fields(inner, path, _SET, (*_OF_TABLE, "type", "map"))
    # Listings of 1.0.6 leave the word out.
    interval = "interval " if any(_is_range(each) for each in listed(found.get("elem", []))) else ""
    yield from _set_lines(found, path, f" : {interval}{_type(found['map'], (*path, 'map'))}")


def _is_range(node: Any) -> bool:
    """Whether an element of a map leads to a range."""
    return isinstance(node, list) and isinstance(node[-1], dict) and next(iter(node[-1]), "") in ("range", "prefix")


def _set_lines(found: Any, path: Path, data: str) -> Iterator[str]:
    keyword = "typeof" if isinstance(found["type"], dict) else "type"
    key = _type(found["type"], (*path, "type"))
    yield f"{keyword} {key}{data}"
    flags = [word(each, (*path, "flags")) for each in listed(found.get("flags", []))]
    if flags:
        yield f"flags {','.join(flags)}"
    for option in ("timeout", "gc-interval"):
        if option in found:
            yield f"{option} {number(found[option], (*path, option))}s"
    if "size" in found:
        yield f"size {number(found['size'], (*path, 'size'))}"
    if "policy" in found:
        yield f"policy {word(found['policy'], (*path, 'policy'))}"
    if found.get("auto-merge"):
        yield "auto-merge"
    for i, each in enumerate(found.get("stmt", [])):
        yield statement(each, (*path, "stmt", i))
    texts = tuple(part in ("ifname", "iface_index") for part in key.split(" . "))
    members = listed(found.get("elem", []))
    if members:
        text = ", ".join(member(each, (*path, "elem", i), texts) for i, each in enumerate(members))
        yield f"elements = {{ {text} }}"


def _flowtable(inner: Any, path: Path) -> Iterator[str]:
    found = fields(inner, path, ("handle", "dev"), (*_OF_TABLE, "hook", "prio"))
    yield f"hook {word(found['hook'], path)} priority {number(found['prio'], (*path, 'prio'))}"
    devices = [quoted(each, (*path, "dev")) for each in listed(found.get("dev", []))]
    if devices:
        yield f"devices = {{ {', '.join(devices)} }}"


_OBJECT = ("handle", "comment")


def _counter(inner: Any, path: Path) -> Iterator[str]:
    found = fields(inner, path, ("packets", "bytes", *_OBJECT), _OF_TABLE)
    yield f"packets {number(found.get('packets', 0), path)} bytes {number(found.get('bytes', 0), path)}"


def _quota(inner: Any, path: Path) -> Iterator[str]:
    found = fields(inner, path, ("used", "inv", *_OBJECT), (*_OF_TABLE, "bytes"))
    used = f" used {number(found['used'], path)} bytes" if found.get("used") else ""
    yield f"{'over ' if found.get('inv') else ''}{number(found['bytes'], path)} bytes{used}"


def _limit(inner: Any, path: Path) -> Iterator[str]:
    rate = ("rate", "per", "burst", "rate_unit", "burst_unit", "inv")
    found = fields(inner, path, (*rate, *_OBJECT), (*_OF_TABLE, "rate", "per"))
    yield limit({key: found[key] for key in rate if key in found}, path).removeprefix("limit ")


def _l3proto(found: Any, path: Path) -> Iterator[str]:
    # Without one it is that of the table, which text has no word for in inet.
    if found.get("l3proto", found["family"]) != found["family"]:
        yield f"l3proto {word(found['l3proto'], (*path, 'l3proto'))}"


def _ct_helper(inner: Any, path: Path) -> Iterator[str]:
    found = fields(inner, path, ("l3proto", *_OBJECT), (*_OF_TABLE, "type", "protocol"))
    yield f"type {quoted(found['type'], (*path, 'type'))} protocol {word(found['protocol'], (*path, 'protocol'))}"
    yield from _l3proto(found, path)


def _ct_timeout(inner: Any, path: Path) -> Iterator[str]:
    found = fields(inner, path, ("l3proto", "policy", *_OBJECT), (*_OF_TABLE, "protocol"))
    yield f"protocol {word(found['protocol'], (*path, 'protocol'))}"
    yield from _l3proto(found, path)
    policy = found.get("policy")
    if policy:
        pairs = fields(policy, (*path, "policy"), policy)
        text = ", ".join(f"{word(state, path)} : {number(seconds, path)}" for state, seconds in pairs.items())
        yield f"policy = {{ {text} }}"


def _ct_expectation(inner: Any, path: Path) -> Iterator[str]:
    found = fields(inner, path, ("l3proto", *_OBJECT), (*_OF_TABLE, "protocol", "dport", "timeout", "size"))
    yield f"protocol {word(found['protocol'], (*path, 'protocol'))}"
    yield f"dport {number(found['dport'], path)}"
    # Milliseconds, unlike all other times.
    yield f"timeout {number(found['timeout'], path)}ms"
    yield f"size {number(found['size'], path)}"
    yield from _l3proto(found, path)


def _synproxy(inner: Any, path: Path) -> Iterator[str]:
    found = fields(inner, path, ("mss", "wscale", "flags", *_OBJECT), _OF_TABLE)
    yield from (f"{key} {number(found[key], path)}" for key in ("mss", "wscale") if key in found)
    flags = [word(flag, path) for flag in listed(found.get("flags", []))]
    if flags:
        yield " ".join(flags)


def _secmark(inner: Any, path: Path) -> Iterator[str]:
    yield quoted(fields(inner, path, _OBJECT, (*_OF_TABLE, "context"))["context"], (*path, "context"))


_BLOCKS: dict[str, Any] = {
    "set": _set,
    "map": _map,
    "meter": _set,
    "flowtable": _flowtable,
    "counter": _counter,
    "quota": _quota,
    "limit": _limit,
    "ct helper": _ct_helper,
    "ct timeout": _ct_timeout,
    "ct expectation": _ct_expectation,
    "synproxy": _synproxy,
    "secmark": _secmark,
}


# ---- commands ------------------------------------------------------------------------------------------------------
def _add(command: str, inner: Any, path: Path) -> list[str]:
    kind, what = only(inner, path)
    here = (*path, kind)
    if kind == "table":
        family, table = _place(what, here, "name")
        return _with_block(f"{command} table {family} {table}", _table_head(what, here))
    family, table = _place(what, here, "table")
    place = f"{family} {table}"
    if kind == "rule":
        return [f"{command} rule {place} {_position(what, here)} {rule(what, here, ('index', 'handle'))}"]
    if kind == "chain":
        return _with_block(f"{command} chain {place} {_name(what, here)}", _chain_head(what, here))
    if kind == "element":
        return [f"{command} element {_element(what, here)}"]
    block = _block(kind, what, here)
    head, _, _ = block[0].partition(" {")
    return [f"{command} {head[: -len(_name(what, here))]}{place} {_name(what, here)} {{", *block[1:]]


def _with_block(head: str, lines: list[str]) -> list[str]:
    return [f"{head} {{", *(f"\t{line}" for line in lines), "}"] if lines else [head]


def _position(what: Any, path: Path) -> str:
    text = name(what.get("chain"), (*path, "chain"))
    for key in ("index", "handle"):
        if key in what:
            text += f" {key} {number(what[key], (*path, key))}"
    return text


def _element(what: Any, path: Path) -> str:
    found = fields(what, path, (), (*_OF_TABLE, "elem"))
    members = ", ".join(member(each, (*path, "elem", i)) for i, each in enumerate(listed(found["elem"])))
    family, table = _place(what, path, "table")
    return f"{family} {table} {_name(what, path)} {{ {members} }}"


def _delete(command: str, inner: Any, path: Path) -> list[str]:
    kind, what = only(inner, path)
    here = (*path, kind)
    if kind == "ruleset" and command == "flush":
        family = word(fields(what, here, ("family",)).get("family", ""), here) if what else ""
        return [f"flush ruleset {family}".rstrip()]
    if kind == "element":
        return [f"{command} element {_element(what, here)}"]
    if kind == "table":
        found = fields(what, here, ("name", "handle"), ("family",))
        return [f"{command} table {word(found['family'], here)} {_by_name_or_handle(found, here)}"]
    family, table = _place(what, here, "table")
    if kind == "rule":
        fields(what, here, (), ("family", "table", "chain", "handle"))
        return [f"{command} rule {family} {table} {_position(what, here)}"]
    if kind not in _BLOCKS and kind != "chain":
        raise JsonProblem(here, "this object is not known")
    found = fields(what, here, ("name", "handle"), ("family", "table"))
    return [f"{command} {kind} {family} {table} {_by_name_or_handle(found, here)}"]


def _by_name_or_handle(found: Any, path: Path) -> str:
    if "name" in found:
        return name(found["name"], (*path, "name"))
    return f"handle {number(found.get('handle'), (*path, 'handle'))}"


def _rename(command: str, inner: Any, path: Path) -> list[str]:
    what = fields(inner, path, (), ("chain",))["chain"]
    here = (*path, "chain")
    found = fields(what, here, ("handle",), (*_OF_TABLE, "newname"))
    family, table = _place(found, here, "table")
    return [f"rename chain {family} {table} {_name(found, here)} {name(found['newname'], here)}"]


_COMMANDS: dict[str, Any] = {
    "add": _add,
    "create": _add,
    "insert": _add,
    "replace": _add,
    "delete": _delete,
    "destroy": _delete,
    "flush": _delete,
    "rename": _rename,
}
