"""Answers to questions: always, never or depends, with what they hang on and a member on each side.

Connections are answered by packet sets. Packets are, in the states new, invalid and untracked; where a packet can only
come after others (established, related) the solver looks for the history as well.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from time import monotonic

from oxidd.bdd import BDDFunction
from oxidd.util import DDMemoryError

from fireproof.model.assertion import Claim, Question
from fireproof.model.expression import Ct, Name
from fireproof.model.ruleset import Ruleset
from fireproof.model.statement import Mangle, ObjectReference, Tproxy
from fireproof.netfilter.conntrack import ICMP, ICMPV6, QUERIES
from fireproof.netfilter.reject import ICMPX_TO_ICMP, ICMPX_TO_ICMPV6
from fireproof.semantics import register as reg
from fireproof.semantics.algebra import P, V
from fireproof.semantics.flight import Flight, World
from fireproof.semantics.interval import Intervals
from fireproof.semantics.pipeline import Fate, needs_conntrack
from fireproof.semantics.register import Register
from fireproof.verify.diagram import NODES, Choice, Diagrams, OutOfNodes, OutOfTime, Value
from fireproof.verify.journey import Journey
from fireproof.verify.members import Membership, mentioned_interfaces, opens_here
from fireproof.verify.tracking import RoleTracker, never_tracked
from fireproof.verify.universe import interfaces_of


@dataclass(frozen=True, slots=True)
class Member:
    """One connection or packet: what its registers hold, how the choices fall, in which state it arrives.

    `history` names the packets before it: `first` for one that follows a flow.
    """

    registers: dict[Register, int]
    choices: dict[str, bool]
    subject: str
    state: int
    from_here: bool


@dataclass(slots=True)
class Answer:
    """`answer`: always, never, depends or unknown. `passing` and `failing`: members that do and do not get through."""

    question: Question
    answer: str
    depends_on: list[Choice] = field(default_factory=list)
    passing: Member | None = None
    failing: Member | None = None
    empty: bool = False
    reason: str = ""
    interfaces: list[str] = field(default_factory=list)

    @property
    def holds(self) -> bool | None:
        """Whether the claim of the question is true; None when that is not known."""
        if self.answer == "unknown":
            return None
        if self.question.quantifier == "no":
            return self.answer == "never"
        if self.question.quantifier == "possible":
            return self.answer != "never"
        return self.answer == "always"

    @property
    def witness(self) -> Member | None:
        """The member that shows why: against the claim where it fails, for it otherwise."""
        if self.question.quantifier == "no":
            return self.passing or self.failing
        if self.question.quantifier == "possible":
            return self.passing or self.failing
        return self.failing or self.passing


def ask(ruleset: Ruleset, question: Question, nodes: int = NODES, seconds: float = 60.0) -> Answer:
    """Answers one question. Out of nodes or time the answer is `unknown`, with the reason."""
    beyond = not_modelled(ruleset, question)
    if beyond:
        return Answer(question, "unknown", reason=beyond)
    try:
        if question.subject == "connection":
            return _connection(ruleset, question, nodes, monotonic() + seconds)
        return _packet(ruleset, question, nodes, monotonic() + seconds)
    except OutOfTime:
        return Answer(question, "unknown", reason=f"no answer within {seconds:g} s")
    except (DDMemoryError, OutOfNodes):
        return Answer(question, "unknown", reason=f"the packet sets grew beyond {nodes} nodes")


def not_modelled(ruleset: Ruleset, question: Question) -> str:
    """What decides about this question and is beyond the model, in words; nothing when all is within it."""
    for table in ruleset.tables.values():
        for chain in table.chains.values():
            for rule in chain.rules:
                for statement in rule.statements:
                    what = ""
                    if (
                        isinstance(statement, Mangle)
                        and isinstance(statement.target, Ct)
                        and statement.target.key == "zone"
                    ):
                        what = "conntrack zones"
                    elif isinstance(statement, Tproxy):
                        what = "transparent proxying"
                    elif (
                        isinstance(statement, ObjectReference)
                        and statement.kind in ("ct helper", "ct expectation")
                        and question.subject == "packet"
                    ):
                        what = "the connections that a conntrack helper expects"
                    if what:
                        return f"{what} are set in {rule.span.place}, which the proofs do not model"
    return ""


def _world(ruleset: Ruleset, question: Question, algebra: Diagrams) -> World[BDDFunction, Value]:
    return World(
        algebra, interfaces_of(ruleset, mentioned_interfaces(question)), ruleset.host, needs_conntrack(ruleset)
    )


def _connection(ruleset: Ruleset, question: Question, nodes: int, deadline: float) -> Answer:
    algebra = Diagrams(nodes, deadline)
    world = _world(ruleset, question, algebra)
    journey = Journey(world, ruleset)
    membership = Membership(ruleset, journey.flight())
    members = membership.connection(question)
    from_here = opens_here(question)
    rejects = [claim for claim in question.claims if claim.kind == "rejected"]
    connection = journey.connection(members, from_here)
    passed = connection.passed
    if rejects:
        passed = algebra.false
        for claim in rejects:
            passed = passed | _rejected(connection.first, claim, journey.flight())
    for claim in question.claims:
        if claim.kind != "rejected":
            passed = passed & _claimed(connection.first, claim, world, journey)
    return _judge(question, algebra, world, members, passed, reg.NEW, from_here)


def _judge(
    question: Question,
    algebra: Diagrams,
    world: World[BDDFunction, Value],
    members: BDDFunction,
    passed: BDDFunction,
    state: int,
    from_here: bool,
) -> Answer:
    good = members & passed
    bad = members & ~passed
    names = list(world.interfaces.names)
    if not members.satisfiable():
        return Answer(question, "never", empty=True, interfaces=names)
    if not bad.satisfiable():
        verdict = "always"
    elif not good.satisfiable():
        verdict = "never"
    else:
        verdict = "depends"
    answer = Answer(question, verdict, interfaces=names)
    if verdict == "depends":
        answer.depends_on = algebra.hangs_on(good, members)
    if good.satisfiable():
        answer.passing = _member(algebra, good, question.subject, state, from_here)
    if bad.satisfiable():
        answer.failing = _member(algebra, bad, question.subject, state, from_here)
    return answer


# ---- claims --------------------------------------------------------------------------------------------------------
def _target(flight: Flight[P, V], claim: Claim, source: bool) -> P:
    """Where the packet has the claimed address and port now."""
    algebra = flight.world.algebra
    found = algebra.true
    if claim.address is not None:
        family, register = (0, reg.IP_SADDR if source else reg.IP_DADDR) if claim.version == 4 else (
            1, reg.IP6_SADDR if source else reg.IP6_DADDR)  # fmt: skip
        hit = algebra.member(flight.read(register), register.bits, Intervals.of(claim.address))
        found = algebra.both(flight.is_family(family), hit)
    if claim.port is not None:
        port = reg.SPORT if source else reg.DPORT
        found = algebra.both(found, algebra.member(flight.read(port), 16, Intervals.of(claim.port)))
    return found


def _claimed(fate: Fate[P, V], claim: Claim, world: World[P, V], journey: Journey[P, V]) -> P:
    algebra = world.algebra
    left = algebra.either(fate.forwarded, fate.sent)
    if claim.kind == "via":
        assert claim.interface is not None
        numbers = world.interfaces.matching(Name(claim.interface))
        return algebra.both(left, algebra.member(fate.outgoing.read(reg.OIF), reg.OIF.bits, numbers))
    if claim.kind == "reaches":
        onward = algebra.both(left, _target(fate.outgoing, claim, source=False))
        return algebra.either(onward, algebra.both(fate.local, _target(fate.delivered, claim, source=False)))
    # translated to: the address it leaves with, where that is not the one it came with.
    arrived = journey.flight()
    found = algebra.false
    for outcome, flight in ((left, fate.outgoing), (fate.local, fate.delivered)):
        for source in (True, False):
            now = _target(flight, claim, source)
            before = _target(arrived, claim, source)
            found = algebra.either(found, algebra.both(outcome, algebra.both(now, algebra.negate(before))))
    return found


def _rejected(fate: Fate[P, V], claim: Claim, arrived: Flight[P, V]) -> P:
    algebra = arrived.world.algebra
    found = algebra.false
    for where, statement, _ in fate.rejected:
        if claim.reject is None or (statement.kind, statement.code) == (claim.reject, claim.code):
            found = algebra.either(found, where)
        elif statement.kind == "icmpx" and claim.reject in ("icmp", "icmpv6") and statement.code is not None:
            table = ICMPX_TO_ICMP if claim.reject == "icmp" else ICMPX_TO_ICMPV6
            if table.get(statement.code) == claim.code:
                family = arrived.is_family(0 if claim.reject == "icmp" else 1)
                found = algebra.either(found, algebra.both(where, family))
    return found


# ---- packets -------------------------------------------------------------------------------------------------------
def new_flags(loose: bool) -> Intervals:
    """TCP flags with which a packet can begin a flow: SYN without ACK, FIN, RST; with tcp_loose also a bare ACK."""
    found = []
    for flags in range(256):
        syn, ack, ends = flags & 2, flags & 16, flags & 5
        if not ends and ((syn and not ack) or (loose and ack and not syn)):
            found.append((flags, flags))
    return Intervals(found)


_NEW_ICMP, _NEW_ICMPV6 = (
    Intervals((kind << 8, kind << 8 | 255) for kind in QUERIES[protocol]) for protocol in (ICMP, ICMPV6)
)


def can_be_new(membership: Membership[P, V], loose: bool) -> P:
    flight = membership.flight
    algebra = flight.world.algebra

    def protocol(number: int) -> P:
        return algebra.member(flight.read(reg.L4PROTO), 8, Intervals.of(number))

    return membership.all(
        membership.no(never_tracked(flight)),
        membership.any(membership.no(protocol(6)), membership.is_in(reg.TCP_FLAGS, new_flags(loose))),
        membership.any(membership.no(protocol(1)), membership.is_in(reg.SPORT, _NEW_ICMP)),
        membership.any(membership.no(protocol(58)), membership.is_in(reg.SPORT, _NEW_ICMPV6)),
        membership.is_in(reg.TRANSPORT, Intervals.of(1)),
    )


def _packet(ruleset: Ruleset, question: Question, nodes: int, deadline: float) -> Answer:
    algebra = Diagrams(nodes, deadline)
    world = _world(ruleset, question, algebra)
    loose = ruleset.host.conntrack.tcp_loose if ruleset.host else True
    from_here = opens_here(question)
    total: Answer | None = None
    for state in (reg.NEW, reg.INVALID, reg.UNTRACKED) if world.conntrack else (reg.INVALID,):
        journey = Journey(world, ruleset)
        flight = journey.flight()
        membership = Membership(ruleset, flight)
        members = membership.packet(question)
        if state == reg.NEW:
            members = members & can_be_new(membership, loose)
        elif state == reg.UNTRACKED:
            members = members & never_tracked(flight)
        tracker: RoleTracker[BDDFunction, Value] = RoleTracker(state)
        pipeline = journey.pipeline(tracker, "packet")
        fate = (pipeline.send if from_here else pipeline.receive)(flight, members)
        passed = fate.forwarded | fate.local | fate.sent
        if any(claim.kind == "rejected" for claim in question.claims):
            passed = algebra.false
            for claim in question.claims:
                if claim.kind == "rejected":
                    passed = passed | _rejected(fate, claim, journey.flight())
        for claim in question.claims:
            if claim.kind != "rejected":
                passed = passed & _claimed(fate, claim, world, journey)
        total = _merged(total, _judge(question, algebra, world, members, passed, state, from_here))
    assert total is not None
    if world.conntrack:
        from fireproof.verify.history import after_a_flow

        total = _merged(total, after_a_flow(ruleset, question, deadline))
    return total


def _merged(one: Answer | None, other: Answer) -> Answer:
    """The answer about both parts together."""
    if one is None or one.empty:
        return other
    if other.empty:
        return one
    if "unknown" in (one.answer, other.answer):
        # What is known to pass and to fail both decides; less does not.
        if one.passing and one.failing:
            return one
        return Answer(one.question, "unknown", [], one.passing or other.passing, one.failing or other.failing,
                      reason=one.reason or other.reason, interfaces=one.interfaces)  # fmt: skip
    answer = one.answer if one.answer == other.answer else "depends"
    names = {choice.name for choice in one.depends_on}
    return Answer(
        one.question, answer, [*one.depends_on, *(c for c in other.depends_on if c.name not in names)],
        one.passing or other.passing, one.failing or other.failing, interfaces=one.interfaces,
    )  # fmt: skip


# ---- members -------------------------------------------------------------------------------------------------------
_NICE: tuple[tuple[Register, tuple[int, ...]], ...] = (
    (reg.FAMILY, (0,)), (reg.L4PROTO, (6, 17, 1, 58)), (reg.DPORT, (443, 80, 22, 53, 25, 8080, 12345)),
    (reg.LENGTH, (40, 28, 60, 48)), (reg.SPORT, (40000, 1024)), (reg.TCP_FLAGS, (2,)), (reg.TRANSPORT, (1,)),
    (reg.TTL, (64,)), (reg.HOPLIMIT, (64,)),
    (reg.IP_SADDR, (0xC6336407, 0xCB007107, 0xC0000207, 0xC0A80A07)), (reg.IP_DADDR, (0xC6336464, 0xCB007164)),
    (reg.IP6_SADDR, (0x20010DB8 << 96 | 7,)), (reg.IP6_DADDR, (0x20010DB8 << 96 | 0x64,)),
)  # fmt: skip
"""Values that people like to read, tried in order: documentation addresses, well-known ports."""


def _member(algebra: Diagrams, where: BDDFunction, subject: str, state: int, from_here: bool) -> Member:
    # Choices fall the usual way where that is possible: nothing taken, nothing changed.
    for name in list(algebra.choices):
        index, _ = algebra.choices[name]
        off = algebra.manager.not_var(index)
        if (where & off).satisfiable():
            where = where & off
    for register, values in _NICE:
        for value in values:
            narrowed = where & algebra.member(algebra.arriving(register), register.bits, Intervals.of(value))
            if narrowed.satisfiable():
                where = narrowed
                break
    registers, choices = algebra.assignment(where)
    return Member(registers, choices, subject, state, from_here)
