"""Tables, chains, sets, objects and flowtables in libnftables' JSON."""

from __future__ import annotations

from fireproof.emit.json_expression import element, seconds, stateful
from fireproof.emit.naming import check_quotable, clean, name
from fireproof.emit.nft_declaration import elements, has_data_ranges, key_types, set_flags, value_types
from fireproof.emit.place import COMMENT_BYTES
from fireproof.emit.problem import CannotEmit, Unsayable
from fireproof.extensions.counter import Counter
from fireproof.extensions.limit import Limit
from fireproof.extensions.quota import Quota
from fireproof.model.ruleset import Chain, Flowtable, NamedObject, NamedSet, Table
from fireproof.netfilter.datatypes import NOT_SET_TYPES

Object = dict[str, object]

# Seen with 1.0.6: refused, refused, and taken without its policy.
_UNREAD = frozenset(("synproxy", "ct expectation", "ct timeout"))


def table(node: Table) -> Object:
    if node.flags:
        # nft 1.0.6 ignores the flag, and the table would be awake.
        raise Unsayable(f"a table with `flags {','.join(node.flags)}`: nft's JSON loses them", node.span)
    return {"family": node.family, "name": name(node.name), **_comment(node.comment)}


def _comment(comment: str | None) -> Object:
    cleaned = clean(comment, COMMENT_BYTES) if comment else ""
    return {"comment": cleaned} if cleaned else {}


def _of(table: Table, own: str, kind: str = "") -> Object:
    return {"family": table.family, "table": name(table.name), "name": name(own, kind)}


def chain(node: Chain) -> Object:
    made = _of(node.table, node.name)
    base = node.base
    if base is not None:
        if base.flags:
            raise Unsayable(f"a chain with `flags {','.join(base.flags)}` has no spelling in nft's JSON", node.span)
        # The priority is a number: a name would be ignored by nft, and the hook with it.
        made |= {"type": base.type, "hook": base.hook, "prio": base.priority}
        if len(base.devices) > 1:
            raise Unsayable("a chain on several devices, which nft 1.0.6 does not read from JSON", node.span)
        if base.devices:
            made["dev"] = check_quotable(base.devices[0])
        made["policy"] = base.policy
    return made | _comment(node.comment)


def _types(names: tuple[str, ...]) -> object:
    return names[0] if len(names) == 1 else list(names)


def named_set(node: NamedSet) -> Object:
    try:
        for each in (*node.key, *(node.data if node.data_bits != (0,) else ())):
            if each in NOT_SET_TYPES and each != "verdict":
                raise Unsayable(f"the set `{node.name}` is of type `{each}`, which nft's JSON can not declare")
        if has_data_ranges(node):
            raise Unsayable(f"the values of the map `{node.name}` are ranges, which nft's JSON can not declare")
        if len(node.data) > 1:
            raise Unsayable(f"the values of the map `{node.name}` are joined, which nft 1.0.6 does not read from JSON")
        made = _of(node.table, node.name, "set") | {"type": _types(node.key)}
        if node.is_map:
            made["map"] = node.data[0]
        # nft 1.0.6 refuses the word `dynamic`; the rules that add elements give the set that flag anyway.
        if flags := [flag for flag in set_flags(node) if flag != "dynamic"]:
            made["flags"] = flags
        if node.timeout is not None:
            made["timeout"] = seconds(node.timeout)
        if node.gc_interval is not None:
            made["gc-interval"] = seconds(node.gc_interval)
        if node.size is not None:
            made["size"] = node.size
        if node.policy:
            made["policy"] = node.policy
        if node.auto_merge:
            # Read by nft 1.1 only, so the elements come merged.
            made["auto-merge"] = True
        if node.stateful:
            made["stmt"] = stateful(node.stateful)
        if node.elements:
            made["elem"] = [element(each, key_types(node), value_types(node)) for each in elements(node)]
        return made | _comment(node.comment)
    except CannotEmit as problem:
        raise problem.at(node.span) from None


def flowtable(node: Flowtable) -> Object:
    if node.flags or node.counter:
        raise Unsayable("flags and counters of a flowtable have no spelling in nft's JSON", node.span)
    devices = [check_quotable(device) for device in node.devices]
    made = _of(node.table, node.name) | {"hook": "ingress", "prio": node.priority}
    return made | ({"dev": devices} if devices else {})


def named_object(node: NamedObject) -> Object:
    try:
        return _of(node.table, node.name, node.kind) | _settings(node) | _comment(node.comment)
    except CannotEmit as problem:
        raise problem.at(node.span) from None


def _settings(node: NamedObject) -> Object:
    if node.kind in _UNREAD:
        raise Unsayable(f"nft before 1.0.9 does not read a {node.kind} from JSON")
    inner = node.statement
    match inner:
        case Counter():
            return {"packets": inner.packets, "bytes": inner.bytes}
        case Quota():
            return {"bytes": inner.bytes, "used": inner.used, "inv": inner.over}
        case Limit():
            made = inner.json()
            assert isinstance(made, dict)
            limit: Object = made["limit"]
            return limit
        case None:
            return dict(node.settings)
        case _:
            raise Unsayable(f"a {node.kind} can not be made of {type(inner).__name__}")
