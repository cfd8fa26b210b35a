"""nft text from models made by hand: what a parser would hardly let through, and what must never be printed."""

from __future__ import annotations

import pytest

from fireproof.emit import json_statement, nft_json, nft_text
from fireproof.emit.naming import RESERVED, clean, name, quoted
from fireproof.emit.nft_statement import statement
from fireproof.emit.place import COMMENT_BYTES, TaggedPlace, place_of
from fireproof.emit.problem import CannotEmit, Unprintable, Unsayable
from fireproof.emit.rewrite import loadable
from fireproof.extensions.limit import Limit
from fireproof.model.expression import (
    Binary,
    Concat,
    Constant,
    Element,
    Interval,
    MapLookup,
    Meta,
    Name,
    Payload,
    SetLiteral,
    SetReference,
    VerdictTarget,
)
from fireproof.model.ruleset import BaseHook, Chain, NamedSet, Rule, Ruleset, Table
from fireproof.model.statement import (
    Duplicate,
    FlowOffload,
    ForeignMatch,
    Forward,
    Log,
    Match,
    Meter,
    Nat,
    Queue,
    SetUpdate,
    Statement,
    Tproxy,
    Verdict,
)
from fireproof.source.text import SourceFile, Span

SPAN = Span(SourceFile("some/dir/edge.fw", "first\nsecond\n"), 6, 12)
SADDR = Payload("nh", 96, 32, "ipv4_addr", "ip", "saddr")
DPORT = Payload("th", 16, 16, "inet_service", "tcp", "dport")
FLAGS = Payload("th", 104, 8, "tcp_flag", "tcp", "flags")
MARK = Meta("mark", "mark", 32)
IIFNAME = Meta("iifname", "ifname", 128)
ACCEPT = Verdict(VerdictTarget("accept"))


def one(*values: int) -> tuple[Interval, ...]:
    return tuple(Interval(value, value) for value in values)


def ruleset(*rules: Rule, table_name: str = "t", chain_name: str = "c") -> Ruleset:
    table = Table("inet", table_name, SPAN)
    chain = Chain(chain_name, table, SPAN, BaseHook("filter", "input", 0), list(rules))
    table.chains[chain_name] = chain
    return Ruleset(tables={("inet", table_name): table}, registration=[chain])


# ---- statements ----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("made", "text"),
    [
        (Nat("dnat", "ip", (Interval(0x0A000001, 0x0A000009),), one(80)), "dnat ip to 10.0.0.1-10.0.0.9:80"),
        (Nat("dnat", "ip", (Interval(0x0A000000, 0x0A0000FF),)), "dnat ip to 10.0.0.0/24"),
        (Nat("dnat", "ip6", (Interval(1, 9),), one(80)), "dnat ip6 to [::1]-[::9]:80"),
        (Nat("snat", "ip6", one(1)), "snat ip6 to ::1"),
        (Nat("dnat", None, one(1 << 100)), "dnat to 0:10::"),
        (Nat("masquerade", None, None, (Interval(1024, 65535),), ("random",)), "masquerade to :1024-65535 random"),
        (Nat("redirect", flags=("random", "persistent")), "redirect random,persistent"),
        (Queue((Interval(1, 3),), ("bypass", "fanout")), "queue flags bypass,fanout to 1-3"),
        (Queue(), "queue"),
        (Tproxy("ip", one(0x7F000001), one(50080)), "tproxy ip to 127.0.0.1:50080"),
        (Tproxy(None, None, one(50080)), "tproxy to :50080"),
        (SetUpdate("update", "s", SADDR, None, 90_000, (Limit(5, "second", 5, over=True),)),
         "update @s { ip saddr timeout 1m30s limit rate over 5/second burst 5 packets }"),
        (Meter("m", 100, SADDR, 1500, (Limit(5, "second"),)),
         "meter m size 100 { ip saddr timeout 1s500ms limit rate 5/second burst 5 packets }"),
        (Duplicate(Constant(0x0A000001, "ipv4_addr", 32), Constant("eth1", "iface_index", 32)),
         'dup to 10.0.0.1 device "eth1"'),
        (Forward(Constant("eth1", "iface_index", 32)), 'fwd to "eth1"'),
        (FlowOffload("ft"), "flow add @ft"),
        (Match(FLAGS, "in", one(0x12)), "tcp flags syn,ack"),
        (Match(FLAGS, "==", one(0x12)), "tcp flags == syn | ack"),
        (Match(FLAGS, "!", one(2)), "tcp flags ! syn"),
        (Match(FLAGS, "==", one(0)), "tcp flags == 0x0"),
        (Match(Binary("&", FLAGS, Constant(0x17, "tcp_flag", 8)), "==", one(2)),
         "tcp flags & (fin | syn | rst | ack) == syn"),
        (Match(Binary("&", MARK, Constant(0xF0, "mark", 32)), "in", one(0x10)), "meta mark & 0xf0 & 0x10 != 0x0"),
        (Match(Binary("&", MARK, Constant(0xF, "mark", 32)), "==", one(1)), "meta mark & 0xf == 0x1"),
        (Match(IIFNAME, "==", (Name("eth", True),)), 'iifname "eth*"'),
        (Match(IIFNAME, "==", (Name("eth*"),)), 'iifname "eth\\*"'),
        (Match(IIFNAME, "==", (Name("*"),)), 'iifname "\\*"'),
        (Match(Meta("hour", "hour", 32), "==", (Interval(79200, 21600),)), "meta hour 79200-21600"),
        (Match(Meta("time", "date", 64), ">", one(1_700_000_000_000_000_000)), "meta time > 1700000000"),
        (Match(Concat((SADDR, DPORT)), "==", one(0x0A000001, 80)), "ip saddr . tcp dport { 10.0.0.1 . 80 }"),
        (Match(Binary(">>", MARK, Constant(4, "mark", 32)), "==", one(3)), "meta mark 0x30-0x3f"),
        (Match(Binary(">>", MARK, Constant(4, "mark", 32)), ">", one(3)), "meta mark > 0x3f"),
    ],
)  # fmt: skip
def test_statement(made: Statement, text: str) -> None:
    assert statement(made) == text


@pytest.mark.parametrize(
    "made",
    [
        ForeignMatch("match", "string"),
        Log(prefix='say "no"'),
        Log(prefix="two\nlines"),
        Log(prefix="costs $5"),
        Match(IIFNAME, "==", (Name('a" accept #'),)),
        Match(IIFNAME, "==", (Name("", True),)),
        Match(IIFNAME, "==", (Name("a\\", True),)),
        Match(IIFNAME, "==", SetLiteral(())),
        Match(SADDR, "==", SetReference("s } accept")),
        Match(SADDR, "<", (Interval(1, 5),)),
        Verdict(VerdictTarget("jump", "x; accept")),
        Verdict(VerdictTarget("jump", "accept")),
        Match(Meta("time", "date", 64), "==", one(1)),
        Match(Binary(">>", MARK, Constant(4, "mark", 32)), "in", one(3)),
        SetUpdate("add", "s", SADDR, stateful=(ACCEPT,)),
    ],
)
def test_what_can_not_be_printed_is_refused(made: Statement) -> None:
    with pytest.raises(CannotEmit):
        statement(made)


def test_a_shift_is_rewritten_to_the_range_it_means() -> None:
    """Every value of a byte, against the arithmetic."""
    field = Payload("th", 0, 8, "integer")
    shifted = Binary(">>", field, Constant(3, "integer", 8))
    compare = {"==": int.__eq__, "!=": int.__ne__, "<": int.__lt__, ">": int.__gt__, "<=": int.__le__, ">=": int.__ge__}
    for operator, test in compare.items():
        made = loadable(Match(shifted, operator, one(5)))
        assert isinstance(made.right, tuple)
        part = made.right[0]
        assert isinstance(part, Interval)
        for value in range(256):
            if operator in ("==", "!="):
                found = (part.low <= value <= part.high) is (operator == "==")
            else:
                found = test(value, part.low)
            assert found is test(value >> 3, 5), (operator, value)


# ---- names and quotes ----------------------------------------------------------------------------------------------
@pytest.mark.parametrize("text", ["", "a b", "1a", "a;b", "a\n", "naïve", "a" * 256, "accept", 'a"', "a{"])
def test_bad_names(text: str) -> None:
    with pytest.raises(Unprintable):
        name(text)


def test_good_names() -> None:
    assert name("a-b.c/d_9") == "a-b.c/d_9"
    assert name("ll") == "ll"
    with pytest.raises(Unprintable):
        name("ll", "set")
    assert "input" not in RESERVED


@pytest.mark.parametrize("text", ['"', "\n", "\r", "\0", "\x1b", "\x85", "\u2028"])
def test_text_that_can_not_be_quoted(text: str) -> None:
    with pytest.raises(Unprintable):
        quoted(f"a{text}b")


def test_clean_cuts_between_characters() -> None:
    assert clean('a"b\\c\nd', 99) == "a'b/c d"
    cut = clean("ä" * 100, 50)
    assert cut.endswith("…")
    assert len(cut.encode()) <= 50


# ---- places --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("comment", "found"),
    [
        ("src:edge.fw:12", TaggedPlace(None, "edge.fw", 12)),
        ("hello | src:edge.fw:12", TaggedPlace("hello", "edge.fw", 12)),
        ("a | b | src:x:1 | src:y:2", TaggedPlace("a | b | src:x:1", "y", 2)),
        ("src:kernel::7", TaggedPlace(None, "kernel:", 7)),
        ("src:edge.fw", None),
        ("hello", None),
        (None, None),
        ("", None),
    ],
)
def test_place_of(comment: str | None, found: TaggedPlace | None) -> None:
    assert place_of(comment) == found


@pytest.mark.parametrize(
    "comment", [None, "short", "x" * 500, "ü" * 500, 'quote " and \\ and \n', "old | src:a.fw:3", "|"]
)
@pytest.mark.parametrize("file", ["a/b/edge.fw", 'odd"|name\n.fw', "f" * 300, "ünïcode" * 30])
def test_tags_fit_and_come_back(comment: str | None, file: str) -> None:
    rule = Rule((ACCEPT,), Span(SourceFile(file, "one\ntwo\n"), 4, 7), comment)
    text = nft_text.rule_text(rule, tag=True)
    assert text.count('"') == 2
    assert text.isprintable()
    written = text.split('"')[1]
    assert len(written.encode()) <= COMMENT_BYTES
    place = place_of(written)
    assert place is not None
    assert place.line == 2
    if comment == "short":
        assert place.comment == "short"
    if comment == "old | src:a.fw:3":
        assert place.comment == "old"


def test_without_tags() -> None:
    assert nft_text.rule_text(Rule((ACCEPT,), SPAN, "why")) == 'accept comment "why"'
    assert nft_text.rule_text(Rule((ACCEPT,), SPAN)) == "accept"


# ---- whole rulesets ------------------------------------------------------------------------------------------------
def test_the_batch_replaces_its_own_table_only() -> None:
    text = nft_text.emit(ruleset(Rule((ACCEPT,), SPAN)))
    assert text.startswith("#!/usr/sbin/nft -f\n")
    assert "add table inet t\ndelete table inet t\n" in text
    assert "flush" not in text
    assert 'accept comment "src:edge.fw:2"' in text


def test_flush_only_when_the_source_does() -> None:
    made = ruleset(Rule((ACCEPT,), SPAN))
    made.replaces = True
    assert "flush ruleset" in nft_text.emit(made)
    assert {"flush": {"ruleset": None}} in nft_json.emit(made)["nftables"]


def test_a_refusal_knows_its_place() -> None:
    with pytest.raises(Unprintable) as problem:
        nft_text.emit(ruleset(Rule((Log(prefix='"'),), SPAN)))
    assert problem.value.span is SPAN
    assert str(problem.value).startswith("some/dir/edge.fw:2: ")
    for made in (ruleset(table_name="a b"), ruleset(chain_name="accept")):
        with pytest.raises(Unprintable) as problem:
            nft_text.emit(made)
        with pytest.raises(CannotEmit):
            nft_json.emit(made)


def test_sets_with_ranges_are_interval_sets_and_merged() -> None:
    made = ruleset()
    table = made.tables["inet", "t"]
    elements = [Element((Interval(0, 10),)), Element((Interval(5, 20),)), Element((Interval(21, 30),))]
    table.sets["s"] = NamedSet("s", table, SPAN, ("mark",), (32,), auto_merge=True, elements=elements)
    text = nft_text.emit(made)
    assert "flags interval" in text
    assert "auto-merge" in text
    assert "0x0-0x1e\n" in text
    added = next(each["add"] for each in nft_json.emit(made)["nftables"] if "set" in each.get("add", {}))  # type: ignore[operator]
    assert added["set"]["elem"] == [{"range": [0, 30]}]  # type: ignore[index]


@pytest.mark.parametrize("typeof", ["ip saddr; }", 'iifname "x"', "ip saddr\n}", "$x", "ip saddr # x"])
def test_typeof_can_not_break_out(typeof: str) -> None:
    made = ruleset()
    table = made.tables["inet", "t"]
    table.sets["s"] = NamedSet("s", table, SPAN, ("ipv4_addr",), (32,), typeof=typeof)
    with pytest.raises(Unprintable):
        nft_text.emit(made)


# ---- JSON ----------------------------------------------------------------------------------------------------------
def test_json_of_flags_and_wide_numbers() -> None:
    assert json_statement.statement(Match(FLAGS, "in", one(0x12))) == {
        "match": {"op": "in", "left": {"payload": {"protocol": "tcp", "field": "flags"}}, "right": ["syn", "ack"]}
    }
    wide = Payload("nh", 64, 128, "integer")
    made = json_statement.statement(Match(wide, "==", one(1 << 100)))
    assert made["match"]["right"] == f"{1 << 100:#x}"  # type: ignore[index]


@pytest.mark.parametrize(
    "made",
    [
        ForeignMatch("match", "string"),
        Match(IIFNAME, "==", (Name("@eth"),)),
        SetUpdate("add", "s", SADDR, None, 1500),
        SetUpdate("add", "m", SADDR, DPORT),
        Match(Concat((SADDR, DPORT)), "<", one(1, 2)),
    ],
)
def test_what_json_can_not_say_is_refused(made: Statement) -> None:
    with pytest.raises(Unsayable):
        json_statement.statement(made)


def test_json_refuses_a_dormant_table() -> None:
    made = ruleset(Rule((ACCEPT,), SPAN))
    made.tables["inet", "t"].flags = ("dormant",)
    with pytest.raises(Unsayable):
        nft_json.emit(made)


def test_priorities_are_numbers() -> None:
    chains = [each["add"]["chain"] for each in nft_json.emit(ruleset())["nftables"] if "chain" in each.get("add", {})]  # type: ignore[operator,index]
    assert [type(chain["prio"]) for chain in chains] == [int]


def test_a_prefix_map_sets_the_flag_that_json_knows() -> None:
    lookup = MapLookup(SADDR, SetLiteral((Element((Interval(0, 255),), (Interval(256, 511),)),)), "ipv4_addr", 32)
    made = json_statement.statement(Nat("snat", "ip", lookup, prefix=True))
    assert made["snat"]["flags"] == ["netmap"]  # type: ignore[index]
    assert statement(Nat("snat", "ip", lookup, prefix=True)) == (
        "snat ip prefix to ip saddr map { 0.0.0.0/24 : 0.0.1.0/24 }"
    )
