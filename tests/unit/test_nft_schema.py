"""The schema of nft's JSON takes what nft prints and what we emit, and refuses what nft would ignore in silence."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from fireproof.resources import schema
from tests.corpus.rule_blocks import json_rule_blocks

NFT = Draft202012Validator(schema("nft"))

TABLE = {"family": "inet", "table": "edge"}
BASE_CHAIN = {**TABLE, "name": "in", "type": "filter", "hook": "input", "prio": 0, "policy": "drop"}
SADDR = {"payload": {"protocol": "ip", "field": "saddr"}}


def ruleset(*items: Any) -> dict[str, Any]:
    return {"nftables": list(items)}


def add_rule(*statements: Any, **more: Any) -> dict[str, Any]:
    return ruleset({"add": {"rule": {**TABLE, "chain": "in", "expr": list(statements), **more}}})


def listed_rule(*statements: Any) -> dict[str, Any]:
    return ruleset({"rule": {**TABLE, "chain": "in", "handle": 5, "expr": list(statements)}})


def match(left: Any, right: Any, op: str = "==") -> dict[str, Any]:
    return {"match": {"op": op, "left": left, "right": right}}


GOOD = {
    "flush everything": ruleset({"flush": {"ruleset": None}}),
    "replace a table": ruleset(
        {"add": {"table": {"family": "inet", "name": "edge"}}},
        {"delete": {"table": {"family": "inet", "name": "edge"}}},
        {"add": {"chain": BASE_CHAIN}},
    ),
    "destroy": ruleset({"destroy": {"set": {**TABLE, "name": "s"}}}),
    "negative priority": ruleset({"add": {"chain": {**BASE_CHAIN, "prio": -300}}}),
    "two devices": ruleset({"add": {"chain": {**BASE_CHAIN, "hook": "ingress", "dev": ["lan0", "lan1"]}}}),
    "listed chain": ruleset({"chain": {**BASE_CHAIN, "handle": 3}}),
    "flag as scalar": add_rule({"masquerade": {"flags": "random"}}),
    "flags as list": add_rule({"masquerade": {"flags": ["random", "persistent"]}}),
    "state in list": add_rule(match({"ct": {"key": "state"}}, ["established", "related"], "in"), {"accept": None}),
    "verdict map": add_rule(
        {
            "vmap": {
                "key": SADDR,
                "data": {"set": [["10.0.0.1", {"accept": None}], ["10.0.0.2", {"jump": {"target": "x"}}]]},
            }
        }
    ),
    "raw payload": add_rule(match({"payload": {"base": "th", "offset": 16, "len": 16}}, "0xffffffffffffffff")),
    "connlimit": add_rule(
        {"set": {"op": "add", "elem": SADDR, "set": "@c", "stmt": [{"ct count": {"val": 10, "inv": True}}]}},
        {"reject": {"type": "tcp reset"}},
    ),
    "elements": ruleset(
        {"add": {"element": {**TABLE, "name": "s", "elem": [{"elem": {"val": "10.0.0.1", "timeout": 30}}, "10.0.0.2"]}}}
    ),
    "set of a joined type": ruleset(
        {"add": {"set": {**TABLE, "name": "s", "type": ["ipv4_addr", "inet_service"], "flags": ["interval"]}}}
    ),
    "typeof": ruleset({"set": {**TABLE, "name": "s", "type": {"typeof": SADDR}, "handle": 4, "flags": "timeout"}}),
    "listed map of a joined value": ruleset(
        {"map": {**TABLE, "name": "m", "handle": 6, "type": "ipv4_addr", "map": "ipv4_addr . inet_service"}}
    ),
    "listed dormant table": ruleset({"table": {"family": "inet", "name": "t", "handle": 1, "flags": ["dormant"]}}),
    "flowtable": ruleset({"add": {"flowtable": {**TABLE, "name": "f", "hook": "ingress", "prio": 0, "dev": "lan0"}}}),
    "offload": add_rule({"flow": {"op": "add", "flowtable": "@f"}}),
    "listed xt": ruleset(
        {"rule": {**TABLE, "chain": "in", "handle": 5, "expr": [{"xt": {"type": "match", "name": "string"}}]}}
    ),
    "listed text": ruleset({"rule": {**TABLE, "chain": "in", "handle": 5, "expr": ["update @m { ip saddr : 0x4 }"]}}),
    "inner header": add_rule(match({"payload": {"tunnel": "vxlan", "protocol": "ip", "field": "saddr"}}, "10.0.0.1")),
    "last used": add_rule({"last": {"used": 1500}}),
    "map statement": add_rule({"map": {"op": "update", "elem": SADDR, "data": 4, "map": "@m"}}),
}

BAD = {
    "a misspelt policy leaves the chain open": ruleset(
        {"add": {"chain": {k if k != "policy" else "polcy": v for k, v in BASE_CHAIN.items()}}}
    ),
    "a priority by name loses the hook": ruleset({"add": {"chain": {**BASE_CHAIN, "prio": "filter"}}}),
    "a policy without a hook is lost": ruleset({"add": {"chain": {**TABLE, "name": "in", "policy": "drop"}}}),
    "a hook without a priority": ruleset({"add": {"chain": {k: v for k, v in BASE_CHAIN.items() if k != "prio"}}}),
    "unknown statement": add_rule({"acept": None}),
    "two statements in one object": add_rule({"counter": None, "accept": None}),
    "accept with a value": add_rule({"accept": True}),
    "unknown key in a statement": add_rule({"log": {"prefx": "in "}}),
    "unknown expression": add_rule(match({"paylod": {"protocol": "ip", "field": "saddr"}}, "10.0.0.1")),
    "half a payload": add_rule(match({"payload": {"protocol": "ip"}}, "10.0.0.1")),
    "named and raw payload at once": add_rule(
        match({"payload": {"protocol": "ip", "field": "saddr", "base": "nh", "offset": 0, "len": 8}}, 1)
    ),
    "match without an operator": add_rule({"match": {"left": SADDR, "right": "10.0.0.1"}}),
    "unknown key beside the operands": add_rule({"match": {"op": "==", "left": SADDR, "right": 1, "not": True}}),
    "a number above 63 bits": add_rule(match({"payload": {"base": "th", "offset": 0, "len": 64}}, 2**63)),
    "a number below zero": add_rule(match({"meta": {"key": "mark"}}, -1)),
    "a list where a map wants pairs": add_rule({"vmap": {"key": SADDR, "data": {"set": [["10.0.0.1"]]}}}),
    "a verdict that is none": add_rule({"vmap": {"key": SADDR, "data": {"set": [["10.0.0.1", {"allow": None}]]}}}),
    "a set by name without its sign": add_rule({"set": {"op": "add", "elem": SADDR, "set": "c"}}),
    "a rule without statements": add_rule(),
    "a rule with no table": ruleset({"add": {"rule": {"family": "inet", "chain": "in", "expr": [{"accept": None}]}}}),
    "a rule deleted without its handle": ruleset({"delete": {"rule": {**TABLE, "chain": "in"}}}),
    "xt cannot be loaded": add_rule({"xt": {"type": "match", "name": "string"}}),
    "text is no statement to load": add_rule("tcp dport 22 accept"),
    "a comment that nft prints and cannot read": add_rule({"accept": None}, comment='say "no"'),
    "a comment that kills nft": add_rule({"accept": None}, comment="x" * 254),
    "unknown set flag": ruleset({"add": {"set": {**TABLE, "name": "s", "type": "mark", "flags": ["intervals"]}}}),
    "a map whose value is joined becomes a set": ruleset(
        {"add": {"map": {**TABLE, "name": "m", "type": "ipv4_addr", "map": ["ipv4_addr", "inet_service"]}}}
    ),
    "the policy of a ct timeout is lost": ruleset(
        {"add": {"ct timeout": {**TABLE, "name": "t", "protocol": "tcp", "policy": {"established": 60}}}}
    ),
    "a dormant table becomes active": ruleset({"add": {"table": {"family": "inet", "name": "t", "flags": "dormant"}}}),
    "unknown command": ruleset({"ad": {"table": {"family": "inet", "name": "edge"}}}),
    "two commands in one object": ruleset(
        {"add": {"table": {"family": "ip", "name": "a"}}, "flush": {"ruleset": None}}
    ),
    "unknown family": ruleset({"add": {"table": {"family": "ipv4", "name": "edge"}}}),
    "a listed object without its handle": ruleset({"chain": BASE_CHAIN}),
    "a key beside nftables": {**ruleset(), "version": 1},
}


def first_error(document: Any) -> str:
    for error in NFT.iter_errors(document):
        return f"{error.json_path}: {error.message}"
    return ""


@pytest.mark.parametrize("name", GOOD)
def test_takes(name: str) -> None:
    assert first_error(GOOD[name]) == ""


@pytest.mark.parametrize("name", BAD)
def test_refuses(name: str) -> None:
    assert first_error(BAD[name]) != ""


def test_the_schema_is_a_schema() -> None:
    Draft202012Validator.check_schema(schema("nft"))


@pytest.mark.corpus
def test_takes_every_rule_of_nftables_own_tests(corpus_dir: Path) -> None:
    files = sorted((corpus_dir / "nft-tests-py").rglob("*.t.json"))
    if not files:
        pytest.skip(f"no .t.json files under {corpus_dir}")
    refused, seen = [], 0
    for file in files:
        for rule, statements in json_rule_blocks(file):
            seen += 1
            if error := first_error(add_rule(*statements)):
                refused.append(f"{file.name}: {rule}: {error}")
    assert refused == []
    assert seen >= 1500


def test_a_thousand_rules_validate_in_seconds() -> None:
    """About 0.6 ms a rule where it was written; guards against a oneOf, which tries every branch at every level."""
    rules = [
        {
            "add": {
                "rule": {
                    **TABLE,
                    "chain": "in",
                    "expr": [
                        match({"meta": {"key": "iifname"}}, "wan0"),
                        match(SADDR, {"prefix": {"addr": f"10.{i // 256}.{i % 256}.0", "len": 24}}),
                        match({"payload": {"protocol": "tcp", "field": "dport"}}, {"set": [22, {"range": [80, 90]}]}),
                        {"accept": None},
                    ],
                }
            }
        }
        for i in range(1000)
    ]
    begin = time.process_time()
    assert NFT.is_valid(ruleset(*rules))
    assert time.process_time() - begin < 4
