"""What a syntax error says: what could have stood there, in few words, and advice for the slips people make most.

The words come from the terminals that the LALR parser would have taken; groups of them are named as one thing, so that
the label stays short.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any

WIDTH = 90
"""Longest label in columns."""

_STATEMENT = frozenset(("VERDICT", "JUMP", "NAT", "NAT_TO"))
_FIELD = frozenset(("PROTO", "META_WORD", "EXTHDR", "RAW", "ARP_ADDRESS"))
_VALUE = frozenset((
    "NUMBER", "TIME", "IPV4", "IPV6", "MAC", "CLASSID", "QUOTED", "WILDCARD", "VARIABLE", "SETREF", "WORD", "BOOLEAN",
    "DIRECTION", "ICMPX", "VLAN_TYPE", "LSQB", "LPAR", "LBRACE", "STAR",
))  # fmt: skip
_NAMES = {
    "WORD": "a name", "NUMBER": "a number", "QUOTED": "text in quotes", "VARIABLE": "$variable", "SETREF": "@set",
    "IPV4": "an IPv4 address", "IPV6": "an IPv6 address", "MAC": "a MAC address", "TIME": "a time such as 30s",
    "$END": "the end of the line", "OPERATOR": "a comparison", "LIMIT_SENSE": "`over` or `until`",
    "SET_OPERATION": "`add`, `update` or `delete`", "DIRECTION": "`original` or `reply`", "VERDICT": "a verdict",
    "BOOLEAN": "`exists` or `missing`", "LOG_FLAG": "a log flag", "NAT_FLAG": "a NAT flag", "SIGN": "`+` or `-`",
    "QUESTION_KIND": "`connection` or `packet`", "QUANTIFIER": "`no` or `possible`", "PROTO": "a protocol",
    "QUEUE_FLAG": "`bypass` or `fanout`", "OPTION_RAW": "@number,offset,length", "STAR": "`*`", "ICMPX": "`icmpx`",
    "OBJECT_TYPE": "a kind of object", "SYNPROXY_FLAG": "`timestamp` or `sack-perm`",
}  # fmt: skip
_PIECE = re.compile(r'"[^"\n]*"?|[$@]?[\w][\w./-]*|\s')
_ALTERNATIVES = re.compile(r"\(\?:([a-z0-9|-]+)\)")


def piece_at(text: str, at: int) -> str:
    """The word, quoted text or single character at an offset."""
    found = _PIECE.match(text, at, at + 200)
    return found[0] if found else text[at : at + 1] or " "


def words(terminals: Iterable[Any], names: set[str]) -> list[str]:
    """The plain words that could have stood there, for a `did you mean`."""
    found: list[str] = []
    for terminal in terminals:
        if terminal.name not in names:
            continue
        pattern = terminal.pattern.value
        if terminal.pattern.type == "str":
            found.append(pattern)
        else:
            found += [word for group in _ALTERNATIVES.findall(pattern) for word in group.split("|")]
    return [word for word in found if word[:1].isalpha()]


def label(terminals: Iterable[Any], names: set[str], entry: str) -> str:
    """`expected …`: the likeliest things, most telling first."""
    if entry == "table_line":
        return "expected chain, set, map, flowtable, counter, quota, limit, ct …, `flags` or `comment`"
    left = set(names) - {"BINARY", "ICMPX"}
    found: list[str] = []
    literals = {t.name: t.pattern.value for t in terminals if t.pattern.type == "str"}
    if left >= _STATEMENT:
        found += ["a match", "a statement", "a verdict"] if entry == "rule" else ["a match"]
        left -= _STATEMENT | _FIELD | _VALUE | {"SET_OPERATION", "BOOLEAN"}
        left &= {"$END"}
    elif len(left & _FIELD) > 2 and left & {"NUMBER", "IPV4"}:
        found.append("a value or a field such as `ip saddr`")
        left -= _FIELD | _VALUE | _STATEMENT
        left -= {name for name in left if literals.get(name, "").isalpha()}
    elif len(left & _FIELD) > 2:
        found.append("a field such as `ip saddr`")
        left -= _FIELD | _STATEMENT | {"LPAR"}
        left -= {name for name in left if literals.get(name, "").isalpha()}
    if len(left & _VALUE) > 5:
        if "OPERATOR" in left:
            found.append("a comparison")
            left -= {"OPERATOR", "NOT"}
        found.append("a value")
        left -= _VALUE | _STATEMENT | {"PROTO", "EXTHDR"}
    plain = sorted(f"`{literals[name]}`" for name in left if name in literals and name != "__ANON_0")
    # A closing mark or a separator says more than a keyword.
    marks = [word for word in plain if not word[1].isalnum()]
    plain = marks if marks and len(plain) > 4 else [*marks, *(word for word in plain if word not in marks)]
    found += [_NAMES[name] for name in sorted(left) if name in _NAMES and name != "$END"]
    found += plain
    if "$END" in left:
        found.append(_NAMES["$END"])
    found = list(dict.fromkeys(part for item in found for part in (item.split(" or ") if "`" in item[:1] else [item])))
    shown: list[str] = []
    for item in found:
        if len("expected " + ", ".join([*shown, item])) > WIDTH - len(" or 99 others"):
            break
        shown.append(item)
    rest = len(found) - len(shown)
    if not shown:
        return ""
    if rest:
        return f"expected {', '.join(shown)} or {rest} other{'s' * (rest > 1)}"
    return f"expected {' or '.join(filter(None, [', '.join(shown[:-1]), shown[-1]]))}"


# ---- advice --------------------------------------------------------------------------------------------------------
_LINE_WORDS = frozenset((
    "type", "typeof", "flags", "elements", "policy", "timeout", "gc-interval", "size", "auto-merge", "comment",
    "device", "devices", "hook", "counter", "l3proto", "protocol", "dport", "zone", "address", "route",
))  # fmt: skip
_BLOCKS = ("chain", "set", "map", "flowtable", "counter", "quota", "limit", "synproxy", "secmark")
_IPTABLES = re.compile(
    r"\s*(?:(?:ip|ip6|arp|eb)tables(?:-\w+)?\b|-[AIDPNF] [A-Z]|:[A-Z]+ (?:ACCEPT|DROP|-)"
    r"|\*(?:filter|nat|mangle|raw)\b|COMMIT\b)"
)
_TEMPLATE = re.compile(r"\{\{|\{%|<%|\$\{\w+\}|@@\w+@@")
_OPTION = re.compile(r"\s(?:-[jgpsdiom] [\w./]+|--[a-z-]{3,})")
_VERDICTS = frozenset(("accept", "drop", "jump", "goto", "return", "continue"))
_TYPOGRAPHIC = "“”„‟«»‘’‚"
_FAMILIAR = {
    "&&": "conditions of a rule all have to hold: write them one after the other",
    "||": "write the alternatives as a set: `tcp dport { 22, 80 }`",
    "--": "a comment starts with `#`",
    "//": "a comment starts with `#`",
    "/*": "a comment starts with `#`",
}


def whole_text(text: str) -> str:
    """Advice that does not depend on the place: the text is of another kind."""
    if _TEMPLATE.search(text):
        return "this looks like a template: render it first, then check the result"
    if _IPTABLES.match(text):
        return "this looks like iptables, not nft"
    return ""


def help_for(text: str, at: int, piece: str, known: list[str], names: set[str], entry: str) -> str:
    """Advice about an unexpected piece of a statement."""
    general = whole_text(text[:400])
    if general:
        return general
    if any(mark in text[max(0, at - 1) : at + len(piece)] for mark in _TYPOGRAPHIC):
        return 'use plain quotes: "…"'
    if piece[0] == '"' and (len(piece) < 2 or piece[-1] != '"'):
        return "this quote is never closed on its line"
    familiar = _FAMILIAR.get(text[at : at + 2]) or _FAMILIAR.get(text[max(0, at - 1) : at + 1])
    if familiar:
        return familiar
    if entry == "rule" and _OPTION.search(text[:400]):
        return "this looks like an option of iptables, not nft"
    if piece == "=" and "OPERATOR" in names:
        return "to compare, write `==` or leave it out"
    if piece == "=" and text[:at].split()[-1:] == ["elements"]:
        return ""
    if piece == "{" and "EQUAL" in names:
        return "a `=` is missing before the list"
    if piece in _LINE_WORDS and entry != "rule" and "$END" in names:
        return f"a `;` or a line end is missing before `{piece}`"
    if entry == "question" and at > 0 and piece in ("no", "possible", "always", "connection", "packet"):
        return f"a `;` is missing before `{piece}`"
    if entry == "table_line":
        known = [*known, *_BLOCKS]
    elif entry == "rule" and at == 0:
        known = [*known, "type", "policy", "device", "flags"]
    near = nearest(piece, known)
    if near:
        return f"did you mean `{near}`?"
    if not (piece[0].isalnum() or piece[0] in '$"@'):
        return ""
    in_map = re.search(r"\bv?map\s*\{[^{}]*\Z|\A[^{}]*\Z", text[:at]) is not None
    if "COLON" in names and in_map and "{" in text[:at]:
        return "a `:` is missing before it"
    if "RBRACE" in names and piece in _VERDICTS:
        return "a `}` is missing before it"
    if "COMMA" in names and "RBRACE" in names:
        return "a `,` is missing before it"
    return ""


def help_at_end(text: str, names: set[str]) -> str:
    general = whole_text(text[:400])
    if general:
        return general
    if "RBRACE" in names and text.count("{") > text.count("}"):
        return "a `}` is missing"
    if "RPAR" in names and text.count("(") > text.count(")"):
        return "a `)` is missing"
    return ""


def nearest(word: str, known: Iterable[str]) -> str:
    """The known word that was probably meant, or nothing."""
    known = list(dict.fromkeys(known))
    lower = word.lower()
    if lower != word and lower in known:
        return lower
    if not word[:1].isalpha() or len(word) < 3 or word in known:
        return ""
    near = get_close_matches(lower, known, n=1, cutoff=0.7)
    return near[0] if near else ""
