"""`priority filter - 10` and its relatives as the kernel's number."""

from __future__ import annotations

import re
from typing import Any

from fireproof.netfilter import hooks
from fireproof.syntax import values
from fireproof.syntax.scope import Context, MeaningError, leaves, suggest, unquote

_WRITTEN = re.compile(r"\s*([+-]?)\s*([A-Za-z]+|[0-9]+)\s*(?:([+-])\s*([0-9]+)\s*)?\Z")


def priority_of(context: Context, children: list[Any], family: str, hook: str) -> int:
    """The children are an optional sign, a word, number or variable, and an optional sign with an offset."""
    sign, leaf, _, offset = children
    if leaf.type == "VARIABLE":
        if sign is not None or offset is not None:
            raise MeaningError(
                "a variable is the whole priority", leaf, 'define it as the sum, such as "filter - 10"', "value"
            )
        text = _variable(context, leaf)
    else:
        text = "".join(context.text(part) for part in children if part is not None)
    found = _WRITTEN.match(text)
    named = hooks.NAMED_PRIORITIES.get((family, hook), {})
    if found is None or not (found[2].isdigit() or found[2] in named):
        raise MeaningError(
            f"`{text[:40]}` is not a priority at {hook}", leaf,
            suggest(text, named) or "named here: " + ", ".join(named), "bad-hook",
        )  # fmt: skip
    total = values.integer(found[2]) if found[2].isdigit() else named[found[2]]
    if found[1] == "-":
        total = -total
    if found[4]:
        total += values.integer(found[4]) if found[3] == "+" else -values.integer(found[4])
    if not hooks.PRIORITY_MIN <= total <= hooks.PRIORITY_MAX:
        raise MeaningError("a priority is a number of 32 bits", leaf, code="bad-hook")
    return total


def _variable(context: Context, leaf: Any) -> str:
    """What a variable says: a number, a name, or both in quotes."""
    variable = context.look_up(leaf)
    found = leaves(variable.tree)
    if len(found) != 1:
        raise MeaningError("a single priority is needed here", leaf, 'write it in quotes: "filter - 10"', "value")
    if found[0].type == "VARIABLE":
        return _variable(context, found[0])
    text = unquote(context.text(found[0]))
    return f"-{text}" if variable.tree.data == "definition_negative" else text
