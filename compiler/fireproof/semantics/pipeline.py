"""The hooks in order: where base chains, connection tracking, NAT and routing meet a packet.

Base chains of one hook run by priority; of two with the same, the one registered last runs first. An accept ends its
chain, not the hook. NAT chains run at NAT's own place whatever their priority says.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, Protocol

from fireproof.model.ruleset import Chain, Rule, Ruleset
from fireproof.model.statement import ExtensionStatement, Meter, Reject, SetUpdate
from fireproof.netfilter.hooks import CONNTRACK_PRIORITY, NAT_HOOK_PRIORITY
from fireproof.semantics import register as reg
from fireproof.semantics import routing
from fireproof.semantics.algebra import P, V
from fireproof.semantics.flight import Flight, Site
from fireproof.semantics.interval import Intervals
from fireproof.semantics.traverse import Binder, Result, Traversal

_FAMILIES = {"ip": (0,), "ip6": (1,), "inet": (0, 1), "netdev": (0, 1)}


class Tracker(Binder[P, V], Protocol[P, V]):
    """Connection tracking as the hooks see it."""

    def track(self, flight: Flight[P, V], where: P) -> P:
        """Finds or makes the flow; sets the ct registers. Returns what goes on (a full table drops)."""
        ...

    def untranslated(self, flight: Flight[P, V], hook: str) -> P:
        """The packets that go through NAT chains at this hook: first of their flow, not yet bound on that side."""
        ...

    def finish_nat(self, flight: Flight[P, V], hook: str, where: P) -> P:
        """After the NAT chains: null bindings for new flows, the known translation for the others."""
        ...

    def confirm(self, flight: Flight[P, V], where: P) -> P: ...


@dataclass(slots=True)
class Stage:
    """One step at a hook: a base chain, all NAT chains together, or connection tracking."""

    kind: str
    priority: int
    chains: tuple[Chain, ...] = ()


def stages(ruleset: Ruleset, hook: str, conntrack: bool) -> list[Stage]:
    """The steps of a hook in the order the kernel takes them."""
    found: list[tuple[int, int, Stage]] = []
    nat: list[tuple[int, int, Chain]] = []
    for number, chain in enumerate(ruleset.registration):
        base = chain.base
        if base is None or base.hook != hook or chain.table.family not in _FAMILIES or "dormant" in chain.table.flags:
            continue
        if base.type == "nat":
            nat.append((base.priority, -number, chain))
        else:
            found.append((base.priority, -number, Stage("chain", base.priority, (chain,))))
    latest = -len(ruleset.registration)
    if conntrack and hook in ("prerouting", "output"):
        found.append((CONNTRACK_PRIORITY, latest, Stage("conntrack", CONNTRACK_PRIORITY)))
    if (
        conntrack
        and hook in NAT_HOOK_PRIORITY
        and any(
            chain.base and chain.base.type == "nat" and "dormant" not in chain.table.flags
            for chain in ruleset.registration
        )
    ):
        place = NAT_HOOK_PRIORITY[hook]
        ordered = tuple(chain for _, _, chain in sorted(nat, key=lambda entry: entry[:2]))
        found.append((place, latest, Stage("nat", place, ordered)))
    return [stage for _, _, stage in sorted(found, key=lambda entry: entry[:2])]


@dataclass(slots=True)
class Fate(Generic[P, V]):
    """What became of a packet, as conditions that exclude one another.

    `forwarded` left through the interface in its flight's `oif`, `local` reached a socket, `sent` was made here and
    left.
    """

    forwarded: P
    local: P
    sent: P
    dropped: P
    rejected: list[tuple[P, Reject, Rule]]
    stolen: P
    outgoing: Flight[P, V]
    delivered: Flight[P, V]


Note = Callable[[str, Chain, "Rule | None", P, str], None]
"""Watches rules: hook, chain, rule, where, verdict."""


@dataclass(slots=True)
class Pipeline(Generic[P, V]):
    """A host with a ruleset, ready for packets. `stateful` and `update` as in Traversal."""

    ruleset: Ruleset
    tracker: Tracker[P, V]
    conntrack: bool = True
    note: Note[P] | None = None
    stateful: Callable[[Site, ExtensionStatement, P], P] | None = None
    update: Callable[[Flight[P, V], Site, SetUpdate | Meter, P], P] | None = None
    _stages: dict[str, list[Stage]] = field(default_factory=dict)

    def hook_stages(self, hook: str) -> list[Stage]:
        found = self._stages.get(hook)
        if found is None:
            found = self._stages[hook] = stages(self.ruleset, hook, self.conntrack)
        return found

    # ---- journeys --------------------------------------------------------------------------------------------------
    def receive(self, flight: Flight[P, V], live: P) -> Fate[P, V]:
        """A packet that arrives on the interface in register `iif`."""
        algebra = flight.world.algebra
        fate = self._fate(flight)
        flight.set(reg.OIF, algebra.constant(0, reg.OIF.bits))
        live = self._hook("ingress", flight, live, fate)
        live = self._hook("prerouting", flight, live, fate)
        routed = routing.route(flight)
        fate.dropped = algebra.either(fate.dropped, algebra.both(live, routed.dropped))
        arriving = algebra.both(live, routed.local)
        if not algebra.is_false(arriving):
            delivered = flight.copy()
            arriving = self._hook("input", delivered, arriving, fate)
            fate.local = self._confirm(delivered, arriving, fate)
            fate.delivered = delivered
        through = algebra.both(live, routed.forwarded)
        if not algebra.is_false(through):
            flight.set(reg.OIF, routed.oif)
            routing.decrement(flight)
            through = self._hook("forward", flight, through, fate)
            through = self._hook("postrouting", flight, through, fate)
            through = self._confirm(flight, through, fate)
            fate.forwarded = self._hook("egress", flight, through, fate)
        return fate

    def send(self, flight: Flight[P, V], live: P) -> Fate[P, V]:
        """A packet that this host makes. Routing comes first, and again after what output changed."""
        algebra = flight.world.algebra
        fate = self._fate(flight)
        flight.set(reg.IIF, algebra.constant(0, reg.IIF.bits))
        live = self._route_output(flight, live, fate)
        live = self._hook("output", flight, live, fate)
        live = self._route_output(flight, live, fate)
        live = self._hook("postrouting", flight, live, fate)
        live = self._confirm(flight, live, fate)
        fate.sent = self._hook("egress", flight, live, fate)
        return fate

    def _fate(self, flight: Flight[P, V]) -> Fate[P, V]:
        no = flight.world.algebra.false
        return Fate(no, no, no, no, [], no, flight, flight)

    def _route_output(self, flight: Flight[P, V], live: P, fate: Fate[P, V]) -> P:
        algebra = flight.world.algebra
        host = flight.world.host
        if host is None:
            return live
        oif, routable = routing.way_out(flight, host)
        for version, register in ((4, reg.IP_DADDR), (6, reg.IP6_DADDR)):
            own = algebra.both(
                flight.is_family(0 if version == 4 else 1),
                algebra.member(flight.read(register), register.bits, routing.local_addresses(host, version)),
            )
            oif = algebra.select(own, routing.interface_value(flight, "lo"), oif, reg.OIF.bits)
            routable = algebra.either(routable, own)
        flight.set(reg.OIF, oif)
        fate.dropped = algebra.either(fate.dropped, algebra.both(live, algebra.negate(routable)))
        return algebra.both(live, routable)

    def _confirm(self, flight: Flight[P, V], live: P, fate: Fate[P, V]) -> P:
        if not self.conntrack:
            return live
        algebra = flight.world.algebra
        kept = self.tracker.confirm(flight, live)
        fate.dropped = algebra.either(fate.dropped, algebra.both(live, algebra.negate(kept)))
        return kept

    # ---- one hook --------------------------------------------------------------------------------------------------
    def _hook(self, hook: str, flight: Flight[P, V], live: P, fate: Fate[P, V]) -> P:
        algebra = flight.world.algebra
        for stage in self.hook_stages(hook):
            if algebra.is_false(live):
                break
            if stage.kind == "conntrack":
                kept = self.tracker.track(flight, live)
                fate.dropped = algebra.either(fate.dropped, algebra.both(live, algebra.negate(kept)))
                live = kept
            elif stage.kind == "nat":
                live = self._nat(hook, stage, flight, live, fate)
            else:
                live = self._chain(hook, stage.chains[0], flight, live, fate)
        return live

    def _seen(self, hook: str, chain: Chain, flight: Flight[P, V]) -> P:
        """The packets that a base chain is called for."""
        algebra = flight.world.algebra
        families = _FAMILIES[chain.table.family]
        found = algebra.true if len(families) == 2 else flight.is_family(families[0])
        if chain.base and chain.base.devices and hook in ("ingress", "egress"):
            register = reg.IIF if hook == "ingress" else reg.OIF
            numbers = Intervals((n, n) for n in map(flight.world.interfaces.number, chain.base.devices))
            found = algebra.both(found, algebra.member(flight.read(register), register.bits, numbers))
        return found

    def _traverse(self, hook: str, chain: Chain, flight: Flight[P, V], live: P) -> Result[P]:
        note = self.note
        watch = None if note is None else lambda c, r, where, verdict: note(hook, c, r, where, verdict)
        traversal = Traversal(flight, hook, self.tracker, watch, self.stateful, self.update)
        return traversal.run(chain, live)

    def _chain(self, hook: str, chain: Chain, flight: Flight[P, V], live: P, fate: Fate[P, V]) -> P:
        algebra = flight.world.algebra
        called = self._seen(hook, chain, flight)
        seen = algebra.both(live, called)
        if algebra.is_false(seen):
            return live
        passing = algebra.both(live, algebra.negate(called))
        result = self._traverse(hook, chain, flight, seen)
        self._collect(result, fate, flight)
        return algebra.either(passing, result.accepted)

    def _collect(self, result: Result[P], fate: Fate[P, V], flight: Flight[P, V]) -> None:
        algebra = flight.world.algebra
        fate.dropped = algebra.either(fate.dropped, result.dropped)
        fate.rejected += result.rejected
        if result.stolen is not None:
            fate.stolen = algebra.either(fate.stolen, result.stolen)

    def _nat(self, hook: str, stage: Stage, flight: Flight[P, V], live: P, fate: Fate[P, V]) -> P:
        """All NAT chains of a hook, for the first packets of flows only; the first binding of a side wins."""
        algebra = flight.world.algebra
        for chain in stage.chains:
            fresh = algebra.both(live, self.tracker.untranslated(flight, hook))
            fresh = algebra.both(fresh, self._seen(hook, chain, flight))
            if algebra.is_false(fresh):
                continue
            rest = algebra.both(live, algebra.negate(fresh))
            result = self._traverse(hook, chain, flight, fresh)
            self._collect(result, fate, flight)
            live = algebra.either(rest, result.accepted)
        kept = self.tracker.finish_nat(flight, hook, live)
        fate.dropped = algebra.either(fate.dropped, algebra.both(live, algebra.negate(kept)))
        return kept


def needs_conntrack(ruleset: Ruleset) -> bool:
    """Whether any rule makes the kernel track connections: a ct key, NAT, a helper."""
    from fireproof.model.expression import Ct
    from fireproof.model.statement import FlowOffload, Nat, ObjectReference, Synproxy
    from fireproof.syntax.references import expressions, walk

    for table in ruleset.tables.values():
        for chain in table.chains.values():
            if chain.base is not None and chain.base.type == "nat":
                return True
            for rule in chain.rules:
                for statement in rule.statements:
                    if isinstance(statement, Nat | Synproxy | FlowOffload):
                        return True
                    if isinstance(statement, ObjectReference) and statement.kind.startswith("ct"):
                        return True
                    if type(statement).__name__ in ("ConnectionLimit", "Notrack"):
                        return True
                    for expression in expressions(statement):
                        if any(isinstance(inner, Ct) for inner in walk(expression)):
                            return True
                    for inner_statement in getattr(statement, "stateful", ()):
                        if type(inner_statement).__name__ == "ConnectionLimit":
                            return True
    return False
