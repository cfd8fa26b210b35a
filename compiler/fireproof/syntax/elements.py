"""The elements of named sets and maps, read one by one so that a set of a hundred thousand costs what they cost.

What the kernel refuses is refused: overlapping intervals (unless the set merges), a key with two values. Which of the
members of an interval set overlap is told from a sorted list that is kept while reading.
"""

from __future__ import annotations

import re
from bisect import bisect_left, insort
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from fireproof.model.expression import Element, Interval, Key
from fireproof.model.ruleset import NamedSet, Table
from fireproof.source.text import SourceFile, Span
from fireproof.syntax import sets
from fireproof.syntax.blocks import Line
from fireproof.syntax.grammar import SyntaxProblem, Tree, parse
from fireproof.syntax.scope import Context, MeaningError
from fireproof.syntax.values import Type, type_of

if TYPE_CHECKING:
    from fireproof.syntax.build import Builder

OBJECT_TYPES = ("verdict", "counter", "quota", "limit", "synproxy", "secmark")
MAX_ELEMENTS = 1_000_000
"""Most elements of one set."""
_BLANK = r"(?:\s|\\\r?\n|#[^\n]*)*"
_ELEMENTS = re.compile(rf"elements{_BLANK}={_BLANK}")
_BLANKS = re.compile(_BLANK)
_SPLIT = re.compile(r'"[^"\n]*"|#[^\n]*|[{},]')
_FEW = 64

Data = tuple[Type, ...] | str | None


@dataclass(slots=True)
class Kept:
    """What is known of a set's elements while its file is read."""

    ranges: list[tuple[int, int]] = field(default_factory=list)
    data: dict[Key | None, object] = field(default_factory=dict)


def is_elements_line(text: str, line: Line) -> bool:
    return line.body is None and _ELEMENTS.match(text, line.start) is not None


def _data_types(named: NamedSet) -> Data:
    if not named.data:
        return None
    if named.data[0] in OBJECT_TYPES:
        return named.data[0]
    return tuple(type_of(name, bits) for name, bits in zip(named.data, named.data_bits, strict=True))


@dataclass(slots=True)
class _Reader:
    builder: Builder
    context: Context
    file: SourceFile
    types: tuple[Type, ...]
    data: Data
    found: list[Element] = field(default_factory=list)
    removing: bool = False

    def piece(self, start: int, end: int) -> None:
        """The element at characters `start` to `end`; nothing but blanks is none."""
        skipped = _BLANKS.match(self.file.text, start, end)
        start = skipped.end() if skipped else start
        text = self.file.text[start:end].rstrip()
        if not text:
            return
        end = start + len(text)
        context = self.context
        try:
            shaped = self.builder.element_shapes.parse(text)
            if shaped is not None:
                shape, context.literals = shaped
                try:
                    self._members(shape.tree)
                    return
                except MeaningError:
                    # Parse it alone, to know the places within it.
                    context.literals = []
            self._members(parse(text, "element"))
        except SyntaxProblem as problem:
            self.builder.syntax_problem(self.file, start, problem)
        except MeaningError as problem:
            self.builder.meaning_problem(self.file, start, end, problem)
        finally:
            context.literals = []

    def _members(self, tree: Any) -> None:
        data = self.data
        if (
            self.removing
            and data is not None
            and not any(isinstance(c, Tree) and c.data in ("concat", "verdict") for c in tree.children[1:])
        ):
            # `delete element` names a map's keys alone.
            data = None
        self.found += sets.elements(self.context, Tree("set_literal", [tree]), self.types, data)
        if len(self.found) > MAX_ELEMENTS:
            raise MeaningError(f"a set of more than {MAX_ELEMENTS:,} elements", tree, code="too-large")


def read_elements(
    builder: Builder, file: SourceFile, start: int, end: int, table: Table, named: NamedSet, removing: bool = False
) -> list[Element]:
    """The elements at `start`: a list in braces, or a variable that holds one; `elements =` may stand in front.

    What is wrong with one of them is reported, the others are returned.
    """
    context = builder.context(table, builder.scope)
    types = tuple(type_of(name, bits) for name, bits in zip(named.key, named.key_bits, strict=True))
    reader = _Reader(builder, context, file, types, _data_types(named), removing=removing)
    text = file.text
    found = _ELEMENTS.match(text, start, end) or _BLANKS.match(text, start, end)
    start = found.end() if found else start
    if text[start : start + 1] != "{":
        return _from_variable(reader, start, end)
    depth = 0
    piece_start = start + 1
    for mark in _SPLIT.finditer(text, start, end):
        what = mark[0]
        if what == "{":
            depth += 1
        elif what == "}":
            depth -= 1
            if depth == 0:
                reader.piece(piece_start, mark.start())
                rest = _BLANKS.match(text, mark.end(), end)
                at = rest.end() if rest else mark.end()
                if at < end:
                    shown = text[at:end].split(None, 1)[0][:40]
                    builder.diagnostics.error(
                        "syntax", f"unexpected `{shown}` after the elements", Span(file, at, at + len(shown))
                    )
                return reader.found
        elif what == "," and depth == 1:
            reader.piece(piece_start, mark.start())
            piece_start = mark.end()
    builder.diagnostics.error("unclosed", "this brace is never closed", Span(file, start, start + 1))
    return reader.found


def _from_variable(reader: _Reader, start: int, end: int) -> list[Element]:
    builder, file = reader.builder, reader.file
    tree = builder.parse(file, start, end, "definition")
    if tree is None:
        return []
    try:
        return sets.elements(reader.context, tree, reader.types, reader.data)
    except MeaningError as problem:
        builder.meaning_problem(file, start, end, problem)
        return []


# ---- what the kernel makes of them ---------------------------------------------------------------------------------
def add_elements(builder: Builder, named: NamedSet, found: list[Element], span: Span) -> None:
    """Adds elements; what overlaps is refused, as the kernel does, unless the set merges."""
    named.elements += found
    if "interval" not in named.flags:
        if any(_is_range(element) for element in found):
            builder.diagnostics.error(
                "value", f"set `{named.name}` holds ranges but has no `flags interval`", span,
                help="add `flags interval` to it",
            )  # fmt: skip
    elif named.auto_merge:
        builder.unmerged[named] = None
    elif len(named.key) == 1:
        _check_overlap(builder, named, found, span)
    if named.is_map:
        _check_data(builder, named, found, span)


def _kept(builder: Builder, named: NamedSet) -> Kept:
    return builder.kept.setdefault(named, Kept())


def forget(builder: Builder, named: NamedSet) -> None:
    """After elements were taken away: what is known of the set is made anew from those that are left."""
    kept = builder.kept[named] = Kept(sorted(r for r in map(_range, named.elements) if r))
    if named.is_map:
        kept.data = {element.key: element.data for element in named.elements}


def _is_range(element: Element) -> bool:
    return element.key is not None and any(isinstance(p, Interval) and p.low != p.high for p in element.key)


def _range(element: Element) -> tuple[int, int] | None:
    part = element.key[0] if element.key else None
    return (part.low, part.high) if isinstance(part, Interval) else None


def _check_overlap(builder: Builder, named: NamedSet, found: list[Element], span: Span) -> None:
    ranges = _kept(builder, named).ranges
    added = [r for r in map(_range, found) if r]
    if len(added) > _FEW:
        ranges += added
        ranges.sort()
        clash = next((later for one, later in pairwise(ranges) if one[1] >= later[0] and one != later), None)
    else:
        clash = None
        for new in added:
            at = bisect_left(ranges, new)
            for old in ranges[max(0, at - 1) : at + 1]:
                if old != new and old[0] <= new[1] and new[0] <= old[1]:
                    clash = new
            if at == len(ranges) or ranges[at] != new:
                insort(ranges, new)
    if clash is not None:
        builder.diagnostics.error(
            "overlapping-elements", f"elements of set `{named.name}` overlap, which the kernel refuses",
            _place_of(clash, named, span), help="add `auto-merge` to the set, or remove the smaller one",
        )  # fmt: skip


def _place_of(clash: tuple[int, int], named: NamedSet, span: Span) -> Span:
    """The element in the text, when it can be found there as it would be written."""
    if named.key[0] in ("ipv4_addr", "inet_service", "mark"):
        octets = ".".join(str(clash[0] >> shift & 255) for shift in (24, 16, 8, 0))
        shown = octets if named.key[0] == "ipv4_addr" else str(clash[0])
        places = list(re.finditer(rf"(?<![\w.-]){re.escape(shown)}(?:[-/][\w.]+)?", span.text))
        if len(places) == 1:
            return Span(span.file, span.start + places[0].start(), span.start + places[0].end())
    return span


def _check_data(builder: Builder, named: NamedSet, found: list[Element], span: Span) -> None:
    data = _kept(builder, named).data
    for element in found:
        if data.setdefault(element.key, element.data) != element.data:
            builder.diagnostics.error(
                "duplicate", f"map `{named.name}` has two values for one key, which the kernel refuses", span,
                help="remove one of them",
            )  # fmt: skip
            return


def cut_elements(named: NamedSet, gone: list[Element]) -> bool:
    """Takes intervals out of a merged set; False when it holds no such addresses."""
    left = sets.merge(named.elements)
    for element in gone:
        cut = _range(element)
        if cut is None or len(named.key) != 1:
            return False
        kept: list[Element] = []
        inside = False
        for old in left:
            span = _range(old)
            if span is None or span[1] < cut[0] or cut[1] < span[0]:
                kept.append(old)
                continue
            inside = inside or (span[0] <= cut[0] and cut[1] <= span[1])
            if span[0] < cut[0]:
                kept.append(Element((Interval(span[0], cut[0] - 1),)))
            if cut[1] < span[1]:
                kept.append(Element((Interval(cut[1] + 1, span[1]),)))
        if not inside:
            return False
        left = kept
    named.elements = left
    return True
