"""Packets that can only come after others: established and related ones, found by the solver together with their flow.

A packet is established only if these rules let the first packet of its flow through to confirmation, in the direction
of the packet or in the other; it is related only as an ICMP error about such a flow.
Over-approximations, all towards "possible": the reply that makes the first direction established may be dropped later,
and anybody can send one; an ICMP error about a flow may come from any router.
"""

from __future__ import annotations

from time import monotonic

from fireproof.model.assertion import Question
from fireproof.model.ruleset import Ruleset
from fireproof.netfilter.conntrack import ERRORS, IGNORED_FLAGS, SENSIBLE_FLAGS, WITH_PORTS
from fireproof.semantics import register as reg
from fireproof.semantics.flight import Flight, World
from fireproof.semantics.flow import Ends
from fireproof.semantics.interval import Intervals
from fireproof.semantics.pipeline import needs_conntrack
from fireproof.semantics.register import Register
from fireproof.verify.answer import Answer, Member, _claimed, _rejected, can_be_new
from fireproof.verify.diagram import OutOfTime
from fireproof.verify.journey import ACK, ICMP_REPLIES, SYN, SYN_ACK, Journey
from fireproof.verify.members import Membership, mentioned_interfaces, opens_here
from fireproof.verify.solver import Condition, Terms, Value
from fireproof.verify.tracking import Exchange, RoleTracker
from fireproof.verify.universe import interfaces_of

_LIVE_FLAGS = {
    # A lone SYN against the direction of a flow is invalid, and so is SYN/ACK from the opener.
    kind: Intervals((f, f) for f in range(256) if f & ~IGNORED_FLAGS in SENSIBLE_FLAGS - never)
    for kind, never in (("reply", {0x02, 0x22}), ("again", {SYN_ACK}))
}
KINDS = ("reply", "again", "related", "related again")
"""A packet after its flow was opened: from the other side, from the opener again, or an ICMP error about it that comes
from the other side or from the opener's."""


def after_a_flow(ruleset: Ruleset, question: Question, deadline: float) -> Answer:
    """The answer for the packets of a question that are established or related."""
    found: Answer | None = None
    for kind in KINDS:
        for opened_here in (False, True):
            case = _Case(ruleset, question, kind, opened_here, deadline)
            found = _merge(found, case.answer())
    assert found is not None
    return found


def _merge(one: Answer | None, other: Answer) -> Answer:
    from fireproof.verify.answer import _merged

    return _merged(one, other)


class _Case:
    """One way a flow can have been opened, and one kind of packet after it."""

    def __init__(self, ruleset: Ruleset, question: Question, kind: str, opened_here: bool, deadline: float) -> None:
        self.ruleset = ruleset
        self.question = question
        self.kind = kind
        self.opened_here = opened_here
        self.deadline = deadline
        self.terms = Terms(deadline)
        interfaces = interfaces_of(ruleset, mentioned_interfaces(question))
        self.world: World[Condition, Value] = World(self.terms, interfaces, ruleset.host, needs_conntrack(ruleset))
        self.journey: Journey[Condition, Value] = Journey(self.world, ruleset)

    def answer(self) -> Answer:
        question, terms = self.question, self.terms
        names = list(self.world.interfaces.names)
        from_here = opens_here(question)
        # The flow's first packet has registers of its own.
        opener = Flight(self.world, label="first")
        opener.set(reg.MARK, terms.constant(0, 32))
        opener.set(reg.CT_ZONE, terms.constant(0, reg.CT_ZONE.bits))
        opening = Membership(self.ruleset, opener)
        loose = self.ruleset.host.conntrack.tcp_loose if self.ruleset.host else True
        valid = opening.all(opening.sound(), opening.exists(self.opened_here), can_be_new(opening, loose))
        if self.opened_here and self.ruleset.host is not None:
            valid = terms.both(valid, opening.own(source=True))
        tracker: RoleTracker[Condition, Value] = RoleTracker(reg.NEW)
        pipeline = self.journey.pipeline(tracker, "first")
        fate = (pipeline.send if self.opened_here else pipeline.receive)(opener, valid)
        found: Answer | None = None
        for outcome, flight in ((terms.either(fate.forwarded, fate.sent), fate.outgoing), (fate.local, fate.delivered)):
            if terms.is_false(outcome):
                continue
            exchange = tracker.exchange_after(flight)
            base = terms.both(outcome, exchange.tracked)
            part = self._packet(base, exchange, opener, from_here, names)
            found = _merge(found, part)
        return found or Answer(question, "never", empty=True, interfaces=names)

    def _packet(
        self, base: Condition, exchange: Exchange[Condition, Value], opener: Flight[Condition, Value], from_here: bool,
        names: list[str],
    ) -> Answer:  # fmt: skip
        question, terms, journey = self.question, self.terms, self.journey
        packet = journey.flight()
        membership = Membership(self.ruleset, packet)
        error = self.kind.startswith("related")
        state = reg.RELATED if error else reg.ESTABLISHED
        described = [base, membership.packet(question), self._belongs(packet, exchange, opener)]
        direction = 0 if self.kind.endswith("again") else 1
        tracker: RoleTracker[Condition, Value] = RoleTracker(state, exchange, direction, error)
        run = journey.pipeline(tracker, "packet")
        fate = (run.send if from_here else run.receive)(packet, terms.true)
        passed = terms.either(terms.either(fate.forwarded, fate.local), fate.sent)
        rejects = [claim for claim in question.claims if claim.kind == "rejected"]
        if rejects:
            passed = terms.false
            for claim in rejects:
                passed = terms.either(passed, _rejected(fate, claim, journey.flight()))
        for claim in question.claims:
            if claim.kind != "rejected":
                passed = terms.both(passed, _claimed(fate, claim, self.world, journey))
        good, passing = self._solve([*described, passed], state, from_here)
        bad, failing = self._solve([*described, terms.negate(passed)], state, from_here)
        if "unknown" in (good, bad):
            reason = f"the solver found no answer about {_words(self.kind)} in time"
            return Answer(question, "unknown", [], passing, failing, reason=reason, interfaces=names)
        if good == bad == "unsat":
            return Answer(question, "never", empty=True, interfaces=names)
        verdict = "always" if bad == "unsat" else "never" if good == "unsat" else "depends"
        return Answer(question, verdict, [], passing, failing, interfaces=names)

    def _belongs(
        self, packet: Flight[Condition, Value], exchange: Exchange[Condition, Value], opener: Flight[Condition, Value]
    ) -> Condition:
        """That the packet is of the kind that this case is about, for this flow."""
        terms = self.terms
        same_family = terms.equal(packet.read(reg.FAMILY), opener.arriving(reg.FAMILY), 1)
        protocol = packet.read(reg.L4PROTO)
        if self.kind.startswith("related"):
            error = terms.false
            for number, kinds in ERRORS.items():
                hit = terms.member(packet.read(reg.SPORT), 16, Intervals((k << 8, k << 8 | 255) for k in kinds))
                error = terms.either(error, terms.both(terms.member(protocol, 8, Intervals.of(number)), hit))
            # The error goes to the sender of the packet it speaks of, by the address that packet had on that side:
            # that is where replies go, from the other side, or where the opener's packets go.
            ends = exchange.original if self.kind == "related again" else exchange.reply
            toward = self._addresses(packet, ends, ends, only_destination=True)
            return terms.both(terms.both(same_family, error), toward)
        same_protocol = terms.equal(protocol, opener.arriving(reg.L4PROTO), 8)
        ends = exchange.reply if self.kind == "reply" else exchange.original
        alike = self._addresses(packet, ends, ends, only_destination=False)
        whole = terms.member(packet.read(reg.TRANSPORT), 1, Intervals.of(1))
        tcp = terms.member(protocol, 8, Intervals.of(6))
        flags = terms.member(packet.read(reg.TCP_FLAGS), 8, _LIVE_FLAGS[self.kind])
        whole = terms.both(whole, terms.either(terms.negate(tcp), flags))
        return terms.both(terms.both(same_family, same_protocol), terms.both(alike, whole))

    def _addresses(
        self, packet: Flight[Condition, Value], ends: Ends[Value], full: Ends[Value], only_destination: bool
    ) -> Condition:
        terms = self.terms
        rows: list[tuple[Register, Value]] = [(reg.IP_DADDR, ends.daddr4), (reg.IP6_DADDR, ends.daddr6)]
        if not only_destination:
            rows += [(reg.IP_SADDR, full.saddr4), (reg.IP6_SADDR, full.saddr6)]
        found = terms.true
        for register, value in rows:
            family = packet.is_family(0 if register.bits == 32 else 1)
            same = terms.equal(packet.read(register), value, register.bits)
            found = terms.both(found, terms.either(terms.negate(family), same))
        if only_destination:
            return found
        # Ports count where there are any; of ICMP the identifier does, which the model leaves free.
        ported = terms.member(packet.read(reg.L4PROTO), 8, Intervals((p, p) for p in WITH_PORTS))
        ports = terms.both(
            terms.equal(packet.read(reg.SPORT), full.sport, 16), terms.equal(packet.read(reg.DPORT), full.dport, 16)
        )
        return terms.both(terms.both(found, terms.either(terms.negate(ported), ports)), self._icmp_kind(packet, full))

    def _icmp_kind(self, packet: Flight[Condition, Value], full: Ends[Value]) -> Condition:
        """Of an ICMP flow the reply has the type that answers, later packets that of the first."""
        terms = self.terms
        icmp = terms.member(packet.read(reg.L4PROTO), 8, Intervals([(1, 1), (58, 58)]))
        kind = terms.slice(packet.read(reg.SPORT), 16, 8, 8)
        # The first packet's type stands where a source port would.
        opened = terms.slice(full.dport if self.kind == "reply" else full.sport, 16, 8, 8)
        same = terms.false
        for (number, request), answering in ICMP_REPLIES.items():
            protocol = terms.member(packet.read(reg.L4PROTO), 8, Intervals.of(number))
            asked = terms.member(opened, 8, Intervals.of(request))
            wanted = answering if self.kind == "reply" else request
            fits = terms.both(terms.both(protocol, asked), terms.member(kind, 8, Intervals.of(wanted)))
            same = terms.either(same, fits)
        return terms.either(terms.negate(icmp), same)

    def _milliseconds(self) -> int:
        left = self.deadline - monotonic()
        if left <= 0:
            raise OutOfTime
        return int(left * 1000) + 1

    def _ordinary(self) -> Condition:
        """Packets as programs send them: TCP opens with SYN, TTLs are not about to run out, nothing is padded."""
        terms = self.terms
        found = terms.true
        for label in ("first", ""):
            flight = Flight(self.world, label=label)
            usual = Intervals((p, p) for p in (1, 6, 17, 58))
            found = terms.both(found, terms.member(flight.read(reg.L4PROTO), 8, usual))
            tcp = terms.member(flight.read(reg.L4PROTO), 8, Intervals.of(6))
            flags = Intervals.of(SYN) if label else Intervals((f, f) for f in (SYN_ACK, ACK))
            found = terms.both(
                found, terms.either(terms.negate(tcp), terms.member(flight.read(reg.TCP_FLAGS), 8, flags))
            )
            for register in (reg.TTL, reg.HOPLIMIT):
                found = terms.both(found, terms.member(flight.read(register), 8, Intervals.of(64)))
            plain = Intervals((n, n) for n in (28, 40, 48, 60))
            found = terms.both(found, terms.member(flight.read(reg.LENGTH), reg.LENGTH.bits, plain))
        return found

    def _solve(self, conditions: list[Condition], state: int, from_here: bool) -> tuple[str, Member | None]:
        """Whether the conditions can hold together, and if so how: with ordinary packets where that is possible."""
        answer, model = self.terms.solve([*conditions, self._ordinary()], self._milliseconds())
        if model is None:
            answer, model = self.terms.solve(conditions, self._milliseconds())
        if model is None:
            return answer, None
        registers, choices = self.terms.assignment(model)
        return answer, Member(registers, choices, self.kind, state, from_here)


def _words(kind: str) -> str:
    return {
        "reply": "replies to flows", "again": "later packets of flows", "related": "ICMP errors about flows",
        "related again": "ICMP errors about the replies of flows",
    }[kind]  # fmt: skip
