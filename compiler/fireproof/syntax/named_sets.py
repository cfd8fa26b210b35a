"""Named sets and maps: their types, flags and settings. Their elements are read by `elements`."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from fireproof.extensions import readers
from fireproof.model.ruleset import NamedSet, Table
from fireproof.netfilter.datatypes import DATATYPES, NOT_SET_TYPES
from fireproof.source.text import SourceFile, Span
from fireproof.syntax import selectors, values
from fireproof.syntax.blocks import Line
from fireproof.syntax.directives import directive
from fireproof.syntax.elements import OBJECT_TYPES, add_elements, is_elements_line, read_elements
from fireproof.syntax.grammar import Tree
from fireproof.syntax.head import Problem
from fireproof.syntax.scope import Context, MeaningError, suggest, unquote
from fireproof.syntax.values import milliseconds, type_of

if TYPE_CHECKING:
    from fireproof.syntax.build import Builder

_FLAGS = ("constant", "interval", "timeout", "dynamic")


def read_set(builder: Builder, file: SourceFile, line: Line, table: Table, name: str, is_map: bool) -> None:
    """A `set` or `map` block. A block that repeats a name adds to the set that is there, as in nft."""
    what = "map" if is_map else "set"
    span = Span(file, line.start, line.end)
    known = table.sets.get(name)
    if known is not None and known.is_map != is_map:
        raise Problem("duplicate", f"`{name}` is a {'set' if is_map else 'map'} already", line.start, line.end)
    if line.body is None:
        raise Problem("syntax", f"the {what} `{name}` has no block", line.start, line.end,
                      help=f"write `{what} {name} {{ type …; }}`")  # fmt: skip
    read = NamedSet(name, table, span, (), ())
    before = len(builder.diagnostics.errors)
    pending: list[tuple[SourceFile, Line]] = []
    for inner in line.body:
        builder.guard(file, inner, partial(_line, builder, read, pending, file, inner))
    if len(builder.diagnostics.errors) > before and not read.key:
        return
    if not read.key and known is None:
        raise Problem("syntax", f"the {what} `{name}` has no type", line.start, line.end,
                      help="add a line such as `type ipv4_addr`")  # fmt: skip
    if is_map and read.key and not read.data:
        raise Problem("syntax", f"the map `{name}` has no type for its values", line.start, line.end,
                      help="write `type KEY : VALUE`")  # fmt: skip
    if read.data and not is_map:
        raise Problem("syntax", f"only a map has values, `{name}` is a set", line.start, line.end,
                      help=f"write `map {name} {{`")  # fmt: skip
    if known is None:
        table.sets[name] = known = read
    elif read.key and (known.key, known.key_bits, known.data) != (read.key, read.key_bits, read.data):
        raise Problem("duplicate", f"the {what} `{name}` already has another type", line.start, line.end)
    for part, inner in pending:
        found = read_elements(builder, part, inner.start, inner.end, table, known)
        add_elements(builder, known, found, Span(part, inner.start, inner.end))


def _line(
    builder: Builder, named: NamedSet, pending: list[tuple[SourceFile, Line]], file: SourceFile, line: Line
) -> None:
    if directive(builder, file, line, partial(_line, builder, named, pending)):
        return
    if is_elements_line(file.text, line):
        pending.append((file, line))
        return
    tree = builder.parse(file, line.start, line.end, "set_line")
    if tree is None:
        return
    if tree.data == "set_elements":
        raise Problem("syntax", "the elements are not a plain list", line.start, line.end,
                      help="write `elements = { …, … }`")  # fmt: skip
    try:
        _setting(builder.context(named.table, builder.scope), named, tree, file.text[line.start : line.end])
    except MeaningError as problem:
        builder.meaning_problem(file, line.start, line.end, problem)


def _setting(context: Context, named: NamedSet, tree: Any, text: str) -> None:
    kind = tree.data
    first: Any = tree.children[0] if tree.children else None
    if kind == "set_type":
        named.key, named.key_bits = _types(first)
        data = tree.children[1]
        if isinstance(data, Tree):
            named.data, named.data_bits = _types(data)
        elif data is not None:
            named.data, named.data_bits = (str(data),), (0,)
    elif kind == "set_typeof":
        _typeof(context, named, tree, text)
    elif kind == "set_flags":
        for leaf in tree.children:
            if str(leaf) not in _FLAGS:
                raise MeaningError(f"a set has no flag `{leaf}`", leaf, suggest(str(leaf), _FLAGS), "value")
        named.flags = tuple(dict.fromkeys([*named.flags, *(str(leaf) for leaf in tree.children)]))
    elif kind == "set_timeout":
        named.timeout = milliseconds(context.text(context.single(first)))
        if "timeout" not in named.flags:
            named.flags = (*named.flags, "timeout")
    elif kind == "set_gc_interval":
        named.gc_interval = milliseconds(context.text(first))
    elif kind == "set_size":
        named.size = values.constant(context, Tree("literal", [first]), type_of("integer", 32))
    elif kind == "set_policy":
        named.policy = str(first)
        if named.policy not in ("memory", "performance"):
            raise MeaningError("a set's policy is memory or performance", first, code="value")
    elif kind == "set_auto_merge":
        named.auto_merge = True
    elif kind == "line_comment":
        named.comment = unquote(context.text(first))
    elif kind == "set_statement":
        if first.data not in readers():
            raise MeaningError("a set's elements have counters and limits of their own, not named ones", first)
        named.stateful = (*named.stateful, readers()[first.data](context, first))
    else:
        raise AssertionError(f"a line of a set that nothing reads: {kind}")


def _typeof(context: Context, named: NamedSet, tree: Any, text: str) -> None:
    key, data = tree.children
    types = selectors.types_of(selectors.concatenation(context, key, None))
    named.key = tuple(t.datatype.name for t in types)
    named.key_bits = tuple(t.bits for t in types)
    # Field names hold no colon, so the first one stands between key and data.
    named.typeof, _, data_text = (part.strip() for part in text.removeprefix("typeof").partition(":"))
    if data is None:
        return
    # `interval` says that values may be ranges, which the values themselves show.
    named.data_typeof = data_text.removeprefix("interval ").strip()
    if isinstance(data, Tree):
        types = selectors.types_of(selectors.concatenation(context, data, None))
        named.data = tuple(t.datatype.name for t in types)
        named.data_bits = tuple(t.bits for t in types)
    else:
        named.data, named.data_bits = (str(data),), (0,)


def _types(node: Any) -> tuple[tuple[str, ...], tuple[int, ...]]:
    names = [str(leaf) for leaf in node.children]
    for name, leaf in zip(names, node.children, strict=True):
        if name not in DATATYPES or name in OBJECT_TYPES:
            raise MeaningError(f"there is no type `{name}`", leaf, suggest(name, DATATYPES), "reference")
        if name in NOT_SET_TYPES:
            raise MeaningError(
                f"`{name}` has no fixed size, so no set can hold it", leaf, "use `typeof` with the field", "value"
            )
    return tuple(names), tuple(DATATYPES[name].bits for name in names)
