"""Commands at the top of a file change the ruleset as the kernel's would change, or are refused."""

from __future__ import annotations

import pytest

from fireproof.model.expression import Interval
from fireproof.model.ruleset import Chain
from fireproof.model.statement import Match
from tests.unit.syntax_reading import marked, problems, ruleset, table

BASE = """\
table inet t {
 set s { type inet_service; elements = { 1, 2 }; }
 map m { type inet_service : verdict; }
 counter hits { }
 flowtable f { hook ingress priority 0; devices = { lo }; }
 chain c { type filter hook input priority 0; policy drop;
  tcp dport 1 accept
  tcp dport 2 accept
 }
 chain d { accept; }
}
"""


def ports(chain: Chain) -> list[int]:
    found = []
    for rule in chain.rules:
        made = rule.statements[0]
        assert isinstance(made, Match)
        assert isinstance(made.right, tuple)
        part = made.right[0]
        assert isinstance(part, Interval)
        found.append(part.low)
    return found


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("add rule inet t c tcp dport 9 accept", [1, 2, 9]),
        ("rule inet t c tcp dport 9 accept", [1, 2, 9]),
        ("insert rule inet t c tcp dport 9 accept", [9, 1, 2]),
        ("insert rule inet t c index 1 tcp dport 9 accept", [1, 9, 2]),
        ("add rule inet t c index 0 tcp dport 9 accept", [1, 9, 2]),
        ("flush chain inet t c", []),
        ("flush table inet t", []),
        ("add chain inet t c { tcp dport 9 accept; }", [1, 2, 9]),
        ("list ruleset", [1, 2]),
        ("add rule inet \\\n t c tcp dport 9 \\\n accept", [1, 2, 9]),
    ],
)
def test_rules(command: str, expected: list[int]) -> None:
    made = ruleset(f"{BASE}{command}\n")
    chain = made.tables["inet", "t"].chains["c"]
    assert ports(chain) == expected
    assert made.rule_count == len(expected) + len(made.tables["inet", "t"].chains["d"].rules)


def test_the_family_may_be_left_out_for_ip() -> None:
    commands = ("table t", "chain t c", "rule t c accept", "set t s { type ipv4_addr; }", "element t s { 1.1.1.1 }")
    made = ruleset("".join(f"add {command}\n" for command in commands))
    assert len(made.tables["ip", "t"].chains["c"].rules) == 1
    assert len(made.tables["ip", "t"].sets["s"].elements) == 1


def test_deleting() -> None:
    found = ruleset(
        BASE
        + """\
delete set inet t s
delete map inet t m
delete counter inet t hits
delete flowtable inet t f
delete chain inet t d
"""
    ).tables["inet", "t"]
    assert (found.sets, found.objects, found.flowtables, list(found.chains)) == ({}, {}, {}, ["c"])


def test_deleting_tables_and_everything() -> None:
    made = ruleset(BASE + "delete table inet t\n")
    assert (made.tables, made.registration, made.rule_count, made.resets) == ({}, [], 0, [("inet", "t")])
    made = ruleset(BASE + "flush ruleset\ntable ip x { }\n")
    assert (list(made.tables), made.replaces) == ([("ip", "x")], True)
    made = ruleset(BASE + "table ip x { }\nflush ruleset inet\n")
    assert (list(made.tables), made.replaces) == ([("ip", "x")], False)


def test_flushing_and_renaming() -> None:
    found = ruleset(BASE + "flush set inet t s\nrename chain inet t d e\n").tables["inet", "t"]
    assert found.sets["s"].elements == []
    assert [(name, chain.name) for name, chain in found.chains.items()] == [("c", "c"), ("e", "e")]


def test_objects_on_one_line() -> None:
    found = ruleset("""\
add table ip t
add counter ip t t
add quota ip t q over 10 mbytes
add limit ip t l rate 5/second
add synproxy ip t p mss 1460 wscale 7 timestamp
add ct helper ip t h { type "ftp" protocol tcp; }
create set ip t s { type mark; }
""").tables["ip", "t"]
    assert set(found.objects) == {
        ("counter", "t"), ("quota", "q"), ("limit", "l"), ("synproxy", "p"), ("ct helper", "h"),
    }  # fmt: skip


def test_destroy_is_for_newer_releases_and_needs_nothing_there() -> None:
    found = problems("destroy table ip gone\ntable ip t { }\ndestroy set ip t gone\ndestroy chain ip t gone\n")
    assert {d.code for d in found} == {"needs-newer-nft"}


@pytest.mark.parametrize(
    ("command", "message", "mark"),
    [
        ("frobnicate", "unexpected `frobnicate`", "frobnicate"),
        ("add", "what it is about is missing here", "\n"),
        ("delete tables", "unexpected `tables`", "tables"),
        ("add ruleset", "`add ruleset` is not a command", "ruleset"),
        ("insert table ip x", "`insert table` is not a command", "table"),
        ("rename table inet t x", "`rename table` is not a command", "table"),
        ("flush counter inet t hits", "`flush counter` is not a command", "counter"),
        ("reset counters", "unexpected `counters`", "counters"),
        ("flush ruleset inett", "there is no family `inett`", "inett"),
        ("flush ruleset inet x", "unexpected `x`", "x"),
        ("delete table inet t x", "unexpected `x`", "x"),
        ("delete chain inet t d x", "unexpected `x`", "x"),
        ("delete set inet t s x", "unexpected `x`", "x"),
        ("rename chain inet t d e x", "unexpected `x`", "x"),
        ("rename chain inet t d c", "there is a chain `c` already", "c"),
        ("delete table inet t { chain c { } ; }", "`delete` takes no block", "{"),
        ("create table inet t", "there is a table `inet t` already", "t"),
        ("create chain inet t c", "there is a chain `c` already", "c"),
        ("create set inet t s { type mark; }", "there is a set `s` already", "s"),
        ("delete set inet t gone", "there is no set `gone`", "gone"),
        ("delete map inet t s", "there is no map `s`", "s"),
        ("delete chain inet t gone", "there is no chain `gone`", "gone"),
        ("delete flowtable inet t gone", "there is no flowtable `gone`", "gone"),
        ("add rule inet t gone accept", "there is no chain `gone`", "gone"),
        ("add rule inet x c accept", "there is no table `inet x`", "x"),
        ("add rule inet t c", "a rule is missing here", "\n"),
        ("add rule inet t c index 2 accept", "has no rule at index 2", "2"),
        ("add rule inet t c handle 3 accept", "`handle` numbers rules of a running ruleset", "handle"),
        ("delete rule inet t c handle 3", "needs the handle of a running ruleset", "delete rule inet t c handle 3"),
        ("replace rule inet t c handle 3 accept", "needs the handle", "replace rule inet t c handle 3 accept"),
        ("add element inet t s { 99999 }", "99999 is too large", "99999"),
        ("add element inet t s", "the elements in braces is missing", "\n"),
        ("delete element inet t s { 7 }", "has no such element", "{ 7 }"),
        ("add element inet t gone { 1 }", "there is no set `gone`", "gone"),
        ("add set inet t x", "the set `x` has no block", "add set inet t x"),
        ("add chain inet t 5x", "`5x` is not a name", "5x"),
        ("add chain inet t x y", "unexpected `y`", "y"),
        ("chain x { accept; }", "stands outside of a table", "chain x"),
        ("table inet t extra { }", "unexpected `extra`", "extra"),
        ("add table inet " + "x" * 256, "is not a name", "x" * 256),
        ("delete table handle 5", "handles belong to a running ruleset", "delete table handle 5"),
    ],
)
def test_what_is_refused(command: str, message: str, mark: str) -> None:
    found = problems(f"{BASE}{command}\n")
    assert len(found) == 1
    assert message in found[0].message
    assert marked(found[0]) == mark


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("policy drop", "only a base chain has a policy"),
        ("flags offload", "only a base chain has flags"),
        ("device lo", "only a base chain has a device"),
        ("type filter hook inptu priority 0", "family inet has no hook `inptu`"),
        ("type filtre hook input priority 0", "family inet has no chain type `filtre`"),
        ("type nat hook forward priority 0", "a chain of type nat cannot hook forward"),
        ("type nat hook prerouting priority raw", "the kernel refuses a nat chain at priority -300"),
        ("type filter hook input priority dstnat", "`dstnat` is not a priority at input"),
        ("type filter hook input priority 5000000000", "a priority is a number of 32 bits"),
        ("type filter hook input priority 0; policy reject", "unexpected `reject`"),
        ("type filter hook input priority 0; policy return", "a policy is accept or drop"),
        ("type filter hook input priority 0; flags sticky", "the only flag of a chain is `offload`"),
        ("type filter hook input priority 0; type filter hook output priority 0", "already has another hook"),
        (
            "type filter hook ingress device lo priority 0; type filter hook ingress device eth0 priority 0",
            "another hook",
        ),
    ],
)
def test_lines_of_chains(line: str, message: str) -> None:
    found = problems(f"table inet t {{ chain c {{ {line}; }}; }}\n")
    assert len(found) == 1
    assert message in found[0].message


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("0", 0), ("-5", -5), ("- 5", -5), ("filter", 0), ("mangle - 10", -160), ("mangle-10", -160), ("raw + 7", -293),
        ("security", 50), ("$named", -10), ("$number", 7), ("$minus", -7), ("$again", 7),
    ],
)  # fmt: skip
def test_priorities(written: str, value: int) -> None:
    defines = 'define named = "filter - 10"\ndefine number = 7\ndefine minus = -7\ndefine again = $number\n'
    made = table(f"{defines}chain c {{ type filter hook input priority {written}; tcp dport {{ 1, 7 }} accept; }}")
    base = made.chains["c"].base
    assert base is not None
    assert base.priority == value


def test_a_variable_is_the_whole_priority() -> None:
    for text in ("$p + 1", "$range"):
        body = f"table ip t {{ chain c {{ type filter hook input priority {text}; }}; }}\n"
        found = problems("define p = filter\ndefine range = filter - 10\n" + body)
        assert len(found) == 1


def test_lines_of_tables() -> None:
    found = ruleset('table ip t { flags dormant; comment "x"; }\n').tables["ip", "t"]
    assert (found.flags, found.comment) == (("dormant",), "x")
    assert "has no flag `asleep`" in problems("table ip t { flags asleep; }\n")[0].message


def test_rules_see_sets_that_come_later_in_their_table() -> None:
    ruleset("table ip t {\nchain c { ip saddr @s jump d; }\nset s { type ipv4_addr; }\nchain d { }\n}\n")
