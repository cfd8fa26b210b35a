"""nft's JSON to text: everything is written or refused with its place, nothing is passed over."""

from __future__ import annotations

from typing import Any

import pytest

from fireproof.source.text import SourceFile
from fireproof.syntax.build import load_source
from fireproof.syntax.nft_json import JsonProblem, to_text

TABLE = {"table": {"family": "inet", "name": "t", "handle": 1}}
CHAIN: dict[str, Any] = {
    "chain": {"family": "inet", "table": "t", "name": "c", "handle": 1, "type": "filter", "hook": "input", "prio": 0,
              "policy": "drop"}
}  # fmt: skip


def listing(*expr: Any, **more: Any) -> dict[str, Any]:
    rule = {"family": "inet", "table": "t", "chain": "c", "handle": 7, "expr": list(expr), **more}
    return {"nftables": [{"metainfo": {"version": "1.0.6", "json_schema_version": 1}}, TABLE, CHAIN, {"rule": rule}]}


def rule_of(*expr: Any, **more: Any) -> str:
    made = to_text(listing(*expr, **more))
    (line,) = made.handles
    return made.text.splitlines()[line - 1].strip()


def match(left: Any, right: Any, op: str = "==") -> Any:
    return {"match": {"op": op, "left": left, "right": right}}


META_IIFNAME = {"meta": {"key": "iifname"}}
TCP_FLAGS = {"payload": {"protocol": "tcp", "field": "flags"}}


@pytest.mark.parametrize(
    ("expr", "text"),
    [
        (match(META_IIFNAME, "eth*"), 'iifname "eth*"'),
        (match(META_IIFNAME, "10.0.0.1"), 'iifname "10.0.0.1"'),
        (match(META_IIFNAME, {"set": ["lo", "eth0"]}), 'iifname { "lo", "eth0" }'),
        (match({"ct": {"key": "state"}}, ["established", "new"], "in"), "ct state established,new"),
        (match({"ct": {"key": "state"}}, "new", "in"), "ct state new"),
        (match(TCP_FLAGS, ["syn", "ack"], "!"), "tcp flags ! syn,ack"),
        (match(TCP_FLAGS, 18), "tcp flags == 18"),
        (match({"&": [TCP_FLAGS, ["fin", "syn"]]}, "syn"), "tcp flags & (fin | syn) == syn"),
        (match({"&": [TCP_FLAGS, {"|": ["fin", "syn"]}]}, ["fin", "syn"]), "tcp flags & (fin | syn) == fin | syn"),
        (match({"payload": {"base": "nh", "offset": 64, "len": 64}}, -1), "@nh,64,64 0xffffffffffffffff"),
        (match({"payload": {"protocol": "icmp", "field": "type"}}, {"range": ["echo-reply", 5]}),
         'icmp type "echo-reply"-5'),
        (match({"payload": {"protocol": "ip6", "field": "saddr"}}, {"prefix": {"addr": "fe80::", "len": 10}}),
         "ip6 saddr fe80::/10"),
        (match({"meta": {"key": "hour"}}, {"range": ["08:00", "18:00"]}), 'meta hour "08:00"-"18:00"'),
        (match({"fib": {"result": "oif", "flags": ["saddr", "iif"]}}, False), "fib saddr . iif oif missing"),
        (match({"fib": {"result": "check", "flags": "saddr"}}, True), "fib saddr oif exists"),
        ({"limit": {"rate": 5, "per": "second", "burst": 9, "inv": True}}, "limit rate over 5/second burst 9 packets"),
        ({"quota": {"val": 5, "val_unit": "mbytes", "inv": True}}, "quota over 5 mbytes"),
        ({"log": {"prefix": "x", "flags": ["tcp sequence", "all"]}}, 'log prefix "x" flags tcp sequence flags all'),
        ({"log": {"flags": "all"}}, "log flags all"),
        ({"reject": {"type": "icmpx", "expr": "port-unreachable"}}, "reject with icmpx type port-unreachable"),
        ({"dnat": {"family": "ip6", "addr": {"range": ["::1", "::9"]}, "port": 80}}, "dnat ip6 to [::1]-[::9]:80"),
        ({"masquerade": None}, "masquerade"),
        ({"masquerade": {"flags": "random", "port": {"range": [1, 2]}}}, "masquerade to :1-2 random"),
        ({"xt": {"type": "match", "name": "string"}}, 'xt match "string"'),
        ("update @w { ip saddr : tcp dport }", "update @w { ip saddr : tcp dport }"),
        ({"vmap": {"key": {"ct": {"key": "state"}}, "data": {"set": [["new", {"jump": {"target": "x"}}]]}}},
         "ct state vmap { new : jump x }"),
        ({"set": {"op": "add", "elem": {"elem": {"val": META_IIFNAME, "timeout": 30}}, "set": "@s",
                  "stmt": [{"counter": None}]}}, "add @s { iifname timeout 30s counter }"),
    ],
)  # fmt: skip
def test_statement(expr: Any, text: str) -> None:
    assert rule_of(expr) == text


@pytest.mark.parametrize(
    ("document", "path"),
    [
        ([], ""),
        ({"nftables": [], "more": 1}, "/more"),
        ({"nftables": [{"tabel": {}}]}, "/nftables/0/tabel"),
        (listing({"bogus": 1}), "/nftables/3/rule/expr/0/bogus"),
        (listing({"accept": None}, {"limit": {"rate": 1, "per": "second", "brust": 5}}),
         "/nftables/3/rule/expr/1/limit/brust"),
        (listing({"accept": 1}), "/nftables/3/rule/expr/0/accept"),
        (listing(match({"meta": {"key": "mark", "x": 1}}, 1)), "/nftables/3/rule/expr/0/match/left/meta/x"),
        (listing(match({"nope": 1}, 1)), "/nftables/3/rule/expr/0/match/left/nope"),
        (listing(match(META_IIFNAME, 'a" accept')), "/nftables/3/rule/expr/0/match/right"),
        (listing(match(META_IIFNAME, "x", "=~")), "/nftables/3/rule/expr/0/match/op"),
        (listing({"jump": {"target": "a b"}}), "/nftables/3/rule/expr/0/jump/target"),
        (listing({"log": {"level": "a; accept"}}), "/nftables/3/rule/expr/0/log/level"),
        (listing("accept; accept"), "/nftables/3/rule/expr/0"),
        (listing("accept }"), "/nftables/3/rule/expr/0"),
        (listing("accept # x"), "/nftables/3/rule/expr/0"),
        (listing("accept\naccept"), "/nftables/3/rule/expr/0"),
        (listing(), "/nftables/3/rule"),
        (listing({"accept": None}, comment="a\nb"), "/nftables/3/rule/comment"),
        ({"nftables": [TABLE, {"chain": {**CHAIN["chain"], "prio": "filter"}}]}, "/nftables/1/chain/prio"),
        ({"nftables": [TABLE, {"chain": {"family": "inet", "table": "t", "name": "c", "policy": "drop"}}]},
         "/nftables/1/chain/policy"),
        ({"nftables": [TABLE, {"chain": {**CHAIN["chain"], "polcy": "drop"}}]}, "/nftables/1/chain/polcy"),
        ({"nftables": [{"add": {"bogus": {"family": "inet", "table": "t", "name": "x"}}}]}, "/nftables/0/add/bogus"),
        ({"nftables": [{"delete": {"bogus": {"family": "inet", "table": "t", "name": "x"}}}]},
         "/nftables/0/delete/bogus"),
    ],
)  # fmt: skip
def test_what_is_not_known_is_refused_with_its_place(document: Any, path: str) -> None:
    with pytest.raises(JsonProblem) as problem:
        to_text(document)
    assert problem.value.path == path


def test_handles_are_kept_by_line() -> None:
    made = to_text(listing({"accept": None}))
    ((line, handle),) = made.handles.items()
    assert handle == ("inet", "t", "c", 7)
    loaded = load_source(SourceFile("kernel", made.text)).require()
    (rule,) = loaded.tables["inet", "t"].chains["c"].rules
    assert rule.span.line == line


def test_commands() -> None:
    document = {
        "nftables": [
            {"flush": {"ruleset": None}},
            {"add": {"table": {"family": "inet", "name": "t"}}},
            {"delete": {"table": {"family": "inet", "name": "t"}}},
            {"add": {"table": {"family": "inet", "name": "t", "flags": "dormant"}}},
            {"add": {"set": {"family": "inet", "table": "t", "name": "s", "type": ["ipv4_addr", "inet_service"]}}},
            {"add": {"element": {"family": "inet", "table": "t", "name": "s", "elem": [{"concat": ["10.0.0.1", 80]}]}}},
            {"add": {"counter": {"family": "inet", "table": "t", "name": "n", "packets": 1, "bytes": 2}}},
            {"add": CHAIN},
            {"add": {"rule": {"family": "inet", "table": "t", "chain": "c", "expr": [{"accept": None}]}}},
            {"insert": {"rule": {"family": "inet", "table": "t", "chain": "c", "expr": [{"drop": None}]}}},
            {"rename": {"chain": {"family": "inet", "table": "t", "name": "c", "newname": "d"}}},
        ]
    }
    made = to_text(document)
    loaded = load_source(SourceFile("commands", made.text)).require()
    table = loaded.tables["inet", "t"]
    assert loaded.replaces
    assert table.flags == ("dormant",)
    assert [len(rule.statements) for rule in table.chains["d"].rules] == [1, 1]
    assert len(table.sets["s"].elements) == 1
    assert made.text.splitlines()[-1] == "rename chain inet t c d"


def test_a_string_for_a_priority_would_open_the_firewall() -> None:
    with pytest.raises(JsonProblem):
        to_text({"nftables": [TABLE, {"add": {"chain": {**CHAIN["chain"], "prio": "filter"}}}]})
