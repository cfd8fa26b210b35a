"""The trees of statements to the statements of the model."""

from __future__ import annotations

from typing import Any

from fireproof.extensions import readers
from fireproof.model.expression import (
    Concat,
    Constant,
    Ct,
    Expression,
    Hash,
    HeaderOption,
    Interval,
    Key,
    MapLookup,
    Meta,
    Numgen,
    Payload,
    SetReference,
)
from fireproof.model.statement import (
    Duplicate,
    FlowOffload,
    ForeignMatch,
    Forward,
    Log,
    Mangle,
    Meter,
    Notrack,
    ObjectReference,
    Queue,
    Reject,
    ResetOption,
    SetUpdate,
    Statement,
    Synproxy,
    Verdict,
    VerdictMap,
)
from fireproof.netfilter.headers import TCP_OPTION_ALIASES, TCP_OPTIONS
from fireproof.netfilter.keys import CT_KEYS, META_KEYS
from fireproof.netfilter.reject import DEFAULT_REJECT
from fireproof.syntax import dependencies, selectors, sets, values
from fireproof.syntax.grammar import Node, Shape, Tree
from fireproof.syntax.matches import match
from fireproof.syntax.scope import Context, MeaningError, leaves, suggest, unquote
from fireproof.syntax.translation import ADDRESS, guess_family, nat, tproxy
from fireproof.syntax.values import Type, integer, milliseconds, type_of

_REUSED = frozenset((
    "match", "verdict", "counter", "limit", "quota", "connlimit", "last", "log", "reject", "reject_icmp",
    "reject_reset", "notrack",
))  # fmt: skip
"""Statements that depend on nothing but their text, the family and the variables: no set, no host, no object."""
MAX_COMMENT = 128


def rule(context: Context, tree: Node, shape: Shape | None = None) -> tuple[tuple[Statement, ...], str | None]:
    """The statements and the comment of a rule. Statements of a known shape with known literals are reused."""
    found, comment = _statements(context, tree, shape)
    if shape is None:
        dependencies.check_order(tree.children)
        dependencies.check(context.family, tree.children, found)
    elif context.family not in shape.memo:
        dependencies.check_order(tree.children)
        dependencies.check(context.family, tree.children, found)
        if not dependencies.by_value(tree):
            shape.memo[context.family] = True
    return found, comment


def rule_comment(context: Context, node: Node) -> str:
    text = unquote(context.text(node.children[0]))
    if len(text.encode()) > MAX_COMMENT:
        raise MeaningError(f"a comment has at most {MAX_COMMENT} bytes", node, "shorten it", "value")
    return text


def _statements(context: Context, tree: Node, shape: Shape | None) -> tuple[tuple[Statement, ...], str | None]:
    comment: str | None = None
    found: list[Statement] = []
    for child in tree.children:
        if child is None:
            continue
        if child.data == "comment":
            comment = rule_comment(context, child)
            continue
        if shape is None or child.data not in _REUSED:
            found.append(statement(context, child))
            continue
        slots = shape.memo.get(id(child))
        if slots is None:
            slots = [leaf.index for leaf in leaves(child) if not isinstance(leaf, str)]
            shape.memo[id(child)] = slots
        literals = context.literals
        key = (id(child), context.family, context.scope.generation, *[literals[slot] for slot in slots])
        known = shape.memo.get(key)
        if known is None:
            known = shape.memo[key] = statement(context, child)
        found.append(known)
    return tuple(found), comment


def statement(context: Context, node: Node) -> Statement:
    reader = _STATEMENTS.get(node.data)
    if reader is not None:
        made: Statement = reader(context, node)
        return made
    if node.data == "extension":
        node = node.children[0]
    return readers()[node.data](context, node)


# ---- verdicts ------------------------------------------------------------------------------------------------------
def _vmap(context: Context, node: Node) -> VerdictMap:
    key = selectors.selector(context, node.children[0])
    target = sets.reference_or_literal(context, node.children[1])
    if isinstance(target, SetReference):
        return VerdictMap(key, target)
    return VerdictMap(key, sets.set_literal(context, target, selectors.types_of(key), "verdict"))


def _verdict(context: Context, node: Node) -> Verdict:
    return Verdict(sets.verdict(context, node))


# ---- changes -------------------------------------------------------------------------------------------------------
def _mangle(context: Context, node: Node) -> Statement:
    target_node, *value_nodes = node.children
    kind = _conntrack_object(context, target_node)
    if kind is not None:
        if len(value_nodes) != 1:
            raise MeaningError("the name of one object is needed here", node, code="value")
        return ObjectReference(kind, _object_name(context, value_nodes[0]))
    target = selectors.selector(context, target_node)
    if isinstance(target, Concat) or not _settable(target):
        raise MeaningError("this can be matched but not set", target_node, code="value")
    needed = selectors.type_of_expression(target)
    found = [selectors.value(context, each, needed) for each in value_nodes]
    for made, each in zip(found, value_nodes, strict=True):
        if isinstance(made, Concat) or (len(found) > 1 and needed.datatype.kind != "bitmask"):
            raise MeaningError("a single value is needed here", each, code="value")
    if len(found) == 1:
        return Mangle(target, found[0])
    total = 0
    for made, each in zip(found, value_nodes, strict=True):
        if not isinstance(made, Constant) or not isinstance(made.value, int) or needed.datatype.name == "ct_label":
            raise MeaningError("flags that are set together are constants", each, code="value")
        total |= made.value
    return Mangle(target, Constant(total, needed.datatype.name, needed.bits))


def _conntrack_object(context: Context, node: Node) -> str | None:
    """`ct helper`, `ct timeout` or `ct expectation` when `node` is nothing else: they are set by name."""
    term = node.children[0]
    if len(node.children) == 1 and len(term.children) == 1 and term.children[0].data == "ct":
        key = context.text(term.children[0].children[0])
        if key in ("helper", "timeout", "expectation"):
            return f"ct {key}"
    return None


def _settable(target: Expression) -> bool:
    if isinstance(target, Meta):
        return META_KEYS[target.key].settable
    if isinstance(target, Ct):
        return target.key in CT_KEYS and CT_KEYS[target.key].settable
    return isinstance(target, Payload | HeaderOption)


def _object_name(context: Context, node: Node) -> str | Expression:
    """The name of an object, or the map that chooses it."""
    if node.data == "value" and node.children[1] is not None:
        return sets.map_lookup(
            context, selectors.concatenation(context, node.children[0], None), node.children[1], (type_of("string", 0),)
        )
    found = leaves(node)
    if len(found) != 1:
        raise MeaningError("the name of an object is needed here", node, code="value")
    leaf = context.single(found[0])
    name = unquote(context.text(leaf))
    if not name or leaf.type in ("SETREF", "WILDCARD"):
        raise MeaningError("the name of an object is needed here", node, code="value")
    return name


def _reference(kind: str) -> Any:
    def read(context: Context, node: Node) -> ObjectReference:
        child = node.children[0].children[0]
        if isinstance(child, Tree):
            key = selectors.concatenation(context, child.children[0], None)
            target = sets.reference_or_literal(context, child.children[1])
            if isinstance(target, SetReference):
                lookup = MapLookup(key, target, kind, 0)
            else:
                literal = sets.set_literal(context, target, selectors.types_of(key), kind)
                lookup = MapLookup(key, literal, kind, 0)
            return ObjectReference(kind, lookup)
        return ObjectReference(kind, _object_name(context, Tree("literal", [child])))

    return read


def _set_update(context: Context, node: Node) -> SetUpdate:
    operation, reference, element, data = node.children
    name = context.text(reference)[1:]
    named = context.find_set(name)
    types = tuple(type_of(n, b) for n, b in zip(named.key, named.key_bits, strict=True)) if named else None
    key = _update_key(context, element.children[0], types)
    timeout, stateful = _options(context, element.children[1:])
    value: Expression | None = None
    if data is not None:
        needed = type_of(named.data[0], named.data_bits[0]) if named and len(named.data) == 1 else None
        value = selectors.value(context, data, needed)
    return SetUpdate(context.text(operation), name, key, value, timeout, stateful)


def _update_key(context: Context, node: Node, types: tuple[Type, ...] | None) -> Expression:
    if node.children[1] is not None:
        return selectors.value(context, node, None)
    if types is not None and len(types) != len(node.children[0].children):
        raise MeaningError(f"the set's elements have {len(types)} parts", node, code="value")
    return selectors.concatenation(context, node.children[0], types)


def _options(context: Context, nodes: list[Any]) -> tuple[int | None, tuple[Statement, ...]]:
    timeout: int | None = None
    stateful: list[Statement] = []
    for child in nodes:
        if child is None:
            continue
        if child.data == "element_timeout":
            timeout = milliseconds(context.text(context.single(child.children[0])))
        elif child.data in readers():
            stateful.append(readers()[child.data](context, child))
        else:
            raise MeaningError("this can not stand in an element", child, code="value")
    return timeout, tuple(stateful)


def _legacy_update(context: Context, node: Node) -> SetUpdate:
    operation, element, reference = node.children
    timeout, stateful = _options(context, element.children[1:])
    key = selectors.value(context, element.children[0], None)
    return SetUpdate(context.text(operation), context.text(reference)[1:], key, None, timeout, stateful)


def _meter(context: Context, node: Node) -> Meter:
    name, size, key, *options = node.children
    timeout, stateful = _options(context, options)
    number = integer(context.text(size)) if size is not None else None
    return Meter(context.text(name), number, selectors.value(context, key, None), timeout, stateful)


# ---- the rest ------------------------------------------------------------------------------------------------------
def _log(context: Context, node: Node) -> Log:
    found: dict[str, Any] = {}
    flags: list[str] = []
    for option in node.children:
        name = option.data.removeprefix("log_")
        if name == "flags":
            flags += _log_flags(context.text(option.children[0]))
        elif name in ("group", "snaplen", "threshold"):
            found[name] = integer(context.text(option.children[0]))
        else:
            found[name] = unquote(context.text(context.single(option.children[0])))
    if found.get("level") not in (None, *LOG_LEVELS):
        raise MeaningError(f"`{found['level']}` is not a log level", node, suggest(found["level"], LOG_LEVELS), "value")
    if found.get("level") == "audit" and (len(found) > 1 or flags):
        raise MeaningError("`level audit` goes with no other option", node, code="value")
    if "group" in found and ("level" in found or flags):
        raise MeaningError(
            "a message goes to a group or to the system log, which alone has a level and flags", node, code="value"
        )
    for name, largest in (("group", 0xFFFF), ("threshold", 0xFFFF), ("snaplen", 0xFFFFFFFF)):
        if found.get(name, 0) > largest:
            raise MeaningError(f"the {name} is at most {largest}", node, code="value")
    # Linux: NF_LOG_PREFIXLEN is 128 with the closing zero byte.
    if len(found.get("prefix", "").encode()) > 127:
        raise MeaningError("a log prefix has at most 127 bytes", node, "shorten it", "value")
    return Log(flags=tuple(flags), **found)


LOG_LEVELS = ("emerg", "alert", "crit", "err", "warn", "notice", "info", "debug", "audit")


def _log_flags(text: str) -> list[str]:
    first, *rest = text.replace(",", " ").split()
    return [f"{first} {word}" for word in rest] or [first]


def _reject(context: Context, node: Node) -> Reject:
    kind, code = DEFAULT_REJECT.get(context.family, ("icmpx", 1))
    return Reject(kind, code)


def _reject_icmp(context: Context, node: Node) -> Reject:
    kind = context.text(node.children[0])
    datatypes = {"icmp": "icmp_code", "icmpv6": "icmpv6_code", "icmpx": "icmpx_code"}
    if kind not in datatypes:
        raise MeaningError(f"`reject with {kind}` is not known", node.children[0], "icmp, icmpv6, icmpx or `tcp reset`")
    part = values.literal(context, context.single(node.children[-1]), type_of(datatypes[kind], 8))
    assert isinstance(part, Interval)
    return Reject(kind, part.low)


def _reject_reset(context: Context, node: Node) -> Reject:
    if context.text(node.children[0]) != "tcp":
        raise MeaningError("only TCP has a reset", node.children[0], "write `tcp reset`")
    return Reject("tcp-reset", None)


def _queue(context: Context, node: Node) -> Queue:
    options = node.children[0]
    number: Key | Expression | None = None
    flags: list[str] = []
    for child in options.children if options is not None else ():
        if child is None:
            continue
        if child.data == "queue_flags":
            flags += [context.text(leaf) for leaf in child.children]
        else:
            low_node, high_node = child.children
            type = type_of("integer", 16)
            low = selectors.value(context, low_node, type)
            if isinstance(low, Constant) and isinstance(low.value, int):
                high = selectors.value(context, high_node, type) if high_node is not None else low
                if not isinstance(high, Constant) or not isinstance(high.value, int) or high.value < low.value:
                    raise MeaningError("a range of queues goes from a lower to a higher number", child, code="value")
                number = (Interval(low.value, high.value),)
            elif isinstance(low, Numgen | Hash | MapLookup) and high_node is None:
                if not isinstance(low, MapLookup) and low.offset + low.modulus > 1 << 16:
                    raise MeaningError("a queue has a number up to 65535", child, code="value")
                number = low
                if "fanout" in flags:
                    raise MeaningError("fanout needs a range of queues", child, code="value")
            else:
                raise MeaningError("a queue is a number, or chosen by numgen, a hash or a map", child, code="value")
    return Queue(number, tuple(flags))


def _synproxy(context: Context, node: Node) -> Synproxy:
    mss = wscale = None
    flags: list[str] = []
    for option in node.children:
        if option.data == "synproxy_mss":
            mss = integer(context.text(option.children[0]))
        elif option.data == "synproxy_wscale":
            wscale = integer(context.text(option.children[0]))
        else:
            flags.append({"synproxy_timestamp": "timestamp", "synproxy_sack": "sack-perm"}[option.data])
    return Synproxy(mss, wscale, tuple(flags))


def _device(context: Context, node: Any) -> Expression:
    return selectors.value(context, node, type_of("iface_index", 32))


def _address_needed(context: Context, node: Node) -> Type:
    family = context.family if context.family in ("ip", "ip6") else guess_family(context, node)
    return ADDRESS[family or "ip"]


def _dup(context: Context, node: Node) -> Duplicate:
    target, device = node.children
    if context.family == "netdev":
        return Duplicate(_device(context, target))
    address = selectors.value(context, target, _address_needed(context, target))
    return Duplicate(address, _device(context, device) if device is not None else None)


def _fwd(context: Context, node: Node) -> Forward:
    if len(node.children) == 1:
        return Forward(_device(context, node.children[0]))
    family, address, device = node.children
    name = context.text(family.children[0])
    if name not in ADDRESS:
        raise MeaningError("a packet is forwarded to an ip or ip6 address", family, code="value")
    return Forward(_device(context, device), name, selectors.value(context, address, ADDRESS.get(name)))


def _flow(context: Context, node: Node) -> FlowOffload:
    return FlowOffload(context.text(node.children[0])[1:])


def _reset_option(context: Context, node: Node) -> ResetOption:
    protocol, leaf = node.children
    name = context.text(leaf)
    known = TCP_OPTION_ALIASES.get(name, name) in TCP_OPTIONS or (name.isdigit() and int(name) < 256)
    if context.text(protocol) != "tcp" or not known:
        raise MeaningError(f"there is no option `{name}` to reset", leaf, suggest(name, TCP_OPTIONS))
    return ResetOption(name)


def _xt(context: Context, node: Node) -> ForeignMatch:
    return ForeignMatch(context.text(node.children[0]), unquote(context.text(node.children[1])))


def _notrack(context: Context, node: Node) -> Notrack:
    return Notrack()


_STATEMENTS = {
    "match": match, "vmap": _vmap, "verdict": _verdict, "mangle": _mangle, "counter_reference": _reference("counter"),
    "quota_reference": _reference("quota"), "limit_reference": _reference("limit"),
    "synproxy_reference": _reference("synproxy"), "set_update": _set_update, "legacy_update": _legacy_update,
    "meter": _meter, "nat_plain": nat, "nat_to": nat, "nat_prefix": nat, "nat_pair": nat, "tproxy": tproxy,
    "log": _log, "reject": _reject, "reject_icmp": _reject_icmp, "reject_reset": _reject_reset, "queue": _queue,
    "synproxy": _synproxy, "dup": _dup, "fwd": _fwd, "flow": _flow, "reset_option": _reset_option, "xt": _xt,
    "notrack": _notrack,
}  # fmt: skip
