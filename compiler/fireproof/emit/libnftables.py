"""What nft and the kernel make of an emitted ruleset, tried in a network namespace that is thrown away.

A real load, because `nft -c` checks neither hooks nor the depth of jumps. Always a child process (libnftables 1.0.6
aborts on some inputs) that reads a private file (standard input loses errors) in UTC (nft converts times of day).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields, is_dataclass
from typing import Any, Literal

from fireproof.kernel import nft
from fireproof.kernel.nft import NftRefused, NftVersion
from fireproof.model.expression import Constant, Element, MapLookup, Name, SetLiteral
from fireproof.model.ruleset import Ruleset
from fireproof.model.statement import Match, VerdictMap

Format = Literal["nft", "nft-json"]


def version() -> NftVersion:
    """The release of the installed nft. Raises KernelUnavailable where there is none."""
    return nft.version()


def check_text(text: str, devices: Sequence[str] = ()) -> str | None:
    """What nft or the kernel says against nft text, None if it loads. `devices`: see `devices`."""
    return _refused(text, "nft", devices)


def check_json(text: str, devices: Sequence[str] = ()) -> str | None:
    """The same for libnftables JSON. nft ignores keys it does not know: None is no proof that all was understood."""
    return _refused(text, "nft-json", devices)


def readback(text: str, format: Format, devices: Sequence[str] = ()) -> dict[str, Any]:
    """`nft -j list ruleset` after loading the text into an empty namespace. Raises NftRefused."""
    with nft.files(ruleset=text) as paths, nft._throw_away(devices) as runner:
        loaded = runner([nft.nft_path(), *_options(format), "-f", paths["ruleset"]])
        refusal = nft.refusal(loaded, paths)
        if refusal is not None:
            raise NftRefused(refusal)
        listing = runner([nft.nft_path(), "-j", "list", "ruleset"])
        refusal = nft.refusal(listing, paths)
        if refusal is not None:
            raise NftRefused(refusal)
    found: dict[str, Any] = json.loads(listing.stdout)
    return found


def _options(format: Format) -> list[str]:
    return ["-j"] if format == "nft-json" else []


def _refused(text: str, format: Format, devices: Sequence[str]) -> str | None:
    with nft.files(ruleset=text) as paths, nft._throw_away(devices) as runner:
        return nft.refusal(runner([nft.nft_path(), *_options(format), "-f", paths["ruleset"]]), paths)


# ---- interfaces that have to exist ---------------------------------------------------------------------------------
def devices(ruleset: Ruleset) -> list[str]:
    """The interfaces a ruleset needs to load: those of its netdev chains and flowtables, and those matched by index."""
    found: list[str] = []
    for table in ruleset.tables.values():
        for chain in table.chains.values():
            found += chain.base.devices if chain.base else ()
            for rule in chain.rules:
                found += _named(rule.statements)
        for flowtable in table.flowtables.values():
            found += flowtable.devices
        for named in table.sets.values():
            found += _in_keys(named.key, named.elements)
    return [each for each in dict.fromkeys(found) if each not in ("lo", "exists", "missing")]


def _named(node: object) -> Iterator[str]:
    """Names of interfaces by index anywhere below a part of a rule."""
    match node:
        case Constant() if node.datatype == "iface_index" and isinstance(node.value, str):
            yield node.value
        case Match():
            names = _components(node.left.datatype)
            if isinstance(node.right, SetLiteral):
                yield from _in_keys(names, node.right.elements)
            elif isinstance(node.right, tuple):
                yield from _in_keys(names, [Element(node.right)])
        case VerdictMap() | MapLookup() if isinstance(node.map, SetLiteral):
            yield from _in_keys(_components(node.key.datatype), node.map.elements)
    if isinstance(node, tuple):
        for each in node:
            yield from _named(each)
    elif is_dataclass(node):
        for each in fields(node):
            yield from _named(getattr(node, each.name))


def _components(datatype: str) -> tuple[str, ...]:
    return tuple(datatype.split(" . "))


def _in_keys(types: tuple[str, ...], elements: Iterable[Element]) -> Iterator[str]:
    if "iface_index" in types:
        for element in elements:
            for datatype, part in zip(types, element.key or (), strict=False):
                if datatype == "iface_index" and isinstance(part, Name):
                    yield part.text
