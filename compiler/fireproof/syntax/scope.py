"""What names mean where a statement stands: variables, the table around it, the literals of its shape."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from lark import Token

from fireproof.model.ruleset import Definition, NamedSet
from fireproof.source.text import SourceFile
from fireproof.syntax.grammar import Leaf, Node, Slot, Tree

MAX_DEPTH = 120
"""Deepest tree that a variable may stand for, with the variables in it. A plain `define b = $a` adds five levels."""
MAX_SIZE = 1_000_000
"""Most literals that one variable may stand for."""
MAX_EXPANDED = 2_000_000
"""Most literals that all uses of variables in a ruleset may stand for."""


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
    """A `define`: the parsed value and the file it stands in (trees carry offsets into the defining statement).

    `size` is the number of literals it stands for, `depth` the depth of its tree; both with the variables in it.
    """

    definition: Definition
    tree: Node
    file: SourceFile
    size: int = 1
    depth: int = 1


class Placed(Token):
    """A token of a definition: it knows where it stands, and what the variable it names meant there."""

    origin: tuple[SourceFile, int]
    variable: Variable | None


_GENERATIONS = itertools.count(1)


@dataclass(slots=True)
class Scope:
    """Variables by nested block; `generation` changes with every definition, so that nothing stale is reused."""

    frames: list[dict[str, Variable]] = field(default_factory=lambda: [{}])
    generation: int = 0
    broken: set[str] = field(default_factory=set)
    """Variables whose definition did not parse: what uses them can not be read, and needs no complaint of its own."""

    def define(self, name: str, variable: Variable) -> None:
        self.frames[-1][name] = variable
        self.generation = next(_GENERATIONS)

    def remove(self, name: str) -> bool:
        self.generation = next(_GENERATIONS)
        return any(frame.pop(name, None) for frame in reversed(self.frames))

    def push(self) -> None:
        self.frames.append({})

    def pop(self) -> None:
        if self.frames.pop():
            self.generation = next(_GENERATIONS)

    def find(self, name: str) -> Variable | None:
        for frame in reversed(self.frames):
            if name in frame:
                return frame[name]
        return None

    def names(self) -> list[str]:
        return [name for frame in self.frames for name in frame]

    def snapshot(self) -> Scope:
        """The variables as they are now, for what is read later."""
        return Scope([dict(frame) for frame in self.frames], self.generation, self.broken)

    def get(self, leaf: Leaf, name: str) -> Variable:
        """The variable that `leaf` names. Raises MeaningError."""
        variable = self.find(name)
        if variable is None and name in self.broken:
            raise MeaningError(f"`${name}` could not be read", leaf, code="broken")
        if variable is None:
            raise MeaningError(
                f"`${name}` is not defined", leaf,
                suggest(name, self.names(), "$") or f"write `define {name} = …` above", "undefined",
            )  # fmt: skip
        return variable

    def bind(self, name: str, definition: Definition, tree: Node, file: SourceFile, base: int) -> None:
        """Defines `name` as the tree of a statement at `base`. The variables in it mean what they mean here.

        Raises MeaningError when they mean nothing, or too much.
        """
        size = deepest = 0

        def place(node: Any, level: int) -> Any:
            nonlocal size, deepest
            if isinstance(node, Tree):
                return Tree(node.data, [place(child, level + 1) for child in node.children])
            if not isinstance(node, Token):
                return node
            placed = Placed(node.type, str(node), node.start_pos, end_pos=node.end_pos)
            placed.origin = (file, base)
            placed.variable = None
            size += 1
            if node.type == "VARIABLE":
                variable = self.get(placed, placed[1:])
                variable.definition.used += 1
                placed.variable = variable
                size += variable.size
                level += variable.depth
            deepest = max(deepest, level)
            if size > MAX_SIZE:
                raise MeaningError(f"`${name}` stands for more than {MAX_SIZE:,} values", placed, code="too-large")
            if deepest > MAX_DEPTH:
                raise MeaningError(f"`${name}` holds variables within variables, too deep", placed, code="too-large")
            return placed

        placed_tree = place(tree, 1)
        self.define(name, Variable(definition, placed_tree, file, size, deepest))


def _no_set(name: str) -> NamedSet | None:
    return None


def _no_zone(name: str) -> list[str] | None:
    return None


@dataclass(slots=True)
class Expansion:
    """How many literals all variables together have stood for so far."""

    total: int = 0


@dataclass(slots=True)
class Context:
    """Everything a statement's meaning depends on besides its own text."""

    scope: Scope
    family: str = "inet"
    literals: list[str] = field(default_factory=list)
    find_set: Callable[[str], NamedSet | None] = _no_set
    zone: Callable[[str], list[str] | None] = _no_zone
    zones: Callable[[], list[str]] = list
    expansion: Expansion = field(default_factory=Expansion)

    def text(self, leaf: Leaf) -> str:
        return self.literals[leaf.index] if isinstance(leaf, Slot) else str(leaf)

    def look_up(self, leaf: Leaf) -> Variable:
        """The variable that `leaf` names, counted as used. Raises MeaningError."""
        variable = (leaf.variable if isinstance(leaf, Placed) else None) or self.scope.get(leaf, self.text(leaf)[1:])
        variable.definition.used += 1
        return variable

    def variable(self, leaf: Leaf) -> Variable:
        """The same for a value, whose size counts. Raises MeaningError."""
        variable = self.look_up(leaf)
        if variable.tree.data == "definition_negative":
            raise MeaningError("a negative number only makes a priority", leaf, code="value")
        self.expansion.total += variable.size
        if self.expansion.total > MAX_EXPANDED:
            raise MeaningError(
                f"variables stand for more than {MAX_EXPANDED:,} values in this ruleset", leaf,
                "put long lists into named sets", "too-large",
            )  # fmt: skip
        return variable

    def single(self, leaf: Leaf) -> Leaf:
        """The one token that `leaf` is or, being a variable, stands for. Raises MeaningError."""
        if leaf.type != "VARIABLE":
            return leaf
        found = leaves(self.variable(leaf).tree)
        if len(found) != 1:
            raise MeaningError("a variable with a single value is needed here", leaf, code="value")
        return self.single(found[0])


def suggest(word: str, known: Any, sigil: str = "") -> str:
    """A `did you mean` sentence, or nothing when no known word is near."""
    from difflib import get_close_matches

    word = word[:100]
    near = get_close_matches(word, list(known), n=2, cutoff=0.6)
    return "did you mean " + " or ".join(f"`{sigil}{name}`" for name in near) + "?" if near else ""


def unquote(text: str) -> str:
    return text[1:-1] if len(text) >= 2 and text[0] == '"' else text


def leaves(node: Any) -> list[Leaf]:
    """All leaves below a node, in order."""
    if isinstance(node, Tree):
        return [leaf for child in node.children for leaf in leaves(child)]
    return [node] if isinstance(node, Token | Slot) else []
