"""The lark parser, and the parse of one statement at a time.

Building LALR tables costs half a second, so they are kept: inside the wheel, or in the user's cache directory.
Rulesets repeat themselves: statements that differ only in numbers, addresses, set names and quoted text have one
*shape*, and lark parses each shape once. The tree of a shape has `Slot`s where such literals stand.
"""

from __future__ import annotations

import hashlib
import marshal
import os
import re
import stat
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import lark
from lark import Lark, Token
from lark.exceptions import UnexpectedCharacters, UnexpectedInput, UnexpectedToken

from fireproof.resources import grammar_text, prebuilt_tables
from fireproof.syntax import expectation

if TYPE_CHECKING:

    class Tree(lark.Tree[Any]):
        """lark's tree; which children it has depends on the rule of the grammar, so they have no type."""

        children: list[Any]

else:
    from lark import Tree

ENTRY_POINTS = (
    "rule", "rule_end", "chain_line", "set_line", "object_line", "flowtable_line", "table_line", "definition",
    "host_line", "question", "element",
)  # fmt: skip
_OPTIONS: dict[str, Any] = {
    "parser": "lalr",
    "lexer": "contextual",
    "propagate_positions": True,
    "maybe_placeholders": True,
    "start": list(ENTRY_POINTS),
    # Digits and letters are those of ASCII, as in nft.
    "g_regex_flags": int(re.ASCII),
}


@dataclass(frozen=True, slots=True)
class Slot:
    """A literal of a shape: number `index` of the statement's literals, lexed as terminal `type`."""

    type: str
    index: int


Leaf = Token | Slot
Node = Tree

MAX_STATEMENT = 1024 * 1024
"""Longest statement in characters. Elements of named sets are parsed one by one and do not count as one."""
MAX_NESTING = 12
"""Deepest nesting of parentheses and braces in a statement; what reads the trees is recursive."""


class SyntaxProblem(Exception):
    """A statement that does not parse: offsets are within the statement."""

    def __init__(self, message: str, start: int, end: int, label: str = "", help: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.start = start
        self.end = end
        self.label = label
        self.help = help


# ---- LALR tables ---------------------------------------------------------------------------------------------------
def _fingerprint(grammar: str) -> str:
    return hashlib.sha256(f"{lark.__version__}\n{_OPTIONS}\n{grammar}".encode()).hexdigest()


def build_tables() -> bytes:
    """The LALR tables of the grammar, for the wheel and the cache."""
    grammar = grammar_text("nft.lark")
    data, memo = Lark(grammar, **_OPTIONS).memo_serialize([lark.lexer.TerminalDef, lark.grammar.Rule])
    return marshal.dumps({"fingerprint": _fingerprint(grammar), "data": _plain(data), "memo": _plain(memo)}, 4)


def _plain(value: Any) -> Any:
    """Only the types that marshal knows: lark counts with defaultdicts and text subclasses."""
    if isinstance(value, dict):
        return {_plain(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, str) else value


def _cache_file() -> Path | None:
    try:
        root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    except RuntimeError:
        return None
    return root / "fireproof" / "nft-tables" if root.is_absolute() else None


def _read_cache(path: Path) -> bytes | None:
    """The cached tables, if nobody but this user or root can have written them: they are trusted as code is."""
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            if status.st_uid not in (os.geteuid(), 0) or stat.S_IMODE(status.st_mode) & 0o022:
                return None
            return file.read()
    except OSError:
        return None


def _write_cache(path: Path, tables: bytes) -> None:
    """Best effort: a read-only home only costs time."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        temporary = path.with_name(f"{path.name}.{os.getpid()}")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(tables)
        temporary.replace(path)
    except OSError:
        pass


def _restore(tables: bytes, fingerprint: str) -> Lark | None:
    """The parser of these tables, unless they belong to another grammar or release of lark."""
    try:
        stored = marshal.loads(tables)
        if stored["fingerprint"] != fingerprint:
            return None
        # The way in that lark's own generated stand-alone parsers take.
        parser: Lark = Lark._load_from_dict(stored["data"], stored["memo"])  # type: ignore[no-untyped-call]
        return parser
    except (ValueError, EOFError, KeyError, TypeError, AttributeError):
        return None


@cache
def parser() -> Lark:
    fingerprint = _fingerprint(grammar_text("nft.lark"))
    path = _cache_file()
    for tables in (prebuilt_tables(), path and _read_cache(path)):
        restored = _restore(tables, fingerprint) if tables else None
        if restored is not None:
            return restored
    tables = build_tables()
    if path:
        _write_cache(path, tables)
    restored = _restore(tables, fingerprint)
    assert restored is not None
    return restored


# ---- one statement -------------------------------------------------------------------------------------------------
_OPENING = re.compile(r'"[^"\n]*"|#[^\n]*|[({\[]|[)}\]]|\bjhash\b')


def _check_size(text: str) -> None:
    """Refuses what no ruleset needs and a recursive reader could not bear."""
    if len(text) > MAX_STATEMENT:
        raise SyntaxProblem(
            f"this statement is longer than {MAX_STATEMENT // 1024**2} MiB", 0, 80,
            help="a list this long belongs into a named set; or a line end, `;` or closing brace is missing",
        )  # fmt: skip
    if text.count("(") + text.count("{") + text.count("jhash") <= MAX_NESTING:
        return
    depth = hashes = 0
    for mark in _OPENING.finditer(text):
        what = mark[0]
        if what in "({[":
            depth += 1
        elif what in ")}]":
            depth -= 1
        elif what == "jhash":
            hashes += 1
        if depth > MAX_NESTING or hashes > MAX_NESTING:
            raise SyntaxProblem(f"this is nested more than {MAX_NESTING} deep", mark.start(), mark.end())


def parse(text: str, entry: str) -> Node:
    """The tree of one statement; positions are offsets in `text`.

    Raises SyntaxProblem where it does not fit the grammar.
    """
    _check_size(text)
    try:
        tree: Node = parser().parse(text, start=entry)  # type: ignore[assignment]
    except UnexpectedToken as problem:
        names = set(problem.accepts or problem.expected)
        if problem.token.type == "$END":
            end = len(text.rstrip())
            label = expectation.label(parser().terminals, names, entry)
            help = expectation.help_at_end(text, names)
            raise SyntaxProblem("the statement ends too early", end, end + 1, label, help) from None
        raise _unexpected(text, problem.token.start_pos or 0, names, entry) from None
    except UnexpectedCharacters as problem:
        at = cast(int, problem.pos_in_stream)
        raise _unexpected(text, at, _accepted(text[:at], entry), entry) from None
    except UnexpectedInput:
        raise SyntaxProblem("the statement ends too early", len(text.rstrip()), len(text)) from None
    return tree


def _accepted(text: str, entry: str) -> set[str]:
    """The terminals that may follow the beginning of a statement."""
    state = parser().parse_interactive(text, start=entry)
    state.exhaust_lexer()
    return set(state.accepts())  # type: ignore[no-untyped-call]


def _unexpected(text: str, at: int, names: set[str], entry: str) -> SyntaxProblem:
    """The refusal of what stands at `at`, where only the terminals `names` fit."""
    piece = expectation.piece_at(text, at)
    what = f"`{_shorten(piece)}`" if piece.isprintable() else f"the character U+{ord(piece[0]):04X}"
    terminals = parser().terminals
    return SyntaxProblem(
        f"unexpected {what}", at, at + len(piece), expectation.label(terminals, names, entry),
        expectation.help_for(text, at, piece, expectation.words(terminals, names), names, entry),
    )  # fmt: skip


def _shorten(text: str, limit: int = 40) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"


# ---- shapes --------------------------------------------------------------------------------------------------------
_LITERAL = re.compile(
    r'("[^"\n]*"'
    r"|(?<![\w.$@])@[A-Za-z_.][\w.\/-]*(?!\s*,)"
    r"|(?<![\w.$@:])(?:(?:[0-9a-fA-F]{0,4}:){2,7}(?:[0-9a-fA-F]{1,4})?(?:\.\d{1,3}){0,3}|\d[\w.]*)(?![\w.:]))",
    re.ASCII,
)
_MAX_SHAPE = 4096
"""Longest statement, in characters, that is worth remembering by shape."""


@dataclass(slots=True)
class Shape:
    """`tree` with slots, or None when this shape must be parsed anew each time.

    `memo` belongs to the resolver: what each part of the tree became for which literals.
    """

    tree: Node | None
    memo: dict[Any, Any] = field(default_factory=dict)


class ShapeCache:
    """Parses statements of one entry point, each shape once."""

    def __init__(self, entry: str) -> None:
        self.entry = entry
        self._shapes: dict[tuple[Any, ...], Shape] = {}

    def parse(self, text: str) -> tuple[Shape, list[str]] | None:
        """The shape of a statement and its literals, or None when it has to be parsed by `parse`.

        Raises SyntaxProblem for the first statement of a shape that does not parse.
        """
        if len(text) > _MAX_SHAPE:
            return None
        pieces = _LITERAL.split(text)
        literals = pieces[1::2]
        key = (*pieces[::2], *map(_literal_class, literals))
        shape = self._shapes.get(key)
        if shape is None:
            shape = Shape(_with_slots(parse(text, self.entry), pieces))
            self._shapes[key] = shape
        return (shape, literals) if shape.tree is not None else None


_CLASSES = re.compile(
    r"(?P<N>[0-9]{1,64})|(?P<x>0x[0-9a-fA-F]{1,64})|(?P<T>[0-9]{1,20}(?:ms|d|h|m|s))"
    r"|(?P<ip>[0-9]{1,3}(?:\.[0-9]{1,3}){3})|(?P<M>[0-9a-fA-F]{1,2}(?::[0-9a-fA-F]{1,2}){5})"
)
"""Literals that the lexer takes for the same terminal whatever their digits are; all others are shapes of their own."""


def _literal_class(text: str) -> str:
    first = text[0]
    if first == '"' or first == "@":
        return first
    found = _CLASSES.fullmatch(text)
    if found is not None:
        return found.lastgroup or ""
    return "::" if "::" in text and _PLAIN_IPV6.fullmatch(text) else text


_PLAIN_IPV6 = re.compile(r"(?:[0-9a-fA-F]{1,4}(?::[0-9a-fA-F]{1,4})*)?::(?:[0-9a-fA-F]{1,4}(?::[0-9a-fA-F]{1,4})*)?")


def _with_slots(tree: Node, pieces: list[str]) -> Node | None:
    """The tree with a Slot for each literal, or None when the literals are not whole tokens of it."""
    index_of: dict[tuple[int, int], int] = {}
    at = 0
    for number, piece in enumerate(pieces):
        if number % 2:
            index_of[at, at + len(piece)] = number // 2
        at += len(piece)
    used: set[int] = set()

    def replace(node: Any) -> Any:
        if isinstance(node, Tree):
            return Tree(node.data, [replace(child) for child in node.children])
        if isinstance(node, Token):
            assert node.start_pos is not None and node.end_pos is not None
            index = index_of.get((node.start_pos, node.end_pos))
            if index is not None:
                used.add(index)
                return Slot(node.type, index)
        return node

    slotted = replace(tree)
    return slotted if len(used) == len(index_of) and isinstance(slotted, Tree) else None
