"""Packet sets, the solver and the evaluator say the same about the same connection."""

from __future__ import annotations

from ipaddress import ip_address
from random import Random

import pytest
import z3
from oxidd.bdd import BDDFunction

from fireproof.model.assertion import Question
from fireproof.model.ruleset import Ruleset
from fireproof.semantics import register as reg
from fireproof.semantics.algebra import Algebra, P, V
from fireproof.semantics.flight import World
from fireproof.semantics.pipeline import needs_conntrack
from fireproof.semantics.register import Register
from fireproof.syntax.build import load_text
from fireproof.syntax.questions import read_question
from fireproof.verify.answer import Answer, Member, ask
from fireproof.verify.diagram import Diagrams, Value
from fireproof.verify.journey import Journey
from fireproof.verify.members import Membership
from fireproof.verify.solver import Terms
from fireproof.verify.universe import interfaces_of
from fireproof.verify.witness import _Replay, witness_of
from tests.kernel.generate import HOST, PORTS, RulesetMaker

HOSTS = {
    "lan": ("10.0.1.2", "10.0.1.3", "2001:db8:1::2"),
    "wan": ("198.51.100.7", "2001:db8:9::7"),
    "dmz": ("10.0.3.5", "2001:db8:3::5"),
}
OWN = ("10.0.1.1", "10.0.2.1", "10.0.3.1", "2001:db8:1::1", "2001:db8:2::1")
SEEDS = range(60)


def ruleset_of(seed: int) -> Ruleset:
    """A generated ruleset; the generator also makes rules that nft refuses, then the next one is taken."""
    for again in range(50):
        loaded = load_text(HOST + RulesetMaker(seed + 1000 * again).make().text, "generated.nft")
        if not loaded.diagnostics.found:
            return loaded.require()
    raise AssertionError("no generated ruleset loads")


def sample(random: Random, names: list[str]) -> dict[Register, int]:
    """A proper first packet from one of the hosts to another or to the router."""
    iif = random.choice(list(PORTS))
    source = ip_address(random.choice(HOSTS[iif]))
    targets = [ip_address(a) for a in (*OWN, *(a for i in HOSTS if i != iif for a in HOSTS[i]))]
    target = random.choice([t for t in targets if t.version == source.version])
    six = source.version == 6
    protocol = random.choice((6, 6, 17, 58 if six else 1))
    values = {
        reg.FAMILY: int(six), reg.L4PROTO: protocol, reg.TRANSPORT: 1, reg.TTL: 64, reg.HOPLIMIT: 64,
        reg.IIF: names.index(iif), reg.TCP_FLAGS: 2 if protocol == 6 else 0,
        reg.SPORT: random.choice((400, 4000, 5000)), reg.DPORT: random.choice((22, 53, 80, 443, 8080)),
        Register("ip version", 4): 4, Register("ip6 version", 4): 6, Register("ip6 nexthdr", 8): protocol,
    }  # fmt: skip
    if protocol in (1, 58):
        values[reg.SPORT] = (8 if protocol == 1 else 128) << 8
        values[reg.DPORT] = 0
    values[reg.LENGTH] = (40 if six else 20) + (20 if protocol == 6 else 8)
    values[reg.IP6_SADDR if six else reg.IP_SADDR] = int(source)
    values[reg.IP6_DADDR if six else reg.IP_DADDR] = int(target)
    return values


@pytest.mark.parametrize("seed", SEEDS)
def test_packet_sets_and_evaluator_agree_on_every_sampled_connection(seed: int) -> None:
    ruleset = ruleset_of(seed)
    question = read_question(ruleset, "connection")
    algebra = Diagrams()
    world: World[BDDFunction, Value] = World(algebra, interfaces_of(ruleset), ruleset.host, needs_conntrack(ruleset))
    journey = Journey(world, ruleset)
    members = Membership(ruleset, journey.flight()).connection(question)
    passed = journey.connection(members, from_here=False).passed
    names = list(world.interfaces.names)
    random = Random(seed)
    members_seen = 0
    for _ in range(25):
        values = sample(random, names)
        if not algebra.holds(members, values, {}):
            continue
        members_seen += 1
        proved = algebra.holds(passed, values, {})
        member = Member(values, {}, "connection", reg.NEW, from_here=False)
        replay = _Replay(ruleset, Answer(question, "depends", interfaces=names), member)
        assert replay.connection() is proved, "\n".join(replay.witness.story)
    assert members_seen > 5


def passing(ruleset: Ruleset, question: Question, algebra: Algebra[P, V]) -> tuple[P, list[str]]:
    """The connections of a question that get through, by some algebra, and the names of the interfaces."""
    world = World(algebra, interfaces_of(ruleset), ruleset.host, needs_conntrack(ruleset))
    journey = Journey(world, ruleset)
    members = Membership(ruleset, journey.flight()).connection(question)
    return algebra.both(members, journey.connection(members, from_here=False).passed), list(world.interfaces.names)


@pytest.mark.parametrize("seed", list(SEEDS)[:15])
def test_packet_sets_and_solver_agree(seed: int) -> None:
    ruleset = ruleset_of(seed)
    question = read_question(ruleset, "connection")
    diagrams, terms = Diagrams(), Terms()
    by_sets, names = passing(ruleset, question, diagrams)
    by_solver, _ = passing(ruleset, question, terms)
    random = Random(seed)
    for _ in range(10):
        values = sample(random, names)
        fixed = [
            (term, z3.BitVecVal(values.get(register, 0), register.bits, terms.context))
            for register, term in terms.registers.items()
        ]
        fixed += [(term, terms.false) for term, _ in terms.choices.values()]
        said = z3.simplify(z3.substitute(by_solver, *fixed))
        assert z3.is_true(said) is diagrams.holds(by_sets, values, {})


@pytest.mark.parametrize("seed", list(SEEDS)[:25])
@pytest.mark.parametrize(
    "question",
    ["connection from interface lan to interface wan", "connection from interface wan to me",
     "no packet from interface wan to 10.0.1.2", "connection from me to interface dmz tcp dport 80"],
)  # fmt: skip
def test_every_witness_is_confirmed_by_the_evaluator(seed: int, question: str) -> None:
    ruleset = ruleset_of(seed)
    answer = ask(ruleset, read_question(ruleset, question))
    for member in (answer.passing, answer.failing):
        if member is not None:
            witness_of(ruleset, answer, member)
