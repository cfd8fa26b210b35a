"""Translation validation: a proof that two rulesets give every packet the same fate.

The proof goes rule by rule. Two rulesets are equal when the same base chains stand at the same places in the same
order, and corresponding rules match the same packets before each of their actions, and do the same things. Rules that
are equal as they stand need no more; for the others packet sets compare what they match. This is sufficient, not
necessary: rulesets that reach the same end by different rules are reported as different here. Named sets are compared
by name and contents: two of the same contents are not the same set, since anybody may change one.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from oxidd.bdd import BDDFunction
from oxidd.util import DDMemoryError

from fireproof.extensions.counter import Counter
from fireproof.extensions.quota import Quota
from fireproof.model.expression import Element, Hash, Interval, MapLookup, Meta, Numgen, SetLiteral
from fireproof.model.ruleset import Chain, Flowtable, NamedObject, NamedSet, Rule, Ruleset, Table
from fireproof.model.statement import (
    Log,
    Mangle,
    Match,
    Meter,
    Nat,
    Notrack,
    ObjectReference,
    Queue,
    Reject,
    ResetOption,
    SetUpdate,
    Statement,
    Verdict,
    VerdictMap,
)
from fireproof.netfilter.reject import ICMPX_TO_ICMP, ICMPX_TO_ICMPV6
from fireproof.semantics import register as reg
from fireproof.semantics.flight import Flight, Site, World, read_parts, width
from fireproof.semantics.implied import goes_on
from fireproof.semantics.interfaces import Interfaces
from fireproof.semantics.interval import Intervals
from fireproof.semantics.match import matches
from fireproof.source.text import Span
from fireproof.syntax.references import expressions, walk
from fireproof.verify.diagram import Diagrams, OutOfNodes, Value
from fireproof.verify.universe import interfaces_of

NODES = 1 << 21


@dataclass(frozen=True, slots=True)
class Difference:
    """Where two rulesets differ, in words; `span` in the first, `other` in the second."""

    message: str
    span: Span | None
    other: Span | None = None


def differences(source: Ruleset, output: Ruleset) -> list[Difference]:
    """What keeps the two from being proved equal; nothing when the proof succeeds."""
    return list(_Comparison(source, output).run())


class _Comparison:
    def __init__(self, source: Ruleset, output: Ruleset) -> None:
        self.source = source
        self.output = output
        self._prover: _Prover | None = None

    def run(self) -> Iterable[Difference]:
        yield from self._registration()
        for key, table in self.source.tables.items():
            other = self.output.tables.get(key)
            if other is None:
                yield Difference(f"table `{key[0]} {key[1]}` is missing", table.span)
            else:
                yield from self._table(table, other)
        for key, table in self.output.tables.items():
            if key not in self.source.tables:
                yield Difference(f"table `{key[0]} {key[1]}` is not in the source", None, table.span)

    def _registration(self) -> Iterable[Difference]:
        """Base chains of one hook and priority run in the order of registration, so that order must be the same."""
        mine, theirs = _places(self.source), _places(self.output)
        for place, chains in mine.items():
            if theirs.get(place, []) != chains:
                hook, priority = place
                yield Difference(
                    f"the base chains at {hook}, priority {priority}, are not the same or not in the same order", None
                )
        for place in theirs.keys() - mine.keys():
            yield Difference(
                f"there is a base chain at {place[0]}, priority {place[1]}, that the source does not have", None
            )

    # ---- tables ----------------------------------------------------------------------------------------------------
    def _table(self, table: Table, other: Table) -> Iterable[Difference]:
        if set(table.flags) != set(other.flags):
            yield Difference(f"the flags of table `{table.name}` differ", table.span, other.span)
        yield from _names("chain", table.chains, other.chains, table)
        yield from _names("set", table.sets, other.sets, table)
        yield from _names("flowtable", table.flowtables, other.flowtables, table)
        for key, found in table.objects.items():
            again = other.objects.get(key)
            if again is None or not _same_object(found, again):
                yield Difference(f"{key[0]} `{key[1]}` is not the same", found.span, again.span if again else None)
        for key in other.objects.keys() - table.objects.keys():
            yield Difference(f"{key[0]} `{key[1]}` is not in the source", None, other.objects[key].span)
        for name, named in table.sets.items():
            if name in other.sets and (why := _set_difference(named, other.sets[name])):
                yield Difference(f"set `{name}`: {why}", named.span, other.sets[name].span)
        for name, flowtable in table.flowtables.items():
            again_table = other.flowtables.get(name)
            if again_table and _flowtable(flowtable) != _flowtable(again_table):
                yield Difference(f"flowtable `{name}` is not the same", flowtable.span, again_table.span)
        for name, chain in table.chains.items():
            if name in other.chains:
                yield from self._chain(chain, other.chains[name])

    def _chain(self, chain: Chain, other: Chain) -> Iterable[Difference]:
        if not _same_base(chain, other):
            yield Difference(f"chain `{chain.name}` has not the same hook, priority or policy", chain.span, other.span)
        if len(chain.rules) != len(other.rules):
            yield Difference(
                f"chain `{chain.name}` has {len(chain.rules)} rules, the output {len(other.rules)}",
                chain.span,
                other.span,
            )
            return
        for number, (rule, again) in enumerate(zip(chain.rules, other.rules, strict=True)):
            if rule.statements == again.statements:
                continue
            why = self._rule(chain.table, rule, other.table, again, number)
            if why:
                yield Difference(f"rule {number + 1} of chain `{chain.name}`: {why}", rule.span, again.span)

    # ---- rules -----------------------------------------------------------------------------------------------------
    def _rule(self, table: Table, rule: Rule, other_table: Table, other: Rule, number: int) -> str:
        if self._prover is None:
            self._prover = _Prover(self.source, self.output)
        try:
            return self._prover.rule(table, rule, other_table, other, number)
        except (DDMemoryError, OutOfNodes):
            return "too large to be proved equal"


def _places(ruleset: Ruleset) -> dict[tuple[str, int], list[tuple[str, str, str]]]:
    found: dict[tuple[str, int], list[tuple[str, str, str]]] = {}
    for chain in ruleset.registration:
        assert chain.base is not None
        # NAT chains share one place; ties elsewhere are settled across families.
        hook = f"{chain.base.hook} (nat)" if chain.base.type == "nat" else chain.base.hook
        found.setdefault((hook, chain.base.priority), []).append((chain.table.family, chain.table.name, chain.name))
    return found


def _names(kind: str, mine: Iterable[str], theirs: Iterable[str], table: Table) -> Iterable[Difference]:
    missing, extra = set(mine) - set(theirs), set(theirs) - set(mine)
    for name in sorted(missing):
        yield Difference(f"{kind} `{name}` of table `{table.name}` is missing", table.span)
    for name in sorted(extra):
        yield Difference(f"{kind} `{name}` of table `{table.name}` is not in the source", None)


def _same_base(chain: Chain, other: Chain) -> bool:
    if chain.base is None or other.base is None:
        return chain.base is other.base
    mine, theirs = chain.base, other.base
    return (mine.type, mine.hook, mine.priority, mine.policy, set(mine.devices), set(mine.flags)) == (
        theirs.type, theirs.hook, theirs.priority, theirs.policy, set(theirs.devices), set(theirs.flags)
    )  # fmt: skip


def _flowtable(table: Flowtable) -> tuple[object, ...]:
    return table.priority, set(table.devices), set(table.flags), table.counter


def _same_object(found: NamedObject, other: NamedObject) -> bool:
    def plain(named: NamedObject) -> object:
        return _action(named.statement) if named.statement is not None else None

    def settings(named: NamedObject) -> dict[str, object]:
        return {"l3proto": named.table.family, **named.settings} if named.kind.startswith("ct ") else named.settings

    return plain(found) == plain(other) and settings(found) == settings(other)


# ---- sets ----------------------------------------------------------------------------------------------------------
def _set_difference(named: NamedSet, other: NamedSet) -> str:
    mine = [*zip(named.key, named.key_bits, strict=True), *zip(named.data, named.data_bits, strict=True)]
    theirs = [*zip(other.key, other.key_bits, strict=True), *zip(other.data, other.data_bits, strict=True)]
    if (len(named.key), len(mine)) != (len(other.key), len(theirs)) or not all(map(_same_type, mine, theirs)):
        return "its type is not the same"
    # `dynamic` follows from the rules that add elements, `interval` from the elements: the kernel's listing may leave
    # them out. Without `timeout` elements would stay for ever.
    if ("timeout" in named.flags) != ("timeout" in other.flags):
        return "one has timeouts, the other has not"
    if (named.timeout, named.size) != (other.timeout, other.size):
        return "its timeout or size is not the same"
    if tuple(map(_action, named.stateful)) != tuple(map(_action, other.stateful)):
        return "what its elements carry is not the same"
    if _content(named.elements) != _content(other.elements):
        return "its elements are not the same"
    return ""


def _same_type(one: tuple[str, int], other: tuple[str, int]) -> bool:
    """By name; a number that `typeof` took from a header may be listed as a plain one of its width."""
    return one == other or (one[1] == other[1] and "integer" in (one[0], other[0]))


def _content(elements: Iterable[Element]) -> object:
    """What a set or map holds, however its intervals are cut: plain intervals joined, the rest as it is."""
    plain: list[tuple[int, int]] = []
    rest: set[object] = set()
    for element in elements:
        key = element.key
        bare = element.data is None and element.timeout is None and not element.stateful
        if bare and key is not None and len(key) == 1 and isinstance(key[0], Interval):
            plain.append((key[0].low, key[0].high))
        else:
            rest.add((key, element.data, element.timeout, tuple(_action(s) for s in element.stateful)))  # type: ignore[arg-type]
    return Intervals(plain), frozenset(rest)


# ---- actions -------------------------------------------------------------------------------------------------------
def _action(statement: Statement) -> object:
    """A statement in a form in which equal actions are equal."""
    if isinstance(statement, VerdictMap):
        if isinstance(statement.map, SetLiteral):
            return ("vmap", statement.key, _content(statement.map.elements))
        return ("vmap", statement.key, statement.map)
    return _settled(statement)


def _settled(statement: Statement) -> Statement:
    """Without what makes no difference: counts so far, defaults written out, the order of flags."""
    if isinstance(statement, Counter):
        return Counter()
    if isinstance(statement, Quota):
        return replace(statement, used=0)
    if isinstance(statement, Log):
        level = None if statement.level == "warn" else statement.level
        flags = tuple(sorted(statement.flags))
        return replace(
            statement,
            level=level,
            flags=flags,
            snaplen=statement.snaplen or None,
            threshold=statement.threshold or None,
        )
    if isinstance(statement, Nat):
        return replace(statement, flags=tuple(sorted(statement.flags)), family=None)
    if isinstance(statement, Queue):
        number = statement.number or (Interval(0, 0),)
        return replace(statement, flags=tuple(sorted(statement.flags)), number=number)
    if isinstance(statement, SetUpdate | Meter):
        return replace(statement, stateful=tuple(_settled(inner) for inner in statement.stateful))
    return statement


class _Prover:
    """Compares what two rules match, by packet sets over both rulesets' interfaces."""

    def __init__(self, source: Ruleset, output: Ruleset) -> None:
        names = [*interfaces_of(source).names, *interfaces_of(output).names]
        plain = dict.fromkeys(name for name in names if not name.endswith("*"))
        patterns = dict.fromkeys(name.removesuffix("*") for name in names if name.endswith("*"))
        self.interfaces = Interfaces(plain, patterns)
        self.frames = any(table.family == "netdev" for table in source.tables.values())
        self._fresh()

    def _fresh(self) -> None:
        self.algebra = Diagrams(NODES)
        self._keys: dict[tuple[str, tuple[Value, ...]], str] = {}
        world: World[BDDFunction, Value] = World(
            self.algebra, self.interfaces, None, frames=self.frames, cut=True, opaque=self._looked_up
        )
        self.flight: Flight[BDDFunction, Value] = Flight(world)
        self.flight.tracked = self._tracked(self.flight)

    def _tracked(self, flight: Flight[BDDFunction, Value]) -> BDDFunction:
        """Without a conntrack entry only the state can be read."""
        states = Intervals((s, s) for s in (reg.NEW, reg.ESTABLISHED, reg.RELATED))
        return self.algebra.member(flight.read(reg.CT_STATE), reg.CT_STATE.bits, states)

    def _looked_up(self, name: str, values: list[tuple[Value, int]]) -> str:
        """One name for each set and key: what a set holds at one key says nothing about another."""
        key = name, tuple(value for value, _ in values)
        return self._keys.setdefault(key, f"{name}, key {len(self._keys)}")

    def rule(self, table: Table, rule: Rule, other_table: Table, other: Rule, number: int) -> str:
        if self.algebra.manager.approx_num_inner_nodes() > NODES // 2:
            self._fresh()
        mine = self._steps(table, rule)
        theirs = self._steps(other_table, other)
        if len(mine) != len(theirs):
            return "it does not do the same things"
        for (condition, action), (other_condition, other_action) in zip(mine, theirs, strict=True):
            if condition != other_condition:
                return "it does not match the same packets"
            if action is None or other_action is None:
                if action is not other_action:
                    return "it does not do the same things"
            elif not self._same_action(table, action, other_table, other_action):
                return f"it does something else ({_word(action)})"
        return ""

    def _family(self, table: Table) -> BDDFunction:
        if table.family in ("ip", "ip6"):
            return self.flight.is_family(0 if table.family == "ip" else 1)
        return self.algebra.true

    def _steps(self, table: Table, rule: Rule) -> list[tuple[BDDFunction, Statement | None]]:
        """Each action with the packets that come to it, and at the end those that come through."""
        found: list[tuple[BDDFunction, Statement | None]] = []
        condition = self._family(table)
        last = rule.statements[-1] if rule.statements else None
        if isinstance(last, Reject):
            # nft asks first of all in the rule for what a reject needs.
            condition = condition & goes_on(self.flight, table, last, Site(table, "rule"))
        flight = self.flight
        chances = changes = 0
        for statement in rule.statements:
            chances += _draws(statement)
            site = Site(table, f"rule, number {chances}")
            if isinstance(statement, Match):
                condition = condition & matches(flight, statement, site)
                continue
            condition = condition & goes_on(flight, table, statement, site)
            found.append((condition, statement))
            if isinstance(statement, Mangle | Notrack | ResetOption) or _changes_flow(statement):
                # What is read from here on may have changed: it has nothing to do with what was read before.
                changes += 1
                flight = self.flight.copy()
                flight.label = f"change {changes}"
                flight.tracked = self._tracked(flight)
        return [*found, (condition, None)]

    def _same_action(self, table: Table, one: Statement, other_table: Table, other: Statement) -> bool:
        if _action(one) == _action(other):
            return True
        if isinstance(one, Reject) and isinstance(other, Reject):
            return _same_reject(one, other)
        if isinstance(one, Mangle) and isinstance(other, Mangle):
            if one.target != other.target:
                return False
            mine, bits = self._value(table, one)
            theirs, other_bits = self._value(other_table, other)
            return bits == other_bits and bool(self.algebra.equal(mine, theirs, bits) == self.algebra.true)
        if isinstance(one, VerdictMap) and isinstance(other, VerdictMap):
            return self._same_map(table, one, other_table, other)
        if isinstance(one, Nat) and isinstance(other, Nat):
            return self._same_nat(one, other)
        return False

    def _value(self, table: Table, statement: Mangle) -> tuple[Value, int]:
        values, _ = read_parts(self.flight, statement.value, Site(table, "rule"))
        return self.algebra.join(values), sum(bits for _, bits in values)

    def _same_map(self, table: Table, one: VerdictMap, other_table: Table, other: VerdictMap) -> bool:
        """The same verdicts for the same keys, whatever names the keys are read by."""
        if type(one.map) is not type(other.map) or width_of(one) != width_of(other):
            return False
        if not isinstance(one.map, SetLiteral) or not isinstance(other.map, SetLiteral):
            if one.map != other.map:
                return False
        elif _content(one.map.elements) != _content(other.map.elements):
            return False
        mine, _ = read_parts(self.flight, one.key, Site(table, "rule"))
        theirs, _ = read_parts(self.flight, other.key, Site(other_table, "rule"))
        return all(
            bool(self.algebra.equal(a, b, bits) == self.algebra.true)
            for (a, bits), (b, _) in zip(mine, theirs, strict=True)
        )

    def _same_nat(self, one: Nat, other: Nat) -> bool:
        plain = (one.kind, set(one.flags), one.pair, one.prefix) == (
            other.kind,
            set(other.flags),
            other.pair,
            other.prefix,
        )
        return plain and _same_target(one.address, other.address) and _same_target(one.port, other.port)


def _same_target(one: object, other: object) -> bool:
    if not isinstance(one, MapLookup) or not isinstance(other, MapLookup):
        return one == other
    if not isinstance(one.map, SetLiteral) or not isinstance(other.map, SetLiteral):
        return one == other
    return one.key == other.key and _content(one.map.elements) == _content(other.map.elements)


def _changes_flow(statement: Statement) -> bool:
    return isinstance(statement, ObjectReference) and statement.kind.startswith("ct ")


def _draws(statement: Statement) -> bool:
    """Whether a statement asks chance, or a counter of its own, each time."""
    return any(
        isinstance(inner, Numgen | Hash) or (isinstance(inner, Meta) and inner.key == "random")
        for expression in expressions(statement)
        for inner in walk(expression)
    )


def width_of(statement: VerdictMap) -> int:
    parts = getattr(statement.key, "parts", (statement.key,))
    return sum(width(part) for part in parts)


def _same_reject(one: Reject, other: Reject) -> bool:
    """`icmpx` and the kind of one family are the same where only that family comes: both have the same packets."""
    if one.kind == other.kind:
        return one.code == other.code
    if "icmpx" not in (one.kind, other.kind) or one.code is None or other.code is None:
        return False
    general, special = (one, other) if one.kind == "icmpx" else (other, one)
    assert general.code is not None
    table = {"icmp": ICMPX_TO_ICMP, "icmpv6": ICMPX_TO_ICMPV6}.get(special.kind)
    return table is not None and table.get(general.code) == special.code


def _word(statement: Statement) -> str:
    if isinstance(statement, Verdict):
        return statement.target.kind
    return str(getattr(statement, "kind", type(statement).__name__.lower()))
