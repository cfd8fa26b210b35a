"""Source lines with a mark under a span, as rustc shows them.

A line longer than `COLUMNS` is cut to a window around the mark, with … where something is left out, at a cost that
does not depend on the length of the line. Of a span over many lines the first and the last are shown.
"""

from __future__ import annotations

from dataclasses import dataclass

from fireproof.report.terminal import BLUE, cell, paint, printable
from fireproof.source.text import SourceFile, Span

COLUMNS = 120
"""Widest excerpt of a line, without the gutter."""
WHOLE_LINES = 4
"""A span of more lines than this is shown without its middle."""


@dataclass(frozen=True, slots=True)
class Window:
    """A line as shown: the mark starts after `before` columns and is `width` columns wide."""

    text: str
    before: int
    width: int


def place(span: Span) -> str:
    """`file:line:column`, harmless to print."""
    line, column = span.file.position(_clamp(span)[0])
    return f"{printable(span.file.name)}:{line}:{column}"


def last_line(span: Span) -> int:
    return span.file.position(_clamp(span)[1])[0]


def _clamp(span: Span) -> tuple[int, int]:
    """Start and end inside the file, without the white space that a span may end in."""
    text = span.file.text
    start = min(max(span.start, 0), len(text))
    end = min(max(span.end, start), len(text))
    while end > start and text[end - 1].isspace():
        end -= 1
    return start, end


def _bounds(file: SourceFile, line: int) -> tuple[int, int]:
    """Where a line starts and ends, line end left out. Copies nothing: the line may be the whole of a large file."""
    starts = file.line_starts()
    start = starts[line - 1]
    end = starts[line] if line < len(starts) else len(file.text)
    while end > start and file.text[end - 1] in "\r\n":
        end -= 1
    return start, end


def window(file: SourceFile, line: int, start: int, end: int) -> Window:
    """The part of a line to show for the mark on characters `start` to `end` of the file."""
    text = file.text
    first, last = _bounds(file, line)
    start = min(start, last)
    end = min(end, last)
    around = text[max(first, start - COLUMNS) : min(last, start + COLUMNS)]
    shown = [cell(char) for char in around]
    low, high = 0, len(shown)
    at = start - max(first, start - COLUMNS)
    stop = min(at + (end - start), high)
    mark = max(sum(width for _, width in shown[at:stop]), 1)

    cut_left, cut_right = start - COLUMNS > first, start + COLUMNS < last
    if cut_left or cut_right or sum(width for _, width in shown) > COLUMNS:
        room = COLUMNS - 2  # for the two …
        left = max((room - mark) // 2, room // 6)
        low, used = at, 0
        while low > 0 and used + shown[low - 1][1] <= left:
            low -= 1
            used += shown[low][1]
        high = at
        while high < len(shown) and used + shown[high][1] <= room:
            used += shown[high][1]
            high += 1
        while low > 0 and used + shown[low - 1][1] <= room:
            low -= 1
            used += shown[low][1]
        cut_left, cut_right = cut_left or low > 0, cut_right or high < len(shown)
    before = sum(width for _, width in shown[low:at]) + cut_left
    mark = max(sum(width for _, width in shown[at : min(stop, high)]), 1)
    line_text = ("…" if cut_left else "") + "".join(shape for shape, _ in shown[low:high]) + ("…" if cut_right else "")
    return Window(line_text, before, mark)


def excerpt(span: Span, mark: str, label: str, gutter: int, colour: str, rule_colour: str = BLUE) -> list[str]:
    """The lines under ` --> place`, from one empty gutter line on. `gutter` is the width of the line numbers."""
    start, end = _clamp(span)
    file = span.file
    first, last = file.position(start)[0], file.position(end)[0]
    label = f" {printable(label)}" if label else ""

    def row(number: int | str, text: str) -> str:
        return f"{paint(f'{number:>{gutter}} |', rule_colour)} {text}".rstrip()

    if first == last:
        shown = window(file, first, start, end)
        under = " " * shown.before + paint(mark * shown.width + label, colour)
        return [row("", ""), row(first, shown.text), row("", under)]

    bar = paint("|", colour)
    rows = [row("", "")]
    shown = window(file, first, start, start)
    if shown.text[: shown.before].isspace() or shown.before == 0:
        rows.append(row(first, f"{paint('/', colour)} {shown.text}"))
    else:
        rows += [row(first, f"  {shown.text}"), row("", " " + paint("_" * (shown.before + 1) + mark, colour))]
    if last - first < WHOLE_LINES:
        for line in range(first + 1, last):
            at = _bounds(file, line)[0]
            rows.append(row(line, f"{bar} {window(file, line, at, at).text}"))
    else:
        rows.append(paint("...", rule_colour) + " " * gutter + bar)
    shown = window(file, last, end - 1, end)
    rows.append(row(last, f"{bar} {shown.text}"))
    rows.append(row("", bar + paint("_" * (shown.before + 1) + mark + label, colour)))
    return rows
