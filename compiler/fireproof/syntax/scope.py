"""What names mean where a statement stands: variables, the table around it, the literals of its shape."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from lark import Token, Tree

from fireproof.model.ruleset import Definition, NamedSet
from fireproof.source.text import SourceFile
from fireproof.syntax.grammar import Leaf, Node, Slot


class MeaningError(Exception):
    """A statement that parses but says something impossible. `node` is the part at fault."""

    def __init__(self, message: str, node: Any, help: str = "", code: str = "reference") -> None:
        super().__init__(message)
        self.message = message
        self.node = node
        self.help = help
        self.code = code


@dataclass(slots=True, eq=False)
class Variable:
    """A `define`: the parsed value and the file it stands in (trees carry offsets into the defining statement)."""

    definition: Definition
    tree: Node
    file: SourceFile


@dataclass(slots=True)
class Scope:
    """Variables by nested block; `generation` changes with every definition, so that nothing stale is reused."""

    frames: list[dict[str, Variable]] = field(default_factory=lambda: [{}])
    generation: int = 0

    def define(self, name: str, variable: Variable) -> None:
        self.frames[-1][name] = variable
        self.generation += 1

    def remove(self, name: str) -> bool:
        self.generation += 1
        return any(frame.pop(name, None) for frame in reversed(self.frames))

    def push(self) -> None:
        self.frames.append({})

    def pop(self) -> None:
        if self.frames.pop():
            self.generation += 1

    def find(self, name: str) -> Variable | None:
        for frame in reversed(self.frames):
            if name in frame:
                return frame[name]
        return None

    def names(self) -> list[str]:
        return [name for frame in self.frames for name in frame]


def _no_set(name: str) -> NamedSet | None:
    return None


def _no_zone(name: str) -> list[str] | None:
    return None


@dataclass(slots=True)
class Context:
    """Everything a statement's meaning depends on besides its own text."""

    scope: Scope
    family: str = "inet"
    literals: list[str] = field(default_factory=list)
    find_set: Callable[[str], NamedSet | None] = _no_set
    zone: Callable[[str], list[str] | None] = _no_zone
    zones: Callable[[], list[str]] = list
    anonymous_chain: str | None = None
    depth: int = 0

    def text(self, leaf: Leaf) -> str:
        return self.literals[leaf.index] if isinstance(leaf, Slot) else str(leaf)

    def variable(self, leaf: Leaf) -> Variable:
        name = self.text(leaf)[1:]
        variable = self.scope.find(name)
        if variable is None:
            raise MeaningError(
                f"`${name}` is not defined", leaf,
                suggest(name, self.scope.names(), "$") or f"write `define {name} = …` above", "undefined",
            )  # fmt: skip
        variable.definition.used += 1
        return variable


def suggest(word: str, known: Any, sigil: str = "") -> str:
    """A `did you mean` sentence, or nothing when no known word is near."""
    from difflib import get_close_matches

    near = get_close_matches(word, list(known), n=2, cutoff=0.6)
    return "did you mean " + " or ".join(f"`{sigil}{name}`" for name in near) + "?" if near else ""


def unquote(text: str) -> str:
    return text[1:-1] if len(text) >= 2 and text[0] == '"' else text


def leaves(node: Any) -> list[Leaf]:
    """All leaves below a node, in order."""
    if isinstance(node, Tree):
        return [leaf for child in node.children for leaf in leaves(child)]
    return [node] if isinstance(node, Token | Slot) else []
