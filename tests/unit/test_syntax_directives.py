"""define, redefine, undefine and include: what a name means where, and which files are read."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fireproof.model.expression import Interval
from fireproof.model.statement import Match
from fireproof.syntax.build import load, load_text
from tests.unit.syntax_reading import chain, marked, problem, problems, ruleset


def port(rule: object) -> int:
    made = rule.statements[0]  # type: ignore[attr-defined]
    assert isinstance(made, Match)
    assert isinstance(made.right, tuple)
    part = made.right[0]
    assert isinstance(part, Interval)
    return part.low


def test_a_variable_means_what_it_meant_where_it_was_used() -> None:
    rules = chain("""\
define p = 1
tcp dport $p accept
redefine p = 2
tcp dport $p accept
undefine p
define p = 3
tcp dport $p accept""").rules
    assert [port(rule) for rule in rules] == [1, 2, 3]


def test_a_variable_in_a_definition_is_bound_there() -> None:
    rules = chain("tcp dport $a accept", declarations="define b = 1\ndefine a = $b\nredefine b = 2").rules
    assert port(rules[0]) == 1


def test_blocks_have_their_own_names() -> None:
    text = """\
define p = 1
table ip t {
 define q = 2
 chain c { define r = 3
 tcp dport { $p, $q, $r } accept; }
 chain d { tcp dport $r accept; }
}
table ip u { chain c { tcp dport $q accept; }; }
"""
    found = problems(text)
    assert [d.message for d in found] == ["`$r` is not defined", "`$q` is not defined"]


def test_uses_are_counted() -> None:
    made = ruleset("define a = 1\ndefine b = 2\ntable ip t { chain c { tcp dport $a accept; }; }\n")
    assert [(d.name, d.used > 0) for d in made.definitions] == [("a", True), ("b", False)]


@pytest.mark.parametrize(
    ("text", "message", "mark"),
    [
        ("define a = 1\ndefine a = 2\n", "`$a` is already defined", "a"),
        ("define a 1\n", "`=` is missing after the name", "1"),
        ("define $a = 1\n", "`$a` is not the name of a variable", "$a"),
        ("define a = $b\n", "`$b` is not defined", "$b"),
        ("define a = $a\n", "`$a` is not defined", "$a"),
        ("define = 1\n", "unexpected `=`", "="),
        ("define a =\n", "the statement ends too early", "\n"),
        ("undefine a\n", "`$a` is not defined", "a"),
        ("define a = 1\nundefine a b\n", "unexpected `b`", "b"),
        ("define a = { 1, 2\n", "this brace is never closed", "{"),
    ],
)
def test_wrong_definitions(text: str, message: str, mark: str) -> None:
    found = problems(text)
    assert message in found[0].message
    assert marked(found[0]) == mark


def test_a_broken_definition_is_complained_about_once() -> None:
    found = problems(
        "define a = 1 2\ndefine b = $a\ntable ip t { chain c { tcp dport $a accept; tcp dport $b drop; }; }\n"
    )
    assert [d.message for d in found] == ["unexpected `2`"]


def test_an_error_in_a_definition_points_there_and_to_its_use() -> None:
    found = problem("define a = 99999\ntable ip t { chain c { tcp dport $a accept; }; }\n")
    assert marked(found) == "99999"
    assert found.related[0].span.text == "tcp dport $a accept"


def test_a_negative_number_is_only_a_priority() -> None:
    body = "table ip t { chain c { type filter hook input priority $p; tcp dport $p accept; }; }\n"
    assert "negative" in problem("define p = -5\n" + body).message
    made = ruleset("define p = -5\n" + body.replace(" tcp dport $p accept;", ""))
    base = made.registration[0].base
    assert base is not None
    assert base.priority == -5


# ---- include -------------------------------------------------------------------------------------------------------
def write(folder: Path, **files: str) -> None:
    for name, text in files.items():
        path = folder / f"{name.replace('__', '/')}.nft"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")


def messages(path: Path) -> list[str]:
    return [d.message for d in load(str(path)).diagnostics.found]


def test_files_are_looked_for_beside_the_including_file(tmp_path: Path) -> None:
    write(
        tmp_path,
        main='include "sub/one.nft"\ntable ip t { chain c { include "sub/rules.nft"\n }\n }\n',
        sub__one='include "two.nft"\n',
        sub__two="define p = 22\n",
        sub__rules="tcp dport $p accept\ntcp dport 80 accept\n",
    )
    loaded = load(str(tmp_path / "main.nft"))
    assert not loaded.diagnostics.found
    rules = loaded.ruleset.tables["ip", "t"].chains["c"].rules
    assert [port(rule) for rule in rules] == [22, 80]
    assert Path(rules[0].span.file.name).name == "rules.nft"
    assert [Path(file.name).name for file in loaded.ruleset.files] == ["main.nft", "one.nft", "two.nft", "rules.nft"]


def test_a_pattern_is_read_in_order_and_may_match_nothing(tmp_path: Path) -> None:
    write(tmp_path, main='include "d/*.nft"\ninclude "none/*.nft"\n', d__b="define x = $y\n", d__a="define y = 1\n")
    (tmp_path / "d" / "dir.nft").mkdir()
    assert messages(tmp_path / "main.nft") == []


def test_a_folder_with_marks_of_a_pattern_in_its_name(tmp_path: Path) -> None:
    folder = tmp_path / "[x]*"
    folder.mkdir()
    write(folder, main='include "p*.nft"\n', part="nonsense\n")
    assert messages(folder / "main.nft") == ["unexpected `nonsense`"]


def test_an_include_inside_a_set(tmp_path: Path) -> None:
    write(
        tmp_path,
        main='table ip t {\n set s {\n  include "type.nft"\n  include "list.nft"\n }\n}\n',
        type="type inet_service\n",
        list="# ports\nelements = { 22, 80 }\n",
    )
    loaded = load(str(tmp_path / "main.nft"))
    assert not loaded.diagnostics.found
    assert len(loaded.ruleset.tables["ip", "t"].sets["s"].elements) == 2


def test_an_error_in_an_included_file_is_shown_there(tmp_path: Path) -> None:
    write(
        tmp_path,
        main='table ip t {\n set s {\n  include "list.nft"\n }\n}\n',
        list="type inet_service\nelements = { 22, x }\n",
    )
    found = load(str(tmp_path / "main.nft")).diagnostics.found[0]
    assert found.span is not None
    assert Path(found.span.file.name).name == "list.nft"
    assert (found.span.line, found.span.column) == (2, 18)


def test_a_missing_file_is_a_warning_to_lint_and_an_error_to_others(tmp_path: Path) -> None:
    write(tmp_path, main='include "absent.nft"\ntable ip t { }\n')
    loaded = load(str(tmp_path / "main.nft"))
    assert [d.code for d in loaded.diagnostics.found] == ["missing-include"]
    assert not loaded.diagnostics.errors
    assert marked(loaded.diagnostics.found[0]) == '"absent.nft"'
    from fireproof.source.diagnostic import InputError

    with pytest.raises(InputError):
        loaded.require()


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    write(tmp_path, main='include "pipe"\ninclude "/dev/zero"\ninclude "sub"\n', sub__x="")
    found = messages(tmp_path / "main.nft")
    assert len(found) == 3
    assert all("is not a regular file" in m or "is a directory" in m for m in found)


@pytest.mark.parametrize("name", ["./a.nft", "a.nft", "../{}/a.nft", "link.nft"])
def test_a_circle_is_refused_however_it_is_written(tmp_path: Path, name: str) -> None:
    write(tmp_path, a=f'include "{name.format(tmp_path.name)}"\n')
    (tmp_path / "link.nft").symlink_to(tmp_path / "a.nft")
    found = messages(tmp_path / "a.nft")
    assert len(found) == 1
    assert "includes itself" in found[0]


@pytest.mark.parametrize("text", ["include a.nft\n", "include\n", 'include "a.nft" x\n', 'include "a\tb\0"\n'])
def test_wrong_includes(text: str) -> None:
    assert len(load_text(text).diagnostics.errors) == 1
