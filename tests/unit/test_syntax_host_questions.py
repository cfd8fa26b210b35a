"""The host block, zones, assertions and questions."""

from __future__ import annotations

import pytest

from fireproof.model.expression import Interval, Name, SetLiteral
from fireproof.model.host import Address, Route
from fireproof.model.statement import Match
from fireproof.source.diagnostic import InputError
from fireproof.syntax.build import load_text
from fireproof.syntax.questions import read_question
from tests.unit.syntax_reading import marked, problem, problems, ruleset

HOST = """\
define wan = "eth0"
host { # facts
    interface $wan { address 203.0.113.2/24; address 2001:db8::2/64; zone internet; }
    interface "lan*" { zone lan; }
    interface lan0 { address 192.168.1.1/24; zone lan; }
    route default via 203.0.113.1 dev $wan;
    route 10.1.2.3/8 via 192.168.1.9
    route 2001:db8:1::/48 dev lan0
    conntrack { tcp_loose no; be_liberal yes; max 1000; }
}
"""


def test_the_host_block() -> None:
    host = ruleset(HOST).host
    assert host is not None
    assert list(host.interfaces) == ["eth0", "lan*", "lan0"]
    assert host.interfaces["eth0"].addresses == [
        Address(4, 0xCB007102, 24), Address(6, (0x20010DB8 << 96) + 2, 64),
    ]  # fmt: skip
    assert host.zone("lan") == ["lan*", "lan0"]
    assert host.zone("internet") == ["eth0"]
    assert host.routes == [
        Route(4, 0, 0, "eth0", 0xCB007101),
        Route(4, 10 << 24, 8, "lan0", 0xC0A80109),
        Route(6, 0x20010DB80001 << 80, 48, "lan0", None),
    ]
    assert (host.conntrack.tcp_loose, host.conntrack.be_liberal, host.conntrack.max) == (False, True, 1000)


def test_zones_in_rules() -> None:
    made = ruleset(HOST + "table inet t { chain c { zone lan accept; zone ! internet drop; }; }\n")
    one, two = (rule.statements[0] for rule in made.tables["inet", "t"].chains["c"].rules)
    assert isinstance(one, Match) and isinstance(two, Match)
    assert isinstance(one.right, SetLiteral)
    assert [element.key for element in one.right.elements] == [(Name("lan", prefix=True),), (Name("lan0"),)]
    assert (two.operator, two.right) == ("!=", (Name("eth0"),))


def test_the_added_words_are_still_names() -> None:
    made = ruleset("""\
table inet t {
 set time { type ipv4_addr; }
 chain host { ip saddr @time jump zone; }
 chain zone { jump connection; }
 chain connection { goto packet; }
 chain packet { }
 counter assert { }
}
""")
    assert list(made.tables["inet", "t"].chains) == ["host", "zone", "connection", "packet"]


def test_a_host_of_its_own_file() -> None:
    loaded = load_text("table ip t { chain c { zone lan accept; }; }\n", host=HOST)
    assert not loaded.diagnostics.found
    loaded = load_text("table ip t { }\n", host="table ip u { }\n")
    assert "there is no `host { … }` block" in loaded.diagnostics.errors[0].message


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("interface eth9 { adress 1.2.3.4; }", "unexpected `adress`"),
        ("interface eth9 { address 1.2.3.4/33; }", "/33 is longer than the 32 bits"),
        ("interface eth9 { address 1.2.3.4/0x21; }", "/33 is longer than the 32 bits"),
        ("interface eth9 { address 1.2.3.444; }", "is not a valid address"),
        ("interface eth9 { address $wan; }", "an address is needed here"),
        ("interface eth9 { route default dev eth9; }", "an interface has addresses and a zone"),
        ("interface eth9 { zone a; zone b; }", "an interface belongs to one zone"),
        ("interface a_name_that_is_too_long { zone a; }", "is not the name of an interface"),
        ("interface $gone { zone a; }", "is not defined as a single name"),
        ("interface { zone a; }", "is not the name of an interface"),
        ("route default via 2001:db9::1", "this route names no way out"),
        ("route default via ::1 dev lan0 x", "unexpected `x`"),
        ("route 10.0.0.0/8 via 2001:db8::1 dev lan0", "the gateway is of the other IP version"),
        ("route 10.0.0.0/40 dev lan0", "/40 is longer"),
        ("route 10.0.0.0/8 dev gone0", "a route leaves through `gone0`"),
        ("conntrack { tcp_loose maybe; }", "write yes or no"),
        ("conntrack { zone lan; }", "conntrack has tcp_loose, be_liberal and max"),
        ("address 1.2.3.4", "this belongs inside an `interface` block"),
        ("frobnicate", "unexpected `frobnicate`"),
    ],
)
def test_wrong_facts(line: str, message: str) -> None:
    found = problems(HOST.replace("    conntrack {", f"    {line}\n    conntrack {{"))
    assert len(found) == 1
    assert message in found[0].message


# ---- assertions ----------------------------------------------------------------------------------------------------
ASSERTED = HOST + "table inet t { set s { type ipv4_addr; }; }\n"


def test_everything_a_question_can_say() -> None:
    made = ruleset(
        ASSERTED
        + """\
assert "a name; with {marks}" {
    connection from zone internet to 203.0.113.2 tcp dport { 80, 443 } # the web
        reaches 192.168.1.5:8443;
    no packet from 10.0.0.0/8 ip saddr != @s except tcp dport 22 ip daddr 192.0.2.1;
    possible connection from me to 2001:db8::1 udp dport 53 via interface lan0 translated to [2001:db8::9]:5353;
    packet to interface eth0 rejected with icmp type host-unreachable;
    packet from 10.0.0.1 rejected
}
"""
    ).assertions
    assert {assertion.name for assertion in made} == {"a name; with {marks}"}
    questions = [assertion.question for assertion in made]
    assert [(q.quantifier, q.subject) for q in questions] == [
        ("always", "connection"), ("no", "packet"), ("possible", "connection"), ("always", "packet"),
        ("always", "packet"),
    ]  # fmt: skip
    first = questions[0]
    assert [clause.kind for clause in first.clauses] == ["from", "to", "match"]
    assert first.clauses[0].place is not None
    assert first.clauses[0].place.interfaces == ("eth0",)
    assert first.clauses[1].place is not None
    assert first.clauses[1].place.key == (Interval(0xCB007102, 0xCB007102),)
    assert (first.claims[0].kind, first.claims[0].port) == ("reaches", 8443)
    assert "#" not in first.text
    assert len(questions[1].exceptions) == 1
    assert len(questions[1].exceptions[0]) == 2
    assert [claim.kind for claim in questions[2].claims] == ["via", "translated"]
    assert (questions[3].claims[0].reject, questions[3].claims[0].code) == ("icmp", 1)
    assert questions[4].claims[0].kind == "rejected"


@pytest.mark.parametrize(
    ("question", "message", "mark"),
    [
        ("conection from zone lan", "unexpected `conection`", "conection"),
        ("no packet from zone wan", "no interface belongs to a zone `wan`", "wan"),
        ("no packet from zone lan\n packet", "unexpected `packet`", "packet"),
        ("no packet tcp dport 99999", "99999 is too large", "99999"),
        ("no packet from lan0", "a place is `zone NAME`, `interface NAME`, `me`, or addresses", "lan0"),
        ("no packet from 10.0.0.0/40", "/40 is longer", "10.0.0.0/40"),
        ("connection reaches web", "an address is needed here", "web"),
        ("connection reaches 192.0.2.1:99999", "99999 is no port", "99999"),
        ("packet rejected with icmp type gone", "a reject is", "icmp"),
        ("packet drop", "unexpected `drop`", "drop"),
    ],
)
def test_wrong_questions(question: str, message: str, mark: str) -> None:
    found = problem(ASSERTED + f'assert "x" {{ {question}; }}\n')
    assert message in found.message
    assert marked(found).startswith(mark)


@pytest.mark.parametrize("head", ["assert foo {", "assert {", 'assert "x" y {'])
def test_an_assertion_has_a_name_in_quotes(head: str) -> None:
    assert "name in quotes" in problem(f"table ip t {{ }}\n{head} no packet; }}\n").message


def test_an_assertion_claims_something() -> None:
    assert "claims nothing" in problem('table ip t { }\nassert "x" { }\n').message


def test_questions_of_the_command_line() -> None:
    made = ruleset(ASSERTED)
    assert read_question(made, " connection from zone lan to me ; ").text == "connection from zone lan to me"
    for text in ("", "connection from", "connection from zone gone", "packet tcp dprot 5", "(" * 100_000):
        with pytest.raises(InputError) as caught:
            read_question(made, text)
        assert caught.value.diagnostics[0].span is not None
