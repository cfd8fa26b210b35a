"""Text that may be printed on a terminal: nothing taken from the input can move the cursor, recolour or reorder it.

Widths are those of a terminal: two columns for East Asian wide and fullwidth characters (UAX #11), none for combining
marks. Emoji joined by a zero-width joiner are shown as their parts.
"""

from __future__ import annotations

import unicodedata

TAB = "    "
RESET = "\x1b[0m"
BOLD, BLUE, RED, YELLOW, CYAN = "\x1b[1m", "\x1b[1;34m", "\x1b[1;31m", "\x1b[1;33m", "\x1b[1;36m"


def cell(char: str) -> tuple[str, int]:
    """What stands for a character on the terminal, and how many columns it takes."""
    if char.isascii() and char.isprintable():
        return char, 1
    if char == "\t":
        return TAB, len(TAB)
    code = ord(char)
    if code < 0x20:
        return chr(0x2400 + code), 1
    if code == 0x7F:
        return "␡", 1
    if not char.isprintable():
        # C1 controls, bidirectional overrides, zero-width and unusual spaces, lone surrogates, unassigned.
        shown = f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
        return shown, len(shown)
    if unicodedata.category(char) in ("Mn", "Me"):
        return char, 0
    return char, 2 if unicodedata.east_asian_width(char) in "WF" else 1


def printable(text: str, limit: int = 1000) -> str:
    """`text` made harmless, at most `limit` characters of it."""
    cut = text[:limit] + "…" if len(text) > limit else text
    return cut if cut.isascii() and cut.isprintable() else "".join(cell(char)[0] for char in cut)


def paint(text: str, colour: str) -> str:
    """`text` in a colour of this module; unchanged when `colour` is empty."""
    return f"{colour}{text}{RESET}" if colour and text else text
