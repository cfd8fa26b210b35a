"""A firewall compiler that proves what it compiles.

ruleset = fireproof.load("edge.fw")
fireproof.ask(ruleset, "connection from zone internet to 203.0.113.2 tcp dport 443").answer
fireproof.compile(ruleset, to="nft")
fireproof.Evaluator(ruleset).send(packet, iif="eth0").verdict
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fireproof.evaluate.evaluator import Evaluator as Evaluator
    from fireproof.model.ruleset import Ruleset
    from fireproof.verify.answer import Answer

__version__ = "0.1.0"


def load(path_or_text: str, host: str | None = None) -> Ruleset:
    """A ruleset from a file, or from text (anything with a line end or a brace in it); `host` likewise.

    Raises fireproof.source.diagnostic.InputError, whose `diagnostics` say what is wrong and where.
    """
    from fireproof.source.read import read
    from fireproof.source.text import SourceFile
    from fireproof.syntax.build import load_source

    def source(given: str, name: str) -> SourceFile:
        return SourceFile(name, given) if "\n" in given or "{" in given else read(given)

    return load_source(source(path_or_text, "<text>"), source(host, "<host>") if host else None).require()


def ask(ruleset: Ruleset, question: str) -> Answer:
    """The answer to a question such as `connection from zone lan to 192.0.2.1 tcp dport 22`. Raises InputError."""
    from fireproof.query.ask import ask_text

    return ask_text(ruleset, question).answer


def compile(ruleset: Ruleset, to: str = "nft") -> str:
    """The ruleset as `nft` text or `nft-json`, proved equal. Raises InputError and fireproof.emit.compile.NotProved."""
    from fireproof.emit.compile import compile_ruleset

    return compile_ruleset(ruleset, to).text


def __getattr__(name: str) -> Any:
    # Loaded when first used: starting the command must not pay for it.
    if name == "Evaluator":
        from fireproof.evaluate.evaluator import Evaluator

        return Evaluator
    raise AttributeError(f"module 'fireproof' has no attribute {name!r}")
