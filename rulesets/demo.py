"""The main job from end to end, on the example rulesets: read, lint, prove, compile with proof, load, probe.

Without root or nft everything but the real kernel runs, and what was left out is said.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from fireproof.emit.compile import compile_ruleset
from fireproof.kernel import unavailable
from fireproof.lint import check
from fireproof.model.ruleset import Ruleset
from fireproof.packet.notation import Notated
from fireproof.query.ask import Explained, explain
from fireproof.query.trace import Traced, evaluate, in_kernel
from fireproof.report.text import full
from fireproof.source.diagnostic import InputError
from fireproof.syntax.build import load

HERE = Path(__file__).resolve().parent
GOOD = ("home-router", "web-server", "office-edge", "container-host", "ipv6-router")
WITH_MISTAKE = "branch-office-mistake"


def main() -> int:
    colour = sys.stdout.isatty()
    started = time.monotonic()
    print("1. Read and lint six rulesets, prove what they assert")
    refuted: list[tuple[str, Explained]] = []
    rulesets: dict[str, Ruleset] = {}
    answers: dict[str, list[Explained]] = {}
    for name in (*GOOD, WITH_MISTAKE):
        loaded = load(str(HERE / f"{name}.fw"))
        ruleset = rulesets[name] = loaded.require()
        findings = check(ruleset)
        answers[name] = [explain(ruleset, assertion.question) for assertion in ruleset.assertions]
        held = sum(found.answer.holds is True for found in answers[name])
        refuted += [
            (assertion.name, found)
            for assertion, found in zip(ruleset.assertions, answers[name], strict=True)
            if found.answer.holds is not True
        ]
        print(
            f"   {name + '.fw':27} {ruleset.rule_count:3} rules  {len(findings)} findings  "
            f"{held} of {len(ruleset.assertions)} assertions proved"
        )
        if name in GOOD and (findings or held != len(ruleset.assertions)):
            print("   this ruleset should be without fault", file=sys.stderr)
            return 1

    print("\n2. One of them has a mistake. Lint sees a rule that never works:")
    for finding in check(rulesets[WITH_MISTAKE]):
        print(_indented(full(finding, colour)))
    print("   and the proof shows what that lets through:")
    for name, found in refuted:
        print(f"   REFUTED {name}: {found.answer.question.text}")
        for step in found.witness.story[:3] if found.witness else ():
            print(f"     - {step}")

    print("\n3. Compile to nftables; the output is read back and proved equal to the source")
    for name in GOOD:
        text = compile_ruleset(rulesets[name], "nft")
        by = "our reader and the kernel" if len(text.proofs) == 2 else "our reader"
        try:
            document = f"and {len(compile_ruleset(rulesets[name], 'nft-json').text):6} of JSON, "
        except InputError as problem:
            document = f"(no JSON: {problem.diagnostics[0].message.partition(',')[0]}), "
        print(f"   {name + '.fw':27} {len(text.text):6} bytes of nft {document}proved equal by {by}")

    print("\n4. Load into a throw-away network namespace and probe with the packets of the proofs")
    reason = unavailable()
    probes = different = 0
    for name in GOOD:
        if reason:
            break
        packets, differences = _probe(rulesets[name], answers[name])
        probes += packets
        different += differences
    if reason:
        print(f"   left out: {reason}; the evaluator ran every packet of the proofs instead")
    else:
        print(f"   {probes} packets: the kernel did what proof and evaluator said with {probes - different} of them")
    print(f"\nDone in {time.monotonic() - started:.1f} s.")
    return 1 if different or len(refuted) != 1 else 0


def _probe(ruleset: Ruleset, found: list[Explained]) -> tuple[int, int]:
    """Packets sent and differences seen: each witness whose outcome hangs on nothing but the packet."""
    count = different = 0
    for one in found:
        if one.witness is None or one.answer.depends_on:
            continue
        packets = [Notated(p.raw, p.iif, p.iif is None) for p in one.witness.packets]
        if any(packet.local for packet in packets):
            # What this host makes is seen by the kernel with headers of its own: left to the tests.
            continue
        for mine, theirs in zip(evaluate(ruleset, packets), in_kernel(ruleset, packets), strict=True):
            count += 1
            different += _outcome(mine) != _outcome(theirs)
    return count, different


def _outcome(traced: Traced) -> tuple[str, str, list[str | None]]:
    return traced.verdict, traced.delivered, [oif for oif, _ in traced.out]


def _indented(text: str) -> str:
    return "\n".join(f"   {line}" for line in text.splitlines())


if __name__ == "__main__":
    raise SystemExit(main())
