"""Assertions, and the questions of `ask`: one grammar."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from lark import Token

from fireproof.model.assertion import Assertion, Claim, Clause, Place, Question
from fireproof.model.expression import Ct, Interval, Name
from fireproof.netfilter.datatypes import DATATYPES
from fireproof.source.diagnostic import input_error
from fireproof.source.text import SourceFile, Span
from fireproof.syntax import matches, values
from fireproof.syntax.blocks import Line
from fireproof.syntax.grammar import SyntaxProblem, Tree, parse
from fireproof.syntax.references import walk
from fireproof.syntax.scope import Context, MeaningError, Scope, leaves, suggest, unquote

if TYPE_CHECKING:
    from fireproof.model.ruleset import Ruleset
    from fireproof.syntax.build import Builder

_TYPES = {4: values.type_of("ipv4_addr", 32), 6: values.type_of("ipv6_addr", 128)}


_REMARK = re.compile(r'"[^"\n]*"|#[^\n]*')


def _kept(found: re.Match[str]) -> str:
    return found[0] if found[0][0] == '"' else ""


def read_assertion(builder: Builder, file: SourceFile, line: Line) -> None:
    head = file.text[line.start : line.end]
    span = Span(file, line.start, line.end)
    quoted = head.removeprefix("assert").strip()
    name = unquote(quoted)
    if len(quoted) < 2 or quoted[0] != '"' or quoted[-1] != '"':
        raise input_error(
            "syntax", "an assertion has a name in quotes", span, help='write assert "what must hold" { … }'
        )
    if not line.body:
        raise input_error("syntax", f"the assertion `{name}` claims nothing", span)
    for inner in line.body:
        text = file.text[inner.start : inner.end]
        try:
            question = _question(builder.scope, builder.ruleset, text, file, inner.start)
        except SyntaxProblem as problem:
            builder.syntax_problem(file, inner.start, problem)
        except MeaningError as problem:
            builder.meaning_problem(file, inner.start, inner.end, problem)
        else:
            builder.ruleset.assertions.append(Assertion(name, question, span))


def read_question(ruleset: Ruleset, text: str) -> Question:
    """The question of `fireproof ask`. Raises InputError."""
    file = SourceFile("<question>", text)
    body = text.strip().rstrip(";").rstrip()
    base = text.find(body) if body else 0
    try:
        return _question(Scope(), ruleset, body, file, base)
    except SyntaxProblem as problem:
        span = Span(file, base + problem.start, base + problem.end)
        raise input_error("syntax", problem.message, span, label=problem.label, help=problem.help) from None
    except MeaningError as problem:
        found = [leaf for leaf in leaves(problem.node) if isinstance(leaf, Token)]
        start = (found[0].start_pos if found else None) or 0
        end = (found[-1].end_pos if found else None) or len(body)
        raise input_error(
            problem.code, problem.message, Span(file, base + start, base + end), help=problem.help
        ) from None


def _question(scope: Scope, ruleset: Ruleset, text: str, file: SourceFile, base: int) -> Question:
    host = ruleset.host
    context = Context(
        scope, "inet", [], lambda name: _find_set(ruleset, name),
        (lambda name: host.zone(name)) if host else (lambda name: None), (lambda: host.zones()) if host else list,
    )  # fmt: skip
    tree = parse(text, "question")
    quantifier = "always"
    subject = ""
    clauses: list[Clause] = []
    exceptions: list[tuple[Clause, ...]] = []
    claims: list[Claim] = []
    for child in tree.children:
        if child is None:
            continue
        if not isinstance(child, Tree):
            if child.type == "QUANTIFIER":
                quantifier = str(child)
            else:
                subject = str(child)
        elif child.data == "question_except":
            exceptions.append(tuple(_clause(context, clause) for clause in child.children))
        elif child.data.startswith("claim"):
            claims.append(_claim(context, child))
        else:
            clauses.append(_clause(context, child))
    span = Span(file, base, base + len(text))
    return Question(
        quantifier,
        subject,
        tuple(clauses),
        tuple(exceptions),
        tuple(claims),
        " ".join(_REMARK.sub(_kept, text).split()),
        span,
    )


def _find_set(ruleset: Ruleset, name: str) -> Any:
    for table in ruleset.tables.values():
        if name in table.sets:
            return table.sets[name]
    return None


def _clause(context: Context, node: Any) -> Clause:
    if node.data == "question_match":
        made = matches.match(context, node.children[0])
        if any(isinstance(inner, Ct) for inner in walk(made.left)):
            raise MeaningError(
                "a question is about packets as they arrive, before connection tracking", node,
                "leave the state open: a `packet` may come in every state that these rules can produce", "value",
            )  # fmt: skip
        return Clause("match", match=made)
    kind = "from" if node.data == "from_place" else "to"
    return Clause(kind, place=_place(context, node.children[0]))


def _place(context: Context, node: Any) -> Place:
    if node.data == "place_host":
        return Place("host")
    if node.data == "place_zone":
        name = str(node.children[0])
        interfaces = context.zone(name)
        if not interfaces:
            known = (
                suggest(name, context.zones())
                or "zones are given to interfaces in a `host { … }` block (or `--host FILE`)"
            )
            raise MeaningError(f"no interface belongs to a zone `{name}`", node, known)
        return Place("zone", tuple(interfaces), name=name)
    if node.data == "place_interface":
        part = values.part_values(context, Tree("operand", [node.children[0]]), values.type_of("ifname", 128))[0]
        text = part.text + ("*" if part.prefix else "") if isinstance(part, Name) else str(part.low)
        return Place("interface", (text,), name=text)
    version = _version(context, node)
    members = values.expand(context, Tree("value_list", [node.children[0]]))
    keys = [part for item in members for part in values.plain(context, item, _TYPES[version])]
    return Place("address", (), version, tuple(keys))


def _version(context: Context, node: Any) -> int:
    for item in values.expand(context, Tree("value_list", [node.children[0]])):
        for leaf in leaves(item):
            if leaf.type in ("IPV4", "IPV6"):
                return 4 if leaf.type == "IPV4" else 6
    raise MeaningError(
        "a place is `zone NAME`, `interface NAME`, `me`, or addresses", node, "write the addresses out", "value"
    )


def _target(context: Context, node: Any) -> tuple[int, int | None, int | None]:
    version, address, port = 0, None, None
    for child in node.children:
        if child is None:
            continue
        if isinstance(child, Tree):
            inner = values.sole(context, child)
            leaf = leaves(inner)[0]
            if leaf.type not in ("IPV4", "IPV6"):
                raise MeaningError("an address is needed here", node, code="value")
            version = 4 if leaf.type == "IPV4" else 6
            part = values.literal(context, leaf, _TYPES[version])
            assert isinstance(part, Interval)
            address = part.low
        else:
            port = values.integer(str(child))
            if port > 65535:
                raise MeaningError(f"{port} is no port", child, code="value")
    return version, address, port


def _claim(context: Context, node: Any) -> Claim:
    if node.data in ("claim_reaches", "claim_translated"):
        version, address, port = _target(context, node.children[0])
        return Claim(node.data.removeprefix("claim_"), version, address, port)
    if node.data == "claim_via":
        part = values.part_values(context, Tree("operand", [node.children[-1]]), values.type_of("ifname", 128))[0]
        return Claim("via", interface=part.text if isinstance(part, Name) else str(part.low))
    words = [str(leaf) for leaf in node.children if leaf is not None]
    if not words:
        return Claim("rejected")
    if words[-1] == "reset":
        return Claim("rejected", reject="tcp-reset")
    datatype = {"icmp": "icmp_code", "icmpv6": "icmpv6_code", "icmpx": "icmpx_code"}.get(words[0])
    code = DATATYPES[datatype].symbols.get(words[-1]) if datatype else None
    if code is None:
        raise MeaningError("a reject is `tcp reset`, or icmp, icmpv6 or icmpx with a type", node, code="value")
    return Claim("rejected", reject=words[0], code=code)
