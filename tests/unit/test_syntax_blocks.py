"""Statements and blocks: where each begins and ends, whatever stands between."""

from __future__ import annotations

import pytest

from fireproof.model.statement import Match, Verdict
from fireproof.source.diagnostic import Diagnostics
from fireproof.source.text import SourceFile
from fireproof.syntax import blocks
from tests.unit.syntax_reading import chain, marked, problem, problems, ruleset, table

ONE = "table inet t {\n chain c {\n  tcp dport 22 accept\n }\n}\n"


def shape(text: str) -> object:
    """The statements of a text as nested lists."""
    file = SourceFile("x", text)
    found = Diagnostics()

    def of(lines: list[blocks.Line]) -> list[object]:
        return [
            text[line.start : line.end]
            if line.body is None
            else (text[line.start : line.end], line.kind, of(line.body))
            for line in lines
        ]

    result = of(blocks.split(file, found))
    assert not found.found
    return result


def test_heads_and_bodies() -> None:
    assert shape(ONE) == [("table inet t", "table", [("chain c", "chain", ["tcp dport 22 accept"])])]
    assert shape("set x { 1, 2 }") == [("set x", "object", ["1, 2"])]
    assert shape("table ip t { elements = { 1, 2 } }") == [("table ip t", "table", ["elements = { 1, 2 }"])]
    assert shape('assert "a" { no packet\n to me; packet; }') == [
        ('assert "a"', "assert", ["no packet\n to me", "packet"])
    ]


@pytest.mark.parametrize(
    "text",
    [
        "table inet t { chain c { tcp dport 22 accept; }; };",
        "table inet t { chain c { tcp dport 22 accept } }",
        ONE.replace("\n", "\r\n"),
        ONE.replace("tcp dport", "tcp \\\n   dport"),
        ONE.replace("table inet t", "table \\\n inet \\\n t"),
        ONE.replace("tcp dport", "tcp \\\r\n dport"),
        ONE.replace("tcp dport", "\\\n\\\n tcp dport"),
        ONE.replace("chain c", "\\\n chain c"),
        ONE.replace(" accept", " accept # done; }"),
        ONE.replace("chain c {", 'chain c { # { ; " }\n#}\n'),
        "# {\n" + ONE + "# }",
        "\ufeff".join(["", ONE]).removeprefix("\ufeff"),
        ONE.replace(" ", "\t"),
        ";;\n" + ONE + ";\n;",
    ],
)
def test_the_same_chain_in_other_layouts(text: str) -> None:
    rules = [d for d in problems(text) if d.code != "no-newline-at-end"]
    assert not rules
    from fireproof.syntax.build import load_text

    found = load_text(text).ruleset.tables["inet", "t"].chains["c"].rules
    assert len(found) == 1
    assert len(found[0].statements) == 2


def test_comments_inside_lists_and_assertions() -> None:
    found = table("set s {\n type inet_service\n elements = { 1, # one, {\n # two }\n 2, # ; \n }\n}").sets["s"]
    assert len(found.elements) == 2
    rules = chain("tcp dport { 22, # ssh }\n 80 } accept").rules
    assert len(rules) == 1
    made = ruleset('table ip t { }\nassert "x" { # all; of it }\n no packet # from\n tcp dport 22; # }\n}\n').assertions
    assert len(made) == 1
    assert made[0].question.quantifier == "no"
    assert len(made[0].question.clauses) == 1


def test_lines_that_begin_with_a_continuation() -> None:
    found = table("""\\
 define p = 22
 set s {
\\
 type inet_service
\\
 elements = { $p }
 }
 chain c {
\\
 type filter hook input priority 0
\\
 policy drop
 }""")
    assert len(found.sets["s"].elements) == 1
    base = found.chains["c"].base
    assert base is not None
    assert base.policy == "drop"


def test_marks_inside_quotes_are_text() -> None:
    rule = chain('log prefix "a { b } ; # c" accept comment "}"').rules[0]
    assert rule.comment == "}"
    assert len(rule.statements) == 2


def test_anonymous_chains_with_a_comment_behind() -> None:
    found = table('chain c {\n tcp dport 22 jump { ip saddr 192.0.2.1 accept; drop; } comment "ssh"\n accept\n}')
    outer = found.chains["c"]
    assert [len(rule.statements) for rule in outer.rules] == [2, 1]
    assert outer.rules[0].comment == "ssh"
    jump = outer.rules[0].statements[1]
    assert isinstance(jump, Verdict)
    assert jump.target.chain is not None
    assert len(found.chains[jump.target.chain].rules) == 2


def test_anonymous_chains_within_one_another_and_in_a_command() -> None:
    found = table("chain c {\n jump { goto { accept; }; }\n}")
    assert len(found.chains) == 3
    made = ruleset("table ip t { chain c { }; }\nadd rule ip t c tcp dport 1 jump { accept; }\n").tables["ip", "t"]
    assert len(made.chains) == 2
    assert len(made.chains["c"].rules) == 1
    only = made.chains["c"].rules[0].statements
    assert isinstance(only[0], Match)


@pytest.mark.parametrize(
    ("text", "code", "mark"),
    [
        ("table ip t {\n", "unclosed", "{"),
        ("table ip t { chain c { tcp dport { 1 }\n", "unclosed", "{"),
        ("table ip t { }\n}\n", "unbalanced", "}"),
        ("table ip t { chain c { tcp dport { 22\n", "unclosed", "{"),
    ],
)
def test_unbalanced_braces(text: str, code: str, mark: str) -> None:
    found = problems(text)
    assert found[0].code == code
    assert marked(found[0]) == mark


def test_a_last_line_without_an_end() -> None:
    assert problem("table ip t { }\n# end").code == "no-newline-at-end"
    assert not problems("table ip t { }")


def test_what_follows_an_anonymous_chain_is_not_lost() -> None:
    assert problem("table ip t {\nchain c {\n jump { accept; } accept\n}\n}\n").code == "syntax"
