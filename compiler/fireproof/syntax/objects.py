"""Blocks of a table besides chains: sets, flowtables, and named objects (counters, quotas, helpers ...)."""

from __future__ import annotations

from collections.abc import Container
from functools import partial
from typing import TYPE_CHECKING, Any

from fireproof.extensions.counter import Counter
from fireproof.extensions.limit import read_rate
from fireproof.extensions.quota import read_amount
from fireproof.model.expression import Name
from fireproof.model.ruleset import Flowtable, NamedObject, Table
from fireproof.source.text import SourceFile, Span
from fireproof.syntax import values
from fireproof.syntax.blocks import Line
from fireproof.syntax.grammar import Tree
from fireproof.syntax.head import Head, Problem
from fireproof.syntax.named_sets import read_set
from fireproof.syntax.priority import priority_of
from fireproof.syntax.scope import Context, MeaningError, suggest, unquote
from fireproof.syntax.values import milliseconds, type_of

if TYPE_CHECKING:
    from fireproof.syntax.build import Builder

CONNTRACK_KINDS = ("helper", "timeout", "expectation")
TIMEOUT_STATES = {
    "tcp": (
        "syn_sent", "syn_recv", "established", "fin_wait", "close_wait", "last_ack", "time_wait", "close", "syn_sent2",
        "retrans", "unack",
    ),
    "udp": ("unreplied", "replied"),
}  # fmt: skip
"""The states that a `ct timeout` policy may name, by protocol: nft 1.0.6 refuses every other word."""


def kind_of(head: Head, word: str) -> str:
    """The kind of object that `word` starts: `ct` takes a second word."""
    if word in ("set", "map", "flowtable", *_LINES):
        return word
    if word != "ct":
        raise Problem("syntax", f"there is no kind of object `{word[:40]}`", *head.place(word))
    second = head.take("helper, timeout or expectation")
    if second not in CONNTRACK_KINDS:
        raise Problem("syntax", f"there is no object `ct {second[:40]}`", *head.place(second),
                      help=suggest(second, CONNTRACK_KINDS))  # fmt: skip
    return f"ct {second}"


def read_block(
    builder: Builder, file: SourceFile, line: Line, head: Head, table: Table, kind: str, create: bool = False
) -> None:
    """The set, map, flowtable or object whose name comes next, in a block or on one line."""
    name = head.name(kind, builder.scope)
    known: Container[str] = [each for each_kind, each in table.objects if each_kind == kind]
    if kind in ("set", "map"):
        known = table.sets
    elif kind == "flowtable":
        known = table.flowtables
    if create and name in known:
        raise Problem("duplicate", f"there is a {kind} `{name}` already", *head.place(name), help="use `add`")
    if kind in ("set", "map"):
        head.end()
        read_set(builder, file, line, table, name, kind == "map")
    elif kind == "flowtable":
        head.end()
        _flowtable(builder, file, line, table, name)
    else:
        _object(builder, file, line, head, table, kind, name)


# ---- flowtables ----------------------------------------------------------------------------------------------------
def _flowtable(builder: Builder, file: SourceFile, line: Line, table: Table, name: str) -> None:
    context = builder.context(table, builder.scope)
    flowtable = Flowtable(name, table, Span(file, line.start, line.end), 0)
    hooked = name in table.flowtables
    before = len(builder.diagnostics.errors)
    for inner in line.body or []:
        tree = builder.parse(file, inner.start, inner.end, "flowtable_line")
        if tree is None:
            continue
        try:
            if tree.data == "flowtable_hook":
                if str(tree.children[0]) != "ingress":
                    raise MeaningError("a flowtable hooks ingress", tree.children[0], code="bad-hook")
                flowtable.priority = priority_of(context, tree.children[1:], "netdev", "ingress")
                hooked = True
            elif tree.data == "flowtable_devices":
                type = type_of("ifname", 128)
                found = [
                    p for item in values.expand(context, tree.children[0]) for p in values.plain(context, item, type)
                ]
                flowtable.devices += tuple(part.text for part in found if isinstance(part, Name))
            elif tree.data == "flowtable_flags":
                if str(tree.children[0]) != "offload":
                    raise MeaningError("the only flag of a flowtable is `offload`", tree, code="value")
                flowtable.flags = ("offload",)
            else:
                flowtable.counter = True
        except MeaningError as problem:
            builder.meaning_problem(file, inner.start, inner.end, problem)
    if not hooked and len(builder.diagnostics.errors) == before:
        raise Problem("syntax", f"the flowtable `{name}` has no hook", line.start, line.end,
                      help="add a line such as `hook ingress priority filter`")  # fmt: skip
    table.flowtables[name] = flowtable


# ---- named objects -------------------------------------------------------------------------------------------------
_LINES = {
    "counter": {"object_counter"},
    "quota": {"object_quota"},
    "limit": {"object_limit"},
    "synproxy": {"object_synproxy", "object_mss", "object_wscale", "object_synproxy_flags"},
    "secmark": {"object_secmark"},
    "ct helper": {"object_helper", "object_l3proto"},
    "ct timeout": {"object_protocol", "object_l3proto", "object_policy"},
    "ct expectation": {"object_protocol", "object_dport", "object_timeout", "object_size", "object_l3proto"},
}
_NEEDED = {
    "synproxy": ("mss", "wscale"),
    "secmark": ("context",),
    "ct helper": ("type", "protocol"),
    "ct timeout": ("protocol", "policy"),
    "ct expectation": ("protocol", "dport", "timeout", "size"),
}


def _object(
    builder: Builder, file: SourceFile, line: Line, head: Head, table: Table, kind: str, name: str
) -> None:  # fmt: skip
    context = builder.context(table, builder.scope)
    found = NamedObject(kind, name, table, Span(file, line.start, line.end))
    body = line.body
    if body is None:
        # `add quota t q over 10 mbytes`: the settings follow on the same line.
        body = [Line(head.rest_start, line.end)] if head.rest else []
    else:
        head.end()
    before = len(builder.diagnostics.errors)
    for inner in body:
        builder.guard(file, inner, partial(_object_line, builder, context, found, file, inner))
    if kind == "counter" and found.statement is None:
        found.statement = Counter()
    missing = [setting for setting in _NEEDED.get(kind, ()) if setting not in found.settings]
    if len(builder.diagnostics.errors) == before:
        if missing:
            raise Problem("syntax", f"the {kind} `{name}` has no {missing[0]}", line.start, line.end)
        if kind in ("quota", "limit") and found.statement is None:
            raise Problem("syntax", f"the {kind} `{name}` has no amount", line.start, line.end)
        if kind.startswith("ct "):
            _check_conntrack(found, line)
    table.objects[kind, name] = found


def _object_line(builder: Builder, context: Context, found: NamedObject, file: SourceFile, line: Line) -> None:
    tree = builder.parse(file, line.start, line.end, "object_line")
    if tree is None:
        return
    if tree.data not in (*_LINES[found.kind], "line_comment"):
        raise Problem("syntax", f"this is no setting of a {found.kind}", line.start, line.end)
    try:
        _setting(context, found, tree)
    except MeaningError as problem:
        builder.meaning_problem(file, line.start, line.end, problem)


def _setting(context: Context, found: NamedObject, tree: Any) -> None:
    kind = tree.data
    words = [context.text(leaf) for leaf in tree.children if leaf is not None and not isinstance(leaf, Tree)]
    settings = found.settings
    if kind == "line_comment":
        found.comment = unquote(words[0])
    elif kind == "object_counter":
        found.statement = Counter(values.integer(words[0]), values.integer(words[1]))
    elif kind == "object_quota":
        found.statement = read_amount(context, tree, tree.children)
    elif kind == "object_limit":
        found.statement = read_rate(context, tree, tree.children)
    elif kind == "object_helper":
        settings["type"], settings["protocol"] = unquote(words[0]), words[1]
    elif kind in ("object_l3proto", "object_protocol"):
        settings[kind.removeprefix("object_")] = words[0]
    elif kind in ("object_dport", "object_size", "object_mss", "object_wscale"):
        settings[kind.removeprefix("object_")] = values.integer(words[0])
    elif kind == "object_timeout":
        settings["timeout"] = milliseconds(words[0])
    elif kind == "object_policy":
        settings["policy"] = dict(_policy(context, item) for item in tree.children[0].children if item is not None)
    elif kind == "object_synproxy":
        settings["mss"], settings["wscale"] = values.integer(words[0]), values.integer(words[1])
        if len(words) > 2:
            settings["flags"] = words[2:]
    elif kind == "object_synproxy_flags":
        settings["flags"] = words
    elif kind == "object_secmark":
        settings["context"] = unquote(words[0])
    else:
        raise AssertionError(f"a line of an object that nothing reads: {kind}")


def _policy(context: Context, item: Any) -> tuple[str, int]:
    """`established : 120` as state and seconds."""
    given = [child for child in item.children if child is not None]
    if len(given) != 2 or not all(isinstance(child, Tree) and child.data == "concat" for child in given):
        raise MeaningError("write `state : seconds`", item, code="value")
    leaves = [values.sole(context, child) for child in given]
    leaves = [leaf.children[0] if isinstance(leaf, Tree) and leaf.data == "literal" else leaf for leaf in leaves]
    if any(isinstance(leaf, Tree) for leaf in leaves) or leaves[1].type not in ("NUMBER", "TIME"):
        raise MeaningError("write `state : seconds`", item, code="value")
    return context.text(leaves[0]), milliseconds(context.text(leaves[1])) // 1000


def _check_conntrack(found: NamedObject, line: Line) -> None:
    """What nft refuses in ct objects: states the protocol does not have, a family that is not the table's."""
    settings = found.settings
    family = found.table.family
    if settings.get("l3proto", family) not in ("ip", "ip6", "inet") or (
        family in ("ip", "ip6") and settings.get("l3proto", family) != family
    ):
        raise Problem("value", f"a table of family {family} has no such l3proto", line.start, line.end)
    policy = settings.get("policy")
    if isinstance(policy, dict):
        known = TIMEOUT_STATES.get(str(settings["protocol"]), ())
        for state in policy:
            if state not in known:
                raise Problem("value", f"{settings['protocol']} has no conntrack state `{state}`", line.start, line.end,
                              help=suggest(state, known))  # fmt: skip
