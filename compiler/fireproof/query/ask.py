"""One question, answered, with the witness that was replayed and the places in the source that decide."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from fireproof.lint import refusals
from fireproof.model.assertion import Question
from fireproof.model.ruleset import Chain, Ruleset
from fireproof.source.diagnostic import InputError
from fireproof.source.text import Span
from fireproof.syntax.questions import read_question
from fireproof.verify.answer import Answer, ask
from fireproof.verify.diagram import Choice
from fireproof.verify.witness import Decision, Disagreement, Witness, witness_of

_PLACE = re.compile(r"(\S+) (\S+) (\S+) (\d+)\.(\d+)\Z")
_OBJECT = re.compile(r"(limit|quota) (\S+)\Z")


@dataclass(slots=True)
class Explained:
    """An answer and the witness that goes with it (None when there is no member at all, or the answer is unknown)."""

    answer: Answer
    witness: Witness | None
    other: Witness | None = None
    """For `depends`: a member on the other side."""


def ask_text(ruleset: Ruleset, question: str) -> Explained:
    """Answers a question in words. Raises InputError when it is none."""
    return explain(ruleset, read_question(ruleset, question))


def explain(ruleset: Ruleset, question: Question) -> Explained:
    """Answers a question, with witnesses. Raises InputError when the kernel would not even load the ruleset.

    A witness that the evaluator does not confirm means that one of the two is wrong: then nothing is claimed.
    """
    refused = refusals(ruleset)
    if refused:
        raise InputError(refused)
    answer = ask(ruleset, question)
    if answer.answer == "unknown":
        return Explained(answer, None)
    try:
        return _with_witnesses(ruleset, answer)
    except Disagreement as problem:
        reason = f"proof and evaluator disagree, please report this: {problem}"
        return Explained(Answer(question, "unknown", reason=reason), None)


def _with_witnesses(ruleset: Ruleset, answer: Answer) -> Explained:
    member = answer.witness
    witness = witness_of(ruleset, answer, member) if member is not None else None
    other = None
    if answer.answer == "depends":
        second = answer.passing if member is answer.failing else answer.failing
        other = witness_of(ruleset, answer, second) if second is not None else None
    return Explained(answer, witness, other)


def place_of_choice(ruleset: Ruleset, choice: Choice) -> Span | None:
    """The rule or object in the source that a choice belongs to; None for what only the machine knows."""
    found = _PLACE.search(choice.name)
    if found:
        family, table_name, chain_name, start, _ = found.groups()
        table = ruleset.tables.get((family, table_name))
        chain = table.chains.get(chain_name) if table else None
        for rule in chain.rules if chain else ():
            if rule.span.start == int(start):
                return rule.span
    named = _OBJECT.search(choice.name)
    if named:
        for table in ruleset.tables.values():
            thing = table.objects.get((named[1], named[2]))
            if thing is not None:
                return thing.span
    return None


def place_of_decision(ruleset: Ruleset, decision: Decision) -> Span | None:
    """The rule's place, or for a policy that of its chain."""
    if decision.step.span is not None:
        return decision.step.span
    family, _, name = decision.step.table.partition(" ")
    table = ruleset.tables.get((family, name))
    chain: Chain | None = table.chains.get(decision.step.chain) if table else None
    return (chain.base.span or chain.span) if chain and chain.base else None


# ---- as JSON -------------------------------------------------------------------------------------------------------
def witness_document(witness: Witness | None) -> dict[str, Any] | None:
    if witness is None or not witness.packets:
        return None
    return {
        "packets": [
            {"iif": p.iif, "direction": p.direction, "packet": p.text, "hex": p.raw.hex()} for p in witness.packets
        ],
        "story": witness.story,
    }


def depends_document(ruleset: Ruleset, answer: Answer) -> list[dict[str, Any]]:
    found = []
    for choice in answer.depends_on:
        span = place_of_choice(ruleset, choice)
        row = {
            "file": span.file.name if span else None, "line": span.line if span else None, "what": choice.description,
        }  # fmt: skip
        if row not in found:
            found.append(row)
    return found


def decisions_document(ruleset: Ruleset, witness: Witness | None) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for decision in witness.decisions if witness else ():
        span = place_of_decision(ruleset, decision)
        if span is None:
            continue
        row = {
            "file": span.file.name, "line": span.line, "text": decision.text, "hook": decision.step.hook,
            "verdict": decision.step.verdict,
        }  # fmt: skip
        if row not in found:
            found.append(row)
    return found


def ask_document(ruleset: Ruleset, found: Explained) -> dict[str, Any]:
    return {
        "question": found.answer.question.text,
        "answer": found.answer.answer,
        "depends_on": depends_document(ruleset, found.answer),
        "witness": witness_document(found.witness),
        "decided_by": decisions_document(ruleset, found.witness),
    }
