"""Diagnostics as text: the exact lines, and that no input can drive the terminal or break the alignment."""

from __future__ import annotations

import re
import time
from textwrap import dedent

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fireproof.report.excerpt import COLUMNS, window
from fireproof.report.terminal import cell, printable
from fireproof.report.text import all_full, concise, full
from fireproof.source.diagnostic import Diagnostic, Fix, Related, Severity
from fireproof.source.text import SourceFile, Span

EDGE = SourceFile(
    "edge.fw",
    "table inet edge {\n"
    "\tchain input {\n"
    "\t\ttcp dport 22 accept\r\n"
    "\t\ttcp dport 22 drop\r\n"
    '\t\tiifname "日本" drop # \x1b[31m café\n'
    "    } chain forward {\n"
    "        x\n"
    "        y\n"
    "        z\n"
    "    }\n"
    "}\n",
)


def at(text: str, file: SourceFile = EDGE) -> Span:
    start = file.text.index(text)
    return Span(file, start, start + len(text))


def warning(span: Span | None, label: str = "", message: str = "this is so", help: str = "") -> Diagnostic:
    return Diagnostic("code", Severity.WARNING, message, span, label, help)


def lines(text: str) -> str:
    return dedent(text).lstrip("\n")


def test_everything_a_diagnostic_can_have() -> None:
    diagnostic = Diagnostic(
        "unreachable",
        Severity.ERROR,
        "this rule never matches",
        at("tcp dport 22 drop"),
        "never reached",
        "remove it,\nor move it up",
        (Related("all of it is taken here", at("tcp dport 22 accept")),),
        Fix("remove the rule", at("tcp dport 22 drop"), ""),
    )
    assert full(diagnostic) == lines("""
        error[unreachable]: this rule never matches
         --> edge.fw:4:3
          |
        4 |         tcp dport 22 drop
          |         ^^^^^^^^^^^^^^^^^ never reached
          |
        note: all of it is taken here
         --> edge.fw:3:3
          |
        3 |         tcp dport 22 accept
          |         -------------------
          |
          = help: remove it,
                  or move it up
          = fix: remove the rule
        """)
    assert concise(diagnostic) == "edge.fw:4:3: error[unreachable] this rule never matches\n"


def test_without_a_place() -> None:
    diagnostic = warning(None, help="name a file")
    assert full(diagnostic) == "warning[code]: this is so\n = help: name a file\n"
    assert concise(diagnostic) == "fireproof: warning[code] this is so\n"


def test_wide_characters_take_two_columns() -> None:
    assert full(warning(at('"日本"'), "here")) == lines("""
        warning[code]: this is so
         --> edge.fw:5:11
          |
        5 |         iifname "日本" drop # ␛[31m café
          |                 ^^^^^^ here
        """)


def test_a_combining_mark_takes_none() -> None:
    file = SourceFile("a.nft", "cafe\u0301 drop")
    assert full(warning(at("drop", file))).splitlines()[-2:] == ["1 | cafe\u0301 drop", "  |      ^^^^"]


def test_a_span_over_lines_that_starts_a_line() -> None:
    span = at("tcp dport 22 accept\r\n\t\ttcp dport 22 drop\r\n")
    assert full(warning(span, "both")) == lines("""
        warning[code]: this is so
         --> edge.fw:3:3
          |
        3 | /         tcp dport 22 accept
        4 | |         tcp dport 22 drop
          | |_________________________^ both
        """)


def test_a_span_over_many_lines_within_lines() -> None:
    span = at("chain forward").to(Span(EDGE, len(EDGE.text) - 3, len(EDGE.text) - 2))
    assert full(warning(span, "this chain")) == lines("""
        warning[code]: this is so
          --> edge.fw:6:7
           |
         6 |       } chain forward {
           |  _______^
        ...  |
        10 | |     }
           | |_____^ this chain
        """)


@pytest.mark.parametrize("beyond", [0, 1, 1000])
def test_the_end_of_the_file_and_beyond(beyond: int) -> None:
    end = len(EDGE.text)
    assert full(warning(Span(EDGE, end, end + beyond), "a } is missing")).splitlines()[1:] == [
        "  --> edge.fw:12:1",
        "   |",
        "12 |",
        "   | ^ a } is missing",
    ]


def test_an_empty_file() -> None:
    assert full(warning(Span(SourceFile("a", ""), 0, 0))).splitlines()[1:] == [" --> a:1:1", "  |", "1 |", "  | ^"]


def test_a_line_of_ten_megabytes_is_cut_around_the_mark_at_once() -> None:
    file = SourceFile("blocklist.nft", "elements = " + "192.0.2.1, " * 1_000_000 + "}")
    file.line_starts()
    started = time.process_time()
    shown = [full(warning(Span(file, offset, offset + 9), "here")) for offset in range(11, 10_000_000, 110_000)]
    assert time.process_time() - started < 1  # 0.02 s measured; minutes when the whole line is looked at
    for text in shown:
        _, _, _, source, mark = text.splitlines()
        assert len(source) <= 4 + COLUMNS
        assert source.endswith("…")
        assert mark.endswith("^^^^^^^^^ here")
        assert len(mark) <= 4 + COLUMNS + len(" here")
    assert shown[50].splitlines()[3].startswith("1 | …")
    assert shown[0].splitlines()[3].startswith("1 | elements = 192")


def test_a_mark_wider_than_the_window_is_cut() -> None:
    file = SourceFile("a", "x" * 1000)
    shown = window(file, 1, 300, 900)
    assert shown.text == "…" + "x" * 118 + "…"
    assert 0 < shown.before < 30
    assert shown.before + shown.width == 119


HOSTILE = "\x1b]0;owned\x07\x9b2J\u202edrop\u200b\x7f\r\udc80\u2028\n\x00"


def test_nothing_from_the_input_reaches_the_terminal_raw() -> None:
    file = SourceFile(HOSTILE, f"accept {HOSTILE} drop")
    span = at("accept", file)
    diagnostic = Diagnostic(
        HOSTILE, Severity.NOTE, HOSTILE, span, HOSTILE, HOSTILE, (Related(HOSTILE, span),), Fix(HOSTILE, span, HOSTILE)
    )
    for text in (full(diagnostic), concise(diagnostic)):
        assert all(char == "\n" or char.isprintable() for char in text), ascii(text)
        assert "\\u202edrop" in text
    assert concise(diagnostic).count("\n") == 1


def test_a_long_message_is_cut() -> None:
    assert len(full(warning(None, message="x" * 10_000_000))) < 1100
    assert printable("x" * 1000) == "x" * 1000


def test_colour_changes_no_character() -> None:
    for span in (at("drop"), at("tcp dport 22 accept\r\n\t\ttcp dport 22 drop"), None):
        diagnostic = Diagnostic(
            "c", Severity.ERROR, "m", span, "label", "help", (Related("r", at("input")),), Fix("f", at("x"), "")
        )
        coloured = full(diagnostic, colour=True)
        assert "\x1b[1;31m" in coloured
        assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == full(diagnostic)
        assert "\x1b" not in full(diagnostic)


def test_only_so_many_are_written_out() -> None:
    found = [warning(at("drop"), message=f"number {n}") for n in range(1173)]
    text = all_full(found)
    assert text.count("warning[code]") == 50
    assert text.endswith("\n\n… and 1,123 more\n")
    assert "number 49" in text
    assert all_full(found, limit=None).count("warning[code]") == 1173
    assert "more" not in all_full(found[:50])
    assert all_full([]) == ""


texts = st.text(st.sampled_from('ab {}"\t\n\r\x1b日é\u0301\u202e\udc80'), max_size=300)


@given(texts, st.integers(0, 310), st.integers(0, 310), st.text(max_size=5))
def test_any_text_and_any_span(text: str, start: int, length: int, label: str) -> None:
    span = Span(SourceFile("f", text), start, start + length)
    shown = full(warning(span, label))
    assert all(char == "\n" or char.isprintable() for char in shown)
    gutter = re.compile(r" *\d* \|( |$)|\.\.\. |  = |.*--> f:\d+:\d+$|warning")
    for line in shown.splitlines():
        assert gutter.match(line), shown
        assert sum(cell(char)[1] for char in line) <= 8 + COLUMNS + 2 + 60


@given(st.text(st.sampled_from("ab \t日é\u0301\x1b\u202e"), min_size=1, max_size=300), st.data())
def test_the_mark_is_under_what_it_marks(text: str, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(text) - 1))
    end = data.draw(st.integers(start + 1, min(len(text), start + 40)))
    shown = window(SourceFile("f", text), 1, start, end)
    columns: list[str] = []
    for char in shown.text:
        columns += [char] * cell(char)[1]
    assert len(columns) <= COLUMNS
    # A terminal shows a wide character in two columns, and a combining mark with the one before it.
    wanted = [shape for char in text[start:end] for shape in cell(char)[0] for _ in range(cell(shape)[1])]
    marked = columns[shown.before : shown.before + shown.width]
    if wanted:
        assert marked == wanted[: len(marked)]
        assert len(marked) == min(len(wanted), shown.width)
        assert marked == wanted or shown.text.endswith("…")
