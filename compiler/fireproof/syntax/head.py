"""The words at the front of a command or a block (`add rule ip filter input …`), taken one after the other."""

from __future__ import annotations

import re
from dataclasses import dataclass

from fireproof.netfilter import hooks
from fireproof.syntax.scope import Scope, leaves, unquote

_BLANK = r"(?:\s|\\\r?\n)*"
_WORD = re.compile(_BLANK + r'("[^"\n]*"|\$?[\w.\/\-]+)', re.ASCII)
_SKIP = re.compile(_BLANK)
_NAME = re.compile(r"[A-Za-z_.][\w.\/\-]*\Z", re.ASCII)
MAX_NAME = 255


class Problem(Exception):
    """A diagnostic on its way to the collector: characters `start` to `end` of the file at hand."""

    def __init__(self, code: str, message: str, start: int, end: int, help: str = "", label: str = "") -> None:
        super().__init__(message)
        self.code, self.message, self.start, self.end, self.help, self.label = code, message, start, end, help, label


@dataclass(slots=True)
class Head:
    """`text` stands at character `start` of its file; `at` of it is already taken."""

    text: str
    start: int
    at: int = 0

    def peek(self) -> str | None:
        found = _WORD.match(self.text, self.at)
        return found[1] if found else None

    def take(self, what: str) -> str:
        """The next word; `what` tells what it is for when it is not there."""
        found = _WORD.match(self.text, self.at)
        if not found:
            at = self.rest_start
            shown = self.rest[:1]
            if shown:
                raise Problem("syntax", f"unexpected `{shown}`", at, at + 1, label=f"expected {what}")
            end = self.start + len(self.text.rstrip())
            raise Problem("syntax", f"{what} is missing here", end, end + 1)
        self.at = found.end()
        return found[1]

    def place(self, word: str) -> tuple[int, int]:
        """Where the word taken last stands."""
        return self.start + self.at - len(word), self.start + self.at

    @property
    def rest(self) -> str:
        """What is not taken yet, from its first character that is not blank."""
        return self.text[self.rest_start - self.start :]

    @property
    def rest_start(self) -> int:
        skipped = _SKIP.match(self.text, self.at)
        assert skipped is not None
        return self.start + skipped.end()

    def end(self) -> None:
        """Refuses anything more."""
        rest = self.rest
        if rest:
            shown = rest.split(None, 1)[0][:40]
            raise Problem("syntax", f"unexpected `{shown}`", self.rest_start, self.rest_start + len(shown))

    def family(self) -> str:
        return self.take("a family") if self.peek() in hooks.FAMILIES else "ip"

    def name(self, what: str, scope: Scope) -> str:
        """The name of a table, chain, set or object, which a variable may hold."""
        word = self.take(f"the name of the {what}")
        place = self.place(word)
        if word[0] == "$":
            variable = scope.find(word[1:])
            found = leaves(variable.tree) if variable else []
            if variable is None or len(found) != 1:
                raise Problem("undefined", f"`{word[:40]}` is not defined as a name", *place)
            variable.definition.used += 1
            word = unquote(str(found[0]))
        if not _NAME.match(word) or len(word) > MAX_NAME:
            raise Problem(
                "syntax", f"`{word[:40]}` is not a name", *place,
                help=f"a {what} is named with letters, digits, `_`, `-`, `.` and `/`, starting with a letter",
            )  # fmt: skip
        return word
