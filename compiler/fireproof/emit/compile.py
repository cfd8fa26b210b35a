"""Compiling with proof: what is emitted is read back, by our own reader and by the kernel, and proved equal.

Nothing that was not proved leaves this module.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from fireproof.emit import libnftables, nft_json, nft_text
from fireproof.emit.problem import CannotEmit
from fireproof.emit.validate import Difference, differences
from fireproof.kernel import KernelUnavailable, NftRefused
from fireproof.lint import refusals
from fireproof.model.ruleset import Ruleset
from fireproof.source.diagnostic import Diagnostic, InputError, Related, Severity, input_error
from fireproof.syntax import nft_json as reader
from fireproof.syntax.build import load_text

TARGETS = ("nft", "nft-json")


class NotProved(Exception):
    """The output could not be proved equal to the source: it is not given out."""

    def __init__(self, found: list[Difference], by: str) -> None:
        super().__init__(f"{len(found)} differences, read back by {by}")
        self.found = found
        self.by = by

    def diagnostics(self) -> list[Diagnostic]:
        return [
            Diagnostic(
                "not-proved", Severity.ERROR,
                f"the output could not be proved equal to the source: {d.message}", d.span, "",
                f"read back by {self.by}; nothing was written",
                (Related("the output here", d.other),) if d.other else (),
            )
            for d in self.found
        ]  # fmt: skip


@dataclass(slots=True)
class Compiled:
    """`text` is the output; `proofs` say who read it back, `left_out` which proof was not possible here and why."""

    text: str
    to: str
    proofs: list[str] = field(default_factory=list)
    left_out: str = ""


def compile_ruleset(ruleset: Ruleset, to: str = "nft", *, kernel: bool = True, tag: bool = True) -> Compiled:
    """The ruleset as nft text or libnftables JSON.

    `kernel` also loads it into a namespace that is thrown away. Raises InputError for what the kernel would refuse or
    the format cannot say, and NotProved.
    """
    if to not in TARGETS:
        raise input_error("bad-call", f"there is no target `{to}`", help="targets are " + ", ".join(TARGETS))
    refused = refusals(ruleset)
    if refused:
        raise InputError(refused)
    try:
        if to == "nft":
            text = nft_text.emit(ruleset, tag)
            again = load_text(text, "<output>").require()
        else:
            document = nft_json.emit(ruleset, tag)
            validate_document(document)
            text = json.dumps(document, ensure_ascii=False, indent=1) + "\n"
            again = _read_document(document)
    except CannotEmit as problem:
        raise input_error("cannot-emit", f"{problem.message}, so it cannot be written as {to}", problem.span) from None
    _prove(ruleset, again, "fireproof's own reader")
    compiled = Compiled(text, to, ["read back by fireproof's own reader and proved equal"])
    if kernel:
        _ask_kernel(ruleset, compiled)
    else:
        compiled.left_out = "the kernel was not asked"
    return compiled


def validate_document(document: dict[str, Any]) -> None:
    """Checks JSON against the strict schema: libnftables ignores what it does not know. Raises NotProved."""
    from jsonschema import Draft202012Validator

    from fireproof.resources import schema

    errors = list(Draft202012Validator(schema("nft")).iter_errors(document))
    if errors:
        found = [Difference(f"at {error.json_path}: {error.message[:200]}", None) for error in errors[:20]]
        raise NotProved(found, "the schema of libnftables JSON")


def _read_document(document: dict[str, Any]) -> Ruleset:
    listing = reader.to_text(document)
    return load_text(listing.text, "<output>").require()


def _prove(ruleset: Ruleset, again: Ruleset, by: str) -> None:
    found = differences(ruleset, again)
    if found:
        raise NotProved(found, by)


def _ask_kernel(ruleset: Ruleset, compiled: Compiled) -> None:
    """Loads the output into an empty namespace and proves that what the kernel lists is the source."""
    try:
        document = libnftables.readback(
            compiled.text, "nft" if compiled.to == "nft" else "nft-json", libnftables.devices(ruleset)
        )
    except KernelUnavailable as problem:
        compiled.left_out = f"the kernel could not be asked: {problem}"
        return
    except NftRefused as problem:
        raise input_error("refused", f"nft refuses the output: {problem}") from None
    try:
        again = _read_document(document)
    except reader.JsonProblem as problem:
        compiled.left_out = f"the kernel took it, but nft's listing cannot be compared: {problem}"
        return
    _prove(ruleset, again, "the kernel")
    compiled.proofs.append("loaded into an empty namespace; the kernel's own listing proved equal")
