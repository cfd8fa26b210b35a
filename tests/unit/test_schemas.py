"""The schemas of our own output are schemas, closed, and say the same thing where they say it twice."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from fireproof.resources import MissingResourceError, grammar_text, schema

OUTPUTS = ["ask", "compile", "diagnostics", "lint", "trace", "verify"]

WITNESS = {
    "packets": [{"iif": "eth0", "direction": "original", "packet": "TCP SYN 10.0.0.1:1 > 10.0.0.2:22", "hex": "4500"}],
    "story": ["the first packet is accepted in forward"],
}
FINDING = {
    "code": "FP001",
    "severity": "warning",
    "message": "this rule never matches",
    "file": "edge.fw",
    "line": 3,
    "column": 5,
    "end_line": 3,
    "end_column": 20,
    "help": "remove it",
    "related": [{"file": "edge.fw", "line": 2, "message": "all of it is taken here"}],
    "fix": {
        "title": "remove the rule",
        "file": "edge.fw",
        "line": 3,
        "column": 1,
        "end_line": 4,
        "end_column": 1,
        "text": "",
    },
}
STEP = {"hook": "forward", "table": "inet edge", "chain": "forward", "file": "edge.fw", "line": 4, "verdict": "accept"}
EXAMPLES: dict[str, dict[str, Any]] = {
    "ask": {
        "question": "connection from zone lan to zone wan",
        "answer": "depends",
        "depends_on": [{"file": "edge.fw", "line": 3, "what": "limit rate 5/second"}],
        "witness": WITNESS,
        "decided_by": [{"file": "edge.fw", "line": 3, "text": "accept", "hook": "forward", "verdict": "accept"}],
    },
    "compile": {"to": "nft", "output": "table inet edge {}\n", "proved": "equal"},
    "diagnostics": {"errors": [{**FINDING, "severity": "error", "fix": None, "related": []}]},
    "lint": {"findings": [FINDING], "rules": 7},
    "trace": {
        "packets": [
            {
                "verdict": "accept",
                "delivered": "forward",
                "state": "new",
                "out": [{"oif": "eth1", "packet": "TCP SYN 10.0.0.1:1 > 10.0.0.2:22"}],
                "path": [STEP],
            }
        ]
    },
    "verify": {
        "assertions": [
            {"name": "web", "file": "edge.fw", "line": 9, "holds": False, "answer": "never", "witness": WITNESS},
            {"name": "mail", "file": "edge.fw", "line": 12, "holds": True, "answer": "always", "witness": None},
        ]
    },
}


def subschemas(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        yield node
        for child in node.values():
            yield from subschemas(child)
    elif isinstance(node, list):
        for child in node:
            yield from subschemas(child)


@pytest.mark.parametrize("name", OUTPUTS)
def test_takes_the_documented_shape(name: str) -> None:
    Draft202012Validator.check_schema(schema(name))
    assert [e.message for e in Draft202012Validator(schema(name)).iter_errors(EXAMPLES[name])] == []


@pytest.mark.parametrize("name", OUTPUTS)
def test_refuses_a_key_left_out_or_added(name: str) -> None:
    validator = Draft202012Validator(schema(name))
    for key in EXAMPLES[name]:
        assert not validator.is_valid({k: v for k, v in EXAMPLES[name].items() if k != key})
    assert not validator.is_valid({**EXAMPLES[name], "extra": 1})


def test_an_unknown_answer_never_holds() -> None:
    assertion = {**EXAMPLES["verify"]["assertions"][1], "answer": "unknown"}
    assert not Draft202012Validator(schema("verify")).is_valid({"assertions": [assertion]})


@pytest.mark.parametrize("name", [*OUTPUTS, "nft"])
def test_every_object_is_closed(name: str) -> None:
    """A `false` property only narrows an object that is closed where it is described."""
    for node in subschemas(schema(name)):
        if False in node.get("properties", {}).values():
            continue
        types = node.get("type")
        if "properties" in node and (types == "object" or (isinstance(types, list) and "object" in types)):
            assert node.get("additionalProperties") is False, node


@pytest.mark.parametrize(("one", "other", "shared"), [("lint", "diagnostics", "finding"), ("ask", "verify", "witness")])
def test_what_is_written_twice_is_the_same(one: str, other: str, shared: str) -> None:
    assert schema(one)["$defs"][shared] == schema(other)["$defs"][shared]


def test_a_missing_file_is_named() -> None:
    with pytest.raises(MissingResourceError, match=r"nothing\.lark"):
        grammar_text("nothing.lark")


def test_a_resource_has_no_folder() -> None:
    with pytest.raises(ValueError, match="without a folder"):
        grammar_text("../pyproject.toml")
