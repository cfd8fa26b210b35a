"""Values of every datatype: what they are, and what is said, and where, when they are not."""

from __future__ import annotations

import pytest

from fireproof.model.expression import Interval, Name, SetLiteral
from fireproof.model.statement import Mangle, Match
from fireproof.report.text import full
from tests.unit.syntax_reading import chain, marked, rule_problem, statements


def right(text: str, family: str = "inet") -> object:
    made = statements(text, family)[0]
    assert isinstance(made, Match)
    return made.right


def number(text: str) -> int:
    key = right(text)
    assert isinstance(key, tuple)
    assert len(key) == 1
    part = key[0]
    assert isinstance(part, Interval)
    assert part.low == part.high
    return part.low


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("tcp dport 22", 22),
        ("tcp dport ssh", 22),
        ('meta iif "7"', 7),
        ('tcp dport "https"', 443),
        ("tcp dport 0x16", 22),
        ("tcp dport 026", 22),  # octal, as nft reads it
        ("tcp dport 08", 8),  # not octal
        ("ip protocol tcp", 6),
        ("ip protocol 6", 6),
        ("meta l4proto ipv6-icmp", 58),
        ("ip saddr 192.0.2.1", 0xC0000201),
        ('ip saddr "192.0.2.1"', 0xC0000201),
        ("ip6 saddr ::1", 1),
        ("ip6 saddr ::ffff:192.0.2.1", 0xFFFFC0000201),
        ("ip6 saddr 1:2:3:4:5:6:7:8", 0x00010002000300040005000600070008),
        ("ether saddr 0:1:2:3:4:ff", 0x0001020304FF),
        ("icmp type echo-request", 8),
        ("icmpv6 type nd-neighbor-solicit", 135),
        ("icmp code host-unreachable", 1),
        ("igmp type membership-query", 0x11),
        ("ct state new", 8),
        ("ct state new,established", 10),
        ("ct status dnat", 0x20),
        ("ct direction reply", 1),
        ("ct expiration 1m30s", 90_000),
        ("ct expiration 30", 30_000),
        ("meta mark 0x10", 16),
        ("meta mark 1 | 2", 3),
        ("meta mark 0xff and 0x0f", 15),
        ("meta mark (1 | 2) << 4", 48),
        ("meta mark 1 | 2 << 4 & 0xf0", 33),
        ("meta mark 3 xor 1", 2),
        ("meta priority 1:2", 0x10002),
        ("meta priority bcad:dadc", 0xBCADDADC),
        ("meta priority none", 0),
        ("meta protocol ip6", 0x86DD),
        ("meta protocol 8021q", 0x8100),
        ("meta nfproto ipv4", 2),
        ("meta pkttype broadcast", 1),
        ("meta iiftype ether", 1),
        ("meta skuid 0", 0),
        ("meta skuid root", 0),
        ("meta skgid root", 0),
        ('meta hour "08:30"', 8 * 3600 + 1800),
        ('meta hour "08:30:05"', 8 * 3600 + 1805),
        ('meta day "Monday"', 1),
        ("meta day 6", 6),
        ('meta time "1970-01-02"', 86400 * 10**9),
        ('meta time "1970-01-01 00:00:01"', 10**9),
        ("meta rtclassid cosmos", 0),
        ("ip dscp ef", 46),
        ("ip dscp 0x2e", 46),
        ("ip ecn ce", 3),
        ("tcp flags syn", 2),
        ("tcp flags syn | ack", 18),
        ("tcp flags fin,syn,rst", 7),
        ("frag more-fragments 1", 1),
        ("exthdr frag exists", 1),
        ("tcp option sack-perm missing", 0),
        ("fib daddr type local", 2),
        ("rt type 0", 0),
        ("ip length 1500", 1500),
        ("vlan id 4095", 4095),
        ("dccp type request", 0),
        ("mh type binding-update", 5),
        ("comp flags 0x1", 1),
        ("socket transparent 1", 1),
        ("@th,0,128 0xffffffffffffffffffffffffffffffff", (1 << 128) - 1),
        ("arp operation reply", 2),
    ],
)
def test_values(text: str, value: int) -> None:
    assert number(text) == value


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [
        ("ip saddr 10.0.0.0/8", 10 << 24, (11 << 24) - 1),
        ("ip saddr 10.1.2.3/8", 10 << 24, (11 << 24) - 1),
        ("ip saddr 10.0.0.1/32", (10 << 24) + 1, (10 << 24) + 1),
        ("ip saddr 10.0.0.1-10.0.0.9", (10 << 24) + 1, (10 << 24) + 9),
        ("ip6 saddr ::/0", 0, (1 << 128) - 1),
        ("tcp dport 1-1024", 1, 1024),
        ("meta mark 0x10/28", 0x10, 0x1F),
        ("ct expiration 30s-1m", 30_000, 60_000),
        ('meta hour "22:00"-"06:00"', 22 * 3600, 6 * 3600),
    ],
)
def test_ranges(text: str, low: int, high: int) -> None:
    assert right(text) == (Interval(low, high),)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("iifname eth0", Name("eth0")),
        ('iifname "eth0"', Name("eth0")),
        ("iifname eth*", Name("eth", prefix=True)),
        ('iifname "eth*"', Name("eth", prefix=True)),
        ('iifname "eth\\*"', Name("eth*")),
        ("iifname eth0.100", Name("eth0.100")),
        ('ct helper "ftp"', Name("ftp")),
    ],
)
def test_names(text: str, name: Name) -> None:
    assert right(text) == (name,)


def test_operators() -> None:
    for written, operator in (("", "=="), ("==", "=="), ("!=", "!="), ("ne", "!="), ("<", "<"), ("ge", ">=")):
        made = statements(f"tcp dport {written} 22")[0]
        assert isinstance(made, Match)
        assert made.operator == operator
    for text, operator in (
        ("tcp flags syn", "in"),
        ("tcp flags syn,ack", "in"),
        ("tcp flags == syn", "=="),
        ("tcp flags ! syn", "!"),
        ("ct state != new", "!="),
        ("tcp flags { syn, ack }", "=="),
        ("tcp flags & (syn|ack) == syn", "=="),
        ("tcp flags syn / fin,syn,rst,ack", "=="),
        ("comp flags 0x1", "=="),
    ):
        made = statements(text)[0]
        assert isinstance(made, Match), text
        assert made.operator == operator, text


def test_a_list_in_a_variable_is_a_set() -> None:
    rules = chain("tcp dport $p accept\ntcp dport { $p, 99 } accept", declarations="define p = { 22, 80-90 }").rules
    first, second = (rule.statements[0] for rule in rules)
    assert isinstance(first, Match) and isinstance(second, Match)
    assert isinstance(first.right, SetLiteral) and isinstance(second.right, SetLiteral)
    assert (len(first.right.elements), len(second.right.elements)) == (2, 3)


def test_several_flags_are_set_at_once() -> None:
    made = statements("ct event set new,destroy")[0]
    assert isinstance(made, Mangle)
    assert getattr(made.value, "value", None) == 0b101


@pytest.mark.parametrize(
    ("text", "message", "mark", "help"),
    [
        ("tcp dport 65536", "65536 is too large for inet_service", "65536", "the largest value is 65535"),
        ("tcp dport sssh", "`sssh` is not an inet_service", "sssh", "did you mean"),
        ("tcp dport 1.2.3.4", "`1.2.3.4` is an IPv4 address, but an inet_service is needed here", "1.2.3.4", ""),
        ("ip saddr 192.0.2.256", "`192.0.2.256` is not a valid address", "192.0.2.256", ""),
        ("ip saddr 2001:db8::1", "`2001:db8::1` is an IPv6 address, but an ipv4_addr is", "2001:db8::1", ""),
        ("ip6 saddr 192.0.2.1", "`192.0.2.1` is an IPv4 address, but an ipv6_addr is needed here", "192.0.2.1", ""),
        ("ip saddr 1.2.3.4/33", "/33 is longer than the 32 bits of ipv4_addr", "1.2.3.4/33", ""),
        ("ip saddr 1.2.3.9-1.2.3.1", "this range ends before it starts", "1.2.3.9-1.2.3.1", "swap its ends"),
        ("ip protocol tpc", "`tpc` is not an inet_proto", "tpc", "`tcp`"),
        ("icmp type echo-requets", "`echo-requets` is not an icmp_type", "echo-requets", "did you mean `echo-request`"),
        ("ct state NEW", "`NEW` is not a ct_state", "NEW", "did you mean `new`?"),
        ("tcp flags syn,akc", "`akc` is not a tcp_flag", "akc", "did you mean `ack`"),
        ("ip dscp 64", "64 is too large for dscp", "64", "the largest value is 63"),
        ("vlan id 4096", "4096 is too large for integer", "4096", "4095"),
        ("meta day 7", "7 is too large for day", "7", "the largest value is 6"),
        ('meta hour "24:00"', "`24:00` is not a time of day", '"24:00"', "08:00"),
        ('meta time "yesterday"', "`yesterday` is not a date", '"yesterday"', "2026"),
        ('meta time "1960-01-01"', "`1960-01-01` is not a date", '"1960-01-01"', "2026"),
        ('iifname ""', "a name is empty", '""', ""),
        ('tcp dport "-5"', "`-5` is not an inet_service", '"-5"', ""),
        ('ct expiration "5x"', "`5x` is not a time", '"5x"', ""),
        ("iifname sixteen_letters_", "`sixteen_letters_` is too long", "sixteen_letters_", "15 bytes"),
        ('ct helper "sixteen_letters_"', "`sixteen_letters_` is longer than 15 bytes", '"sixteen_letters_"', ""),
        ("meta mark 0x1ffffffff", "0x1ffffffff is too large for mark", "0x1ffffffff", ""),
        ("oifname < eth0", "`<` compares with a single number", "eth0", ""),
        ("tcp dport 22,80", "a list without braces only works for flags", "22,80", "write a set: { …, … }"),
        ("tcp dport ! 22", "`!` tests flags; to negate a match write `!=`", "!", ""),
        ("tcp flags & syn ! ack", "`!` tests the flags themselves", "tcp flags & syn ! ack", ""),
        ("tcp dport < { 22 }", "`<` does not go with a set", "<", "use `!=`"),
        ("ip saddr . tcp dport 1.2.3.4", "2 values joined by ` . ` needed here, not 1", "1.2.3.4", ""),
        ("tcp dport 22 . 23", "one value needed here, not 2", "22 . 23", ""),
        ("tcp dport { 1 : 2 }", "a set has no values, only maps do", "2", ""),
        ("tcp dport { 80:8080 }", "`80:8080` is one word to nft", "80:8080", "space"),
        ("tcp dport $web", "`$web` is not defined", "$web", "write `define web"),
        ("socket wildcard 2", "`socket wildcard` is 0 or 1", "2", ""),
        ("exthdr frag 2", "`2` is neither 0 nor 1", "2", ""),
        ("tcp flags { syn/4 }", "`syn/4` is not a tcp_flag", "syn/4", "did you mean `syn`?"),
        ("@th,0,129 1", "129 bits are more than one match can hold", "@th,0,129", "128"),
    ],
)  # fmt: skip
def test_what_is_wrong_and_where(text: str, message: str, mark: str, help: str) -> None:
    found = rule_problem(f"  {text}")
    assert message in found.message
    assert marked(found) == mark
    assert help in found.help
    assert found.span is not None
    assert (found.span.line, found.span.column) == (4, 3 + text.index(mark))
    shown = full(found)
    assert "<text>:4:" in shown
    assert text.split()[0] in shown


@pytest.mark.parametrize("text", ["ip saddr admin.example accept", "meta skuid nobody-such-user accept"])
def test_what_this_machine_can_not_resolve_is_a_warning_and_may_match(text: str) -> None:
    from fireproof.syntax.build import load_text

    loaded = load_text(f"table ip t {{\nchain c {{\n{text}\n}}\n}}\n")
    assert [d.code for d in loaded.diagnostics.found] == ["host-name"]
    assert not loaded.diagnostics.errors
    assert len(loaded.ruleset.tables["ip", "t"].chains["c"].rules) == 1


def test_labels_are_numbered_and_not_listed() -> None:
    assert number("ct label 127") == 127
    assert "too large" in rule_problem("ct label 128").message
    assert "one by one" in rule_problem("ct label 1,2").message
