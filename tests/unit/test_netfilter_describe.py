"""The fact tables against `nft describe`: types, widths and symbolic names of every expression. Needs nft, not root."""

import re
import shutil
import subprocess
from typing import NamedTuple

import pytest

from fireproof.netfilter import keys
from fireproof.netfilter.datatypes import DATATYPES, Datatype
from fireproof.netfilter.headers import EXTENSION_HEADERS, HEADERS, IP_OPTIONS, SCTP_CHUNKS, TCP_OPTIONS, HeaderField

NFT = shutil.which("nft")
pytestmark = pytest.mark.skipif(NFT is None, reason="nft is not installed: the tables go unchecked against it")

# What nft names with a word of its grammar cannot be described by type; this expression has the type.
EXPRESSION_OF = {
    "ct_label": "ct label",
    "ct_event": "ct event",
    "date": "meta time",
    "ecn": "ip ecn",
    "hour": "meta hour",
    "day": "meta day",
    "time": "ct expiration",
    "mark": "meta mark",
}
# `nft describe` names the two clocks alike.
DESCRIBED_AS = {"date": "time"}


class Described(NamedTuple):
    datatype: str
    bits: int
    symbols: dict[str, str]


def describe(expression: str) -> Described:
    run = subprocess.run(
        ["nft", "describe", *expression.split()], capture_output=True, text=True, check=False, errors="replace"
    )
    head = re.search(r"datatype (\S+) \(.*?, (\d+) (bits|characters)", run.stdout)
    assert head, f"nft describe {expression}: {run.stdout}{run.stderr}"
    bits = int(head[2]) * (8 if head[3] == "characters" else 1)
    return Described(head[1], bits, dict(re.findall(r"^\t(\S+)\s+(\w+)$", run.stdout, re.MULTILINE)))


def as_described(value: int, datatype: Datatype) -> int:
    """Hexadecimal constants of more than a byte in network order are printed byte-swapped."""
    if datatype.base == "hex4" or datatype.name == "arp_op":
        return int.from_bytes(value.to_bytes(2, "big"), "little")
    return value


@pytest.mark.parametrize("name", DATATYPES)
def test_datatype(name: str) -> None:
    datatype = DATATYPES[name]
    described = describe(EXPRESSION_OF.get(name, name))
    assert described.datatype == DESCRIBED_AS.get(name, name)
    if name != "time":  # seen through ct expiration, which has 32 bits of it
        assert described.bits == datatype.bits
    symbols = {symbol: int(number, 0) for symbol, number in described.symbols.items()}
    if name == "inet_proto":
        return
    # The two TC handles and the default group are words that `describe` does not list.
    extra = {"classid": {"none", "root"}, "devgroup": {"default"}}.get(name, set())
    listed = {s: as_described(v, datatype) for s, v in datatype.symbols.items() if s not in extra}
    assert {s: v for s, v in symbols.items() if s not in extra} == listed


def fields() -> list[tuple[str, HeaderField]]:
    found = [(f"{h.name} {f.name}", f) for h in HEADERS.values() for f in h.fields.values()]
    for prefix, table in (
        ("", EXTENSION_HEADERS),
        ("tcp option ", TCP_OPTIONS),
        ("ip option ", IP_OPTIONS),
        ("sctp chunk ", SCTP_CHUNKS),
    ):
        for option in table.values():
            for field in option.fields.values():
                index = "[1]" if field.count else ""
                found.append((f"{prefix}{option.name} {field.name}{index}", field))
    return found


@pytest.mark.parametrize(("expression", "field"), fields(), ids=lambda x: x if isinstance(x, str) else "")
def test_field(expression: str, field: HeaderField) -> None:
    described = describe(expression)
    assert (described.datatype, described.bits) == (field.datatype, field.bits)


def key_expressions() -> list[tuple[str, keys.Key]]:
    found: list[tuple[str, keys.Key]] = [(f"meta {k.name}", k) for k in keys.META_KEYS.values()]
    found += [(k.name, k) for k in keys.META_KEYS.values() if k.unqualified]
    for key in keys.CT_KEYS.values():
        if key.direction != "required":
            found.append((f"ct {key.name}", key))
        elif " " in key.name:
            found.append((f"ct original {key.name}", key))
    found += [(f"rt {k.name}", k) for k in keys.RT_KEYS.values() if k.bits]
    found += [(f"socket {k.name}{' level 1' if k.name == 'cgroupv2' else ''}", k) for k in keys.SOCKET_KEYS.values()]
    found += [(f"fib saddr {k.name}", k) for k in keys.FIB_RESULTS.values()]
    found += [(f"osf {k.name}", k) for k in keys.OSF_KEYS.values()]
    found += [(f"ipsec in {k.name}", k) for k in keys.IPSEC_KEYS.values()]
    return found


@pytest.mark.parametrize(("expression", "key"), key_expressions(), ids=lambda x: x if isinstance(x, str) else "")
def test_key(expression: str, key: keys.Key) -> None:
    described = describe(expression)
    assert (described.datatype, described.bits) == (DESCRIBED_AS.get(key.datatype, key.datatype), key.bits)


def test_no_meta_key_is_missing() -> None:
    """The error for an unknown key lists all that nft knows."""
    run = subprocess.run(["nft", "describe", "meta", "nosuchkey"], capture_output=True, text=True, check=False)
    listed = re.search(r"known keys are (.*)", run.stderr)
    assert listed, run.stderr
    # Older spellings of three of them are not listed.
    assert set(listed[1].split(", ")) == set(keys.META_KEYS) - {"ibriport", "obriport", "secpath"}
