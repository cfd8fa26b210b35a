"""The kernel's rule trace (nfnetlink group 9): which rule of which chain at which hook gave which verdict.

The kernel emits a rule record without a handle at the end of chains (seen on 6.18); it says nothing and is left out.
A record names no hook: it is that of the base chain entered last. Conntrack state is given since 6.16 or so, in the
first record of a base chain only. Numbers: linux/netfilter/nf_tables.h.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

from fireproof.kernel import netlink
from fireproof.kernel.netlink import Netlink
from fireproof.kernel.nftables import FAMILIES, SUBSYSTEM, ChainKey

_TRACE = SUBSYSTEM | 17
_GROUP = 9
_TABLE, _CHAIN, _HANDLE, _TYPE, _VERDICT, _ID, _POLICY, _CT_STATE = 1, 2, 3, 4, 5, 6, 16, 21
_VERDICT_CODE, _VERDICT_CHAIN = 1, 2

State = Literal["new", "established", "related", "invalid", "untracked"]
Kind = Literal["rule", "return", "policy"]

_VERDICTS = {
    0: "drop", 1: "accept", 2: "stolen", 3: "queue", 4: "repeat", 5: "stop",
    -1: "continue", -2: "break", -3: "jump", -4: "goto", -5: "return",
}  # fmt: skip
_KINDS: dict[int, Kind] = {1: "policy", 2: "return", 3: "rule"}
_STATES: dict[int, State] = {0x1: "invalid", 0x2: "established", 0x4: "related", 0x8: "new", 0x40: "untracked"}
STATES: tuple[State, ...] = tuple(_STATES.values())
_CODE = struct.Struct(">i")


@dataclass(frozen=True, slots=True)
class TraceStep:
    hook: str
    family: str
    table: str
    chain: str
    handle: int | None
    """The rule; None for a policy or the end of a chain."""
    kind: Kind
    verdict: str
    """accept, drop, continue, jump, goto, return, queue, stolen ..."""
    target: str | None = None
    """The chain of a jump or goto."""


class Record(NamedTuple):
    """One trace record as the kernel gives it."""

    packet: bytes
    """Tells the packets apart that are on their way at the same time."""
    chain: ChainKey
    handle: int | None
    kind: Kind
    verdict: str
    target: str | None
    state: State | None


def _record(body: bytes) -> Record | None:
    found = netlink.attributes(body, 4)
    kind = _KINDS.get(int.from_bytes(found.get(_TYPE, b"")))
    if kind is None or (kind == "rule" and _HANDLE not in found):
        return None
    target = None
    if kind == "policy":
        verdict = _VERDICTS.get(int.from_bytes(found.get(_POLICY, b"")), "?")
    else:
        given = netlink.attributes(found.get(_VERDICT, b""))
        code = _CODE.unpack(given[_VERDICT_CODE])[0] if _VERDICT_CODE in given else -1
        verdict = _VERDICTS.get(code if code < 0 else code & 0xFF, str(code))
        target = netlink.string(given[_VERDICT_CHAIN]) if _VERDICT_CHAIN in given else None
    family = FAMILIES.get(body[0], str(body[0]))
    return Record(
        found.get(_ID, b""),
        (family, netlink.string(found[_TABLE]), netlink.string(found[_CHAIN])),
        int.from_bytes(found[_HANDLE]) if _HANDLE in found else None,
        kind,
        verdict,
        target,
        _STATES.get(int.from_bytes(found.get(_CT_STATE, b""))),
    )


def steps(records: Iterable[Record], hooks: Mapping[ChainKey, str]) -> list[TraceStep]:
    """The way of one packet; hooks says which chains are base chains and where they hang."""
    hook = "?"
    result: list[TraceStep] = []
    for record in records:
        hook = hooks.get(record.chain, hook)
        result.append(TraceStep(hook, *record.chain, record.handle, record.kind, record.verdict, record.target))
    return result


class TraceReader:
    """Reads the trace of the network namespace in which the calling thread is when this is made."""

    def __init__(self) -> None:
        self._netlink = Netlink(netlink.NETLINK_NETFILTER, _GROUP, buffer=64 << 20)

    def close(self) -> None:
        self._netlink.close()

    def fileno(self) -> int:
        return self._netlink.fileno()

    def read(self) -> list[Record]:
        """Every record queued so far; never waits."""
        bodies = (body for kind, _, body in self._netlink.pending() if kind == _TRACE)
        return [record for record in map(_record, bodies) if record is not None]
