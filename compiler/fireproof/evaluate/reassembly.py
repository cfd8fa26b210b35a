"""Fragments wait here until their packet is whole, as they do in front of connection tracking.

Limits: no memory limit; a packet that is not complete after 30 seconds (60 for IPv6) is forgotten. Chains that run
before reassembly see the whole packet, not its fragments.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from fireproof.packet.fragments import reassemble
from fireproof.packet.parse import FRAGMENT, Headers

_TIMEOUT = {4: 30.0, 6: 60.0}


@dataclass(slots=True)
class Parts:
    expires: float
    pieces: list[bytes] = field(default_factory=list)


class Reassembly:
    def __init__(self) -> None:
        self._waiting: dict[bytes, Parts] = {}

    def add(self, headers: Headers, now: float) -> tuple[bytes, int] | None:
        """The whole packet and the size of its largest fragment, once the last one is here."""
        key = _key(headers)
        waiting = self._waiting.get(key)
        if waiting is None or waiting.expires <= now:
            waiting = self._waiting[key] = Parts(now + _TIMEOUT[headers.family])
        waiting.pieces.append(headers.raw)
        whole = reassemble(waiting.pieces)
        if whole is None:
            return None
        del self._waiting[key]
        return whole, max(len(piece) for piece in waiting.pieces)


def is_fragment(headers: Headers) -> bool:
    """Part of a packet; an IPv6 packet with a fragment header that holds all of it is none."""
    return headers.fragment != 0 or headers.more_fragments


def _key(headers: Headers) -> bytes:
    raw = headers.raw
    if headers.family == 4:
        return raw[4:6] + raw[9:10] + raw[12:20]
    ident = next((raw[at + 4 : at + 8] for number, at, _ in headers.extensions if number == FRAGMENT), b"")
    return raw[8:40] + ident
