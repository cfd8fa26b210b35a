"""Chains: their hook, policy and rules."""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING, Any

from fireproof.model.expression import Name
from fireproof.model.ruleset import BaseHook, Chain, Rule, Table
from fireproof.model.statement import ForeignMatch, Statement
from fireproof.netfilter import hooks
from fireproof.source.text import SourceFile, Span
from fireproof.syntax import statements, values
from fireproof.syntax.blocks import Line
from fireproof.syntax.directives import directive, is_directive
from fireproof.syntax.grammar import Node, SyntaxProblem, Tree, parse
from fireproof.syntax.head import Problem
from fireproof.syntax.priority import priority_of
from fireproof.syntax.scope import Context, MeaningError, Scope, suggest, unquote

if TYPE_CHECKING:
    from fireproof.syntax.build import Builder

MAX_RULES = 2_000_000
_CHAIN_LINE = re.compile(r"(?:type|policy|comment|devices?|flags)\b(?![.\/-])")


def declare(table: Table, name: str, span: Span) -> Chain:
    """The chain of that name, made if it is not there."""
    chain = table.chains.get(name)
    if chain is None:
        chain = table.chains[name] = Chain(name, table, span)
    return chain


def read_body(builder: Builder, file: SourceFile, body: list[Line], chain: Chain) -> None:
    """Reads a chain's own lines now and its rules when all sets of the table are known."""
    builder.scope.push()
    _lines(builder, chain, file, body)
    builder.scope.pop()


def _lines(builder: Builder, chain: Chain, file: SourceFile, body: list[Line]) -> None:
    rules: list[Line] = []

    def flush() -> None:
        if rules:
            builder.later.append(partial(_rules, builder, chain, file, list(rules), builder.scope.snapshot()))
            rules.clear()

    for line in body:
        if line.body is None:
            if _CHAIN_LINE.match(file.text, line.start):
                builder.guard(file, line, partial(_chain_line, builder, chain, file, line))
                continue
            if is_directive(file, line):
                flush()
                builder.guard(file, line, partial(_directive, builder, chain, file, line))
                continue
        rules.append(line)
    flush()


def _directive(builder: Builder, chain: Chain, file: SourceFile, line: Line) -> None:
    directive(builder, file, line, lambda part, inner: _lines(builder, chain, part, [inner]))


# ---- what makes it a base chain ------------------------------------------------------------------------------------
def _chain_line(builder: Builder, chain: Chain, file: SourceFile, line: Line) -> None:
    tree = builder.parse(file, line.start, line.end, "chain_line")
    if tree is None:
        return
    context = builder.context(chain.table, builder.scope)
    place = (line.start, line.end)
    try:
        if tree.data == "chain_hook":
            _hook(builder, context, chain, file, line, tree)
        elif tree.data == "line_comment":
            chain.comment = unquote(str(tree.children[0]))
        elif chain.base is None:
            what = {"chain_policy": "policy", "chain_flags": "flags", "chain_device": "device"}[tree.data]
            raise Problem("bad-hook", f"only a base chain has a {what}".replace("a flags", "flags"), *place,
                          help="give the chain a `type … hook … priority …` line before it")  # fmt: skip
        elif tree.data == "chain_policy":
            word = unquote(context.text(context.single(tree.children[0])))
            if word not in ("accept", "drop"):
                raise Problem("value", "a policy is accept or drop", *place)
            chain.base.policy = word
        elif tree.data == "chain_flags":
            flags = tuple(str(leaf) for leaf in tree.children)
            if flags != ("offload",):
                raise Problem("value", "the only flag of a chain is `offload`", *place)
            chain.base.flags = flags
        else:
            chain.base.devices = (*chain.base.devices, *_devices(context, tree.children[0]))
    except MeaningError as problem:
        builder.meaning_problem(file, line.start, line.end, problem)


def _devices(context: Context, node: Any) -> tuple[str, ...]:
    child = node.children[0]
    type = values.type_of("ifname", 128)
    if isinstance(child, Tree):
        found = [part for item in values.expand(context, child) for part in values.plain(context, item, type)]
    else:
        found = values.part_values(context, Tree("operand", [Tree("literal", [child])]), type)
    return tuple(part.text + ("*" if part.prefix else "") for part in found if isinstance(part, Name))


def _hook(builder: Builder, context: Context, chain: Chain, file: SourceFile, line: Line, tree: Node) -> None:
    kind, hook = (str(leaf) for leaf in tree.children[:2])
    device = tree.children[2]
    family = chain.table.family
    span = Span(file, line.start, line.end)
    place = (line.start, line.end)
    known = hooks.HOOKS[family]
    if hook not in known:
        raise Problem("bad-hook", f"family {family} has no hook `{hook[:40]}`", *place,
                      help=suggest(hook, known) or "its hooks are " + ", ".join(known))  # fmt: skip
    if (family, kind) not in hooks.CHAIN_TYPES:
        raise Problem("bad-hook", f"family {family} has no chain type `{kind}`", *place,
                      help=suggest(kind, ("filter", "nat", "route")))  # fmt: skip
    if hook not in hooks.CHAIN_TYPES[family, kind]:
        raise Problem("bad-hook", f"a chain of type {kind} cannot hook {hook}", *place,
                      help=f"type {kind} hooks " + ", ".join(hooks.CHAIN_TYPES[family, kind]))  # fmt: skip
    priority = priority_of(context, tree.children[3:], family, hook)
    if kind == "nat" and priority < hooks.NAT_PRIORITY_MIN:
        raise Problem("bad-hook", f"the kernel refuses a nat chain at priority {priority}", *place,
                      help=f"nat chains need {hooks.NAT_PRIORITY_MIN} or more, after connection tracking")  # fmt: skip
    devices = _devices(context, device) if device is not None else ()
    base = chain.base
    if base is not None:
        if (base.hook, base.type, base.priority) != (hook, kind, priority) or not set(devices) <= set(base.devices):
            raise Problem("bad-hook", f"chain `{chain.name}` already has another hook", *place)
        return
    chain.base = BaseHook(kind, hook, priority, "accept", devices, (), span)
    builder.ruleset.registration.append(chain)


# ---- rules ---------------------------------------------------------------------------------------------------------
def _rules(builder: Builder, chain: Chain, file: SourceFile, lines: list[Line], scope: Scope) -> None:
    context = builder.context(chain.table, scope)
    add = chain.rules.append
    for line in lines:
        if line.body is not None:
            rule = anonymous_chain(builder, chain, file, line, context)
        else:
            rule = read_rule(builder, context, file, line.start, line.end)
        if rule is not None:
            add(rule)
    count_rules(builder, chain, len(lines))


def count_rules(builder: Builder, chain: Chain, added: int) -> None:
    builder.ruleset.rule_count += added
    if builder.ruleset.rule_count > MAX_RULES:
        builder.stop("too-large", f"more than {MAX_RULES:,} rules", chain.span)


def read_rule(builder: Builder, context: Context, file: SourceFile, start: int, end: int) -> Rule | None:
    """The rule at characters `start` to `end`; None after saying what is wrong with it."""
    source = file.text[start:end]
    try:
        found = builder.shapes.parse(source)
        if found is not None:
            shape, context.literals = found
            assert shape.tree is not None
            try:
                made, comment = statements.rule(context, shape.tree, shape)
                return Rule(made, Span(file, start, end), comment)
            except MeaningError:
                # Parse it alone, to know the places within it.
                context.literals = []
        tree = parse(source, "rule")
        try:
            made, comment = statements.rule(context, tree)
        except MeaningError as problem:
            builder.meaning_problem(file, start, end, problem)
            if not builder.speaks_of_the_machine(problem.code):
                return None
            made, comment = _unresolved_rule(builder, context, tree)
        return Rule(made, Span(file, start, end), comment)
    except SyntaxProblem as problem:
        builder.syntax_problem(file, start, problem)
    except MeaningError as problem:
        builder.meaning_problem(file, start, end, problem)
    return None


def _unresolved_rule(builder: Builder, context: Context, tree: Node) -> tuple[tuple[Statement, ...], str | None]:
    """A rule with parts that only another machine can resolve: each such part may or may not match."""
    found: list[Statement] = []
    comment: str | None = None
    for child in tree.children:
        if child is None:
            continue
        if child.data == "comment":
            comment = statements.rule_comment(context, child)
            continue
        try:
            found.append(statements.statement(context, child))
        except MeaningError as again:
            if not builder.speaks_of_the_machine(again.code):
                raise
            found.append(ForeignMatch("unresolved", again.message))
    return tuple(found), comment


def anonymous_chain(builder: Builder, chain: Chain, file: SourceFile, line: Line, context: Context) -> Rule | None:
    """`… jump { rules }`: the kernel makes a chain of its own for it, and so do we."""
    builder.anonymous += 1
    name = f"{chain.name}.{builder.anonymous}"
    while name in chain.table.chains:
        name += "_"
    inner = declare(chain.table, name, Span(file, line.start, line.end))
    head = file.text[line.start : line.end]
    tail = file.text[line.tail[0] : line.tail[1]] if line.tail else ""
    rule: Rule | None = None
    try:
        tree = parse(f"{head} {name}", "rule")
        made, comment = statements.rule(context, tree)
        if tail:
            # Only a comment may follow; it is read apart, so that places in it are right.
            comment = _tail_comment(builder, context, file, line)
        rule = Rule(made, Span(file, line.start, line.end), comment)
    except SyntaxProblem as problem:
        builder.syntax_problem(file, line.start, problem)
    except MeaningError as meaning:
        builder.meaning_problem(file, line.start, line.end, meaning)
    assert line.body is not None
    builder.scope, outer = context.scope, builder.scope
    read_body(builder, file, line.body, inner)
    builder.scope = outer
    return rule


def _tail_comment(builder: Builder, context: Context, file: SourceFile, line: Line) -> str | None:
    assert line.tail is not None
    start, end = line.tail
    tree = builder.parse(file, start, end, "rule_end")
    return statements.rule_comment(context, tree.children[0]) if tree is not None else None
