"""Findings about single rules are true, and planted faults are found.

One side is the check, the other an exhaustive run of every kind of packet that the rules can tell apart.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address
from itertools import product
from random import Random

import pytest

from fireproof.evaluate.evaluator import Evaluator
from fireproof.lint import check
from fireproof.model.ruleset import Rule, Ruleset
from fireproof.model.statement import Nat
from fireproof.packet import build
from fireproof.semantics import register as reg
from fireproof.semantics.register import Register
from fireproof.syntax.build import load_text
from fireproof.verify.universe import interfaces_of
from tests.kernel.generate import HOSTS4, HOSTS6, OWN4, OWN6
from tests.property.abstract_packets import rules_hit
from tests.property.test_proofs_and_evaluator import ruleset_of

CODES = ("unreachable-rule", "never-matches")
PRESENT = Register("transport header reaches byte 4", 1)
WHOLE_FLAGS = Register("transport header reaches byte 14", 1)

Values = dict[Register, int]


# ---- rulesets with few distinct values -----------------------------------------------------------------------------
class Maker:
    """Rules over two or three kinds of test, so that one often hides another. `plain`: nothing that changes packets."""

    def __init__(self, seed: int, plain: bool) -> None:
        self.random = Random(f"lint {seed}")
        self.plain = plain
        self.kinds = self.random.sample(["address", "port", "interface", "state", "mark", "flags"], 2)
        self.family = self.random.choice(("inet", "ip", "inet"))

    def match(self, kind: str) -> str:
        pick = self.random.choice
        if kind == "address":
            four = pick(("10.0.0.1", "10.0.0.0/24", "10.0.0.0/8", "!= 10.0.0.0/24", "{ 10.0.0.1, 192.0.2.0/24 }"))
            six = pick(("2001:db8::1", "2001:db8::/32", "!= 2001:db8::1", "!= 2001:db8::/32"))
            return f"ip saddr {four}" if self.family == "ip" or self.random.random() < 0.6 else f"ip6 saddr {six}"
        if kind == "port":
            value = pick(("22", "80", "22-80", "{ 22, 443 }", "!= 22", "!= { 22, 443 }", "> 80", "<= 80"))
            return pick((f"tcp dport {value}", f"tcp dport {value}", f"th dport {value}", "meta l4proto tcp",
                         "meta l4proto != tcp", "meta l4proto { tcp, udp }"))  # fmt: skip
        if kind == "interface":
            return pick(('iifname "lan"', 'iifname != "lan"', 'iifname "la*"', 'iifname { "lan", "wan" }',
                         'iifname != "la*"', 'oifname "wan"'))  # fmt: skip
        if kind == "state":
            return pick(("ct state new", "ct state established,related", "ct state != new", "ct state invalid",
                         "ct state { new, untracked }", "ct mark 1", "ct mark != 1"))  # fmt: skip
        if kind == "flags":
            return pick(("tcp flags syn", "tcp flags ! syn", "tcp flags == syn", "tcp flags & (syn | ack) == syn",
                         "tcp flags != syn", "meta l4proto tcp"))  # fmt: skip
        return pick(("meta mark 1", "meta mark != 1", "meta mark & 1 == 1", "meta mark { 1, 2 }", "meta mark 2"))

    def vmap(self) -> str:
        pick = self.random.choice
        last = pick(("accept", "drop", "continue", "jump c1" if not self.plain else "accept"))
        return pick((
            f"ct state vmap {{ new : accept, established : {last} }}",
            f"tcp dport vmap {{ 22 : accept, 80 : {last}, * : drop }}",
            f"meta mark vmap {{ 1 : drop, 2-3 : {last} }}",
            f"meta l4proto vmap {{ tcp : {last}, udp : drop }}",
        ))  # fmt: skip

    def rule(self, verdicts: list[str]) -> str:
        words = [self.match(kind) for kind in self.kinds if self.random.random() < 0.6]
        if not self.plain and self.random.random() < 0.2:
            words.append(self.random.choice((
                "limit rate 1/second", "meta mark set 1", "ct mark set 1", "ip dscp set cs1", "notrack", "counter",
                "meta mark set tcp dport map { 22 : 1, 80 : 2 }", "numgen inc mod 2 0", "add @seen { ip saddr }",
                "ip saddr @seen", "tcp flags syn tcp option maxseg size set 1400",
            )))  # fmt: skip
        if self.random.random() < 0.15:
            return " ".join([*words[:1], self.vmap()])
        return " ".join([*words, self.random.choice(verdicts)])

    def make(self) -> str:
        calls = ["jump c1", "jump c2"] if self.plain else ["jump c1", "goto c2", "return"]
        ends = ["accept", "drop", "accept", "drop", "reject", "counter"]
        inner = [*ends, *([] if self.plain else ["return", "goto c2"])]
        names = ("c2", "c1")
        chains = "".join(
            f"chain {name} {{\n"
            + "".join(f"  {self.rule(ends if name == 'c2' else inner)}\n" for _ in range(4))
            + "}\n"
            for name in names
        )
        hook = "forward priority 0"
        base = "".join(f"  {self.rule([*ends, *calls])}\n" for _ in range(8))
        sets = "set seen { type ipv4_addr; flags dynamic; size 100; }\n" if not self.plain else ""
        return f"table {self.family} t {{\n{sets}{chains}chain base {{ type filter hook {hook};\n{base}}}\n}}\n"

    def packets(self, ruleset: Ruleset) -> Iterator[Values]:
        """One of every kind that the tests above can tell apart."""
        real = range(1, len(interfaces_of(ruleset).names))
        axes: list[list[Values]] = [[{reg.FAMILY: 0}]]
        if self.family == "inet":
            axes = [[{reg.FAMILY: 0}, {reg.FAMILY: 1}]]
        if not self.plain or "address" in self.kinds:
            four = [
                {reg.FAMILY: 0, reg.IP_SADDR: _number(a)} for a in ("10.0.0.1", "10.0.0.2", "10.1.0.1", "192.0.2.1")
            ]
            six = [{reg.FAMILY: 1, reg.IP6_SADDR: _number(a)} for a in ("2001:db8::1", "2001:db8::2", "2001:dead::1")]
            axes[0] = four + (six if self.family == "inet" else [])
        ports, marks = (10, 22, 50, 80, 443, 1000), (0, 1, 2, 5)
        flags = (2, 18, 16, 194) if "flags" in self.kinds else (2,)
        axes.append(
            [
                {reg.L4PROTO: protocol, reg.DPORT: port, PRESENT: 1, WHOLE_FLAGS: int(whole), reg.TCP_FLAGS: bits}
                for protocol in (6, 17, 1)
                for port in ((22, 80, 443) if "port" not in self.kinds else ports)
                for whole, bits in ([(0, 0), *((1, bits) for bits in flags)] if protocol == 6 else [(1, 2)])
            ]
            + [{reg.L4PROTO: protocol, PRESENT: 0, WHOLE_FLAGS: 0} for protocol in (6, 17, 1)]
        )
        axes.append([{reg.CT_STATE: state} for state in reg.STATES.values()])
        if "state" in self.kinds:
            axes[-1] = [{**values, reg.CT_MARK: mark} for values in axes[-1] for mark in (0, 1)]
        axes.append([{reg.MARK: mark} for mark in (range(6) if "mark" in self.kinds else marks)])
        numbers = [{reg.IIF: iif, reg.OIF: oif} for iif in real for oif in real]
        axes.append(numbers if "interface" in self.kinds else numbers[:1])
        for parts in product(*axes):
            yield {register: value for part in parts for register, value in part.items()}


def _number(address: str) -> int:
    return int(ip_address(address))


def made(seed: int, plain: bool) -> tuple[Ruleset, Maker]:
    for again in range(50):
        maker = Maker(seed + 1000 * again, plain)
        loaded = load_text(maker.make(), "generated.nft")
        if not loaded.diagnostics.found:
            return loaded.require(), maker
    raise AssertionError("no generated ruleset loads")


def reported(ruleset: Ruleset) -> set[Rule]:
    by_span = {rule.span: rule for t in ruleset.tables.values() for c in t.chains.values() for rule in c.rules}
    return {by_span[finding.span] for finding in check(ruleset) if finding.code in CODES and finding.span in by_span}


def listed(rules: set[Rule]) -> list[str]:
    return sorted(f"{rule.span.line}: {rule.span.text}" for rule in rules)


@pytest.mark.parametrize("seed", range(100))
def test_no_packet_ever_gets_to_a_reported_rule(seed: int) -> None:
    ruleset, maker = made(seed, plain=False)
    found = reported(ruleset)
    if not found:
        return
    packets = list(maker.packets(ruleset))
    random = Random(seed)
    chosen = packets if len(packets) <= 1500 else random.sample(packets, 1500)
    (table,) = ruleset.tables.values()
    hit = rules_hit(ruleset, table.chains["base"], chosen, seed)
    assert not listed(found & hit), ruleset.files[0].text


@pytest.mark.parametrize("seed", range(80))
def test_every_rule_that_no_packet_reaches_is_reported(seed: int) -> None:
    """Only for the rules of the base chain: of a called chain the check knows a box around what comes in, not more."""
    ruleset, maker = made(seed, plain=True)
    (table,) = ruleset.tables.values()
    base = table.chains["base"]
    hit = rules_hit(ruleset, base, list(maker.packets(ruleset)), seed)
    found = reported(ruleset)
    assert listed(found & hit) == [], ruleset.files[0].text
    assert listed(set(base.rules) - hit - found) == [], ruleset.files[0].text


@pytest.mark.parametrize("seed", range(40))
def test_the_evaluator_never_takes_a_reported_rule(seed: int) -> None:
    """Whole packets through whole rulesets, with connection tracking and NAT."""
    ruleset = ruleset_of(seed)
    found = reported(ruleset)
    evaluator = Evaluator(ruleset, clock=1_700_000_000.0)
    random = Random(seed)
    seen: set[Rule] = set()
    for _ in range(200):
        six = random.random() < 0.4
        iif = random.choice(("lan", "wan", "dmz"))
        hosts, own = (HOSTS6, OWN6) if six else (HOSTS4, OWN4)
        source = random.choice(hosts[iif])
        target = random.choice([a for name in hosts for a in hosts[name]] + list(own))
        flags = random.choice((2, 2, 18, 16, 17, 4))
        ports = random.choice((400, 4000)), random.choice((22, 53, 80, 443, 8080))
        if random.random() < 0.7:
            raw = build.tcp(source, ports[0], target, ports[1], flags)
        else:
            raw = build.udp(source, ports[0], target, ports[1])
        outcome = evaluator.send(raw, iif)
        for step in (*outcome.path, *outcome.side_path):
            # A NAT rule passes packets of the other IP version by, and does nothing to them.
            if step.rule is not None and not (step.verdict == "continue" and isinstance(step.rule.statements[-1], Nat)):
                seen.add(step.rule)
    assert not listed(found & seen)
