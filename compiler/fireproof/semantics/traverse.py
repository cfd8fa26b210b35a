"""Chains and rules: one packet (or set of packets, or symbolic packet) through one base chain.

The rules of a chain are taken in order for the part of the packets that is still under way ("live"). Verdicts split it;
what a statement changes, it changes for the part that reached it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, Protocol

from fireproof.model.expression import (
    Constant,
    Ct,
    Expression,
    HeaderOption,
    Interval,
    Key,
    MapLookup,
    Meta,
    Payload,
    SetLiteral,
    VerdictTarget,
)
from fireproof.model.ruleset import Chain, Rule
from fireproof.model.statement import (
    Duplicate,
    ExtensionStatement,
    FlowOffload,
    ForeignMatch,
    Forward,
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
    Synproxy,
    Tproxy,
    Verdict,
    VerdictMap,
)
from fireproof.netfilter.hooks import MAX_JUMPS
from fireproof.semantics import register as reg
from fireproof.semantics.algebra import P, V
from fireproof.semantics.flight import Flight, Site, find_set, is_dynamic, read, read_parts, resize, width, within
from fireproof.semantics.interval import Intervals
from fireproof.semantics.match import element_matches, in_set, index_positions, matches
from fireproof.semantics.register import Register, header_slices

_TCP = Intervals.of(6)


class Nesting(Exception):
    """Jumps go deeper than the kernel allows, or in a circle."""

    def __init__(self, chain: Chain) -> None:
        super().__init__(f"jumps from chain {chain.name} are nested deeper than {MAX_JUMPS - 1}")
        self.chain = chain


class Binder(Protocol[P, V]):
    """What connection tracking does for NAT statements and conntrack settings."""

    def bind(self, flight: Flight[P, V], hook: str, where: P, target: Translation[V]) -> P:
        """Translates the new flows of `where`; returns where that worked (an exhausted port range drops)."""
        ...

    def untrack(self, flight: Flight[P, V], where: P) -> None: ...


@dataclass(frozen=True, slots=True)
class Translation(Generic[V]):
    """A NAT target: new address and port with the family they belong to (0 or 1), None where unchanged.

    `side` is "source" or "destination"; `fixed` tells that nothing in it is picked from a range or looked up.
    """

    side: str
    family: int | None
    address: V | None
    port: V | None
    statement: Nat
    site: Site
    fixed: bool


@dataclass(slots=True)
class Result(Generic[P]):
    """Where a base chain sent the packets."""

    accepted: P
    dropped: P
    rejected: list[tuple[P, Reject, Rule]] = field(default_factory=list)
    stolen: P | None = None
    """Taken over by the kernel: answered by synproxy, forwarded to another device."""


Watcher = Callable[[Chain, "Rule | None", P, str], None]
"""Told of each rule that matched somewhere: chain, rule (None for the policy), where, and the verdict in words."""


@dataclass(slots=True)
class Traversal(Generic[P, V]):
    """One run through a base chain."""

    flight: Flight[P, V]
    hook: str
    binder: Binder[P, V]
    watch: Watcher[P] | None = None
    stateful: Callable[[Site, ExtensionStatement, P], P] | None = None
    """Decides limits, quotas and counters by their state; None makes each a free choice."""
    update: Callable[[Flight[P, V], Site, SetUpdate | Meter, P], P] | None = None
    """Adds to dynamic sets; None makes what depends on it a free choice."""

    def run(self, chain: Chain, live: P) -> Result[P]:
        algebra = self.flight.world.algebra
        result: Result[P] = Result(algebra.false, algebra.false)
        rest = self._chain(chain, live, result, 0)
        assert chain.base is not None
        if not algebra.is_false(rest):
            if self.watch:
                self.watch(chain, None, rest, f"policy {chain.base.policy}")
            if chain.base.policy == "drop":
                result.dropped = algebra.either(result.dropped, rest)
            else:
                result.accepted = algebra.either(result.accepted, rest)
        return result

    def _chain(self, chain: Chain, live: P, result: Result[P], depth: int) -> P:
        """What comes out at the end of the chain, or by `return`."""
        if depth >= MAX_JUMPS:
            raise Nesting(chain)
        algebra = self.flight.world.algebra
        returned = algebra.false
        for rule in chain.rules:
            if algebra.is_false(live):
                break
            hit = live
            verdict = ""
            if rule.statements and type(rule.statements[-1]) is Reject:
                hit = algebra.both(hit, self._rejectable(rule.statements[-1]))
                if algebra.is_false(hit):
                    continue
            for index, statement in enumerate(rule.statements):
                kind = type(statement)
                if kind is Match:
                    hit = algebra.both(hit, matches(self.flight, statement, self._site(chain, rule, index)))  # type: ignore[arg-type]
                    if algebra.is_false(hit):
                        break
                elif kind is Verdict:
                    assert isinstance(statement, Verdict)
                    if statement.target.kind == "continue":
                        # Goes on within the rule.
                        continue
                    verdict = statement.target.kind
                    live, returned = self._verdict(statement.target, chain, rule, hit, live, returned, result, depth)
                    break
                elif kind is VerdictMap:
                    assert isinstance(statement, VerdictMap)
                    live, returned, hit = self._verdict_map(
                        statement, chain, rule, index, hit, live, returned, result, depth
                    )
                    if algebra.is_false(hit):
                        verdict = "vmap"
                        break
                else:
                    hit, ends = self._statement(statement, chain, rule, index, hit, result)
                    if ends:
                        verdict = ends
                        live = algebra.both(live, algebra.negate(hit))
                        break
                    if algebra.is_false(hit):
                        break
            if not verdict and self.watch and not algebra.is_false(hit):
                self.watch(chain, rule, hit, "continue")
        return algebra.either(returned, live)

    def _site(self, chain: Chain, rule: Rule, index: int) -> Site:
        sites = self.flight.world.sites
        found = sites.get((rule, index))
        if found is None:
            name = f"{chain.table.family} {chain.table.name} {chain.name} {rule.span.start}.{index}"
            found = sites[rule, index] = Site(chain.table, name)
        return found

    def _verdict(
        self, target: VerdictTarget, chain: Chain, rule: Rule, hit: P, live: P, returned: P,
        result: Result[P], depth: int,
    ) -> tuple[P, P]:  # fmt: skip
        """Live and returned parts after a verdict for `hit`."""
        algebra = self.flight.world.algebra
        kind = target.kind
        if self.watch:
            self.watch(chain, rule, hit, kind if target.chain is None else f"{kind} {target.chain}")
        if kind == "continue":
            return live, returned
        rest = algebra.both(live, algebra.negate(hit))
        if kind == "accept":
            result.accepted = algebra.either(result.accepted, hit)
        elif kind == "drop":
            result.dropped = algebra.either(result.dropped, hit)
        elif kind == "return":
            returned = algebra.either(returned, hit)
        else:
            assert target.chain is not None
            through = self._chain(chain.table.chains[target.chain], hit, result, depth + (kind == "jump"))
            if kind == "goto":
                returned = algebra.either(returned, through)
            else:
                rest = algebra.either(rest, through)
        return rest, returned

    def _verdict_map(
        self, statement: VerdictMap, chain: Chain, rule: Rule, index: int, hit: P, live: P, returned: P,
        result: Result[P], depth: int,
        ) -> tuple[P, P, P]:  # fmt: skip
        """Live and returned parts, and where the rule goes on: the elements that say `continue`."""
        algebra = self.flight.world.algebra
        site = self._site(chain, rule, index)
        source = find_set(site, statement.map)
        onward = algebra.false
        values, there = read_parts(self.flight, statement.key, site)
        hit = algebra.both(hit, there)
        if not isinstance(source, SetLiteral) and is_dynamic(source):
            if self.flight.world.runtime is not None:
                held = self.flight.world.runtime.find(self.flight, source, values)
                if held is not None and isinstance(held.data, VerdictTarget) and not algebra.is_false(hit):
                    if held.data.kind == "continue":
                        return live, returned, hit
                    return (*self._verdict(held.data, chain, rule, hit, live, returned, result, depth), onward)
                return live, returned, onward
            hit = algebra.both(
                hit, self.flight.choose(f"map {source.name} at {site.name}", f"the contents of map `{source.name}`")
            )
        indices = index_positions(statement.key)
        for element in sorted(source.elements, key=lambda e: e.key is None):
            if algebra.is_false(hit):
                break
            part = algebra.both(hit, element_matches(self.flight, values, element, indices))
            if algebra.is_false(part):
                continue
            hit = algebra.both(hit, algebra.negate(part))
            assert isinstance(element.data, VerdictTarget)
            if element.data.kind == "continue":
                onward = algebra.either(onward, part)
                continue
            live, returned = self._verdict(element.data, chain, rule, part, live, returned, result, depth)
        return live, returned, onward

    # ---- statements that are no verdict ----------------------------------------------------------------------------
    def _statement(
        self, statement: Statement, chain: Chain, rule: Rule, index: int, hit: P, result: Result[P]
    ) -> tuple[P, str]:  # fmt: skip
        """Where the rule goes on (or ended), and the verdict if the statement ends it."""
        algebra = self.flight.world.algebra
        site = self._site(chain, rule, index)
        if isinstance(statement, ExtensionStatement):
            return self._extension(statement, site, hit), ""
        if isinstance(statement, Reject):
            return self._reject(statement, chain, rule, hit, result)
        if isinstance(statement, Nat):
            return self._nat(statement, chain, rule, site, hit, result)
        if isinstance(statement, Mangle):
            return self._mangle(statement, site, hit), ""
        if isinstance(statement, Notrack):
            self.binder.untrack(self.flight, hit)
            return hit, ""
        if isinstance(statement, ObjectReference):
            return self._object(statement, site, hit), ""
        if isinstance(statement, SetUpdate | Meter):
            return self._set_update(statement, site, hit), ""
        if isinstance(statement, Queue):
            # The program behind the queue decides.
            choice = self.flight.choose(f"queue at {site.name}", "the program behind the queue")
            passed = algebra.both(hit, choice)
            result.accepted = algebra.either(result.accepted, passed)
            result.dropped = algebra.either(result.dropped, algebra.both(hit, algebra.negate(choice)))
            if self.watch:
                self.watch(chain, rule, hit, "queue")
            return hit, "queue"
        if isinstance(statement, Synproxy | Forward):
            stolen = hit
            if isinstance(statement, Synproxy):
                # Takes TCP packets only, and answers them itself.
                stolen = algebra.both(hit, algebra.member(self.flight.read(reg.L4PROTO), 8, _TCP))
            result.stolen = stolen if result.stolen is None else algebra.either(result.stolen, stolen)
            if self.watch:
                self.watch(chain, rule, stolen, "stolen")
            return stolen, "stolen"
        if isinstance(statement, ForeignMatch):
            return algebra.both(hit, self.flight.choose(f"{statement.kind} {statement.name}", statement.name)), ""
        if isinstance(statement, Tproxy):
            return algebra.both(
                hit, self.flight.choose(f"tproxy at {site.name}", "whether a local program listens for tproxy")
            ), ""
        assert isinstance(statement, Log | Duplicate | FlowOffload | ResetOption), statement
        return hit, ""

    def _extension(self, statement: ExtensionStatement, site: Site, hit: P) -> P:
        if self.stateful is not None:
            return self.stateful(site, statement, hit)
        what = statement.sometimes
        if what is None:
            return hit
        algebra = self.flight.world.algebra
        return algebra.both(hit, self.flight.choose(f"{what} at {site.name}", what))

    def _object(self, statement: ObjectReference, site: Site, hit: P) -> P:
        """A named counter, limit or quota; helpers and timeouts change nothing here."""
        algebra = self.flight.world.algebra
        if isinstance(statement.name, MapLookup):
            # A key that the map does not have ends the rule.
            values, there = read_parts(self.flight, statement.name.key, site)
            known = in_set(self.flight, values, find_set(site, statement.name.map), site)
            hit = algebra.both(hit, algebra.both(there, known))
        if statement.kind == "synproxy":
            return algebra.both(hit, self.flight.choose(f"synproxy at {site.name}", "what the synproxy does"))
        if statement.kind not in ("limit", "quota"):
            return hit
        if isinstance(statement.name, str):
            found = site.table.objects[statement.kind, statement.name].statement
            if isinstance(found, ExtensionStatement):
                return self._extension(found, Site(site.table, f"{statement.kind} {statement.name}"), hit)
        return algebra.both(
            hit, self.flight.choose(f"{statement.kind} at {site.name}", f"the {statement.kind} chosen by a map")
        )

    def _set_update(self, statement: SetUpdate | Meter, site: Site, hit: P) -> P:
        algebra = self.flight.world.algebra
        _, there = read_parts(self.flight, statement.key, site)
        hit = algebra.both(hit, there)
        if self.update is not None:
            return self.update(self.flight, site, statement, hit)
        name = statement.set if isinstance(statement, SetUpdate) else statement.name
        if statement.stateful:
            what = " ".join(filter(None, (getattr(inner, "sometimes", None) for inner in statement.stateful)))
            if what:
                choice = self.flight.choose(f"{what} in {name} at {site.name}", f"{what} of set `{name}`")
                hit = algebra.both(hit, choice)
        if isinstance(statement, Meter) or statement.operation != "delete":
            # A full set refuses new elements, and the rule stops there.
            return algebra.both(
                hit, self.flight.choose(f"room in {name} at {site.name}", f"whether set `{name}` has room")
            )
        return hit

    def _rejectable(self, statement: Reject) -> P:
        """Where the answer exists. nft asks this first of all in the rule: nothing in it is done for the others."""
        algebra = self.flight.world.algebra
        if statement.kind == "tcp-reset":
            return algebra.member(self.flight.read(reg.L4PROTO), 8, _TCP)
        return (
            algebra.true if statement.kind == "icmpx" else self.flight.is_family(0 if statement.kind == "icmp" else 1)
        )

    def _reject(
        self, statement: Reject, chain: Chain, rule: Rule, hit: P, result: Result[P]
    ) -> tuple[P, str]:  # fmt: skip
        if self.watch:
            self.watch(chain, rule, hit, "reject")
        result.rejected.append((hit, statement, rule))
        return hit, "reject"

    def _mangle(self, statement: Mangle, site: Site, hit: P) -> P:
        algebra = self.flight.world.algebra
        target = statement.target
        value, there = read(self.flight, statement.value, site)
        hit = algebra.both(hit, there)
        bits = width(statement.value)
        if isinstance(target, Meta):
            known = {"mark": reg.MARK, "priority": reg.PRIORITY}.get(target.key)
            register = known or Register(f"meta {target.key}", target.bits)
            self.flight.write(hit, register, resize(self.flight, value, bits, register.bits))
        elif isinstance(target, Ct):
            known = {"mark": reg.CT_MARK, "zone": reg.CT_ZONE}.get(target.key) if target.direction is None else None
            name = f"ct {target.direction} {target.key}" if target.direction else f"ct {target.key}"
            register = known or Register(name, target.bits)
            # A zone decides which flow is looked up: it is set before that, everything else afterwards.
            early = algebra.true if self.flight.tracked is None else algebra.false
            where = algebra.both(hit, early if target.key == "zone" else self.flight.has_entry())
            self.flight.write(where, register, resize(self.flight, value, bits, register.bits))
        elif isinstance(target, Payload):
            _, present = read(self.flight, target, site)
            hit = algebra.both(hit, present)
            slices = _target_slices(target)
            if slices is not None:
                self.flight.write_slices(hit, slices, resize(self.flight, value, bits, target.bits))
        elif isinstance(target, HeaderOption):
            # Options that are not there are left alone.
            register = Register(f"{target.protocol} option {target.option} {target.name}", target.bits)
            where = hit
            if (target.protocol, target.option) == ("tcp", "maxseg") and isinstance(statement.value, Constant):
                # The kernel lowers a maximum segment size, and never raises one.
                assert isinstance(statement.value.value, int)
                larger = Intervals.of(statement.value.value + 1, (1 << target.bits) - 1)
                where = algebra.both(hit, algebra.member(self.flight.read(register), target.bits, larger))
            self.flight.write(where, register, resize(self.flight, value, bits, target.bits))
        return hit

    def _nat(
        self, statement: Nat, chain: Chain, rule: Rule, site: Site, hit: P, result: Result[P]
    ) -> tuple[P, str]:  # fmt: skip
        algebra = self.flight.world.algebra
        family = {"ip": 0, "ip6": 1}.get(statement.family or chain.table.family)
        if family is not None:
            mine = self.flight.is_family(family)
            other = algebra.both(hit, algebra.negate(mine))
            if self.watch and not algebra.is_false(other):
                # The kernel does not translate the other family, and goes on behind the rule.
                self.watch(chain, rule, other, "continue")
            hit = algebra.both(hit, mine)
        address, port = None, None
        if statement.pair:
            assert statement.address is not None and not isinstance(statement.address, tuple)
            joined, there = read(self.flight, statement.address, site)
            hit = algebra.both(hit, there)
            total = statement.address.bits
            address = algebra.slice(joined, total, 16, total - 16)
            port = algebra.slice(joined, total, 0, 16)
        else:
            if statement.address is not None:
                address, there = self._nat_value(statement.address, site, "address", 128 if family == 1 else 32)
                hit = algebra.both(hit, there)
            if statement.port is not None:
                port, there = self._nat_value(statement.port, site, "port", 16)
                hit = algebra.both(hit, there)
        if algebra.is_false(hit):
            return hit, ""
        fixed = _single(statement.address, site) and _single(statement.port, site)
        side = "destination" if statement.kind in ("dnat", "redirect") else "source"
        done = self.binder.bind(
            self.flight, self.hook, hit, Translation(side, family, address, port, statement, site, fixed)
        )
        failed = algebra.both(hit, algebra.negate(done))
        if not algebra.is_false(failed):
            result.dropped = algebra.either(result.dropped, failed)
        result.accepted = algebra.either(result.accepted, done)
        if self.watch:
            self.watch(chain, rule, hit, statement.kind)
        return hit, statement.kind

    def _nat_value(self, value: Key | Expression, site: Site, what: str, bits: int) -> tuple[V, P]:
        algebra = self.flight.world.algebra
        if isinstance(value, tuple):
            return within(self.flight, value[0], bits, f"{what} chosen at {site.name}"), algebra.true
        if isinstance(value, Constant):
            assert isinstance(value.value, int)
            return algebra.constant(value.value, bits), algebra.true
        found, there = read(self.flight, value, site)
        return resize(self.flight, found, width(value), bits), there


def _single(value: Key | Expression | None, site: Site) -> bool:
    """Whether a NAT target is nothing, one value, or looked up in a map of single values: no range to pick from."""
    if isinstance(value, tuple):
        part = value[0]
        return isinstance(part, Interval) and part.low == part.high
    if isinstance(value, MapLookup):
        source = find_set(site, value.map)
        if not isinstance(source, SetLiteral) and is_dynamic(source):
            return False
        data = [element.data for element in source.elements]
        return all(isinstance(d, tuple) and all(_single((part,), site) for part in d) for d in data)
    return value is None or isinstance(value, Constant)


def _target_slices(target: Payload) -> tuple[reg.Slice, ...] | None:
    if target.base == "nh":
        if target.protocol not in ("ip", "ip6"):
            return None
        return header_slices(target.protocol, target.offset, target.bits)
    return header_slices(target.base, target.offset, target.bits)
