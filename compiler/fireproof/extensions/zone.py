"""`zone lan`: the packet came in through an interface of that zone of the host facts.

It is shorthand for a match on `iifname` and is emitted as one.
"""

from __future__ import annotations

from typing import Any

from fireproof.model.expression import Element, Meta, Name, SetLiteral
from fireproof.model.statement import Match
from fireproof.netfilter.keys import META_KEYS


def _read(context: Any, node: Any) -> Match:
    from fireproof.syntax.scope import MeaningError, suggest

    negated = node.children[0] is not None
    leaf = node.children[-1]
    name = context.text(leaf)
    interfaces = context.zone(name)
    if not interfaces:
        known = suggest(name, context.zones()) or "zones are given to interfaces in a `host { … }` block"
        raise MeaningError(f"no interface belongs to a zone `{name}`", leaf, known)
    key = META_KEYS["iifname"]
    names = [Name(text.removesuffix("*"), text.endswith("*")) for text in interfaces]
    right = (names[0],) if len(names) == 1 else SetLiteral(tuple(Element((part,)) for part in names))
    return Match(Meta("iifname", key.datatype, key.bits), "!=" if negated else "==", right)


READERS = {"zone": _read}
