"""A statement read through the slots of its shape means what the same text means parsed by itself."""

from __future__ import annotations

import random
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fireproof.syntax.build import load_text
from fireproof.syntax.grammar import ShapeCache

DECLARATIONS = """\
 set s { type ipv4_addr; }
 set s6 { type ipv6_addr; }
 set d { type ipv4_addr . inet_service; size 65535; flags dynamic,timeout; }
 map m { type ipv4_addr : verdict; }
 map nat { type inet_service : ipv4_addr; }
 counter hits { }
"""
RULES = """\
ip saddr 10.1.2.0/24 ip daddr 10.9.0.0/16 tcp dport 443 accept
tcp dport { 22, 80, 1024-2048 } counter packets 7 bytes 9 drop comment "text 22"
ip saddr 10.0.0.1-10.0.0.9 tcp sport 1-9 return
ip6 saddr 2001:db8::/32 ip6 daddr ::1 reject
ip saddr @s ct state established,related accept
ip saddr vmap { 10.0.0.1 : accept, 10.0.0.2 : jump other, 10.1.0.0/16 : drop }
meta mark set 0x10 meta priority set 1:2
meta mark & 0xff == 0x0f accept
limit rate 10/second burst 5 packets accept
limit rate over 100 kbytes/second drop
quota over 25 mbytes drop
log prefix "dropped: " level info
log group 2 snaplen 64
ct count over 20 reject with tcp reset
tcp flags syn / fin,syn,rst,ack tcp option maxseg size set 1400
ether saddr 00:01:02:03:04:05 accept
iifname "eth0" oifname { "eth1", "wg*" } accept
meta hour "08:00"-"18:00" accept
update @d { ip saddr . 80 timeout 30s limit rate 3/minute }
add @d { ip saddr . tcp dport ct count over 3 } drop
ip saddr . tcp dport { 10.0.0.1 . 22, 10.0.0.2-10.0.0.9 . 80-90 } accept
ip daddr set 10.0.0.9 ip ttl set 5
numgen inc mod 3 0 drop
numgen random mod 100 < 30 drop
jhash ip saddr . tcp dport mod 7 seed 0xfe 3 accept
@th,16,16 22 accept
ct expiration 30s-1m accept
ip dscp cs1 icmp type echo-request icmp id 5 accept
frag more-fragments 1 drop
tcp dport 22 queue flags bypass to 1-3
tcp dport != { 1, 2 } udp dport 53 accept
meta l4proto { 6, 17 } th dport 53 accept
""".splitlines()
NUMBER = re.compile(r"(?<![\w.:/$@])\d+(?![\w.:/])")


def meaning(rules: list[str]) -> list[object]:
    """The statements and comments of rules read in one chain, None for each that is refused."""
    lines = "\n".join(rules)
    loaded = load_text(f"table inet t {{\n{DECLARATIONS}\n chain other {{ }}\n chain c {{\n{lines}\n }}\n}}\n")
    found: dict[int, object] = {
        rule.span.line: (rule.statements, rule.comment) for rule in loaded.ruleset.tables["inet", "t"].chains["c"].rules
    }
    first = loaded.ruleset.tables["inet", "t"].chains["c"].span.line + 1
    return [found.get(first + number) for number in range(len(rules))]


def changed(rule: str, source: random.Random) -> str:
    """The same shape with other literals."""
    rule = NUMBER.sub(lambda m: str(max(1, int(m[0]) + source.randrange(-3, 4))), rule)
    rule = re.sub(r"10\.(\d+)", lambda m: f"10.{source.randrange(256)}", rule)
    return re.sub(r'"(\w[^"*:]*)"', lambda m: f'"n{source.randrange(99)}"', rule) if source.random() < 0.5 else rule


@pytest.mark.parametrize("rule", RULES)
def test_every_statement_is_read_by_itself(rule: str) -> None:
    if rule.startswith("tcp dport != { 1"):
        assert meaning([rule]) == [None]
    else:
        assert meaning([rule]) != [None]


@given(st.integers(0, 1 << 32))
@settings(max_examples=60, deadline=None)
def test_slots_mean_what_a_fresh_parse_means(seed: int) -> None:
    source = random.Random(seed)
    originals = source.sample(RULES, 6)
    rules = [*originals, *(changed(rule, source) for rule in originals), *originals[:3]]
    together = meaning(rules)
    alone = [meaning([rule])[0] for rule in rules]
    assert together == alone


def test_variables_and_tables_are_not_taken_from_an_earlier_use() -> None:
    text = """\
define port = 22
table ip a { set s { type ipv4_addr . inet_service; flags dynamic; }
 chain c { tcp dport $port accept; update @s { ip saddr . 80 }; ct original saddr 1.2.3.4 accept; } }
redefine port = 80
table ip b { set s { type ipv4_addr . mark; flags dynamic; }
 chain c { tcp dport $port accept; update @s { ip saddr . 80 }; ct original saddr 1.2.3.4 accept; } }
table ip6 c { chain c { define port = 443
 tcp dport $port accept; ct original saddr ::1 accept; }; chain d { tcp dport $port accept; } }
"""
    loaded = load_text(text)
    assert not loaded.diagnostics.errors
    tables = loaded.ruleset.tables
    a, b = (tables["ip", name].chains["c"].rules for name in "ab")
    assert a[0].statements != b[0].statements
    assert a[1].statements != b[1].statements
    c = tables["ip6", "c"].chains
    assert c["c"].rules[0].statements != c["d"].rules[0].statements == b[0].statements


def test_an_error_in_a_known_shape_has_its_own_place() -> None:
    text = "table ip t {\n chain c {\n  tcp dport 22 accept\n  tcp dport 99999 accept\n }\n}\n"
    found = load_text(text).diagnostics.found
    assert len(found) == 1
    assert found[0].span is not None
    assert (found[0].span.line, found[0].span.column, found[0].span.text) == (4, 13, "99999")


def test_shapes_are_shared() -> None:
    cache = ShapeCache("rule")
    first = cache.parse('tcp dport 22 log prefix "a" accept')
    second = cache.parse('tcp dport 8080 log prefix "b c" accept')
    assert first and second
    assert first[0] is second[0]
    assert second[1] == ["8080", '"b c"']
    other = cache.parse("tcp dport 0x16 accept")
    third = cache.parse("tcp dport 22 accept")
    assert other and third
    assert other[0] is not third[0]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("tcp dport 0x10 accept", "tcp dport 0x10zz accept"),
        ("ct expiration 5s accept", "ct expiration 5xyzs accept"),
        ("ether saddr 1:2:3:4:5:6 accept", "ether saddr 1234:2:3:4:5:6 accept"),
        ("ip saddr 1.2.3.4 accept", "ip saddr 1.2.3 accept"),
        ("ip saddr 1.2.3.4 accept", "ip saddr 1.2.3.4.5 accept"),
        ("ip6 saddr 1:2:3:4:5:6:7:8 accept", "ip6 saddr 1:2:3 accept"),
        ("ip6 saddr 1::2 accept", "ip6 saddr 1::2::3 accept"),
        ("tcp dport 22 accept", "tcp dport ٢٢ accept"),
        ("tcp dport 22 accept", "tcp dport 22a accept"),
        ("tcp dport 22 accept", f"tcp dport {'2' * 65} accept"),
        ("ip saddr @s accept", "ip saddr @é accept"),
    ],
)
def test_what_only_looks_like_a_known_shape_is_refused(first: str, second: str) -> None:
    found = meaning([first, second])
    assert found[0] is not None
    assert found[1] is None
