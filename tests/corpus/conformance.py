"""How well the reader and the nft backends agree with nft, over its own rule tests and the real rulesets of the corpus.

`python -m tests.corpus.conformance` prints a table; `--misses` lists every rule of nft's tests on which the two differ.
What nft says of the rulesets is asked in an empty network namespace, so it needs root; the rest does not. Exit status
1 when nft takes a ruleset that we do not.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from fireproof.emit.compile import NotProved, compile_ruleset
from fireproof.kernel.namespace import KernelUnavailable, Namespace
from fireproof.kernel.nft import nft_path, refusal
from fireproof.model.statement import Statement
from fireproof.source.diagnostic import InputError
from fireproof.syntax.build import ENVIRONMENT, Loaded, load, load_text
from fireproof.syntax.nft_json import JsonProblem, to_text
from tests.corpus.nft_rule_tests import Case, cases
from tests.corpus.rule_blocks import json_rule_blocks

FAMILIES = ("ip", "ip6", "inet")
FOLDERS = ("any", *FAMILIES)


def corpus() -> Path:
    return Path(os.environ.get("FIREPROOF_CORPUS") or Path(__file__).resolve().parents[3] / "shared" / "corpus")


def refused(loaded: Loaded) -> str:
    """Why a text was not understood, or nothing."""
    bad = [d for d in loaded.diagnostics.found if d.severity.value == "error" or d.code in ENVIRONMENT]
    return bad[0].message if bad else ""


# ---- nft's rule tests ----------------------------------------------------------------------------------------------
def rule_cases(root: Path) -> Iterator[Case]:
    for folder in FOLDERS:
        for file in sorted((root / folder).glob("*.t")):
            yield from cases(file)


def judged(case: Case) -> str | None:
    """Nothing when we take or refuse a line as nft does, else what we do; None when it is for other families."""
    answers = [refused(load_text(text)) for family, text in case.programs if family in FAMILIES]
    if not answers:
        return None
    if case.accepted:
        return next(filter(None, answers), "")
    return "" if all(answers) else "taken"


def rule_tests(root: Path, misses: bool) -> None:
    right: Counter[bool] = Counter()
    total: Counter[bool] = Counter()
    for case in rule_cases(root):
        answer = judged(case)
        if answer is None:
            continue
        total[case.accepted] += 1
        right[case.accepted] += not answer
        if answer and misses:
            print(f"  {case.place}: `{case.text}` nft {'takes' if case.accepted else 'refuses'} it; we: {answer}")
    print(f"nft's rule tests, {', '.join(FAMILIES)}:")
    print(f"  {right[True]:5} of {total[True]:5} good lines taken")
    print(f"  {right[False]:5} of {total[False]:5} bad lines refused")


def one_rule(text: str, family: str) -> tuple[Statement, ...] | None:
    """The statements of a rule, None when it is not understood by itself (it may need a set)."""
    loaded = load_text(f"table {family} t {{\n chain c {{\n  {text}\n }}\n}}\n")
    rules = [rule for table in loaded.ruleset.tables.values() for rule in table.chains["c"].rules]
    bad = [d for d in loaded.diagnostics.errors if d.code != "reference"]
    return rules[0].statements if len(rules) == 1 and not bad else None


def json_pair(rule: str, expressions: list[object], family: str) -> tuple[int, int, bool] | None:
    """Statements read from the text, from nft's own JSON, and whether they are the same; None when one is not read."""
    command = {"add": {"rule": {"family": family, "table": "t", "chain": "c", "expr": expressions}}}
    try:
        listing = to_text({"nftables": [command]}).text
    except JsonProblem:
        return None
    _, found, text = listing.strip().partition(" c ")
    mine, theirs = one_rule(rule, family), one_rule(text, family) if found else None
    if mine is None or theirs is None:
        return None
    return len(mine), len(expressions), mine == theirs


def json_tests(root: Path, misses: bool) -> None:
    outcome: Counter[str] = Counter()
    for folder in FOLDERS:
        for file in sorted((root / folder).glob("*.t.json")):
            for rule, expressions in json_rule_blocks(file):
                pair = json_pair(rule, expressions, "inet" if folder == "any" else folder)
                kind = "not compared" if pair is None else "as many" if pair[0] == pair[1] else "more or fewer"
                outcome[kind] += 1
                outcome["equal"] += bool(pair and pair[2])
                if kind == "more or fewer" and misses and pair:
                    print(f"  {folder}/{file.name}: `{rule}` {pair[0]} statements for {pair[1]} expressions")
    print("statements of a rule against the expressions of nft's JSON for it:")
    for kind in ("as many", "more or fewer", "not compared"):
        print(f"  {outcome[kind]:5} {kind}")
    print(f"  {outcome['equal']:5} read the same from the text and from the JSON")


# ---- real rulesets -------------------------------------------------------------------------------------------------
def nft_answer(path: Path) -> str:
    """What nft says: `yes`, or `no` with its first words, or `-` when it can not be asked."""
    try:
        with Namespace() as namespace:
            said = refusal(namespace.run([nft_path(), "-c", "-f", str(path)]), {})
    except (KernelUnavailable, OSError):
        return "-"
    return "yes" if said is None else "no"


def emitted(loaded: Loaded, to: str) -> str:
    """Whether the output was taken by nft and proved equal."""
    try:
        made = compile_ruleset(loaded.require(), to)
    except InputError as problem:
        return f"no: {problem.diagnostics[0].message}"
    except NotProved as problem:
        return f"NOT PROVED: {problem.found[0].message}"
    return "proved" if not made.left_out else f"proved by us: {made.left_out}"


def rulesets(root: Path) -> bool:
    count: Counter[str] = Counter()
    good = True
    print(f"{'nft':4} {'we':4} {'as text':10} {'as JSON':10} ruleset")
    for path in sorted(root.glob("*.nft")):
        nft = nft_answer(path)
        try:
            loaded = load(str(path))
            why = refused(loaded)
        except InputError as problem:
            why = problem.diagnostics[0].message
        text = json = "-"
        if not why:
            text, json = emitted(loaded, "nft"), emitted(loaded, "nft-json")
        count["nft"] += nft == "yes"
        count["we"] += not why
        count["text"] += text.startswith("proved")
        count["json"] += json.startswith("proved")
        good = good and not (nft == "yes" and why)
        print(f"{nft:4} {'no' if why else 'yes':4} {text.split(':')[0]:10} {json.split(':')[0]:10} {path.name}")
        for reason in dict.fromkeys(filter(None, (why, *(each.partition(": ")[2] for each in (text, json))))):
            print(f"{'':31}{reason[:120]}")
    print(f"nft takes {count['nft']}, we {count['we']}; proved equal as text {count['text']}, as JSON {count['json']}")
    return good


def main() -> int:
    parser = argparse.ArgumentParser(prog="conformance", description=__doc__)
    parser.add_argument("--misses", action="store_true", help="list every rule on which we and nft differ")
    parser.add_argument("--rules-only", action="store_true", help="leave the real rulesets out")
    arguments = parser.parse_args()
    root = corpus()
    if not root.is_dir():
        print(f"no corpus at {root}: set FIREPROOF_CORPUS to its folder", file=sys.stderr)
        return 2
    rule_tests(root / "nft-tests-py", arguments.misses)
    json_tests(root / "nft-tests-py", arguments.misses)
    return 0 if arguments.rules_only or rulesets(root / "nft") else 1


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError):
        sys.exit(main())
