"""Compiling with proof: what is emitted is read back, by our own reader and by the kernel, and proved equal.

Nothing that was not proved leaves this module.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from fireproof.emit import libnftables
from fireproof.emit.backends import backends
from fireproof.emit.backends.nft_json import read_document
from fireproof.emit.problem import CannotEmit
from fireproof.emit.validate import Difference, differences
from fireproof.kernel import KernelUnavailable, NftRefused
from fireproof.lint import refusals
from fireproof.model.ruleset import Ruleset
from fireproof.source.diagnostic import Diagnostic, InputError, Related, Severity, input_error
from fireproof.syntax import nft_json as reader


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
    """The ruleset in the format of a backend (`nft`, `nft-json`).

    `kernel` also loads it into a namespace that is thrown away. Raises InputError for what the kernel would refuse or
    the format cannot say, and NotProved.
    """
    backend = backends().get(to)
    if backend is None:
        raise input_error("bad-call", f"there is no target `{to}`", help="targets are " + ", ".join(backends()))
    refused = refusals(ruleset)
    if refused:
        raise InputError(refused)
    try:
        text = backend.write(ruleset, tag)
    except CannotEmit as problem:
        raise input_error("cannot-emit", f"{problem.message}, so it cannot be written as {to}", problem.span) from None
    _prove(ruleset, backend.read(text), "fireproof's own reader")
    compiled = Compiled(text, to, ["read back by fireproof's own reader and proved equal"])
    if kernel and backend.LOADS_AS is not None:
        _ask_kernel(ruleset, compiled, backend.LOADS_AS)
    else:
        compiled.left_out = "the kernel was not asked"
    return compiled


def _prove(ruleset: Ruleset, again: Ruleset, by: str) -> None:
    found = differences(ruleset, again)
    if found:
        raise NotProved(found, by)


def _ask_kernel(ruleset: Ruleset, compiled: Compiled, format: libnftables.Format) -> None:
    """Loads the output into an empty namespace and proves that what the kernel lists is the source."""
    try:
        document = libnftables.readback(compiled.text, format, libnftables.devices(ruleset))
    except KernelUnavailable as problem:
        compiled.left_out = f"the kernel could not be asked: {problem}"
        return
    except NftRefused as problem:
        raise input_error("refused", f"nft refuses the output: {problem}") from None
    try:
        again = read_document(document)
    except reader.JsonProblem as problem:
        compiled.left_out = f"the kernel took it, but nft's listing cannot be compared: {problem}"
        return
    _prove(ruleset, again, "the kernel")
    compiled.proofs.append("loaded into an empty namespace; the kernel's own listing proved equal")
