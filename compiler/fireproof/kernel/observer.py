"""The table that watches beside the rules under test, and the reading of what it saw.

It marks the start of a trace, logs what is delivered locally, and drops what the stack itself answers or says unasked.
It must not use `ct`, which would switch connection tracking and reassembly on, for this would change the outcome.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

from fireproof.kernel.nftables import RuleKey
from fireproof.kernel.nftrace import STATES, Record, State

TABLE = "fireproof_oracle"
LOG_GROUP = 77
# Given to a delivered packet when the rules are done with it; the stack's own answer carries it back.
_DELIVERED = 0xF17E9C0D
_ARRIVED, _MADE = "arrived", "made"
_AFTER_CONNTRACK = ("tracked", "made_tracked")
_TELLING = ("telling", "made_telling")


def _release() -> tuple[int, int]:
    found = re.match(r"(\d+)\.(\d+)", os.uname().release)
    return (int(found[1]), int(found[2])) if found else (0, 0)


TRACE_TELLS_STATE = _release() >= (6, 17)
"""Older kernels may leave the conntrack state out of the trace; then state_table tells it."""


def watching_table(trace: bool) -> str:
    on = "meta nftrace set 1 accept" if trace else "accept"
    tracked = "".join(
        f"chain {chain} {{ type filter hook {hook} priority -199; policy accept;\n accept\n }}\n"
        for chain, hook in zip(_AFTER_CONNTRACK, ("prerouting", "output"), strict=True)
    )
    return f"""table inet {TABLE} {{
chain {_ARRIVED} {{ type filter hook prerouting priority -2147483648; policy accept;
 {on}
 }}
chain {_MADE} {{ type filter hook output priority -2147483648; policy accept;
 meta mark {_DELIVERED:#x} drop
 meta l4proto igmp drop
 icmpv6 type {{ 130, 131, 132, 133, 135, 136, 137, 143 }} drop
 {on}
 }}
{tracked if trace else ""}chain delivered {{ type filter hook input priority 2147483646; policy accept;
 log group {LOG_GROUP}
 meta mark set {_DELIVERED:#x}
 }}
}}
"""


def state_table(tracking: frozenset[int]) -> str:
    """Rules whose match tells the conntrack state; only for the IP versions that are tracked anyway."""
    family = "inet" if len(tracking) == 2 else "ip" if 4 in tracking else "ip6"
    rules = "\n".join(f'ct state {state} accept comment "{state}"' for state in STATES if state != "invalid")
    chains = "".join(
        f"chain {chain} {{ type filter hook {hook} priority -199; policy accept;\n{rules}\n }}\n"
        for chain, hook in zip(_TELLING, ("prerouting", "output"), strict=True)
    )
    return f"table {family} {TABLE} {{\n{chains}}}\n"


def told_state(records: list[Record], comments: Mapping[RuleKey, str | None]) -> State:
    """What the rules of state_table found."""
    for record in records:
        if watched(record) and record.chain[2] in _TELLING and record.handle is not None and record.verdict == "accept":
            comment = comments.get((*record.chain, record.handle))
            return next((state for state in STATES if state == comment), "invalid")
    return "invalid"


def watched(record: Record) -> bool:
    """The record is of the observer's own rules."""
    return record.chain[1] == TABLE


def own_item(item: Mapping[str, Any]) -> bool:
    """An object of `nft -j list` that belongs to the observer."""
    return TABLE in (item.get("table"), item.get("name"))


def without_observer(listing: str) -> str:
    """What `nft list ruleset` says of the other tables."""
    kept: list[str] = []
    skipping = False
    for line in listing.splitlines(keepends=True):
        skipping = skipping or bool(re.fullmatch(rf"table \w+ {TABLE} {{\n", line))
        if not skipping:
            kept.append(line)
        skipping = skipping and line != "}\n"
    return "".join(kept)


def seen_after_conntrack(records: list[Record]) -> Record | None:
    """The first record behind conntrack's hook; None for a packet that did not get there."""
    return next((record for record in records if watched(record) and record.chain[2] in _AFTER_CONNTRACK), None)


def by_packet(records: list[Record], made_here: bool) -> tuple[list[Record], list[Record]]:
    """The records of the packet that was sent, and of those made on the way.

    A packet made on the way begins in output. Looped back by `lo`, a packet begins anew in prerouting.
    """
    own: list[Record] = []
    side: list[Record] = []
    place: dict[bytes, list[Record]] = {}
    latest = own
    arrived = made = False
    # What output dropped cannot loop back; its answer can, and does so before the record of the drop is written.
    first = [record for record in records if record.packet == records[0].packet]
    answered_only = made_here and bool(first) and first[-1].verdict == "drop"
    for record in records:
        if record.packet not in place:
            if watched(record) and record.chain[2] == _MADE:
                latest = own if made_here and not made else side
                made = True
            elif watched(record) and record.chain[2] == _ARRIVED:
                latest = side if arrived or answered_only or (made and not made_here) else own
                arrived = True
            # Otherwise the kernel has put a new buffer in place of the old one, as reassembly does.
            place[record.packet] = latest
        place[record.packet].append(record)
    return own, side
