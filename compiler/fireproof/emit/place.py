"""Rules carry the place they were written at in their comment: `user text | src:edge.fw:12`.

What the kernel lists or traces can so be led back to the source. nft allows 128 bytes of comment.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from fireproof.emit.naming import clean
from fireproof.model.ruleset import Rule

COMMENT_BYTES = 128
_FILE_BYTES = 48
_TAG = re.compile(r"(?:(?P<user>.*) \| )?src:(?P<file>[^|]+):(?P<line>\d+)\Z", re.DOTALL)


class TaggedPlace(NamedTuple):
    comment: str | None
    file: str
    line: int


def place_of(comment: str | None) -> TaggedPlace | None:
    """The user's own comment, file name and line out of a tagged comment; None if it is not tagged."""
    found = _TAG.match(comment) if comment else None
    return TaggedPlace(found["user"] or None, found["file"], int(found["line"])) if found else None


def tagged(rule: Rule) -> str:
    """The comment of a rule with its place. A tag from an earlier compilation is replaced."""
    name = clean(Path(rule.span.file.name).name.replace("|", "_"), _FILE_BYTES) or "-"
    tag = f"src:{name}:{rule.span.line}"
    old = place_of(rule.comment)
    user = old.comment if old else rule.comment
    if user:
        own = clean(user, COMMENT_BYTES - len(tag.encode()) - 3)
        if own:
            return f"{own} | {tag}"
    return tag


def comment_of(rule: Rule, tag: bool) -> str | None:
    """What stands in the comment of the emitted rule, safe to be quoted."""
    if tag:
        return tagged(rule)
    return clean(rule.comment, COMMENT_BYTES) or None if rule.comment else None
