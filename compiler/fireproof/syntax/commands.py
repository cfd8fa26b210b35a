"""Commands at the top of a file: `add`, `create`, `insert`, `delete`, `destroy`, `flush`, `rename` and their objects.

They change the ruleset as the kernel's would change, in the order they stand. What only a running ruleset can answer
(handles) is refused; `list` has no effect on a ruleset and is passed over.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fireproof.model.ruleset import Chain, Rule, Table
from fireproof.netfilter import hooks
from fireproof.source.text import SourceFile, Span
from fireproof.syntax import chains, elements, objects
from fireproof.syntax.blocks import Line
from fireproof.syntax.expectation import whole_text
from fireproof.syntax.head import Head, Problem
from fireproof.syntax.scope import suggest

if TYPE_CHECKING:
    from fireproof.syntax.build import Builder

COMMANDS = ("add", "create", "insert", "replace", "delete", "destroy", "flush", "list", "reset", "rename")
_MAKE = frozenset(("add", "create"))
_REMOVE = frozenset(("delete", "destroy"))
_ALLOWED = {
    "table": _MAKE | _REMOVE | {"flush"},
    "chain": _MAKE | _REMOVE | {"flush", "rename"},
    "rule": frozenset(("add", "create", "insert", *_REMOVE, "replace", "reset")),
    "set": _MAKE | _REMOVE | {"flush"},
    "map": _MAKE | _REMOVE | {"flush"},
    "element": _MAKE | _REMOVE,
    "ruleset": frozenset(("flush",)),
    **dict.fromkeys(("flowtable", "counter", "quota", "limit", "ct", "secmark", "synproxy"), _MAKE | _REMOVE),
}
OBJECTS = tuple(_ALLOWED)


def command(builder: Builder, file: SourceFile, line: Line) -> None:
    text = file.text[line.start : line.end]
    head = Head(text, line.start)
    word = head.take("a command")
    place = head.place(word)
    verb = "add"
    if word in COMMANDS:
        verb = word
        if verb == "list":
            return
        word = head.take("what it is about")
        place = head.place(word)
    allowed = _ALLOWED.get(word)
    if allowed is None:
        known = [*OBJECTS, *COMMANDS, "define", "include", "host", "assert"]
        raise Problem(
            "syntax", f"unexpected `{word[:40]}`", *place,
            label="expected a table, a command such as `add`, define, include, host or assert",
            help=whole_text(text[:400]) or suggest(word, known),
        )  # fmt: skip
    if verb not in allowed:
        raise Problem(
            "syntax", f"`{verb} {word}` is not a command", *place, help="possible here: " + ", ".join(sorted(allowed))
        )
    if line.body is not None and verb not in _MAKE and not (word == "rule" and verb == "insert"):
        raise Problem("syntax", f"`{verb}` takes no block", line.open, line.open + 1)
    if verb == "destroy":
        builder.diagnostics.warning(
            "needs-newer-nft", "`destroy` needs nft 1.0.7 or newer", Span(file, line.start, line.end),
            help="`fireproof compile` writes what older releases understand",
        )  # fmt: skip
    if word == "rule":
        _rule(builder, file, line, head, verb)
    elif word == "ruleset":
        _flush_ruleset(builder, head)
    elif word == "element":
        _element(builder, file, line, head, verb)
    elif word == "table":
        _table(builder, file, line, head, verb)
    elif word == "chain":
        _chain(builder, file, line, head, verb)
    elif verb in _MAKE:
        kind = objects.kind_of(head, word)
        table = existing_table(builder, head, line)
        objects.read_block(builder, file, line, head, table, kind, create=verb == "create")
    else:
        _remove_object(builder, head, line, verb, word)


# ---- tables --------------------------------------------------------------------------------------------------------
def _flush_ruleset(builder: Builder, head: Head) -> None:
    ruleset = builder.ruleset
    family = head.take("a family") if head.rest else None
    if family is not None and family not in hooks.FAMILIES:
        raise Problem(
            "syntax", f"there is no family `{family[:40]}`", *head.place(family), help=suggest(family, hooks.FAMILIES)
        )
    head.end()
    if family is None:
        ruleset.replaces = True
        ruleset.resets.clear()
    for key in list(ruleset.tables):
        if family in (None, key[0]):
            drop_table(builder, key)


def drop_table(builder: Builder, key: tuple[str, str]) -> None:
    ruleset = builder.ruleset
    table = ruleset.tables.pop(key)
    ruleset.rule_count -= sum(len(chain.rules) for chain in table.chains.values())
    ruleset.registration = [chain for chain in ruleset.registration if chain.table is not table]


def _table(builder: Builder, file: SourceFile, line: Line, head: Head, verb: str) -> None:
    family = head.family()
    if head.peek() == "handle":
        raise Problem("reference", "handles belong to a running ruleset; name the table", line.start, line.end)
    name = head.name("table", builder.scope)
    place = head.place(name)
    head.end()
    key = (family, name)
    ruleset = builder.ruleset
    if verb in _MAKE:
        if verb == "create" and key in ruleset.tables:
            raise Problem("duplicate", f"there is a table `{family} {name}` already", *place, help="use `add`")
        table = ruleset.tables.get(key)
        if table is None:
            table = ruleset.tables[key] = Table(family, name, Span(file, line.start, line.end))
        if line.body is not None:
            builder.table_body(file, line.body, table)
        return
    if verb == "flush" and key in ruleset.tables:
        for chain in ruleset.tables[key].chains.values():
            _flush_chain(builder, chain)
    elif key in ruleset.tables:
        drop_table(builder, key)
    if key not in ruleset.resets and not ruleset.replaces:
        ruleset.resets.append(key)


def existing_table(builder: Builder, head: Head, line: Line) -> Table:
    if line.body is not None and len(head.rest.split()) == 1:
        raise Problem(
            "syntax", f"`{head.text[:60]}` stands outside of a table", line.start, line.end,
            help="put it into a `table … { … }` block; a file to be included in one is checked with the file around it",
        )  # fmt: skip
    family = head.family()
    name = head.name("table", builder.scope)
    table = builder.ruleset.tables.get((family, name))
    if table is None:
        known = suggest(f"{family} {name}", [" ".join(key) for key in builder.ruleset.tables])
        raise Problem("reference", f"there is no table `{family} {name}`", *head.place(name),
                      help=known or f"write `add table {family} {name}` first")  # fmt: skip
    return table


# ---- what is in tables ---------------------------------------------------------------------------------------------
def _remove_object(builder: Builder, head: Head, line: Line, verb: str, word: str) -> None:
    kind = objects.kind_of(head, word)
    at = head.at
    family, name = head.family(), head.name("table", builder.scope)
    table = builder.ruleset.tables.get((family, name))
    if table is None:
        if verb == "destroy":
            return
        head.at = at
        existing_table(builder, head, line)
        return
    what = head.name(kind, builder.scope)
    place = head.place(what)
    head.end()
    if kind in ("set", "map"):
        found = table.sets.get(what)
        if found is not None and found.is_map == (kind == "map"):
            if verb == "flush":
                found.elements.clear()
                elements.forget(builder, found)
            else:
                del table.sets[what]
            return
        known = [each.name for each in table.sets.values() if each.is_map == (kind == "map")]
    elif kind == "flowtable":
        if table.flowtables.pop(what, None) is not None:
            return
        known = list(table.flowtables)
    else:
        if table.objects.pop((kind, what), None) is not None:
            return
        known = [each for each_kind, each in table.objects if each_kind == kind]
    if verb != "destroy":
        raise Problem("reference", f"there is no {kind} `{what}` in this table", *place, help=suggest(what, known))


def _element(builder: Builder, file: SourceFile, line: Line, head: Head, verb: str) -> None:
    table = existing_table(builder, head, line)
    name = head.name("set", builder.scope)
    named = table.sets.get(name)
    if named is None:
        raise Problem(
            "reference", f"there is no set `{name}` in this table", *head.place(name), help=suggest(name, table.sets)
        )
    if not head.rest:
        head.take("the elements in braces")
    removing = verb in _REMOVE
    found = elements.read_elements(builder, file, head.rest_start, line.end, table, named, removing)
    if not removing:
        elements.add_elements(builder, named, found, Span(file, line.start, line.end))
        return
    if named.auto_merge:
        if not elements.cut_elements(named, found) and verb == "delete":
            raise _missing_element(name, head, line)
        return
    gone = {element.key for element in found}
    if verb == "delete" and gone - {element.key for element in named.elements}:
        raise _missing_element(name, head, line)
    named.elements = [element for element in named.elements if element.key not in gone]
    elements.forget(builder, named)


def _missing_element(name: str, head: Head, line: Line) -> Problem:
    return Problem("reference", f"the set `{name}` has no such element", head.rest_start, line.end)


# ---- chains and rules ----------------------------------------------------------------------------------------------
def _existing_chain(builder: Builder, head: Head, table: Table, verb: str) -> Chain | None:
    name = head.name("chain", builder.scope)
    chain = table.chains.get(name)
    if chain is None and verb != "destroy":
        raise Problem(
            "reference", f"there is no chain `{name}` in table `{table.family} {table.name}`", *head.place(name),
            help=suggest(name, table.chains) or f"write `add chain {table.family} {table.name} {name}` first",
        )  # fmt: skip
    return chain


def _flush_chain(builder: Builder, chain: Chain) -> None:
    builder.ruleset.rule_count -= len(chain.rules)
    chain.rules.clear()


def _chain(builder: Builder, file: SourceFile, line: Line, head: Head, verb: str) -> None:
    table = existing_table(builder, head, line)
    if verb in _MAKE:
        name = head.name("chain", builder.scope)
        place = head.place(name)
        if head.rest.startswith("{"):
            raise Problem("syntax", "a chain's block is needed here", head.rest_start, line.end)
        head.end()
        if verb == "create" and name in table.chains:
            raise Problem("duplicate", f"there is a chain `{name}` already", *place, help="use `add`")
        chain = chains.declare(table, name, Span(file, line.start, line.end))
        if line.body is not None:
            chains.read_body(builder, file, line.body, chain)
            builder.run_later()
        return
    existing = _existing_chain(builder, head, table, verb)
    if existing is None:
        return
    if verb == "rename":
        new = head.name("chain", builder.scope)
        place = head.place(new)
        head.end()
        if new in table.chains:
            raise Problem("duplicate", f"there is a chain `{new}` already", *place)
        chain_of = table.chains
        table.chains = {new if name == existing.name else name: chain for name, chain in chain_of.items()}
        existing.name = new
        return
    head.end()
    _flush_chain(builder, existing)
    if verb in _REMOVE:
        del table.chains[existing.name]
        builder.ruleset.registration = [chain for chain in builder.ruleset.registration if chain is not existing]


def _rule(builder: Builder, file: SourceFile, line: Line, head: Head, verb: str) -> None:
    if verb in _REMOVE or verb in ("replace", "reset"):
        raise Problem("reference", f"`{verb} rule` needs the handle of a running ruleset", line.start, line.end)
    table = existing_table(builder, head, line)
    chain = _existing_chain(builder, head, table, verb)
    assert chain is not None
    index: int | None = 0 if verb == "insert" else None
    word = head.peek()
    if word in ("handle", "position"):
        head.take(word)
        raise Problem("reference", f"`{word}` numbers rules of a running ruleset, which this file is not",
                      *head.place(word), help="use `index`, or write the rule where it belongs")  # fmt: skip
    if word == "index":
        head.take(word)
        number = head.take("a number")
        if not number.isdigit() or len(number) > 9 or int(number) >= len(chain.rules):
            raise Problem("reference", f"chain `{chain.name}` has no rule at index {number[:20]}", *head.place(number))
        index = int(number) if verb == "insert" else int(number) + 1
    context = builder.context(table, builder.scope)
    rule: Rule | None
    if line.body is not None:
        rule = chains.anonymous_chain(
            builder, chain, file, Line(head.rest_start, line.end, "chain", line.body), context
        )
        builder.run_later()
    else:
        if not head.rest:
            head.take("a rule")
        rule = chains.read_rule(builder, context, file, head.rest_start, line.end)
    if rule is None:
        return
    chains.count_rules(builder, chain, 1)
    chain.rules.insert(len(chain.rules) if index is None else index, rule)
