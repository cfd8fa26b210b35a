"""Named sets and maps with their elements, flowtables, and named objects (counters, quotas, helpers ...)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from lark import Tree

from fireproof.extensions import readers
from fireproof.extensions.counter import Counter
from fireproof.extensions.limit import read_rate
from fireproof.extensions.quota import read_amount
from fireproof.model.expression import Element, Interval
from fireproof.model.ruleset import Flowtable, NamedObject, NamedSet, Table
from fireproof.netfilter.datatypes import DATATYPES, NOT_SET_TYPES
from fireproof.source.diagnostic import Diagnostic, Severity
from fireproof.source.text import SourceFile, Span
from fireproof.syntax import selectors, sets, values
from fireproof.syntax.blocks import Line
from fireproof.syntax.grammar import SyntaxProblem
from fireproof.syntax.scope import Context, MeaningError, suggest, unquote
from fireproof.syntax.values import Type, milliseconds, type_of

if TYPE_CHECKING:
    from fireproof.syntax.build import Builder

_SET_FLAGS = ("constant", "interval", "timeout", "dynamic")
_ELEMENTS = re.compile(r"elements\s*=\s*")
_SPLIT = re.compile(r'"[^"\n]*"|#[^\n]*|[{},]')


def read_set(builder: Builder, file: SourceFile, line: Line, table: Table, name: str, is_map: bool) -> None:
    """A `set` or `map` block. A block that repeats a name adds to the set that is there, as in nft."""
    span = Span(file, line.start, line.end)
    named = table.sets.get(name)
    fresh = named is None
    if named is None:
        named = NamedSet(name, table, span, (), ())
    context = builder.context(table, builder.scope)
    pending: list[Line] = []
    for inner in line.body or []:
        if builder.directive(file, inner, lambda part, each: pending.append(each)):
            continue
        text = file.text[inner.start : inner.end]
        if _ELEMENTS.match(text):
            pending.append(inner)
            continue
        tree = builder.parse(file, inner.start, inner.end, "set_line")
        if tree is None:
            continue
        try:
            _set_line(context, named, tree, text)
        except MeaningError as problem:
            builder.meaning_problem(file, inner.start, inner.end, problem)
    if not named.key:
        if line.body is not None and fresh:
            builder.diagnostics.error(
                "syntax", f"the {'map' if is_map else 'set'} `{name}` has no type", span,
                help="add a line such as `type ipv4_addr`",
            )  # fmt: skip
        return
    if is_map and not named.data:
        builder.diagnostics.error(
            "syntax", f"the map `{name}` has no type for its values", span, help="write `type KEY : VALUE`"
        )
        return
    table.sets[name] = named
    for inner in pending:
        start = inner.start + _elements_offset(file.text, inner)
        found = read_elements(builder, file, start, inner.end, table, named)
        add_elements(builder, named, found, Span(file, inner.start, inner.end))


def _elements_offset(text: str, line: Line) -> int:
    found = _ELEMENTS.match(text, line.start)
    return found.end() - line.start if found else 0


def _set_line(context: Context, named: NamedSet, tree: Any, text: str) -> None:
    kind = tree.data
    if kind == "set_type":
        names = [
            str(child.children[0]) if isinstance(child, Tree) else str(child)
            for child in tree.children
            if child is not None
        ]
        # The colon splits key from data; the tree keeps only the words.
        split = text.partition(":")[0].count(".") + 1
        key, data = names[:split], names[split:]
        named.key, named.key_bits = _types(tree, key)
        if data and data[0] in OBJECT_TYPES:
            named.data, named.data_bits = (data[0],), (0,)
        elif data:
            named.data, named.data_bits = _types(tree, data)
    elif kind == "set_typeof":
        expression = selectors.concatenation(context, tree.children[0], None)
        types = selectors.types_of(expression)
        named.key = tuple(t.datatype.name for t in types)
        named.key_bits = tuple(t.bits for t in types)
        body = text.removeprefix("typeof").strip()
        named.typeof, _, data_text = (part.strip() for part in _split_colon(body))
        data_node = tree.children[1]
        if data_node is not None:
            named.data_typeof = data_text
            if isinstance(data_node, Tree):
                value_types = selectors.types_of(selectors.concatenation(context, data_node, None))
                named.data = tuple(t.datatype.name for t in value_types)
                named.data_bits = tuple(t.bits for t in value_types)
            else:
                named.data, named.data_bits = (str(data_node),), (0,)
                if str(data_node) not in OBJECT_TYPES:
                    raise MeaningError(
                        f"`{data_node}` is not a kind of map value", tree, suggest(str(data_node), OBJECT_TYPES)
                    )
    elif kind == "set_flags":
        for leaf in tree.children:
            if str(leaf) not in _SET_FLAGS:
                raise MeaningError(f"a set has no flag `{leaf}`", leaf, suggest(str(leaf), _SET_FLAGS), "value")
        named.flags = tuple(dict.fromkeys([*named.flags, *(str(leaf) for leaf in tree.children)]))
    elif kind == "set_timeout":
        leaf = sets._time_leaf(context, tree.children[0])
        named.timeout = milliseconds(context.text(leaf))
        if "timeout" not in named.flags:
            named.flags = (*named.flags, "timeout")
    elif kind == "set_gc_interval":
        named.gc_interval = milliseconds(context.text(tree.children[0]))
    elif kind == "set_size":
        named.size = values.constant(context, Tree("literal", [tree.children[0]]), type_of("integer", 32))
    elif kind == "set_policy":
        named.policy = str(tree.children[0])
        if named.policy not in ("memory", "performance"):
            raise MeaningError("a set's policy is memory or performance", tree.children[0], code="value")
    elif kind == "set_auto_merge":
        named.auto_merge = True
    elif kind == "line_comment":
        named.comment = unquote(context.text(tree.children[0]))
    elif kind == "set_statement":
        child = tree.children[0]
        named.stateful = (*named.stateful, readers()[child.data](context, child))


OBJECT_TYPES = ("verdict", "counter", "quota", "limit", "synproxy", "secmark")


def _split_colon(text: str) -> tuple[str, str, str]:
    """`typeof` text at the colon between key and data (addresses do not occur in it)."""
    return text.partition(":")


def _types(tree: Any, names: list[str]) -> tuple[tuple[str, ...], tuple[int, ...]]:
    for name in names:
        if name not in DATATYPES:
            raise MeaningError(f"there is no type `{name}`", tree, suggest(name, DATATYPES), "reference")
        if name in NOT_SET_TYPES:
            raise MeaningError(
                f"`{name}` has no fixed size, so no set can hold it", tree, "use `typeof` with the field", "value"
            )
    return tuple(names), tuple(DATATYPES[name].bits for name in names)


# ---- elements ------------------------------------------------------------------------------------------------------
def read_elements(
    builder: Builder, file: SourceFile, start: int, end: int, table: Table, named: NamedSet
) -> list[Element]:
    """The elements between braces (or the variable that holds them) at `start`.

    Read one by one rather than as one list, so that a set of a hundred thousand costs what its elements cost.
    """
    context = builder.context(table, builder.scope)
    types = tuple(type_of(name, bits) for name, bits in zip(named.key, named.key_bits, strict=True))
    data = _data_types(named)
    text = file.text[start:end]
    if not text.startswith("{"):
        lead = len(text) - len(text.lstrip())
        if lead and text.lstrip().startswith("{"):
            return read_elements(builder, file, start + lead, end, table, named)
        return _other_elements(builder, context, file, start, end, types, data)
    found: list[Element] = []
    depth = 0
    piece_start = 1
    closed = -1
    for mark in _SPLIT.finditer(text):
        what = mark[0]
        if what == "{":
            depth += 1
        elif what == "}":
            depth -= 1
            if depth == 0:
                closed = mark.start()
                _one_element(builder, context, file, start + piece_start, start + closed, types, data, found)
                break
        elif what == "," and depth == 1:
            _one_element(builder, context, file, start + piece_start, start + mark.start(), types, data, found)
            piece_start = mark.end()
    rest = text[closed + 1 :].strip() if closed >= 0 else ""
    if rest and not rest.startswith("#"):
        builder.diagnostics.error(
            "syntax", f"unexpected `{rest[:40]}` after the elements", Span(file, start + closed + 1, end)
        )
    return found


def _data_types(named: NamedSet) -> tuple[Type, ...] | str | None:
    if not named.data:
        return None
    if named.data[0] in OBJECT_TYPES:
        return named.data[0]
    return tuple(type_of(name, bits) for name, bits in zip(named.data, named.data_bits, strict=True))


def _other_elements(
    builder: Builder, context: Context, file: SourceFile, start: int, end: int, types: tuple[Type, ...], data: Any
) -> list[Element]:
    tree = builder.parse(file, start, end, "definition")
    if tree is None:
        return []
    try:
        return sets.elements(context, tree.children[0], types, data)
    except MeaningError as problem:
        builder.meaning_problem(file, start, end, problem)
        return []


def _one_element(
    builder: Builder, context: Context, file: SourceFile, start: int, end: int, types: tuple[Type, ...], data: Any,
    found: list[Element],
) -> None:  # fmt: skip
    raw = file.text[start:end]
    text = raw.strip()
    while text.startswith("#"):
        # A remark in front of the element, on a line of its own.
        _, _, text = text.partition("\n")
        text = text.lstrip()
    if not text:
        return
    begin = end - len(raw.rstrip()[raw.rstrip().rfind(text) :]) - (len(raw) - len(raw.rstrip()))
    try:
        shaped = builder.element_shapes.parse(text)
        if shaped is not None:
            shape, context.literals = shaped
            try:
                found += _members(context, shape.tree, types, data)
                return
            except MeaningError:
                context.literals = []
        from fireproof.syntax.grammar import parse

        found += _members(context, parse(text, "element"), types, data)
    except SyntaxProblem as problem:
        builder.syntax_problem(file, begin, problem)
    except MeaningError as problem:
        builder.meaning_problem(file, begin, end, problem)
    finally:
        context.literals = []


def _members(context: Context, tree: Any, types: tuple[Type, ...], data: Any) -> list[Element]:
    return sets.elements(context, Tree("set_literal", [tree]), types, data)


def add_elements(builder: Builder, named: NamedSet, found: list[Element], span: Span) -> None:
    """Adds elements; what overlaps is refused, as the kernel does, unless the set merges."""
    named.elements += found
    if any(_is_range(element) for element in found) and "interval" not in named.flags:
        builder.diagnostics.error(
            "value",
            f"set `{named.name}` holds ranges but has no `flags interval`",
            span,
            help="add `flags interval` to it",
        )
    if named.auto_merge:
        named.elements = sets.merge(named.elements)
    elif "interval" in named.flags and len(named.key) == 1:
        _check_overlap(builder, named, span)


def _is_range(element: Element) -> bool:
    return element.key is not None and any(isinstance(p, Interval) and p.low != p.high for p in element.key)


def _check_overlap(builder: Builder, named: NamedSet, span: Span) -> None:
    ranges = sorted(
        (e.key[0].low, e.key[0].high) for e in named.elements if e.key and isinstance(e.key[0], Interval)
    )  # fmt: skip
    for (low, high), (next_low, next_high) in zip(ranges, ranges[1:], strict=False):
        if next_low <= high and (low, high) != (next_low, next_high):
            builder.note(Diagnostic(
                "overlapping-elements", Severity.WARNING,
                f"elements of set `{named.name}` overlap, which the kernel refuses", span, "",
                "add `auto-merge` to the set, or remove the smaller one",
            ))  # fmt: skip
            return


# ---- flowtables and objects ----------------------------------------------------------------------------------------
def read_flowtable(builder: Builder, file: SourceFile, line: Line, table: Table, name: str) -> None:
    from fireproof.syntax.build import priority_of

    context = builder.context(table, builder.scope)
    flowtable = Flowtable(name, table, Span(file, line.start, line.end), 0)
    for inner in line.body or []:
        tree = builder.parse(file, inner.start, inner.end, "flowtable_line")
        if tree is None:
            continue
        try:
            if tree.data == "flowtable_hook":
                flowtable.priority = priority_of(context, tree.children[1:], "netdev", "ingress")
            elif tree.data == "flowtable_devices":
                type = type_of("ifname", 128)
                flowtable.devices = tuple(
                    part.text  # type: ignore[union-attr]
                    for item in values.expand(context, tree.children[0])
                    for part in values.keys(context, item.children[0] if item.data == "element" else item, (type,))[0]
                )
            elif tree.data == "flowtable_flags":
                flowtable.flags = (*flowtable.flags, str(tree.children[0]))
            else:
                flowtable.counter = True
        except MeaningError as problem:
            builder.meaning_problem(file, inner.start, inner.end, problem)
    table.flowtables[name] = flowtable


KINDS = ("counter", "quota", "limit", "synproxy", "secmark", "ct helper", "ct timeout", "ct expectation")


def read_object(builder: Builder, file: SourceFile, line: Line, table: Table, kind: str, name: str) -> None:
    if kind not in KINDS:
        builder.diagnostics.error("reference", f"there is no kind of object `{kind}`", Span(file, line.start, line.end))
        return
    context = builder.context(table, builder.scope)
    found = NamedObject(kind, name, table, Span(file, line.start, line.end))
    body = line.body
    if body is None:
        # `add quota t q over 10 mbytes`: the settings follow on the same line.
        body = []
        text = file.text[line.start : line.end]
        at = text.find(name) + len(name)
        if text[at:].strip():
            start = line.start + at + (len(text[at:]) - len(text[at:].lstrip()))
            body = [Line(start, line.end)]
    for inner in body:
        tree = builder.parse(file, inner.start, inner.end, "object_line")
        if tree is None:
            continue
        try:
            _object_line(context, found, tree)
        except MeaningError as problem:
            builder.meaning_problem(file, inner.start, inner.end, problem)
    if kind == "counter" and found.statement is None:
        found.statement = Counter()
    table.objects[kind, name] = found


def _object_line(context: Context, found: NamedObject, tree: Any) -> None:
    kind = tree.data
    words = [context.text(leaf) for leaf in tree.children if leaf is not None and not isinstance(leaf, Tree)]
    settings = found.settings
    if kind == "line_comment":
        found.comment = unquote(words[0])
    elif kind == "object_counter":
        found.statement = Counter(int(words[0]), int(words[1]))
    elif kind == "object_quota":
        found.statement = read_amount(context, tree, tree.children)
    elif kind == "object_limit":
        found.statement = read_rate(context, tree, tree.children)
    elif kind == "object_helper":
        settings["type"], settings["protocol"] = unquote(words[0]), words[1]
    elif kind in ("object_l3proto", "object_protocol"):
        settings[kind.removeprefix("object_")] = words[0]
    elif kind in ("object_dport", "object_size"):
        settings[kind.removeprefix("object_")] = values.integer(words[0])
    elif kind == "object_timeout":
        settings["timeout"] = milliseconds(words[0])
    elif kind == "object_policy":
        policy = {}
        for item in tree.children[0].children:
            if item is None:
                continue
            state, value = item.children[0], next((c for c in item.children[1:] if isinstance(c, Tree)), None)
            if value is None:
                raise MeaningError("write `state : seconds`", item, code="value")
            name = context.text(_only_leaf(state))
            policy[name] = milliseconds(context.text(_only_leaf(value))) // 1000
        settings["policy"] = policy
    elif kind == "object_synproxy":
        settings["mss"], settings["wscale"] = values.integer(words[0]), values.integer(words[1])
    elif kind == "object_synproxy_flags":
        settings["flags"] = words
    elif kind == "object_secmark":
        settings["context"] = unquote(words[0])


def _only_leaf(node: Any) -> Any:
    while isinstance(node, Tree):
        node = node.children[0]
    return node
