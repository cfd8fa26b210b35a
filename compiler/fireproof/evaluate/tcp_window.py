"""The sequence numbers of a TCP connection as connection tracking follows them: what each side may send and
acknowledge.

After "Real Stateful TCP Packet Filtering in IP Filter" (van Rooij), as Linux 6.18 applies it; held against the kernel
by the differential tests. Numbers are modulo 2^32.
"""

from __future__ import annotations

from dataclasses import dataclass

from fireproof.netfilter.conntrack import ACK, RST, SYN

_MASK = 0xFFFFFFFF
_SLOWEST_ACK = 66_000
"""An acknowledgement may lag behind by this much, whatever the window."""
_NO_OPERATION, _END, _SCALE, _SACK_PERMITTED, _SACK = 1, 0, 3, 4, 5
_LARGEST_SCALE = 14


def before(left: int, right: int) -> bool:
    """Whether `left` comes before `right`, either of which may have wrapped around."""
    return (left - right) & 0x80000000 != 0


@dataclass(frozen=True, slots=True)
class Segment:
    """What connection tracking reads of a segment. `kind` is syn, syn-ack, fin, ack or rst; `end` follows its data."""

    kind: str
    flags: int
    seq: int
    ack: int
    end: int
    window: int
    options: bytes = b""


@dataclass(slots=True)
class Side:
    """One side's sending. `end` follows what it sent, `limit` what it may send; `window` is the largest it offered.

    `acked` is its highest acknowledgement. A window of 0 says that nothing of this side was seen yet.
    """

    end: int = 0
    limit: int = 0
    window: int = 0
    acked: int | None = None
    scale: int = 0
    scales: bool = False
    sack: bool = False
    liberal: bool = False
    closing: bool = False
    unacknowledged: bool = False

    def opens(self, segment: Segment, other: Side, reply: bool) -> None:
        """A SYN tells the first number, the window and the options."""
        self.end = self.limit = segment.end
        self.window = max(segment.window, 1)
        self.read_options(segment)
        if reply and not (self.scales and other.scales):
            # Windows are scaled only when both sides ask for it.
            self.scale = other.scale = 0

    def read_options(self, segment: Segment) -> None:
        self.scale, self.scales, self.sack = 0, False, False
        for kind, body in _options(segment.options):
            if kind == _SACK_PERMITTED and not body:
                self.sack = True
            elif kind == _SCALE and len(body) == 1:
                self.scale, self.scales = min(body[0], _LARGEST_SCALE), True

    def picked_up(self, segment: Segment) -> None:
        """A connection whose beginning was not seen: believe the segment, and be liberal from now on."""
        self.end = segment.end
        self.window = max(segment.window, 1)
        self.limit = (self.end + self.window) & _MASK


def check(sender: Side, receiver: Side, segment: Segment, state: str, reply: bool, liberal: bool) -> str:
    """`good`, `invalid`, or `stale` (it passes but teaches nothing); good segments move the sides on."""
    seq, ack, end, window = segment.seq, segment.ack, segment.end, segment.window
    acks = segment.flags & ACK != 0
    syn = segment.flags & SYN != 0
    sack = _highest_sack(segment.options, ack) if receiver.sack and acks else ack
    if sender.window == 0:
        if syn:
            sender.opens(segment, receiver, reply)
            if not acks:
                return "good"
        else:
            sender.end = end
            sender.window = max(window << sender.scale, 1)
            sender.limit = (end + sender.window) & _MASK
            if receiver.window == 0:
                receiver.end = receiver.limit = sack
            elif sack == (receiver.end + 1) & _MASK:
                receiver.end = sack  # the answer to a keep-alive
    elif syn and before(sender.end, end) and state in ("SYN_SENT", "SYN_RECV"):
        sender.opens(segment, receiver, reply)
        if reply and not acks:
            return "good"
    if not acks or (segment.flags & RST and ack == 0):
        ack = sack = receiver.end
    if segment.flags & RST and seq == 0 and state == "SYN_SENT":
        seq = end = sender.end  # the answer to a SYN
    verdict = _place(sender, receiver, seq, end, sack)
    if verdict != "good":
        return "pass" if liberal or sender.liberal else verdict
    if not syn:
        window <<= sender.scale
    _advance(sender, receiver, end, ack if acks else None, sack, window, (window + sack - ack) & _MASK)
    if ack == receiver.end:
        receiver.unacknowledged = False
    return "good"


def _place(sender: Side, receiver: Side, seq: int, end: int, sack: int) -> str:
    """Where the segment lies within the windows."""
    fresh = before(sender.end - receiver.window - 1, end)
    ack_lags = not before(receiver.end - max(sender.window, _SLOWEST_ACK) - 1, sack)
    ack_known = before(sack, receiver.end + 1)
    if not before(seq, sender.limit + 1):
        overshot = (end - sender.limit + 1) & _MASK
        if receiver.window and fresh and not ack_lags and ack_known and overshot <= receiver.window:
            # More than was allowed, but a receiver may take it: then its acknowledgement must fit.
            sender.end = end
            sender.unacknowledged = True
            return "stale"
        return "invalid"
    if not ack_known:
        return "invalid"
    return "stale" if (receiver.window and not fresh) or ack_lags else "good"


def _advance(sender: Side, receiver: Side, end: int, ack: int | None, sack: int, window: int, offered: int) -> None:
    sender.window = max(sender.window, offered)
    if before(sender.end, end):
        sender.end = end
        sender.unacknowledged = True
    if ack is not None and (sender.acked is None or before(sender.acked, ack)):
        sender.acked = ack
    if receiver.window and before(sender.limit, end):
        receiver.window += (end - sender.limit) & _MASK
    if before(receiver.limit - 1, sack + window):
        receiver.limit = (sack + window + (window == 0)) & _MASK


def _options(data: bytes) -> list[tuple[int, bytes]]:
    found = []
    at = 0
    while at < len(data) and data[at] != _END:
        if data[at] == _NO_OPERATION:
            at += 1
            continue
        size = data[at + 1] if at + 1 < len(data) else 0
        if size < 2 or at + size > len(data):
            break
        found.append((data[at], data[at + 2 : at + size]))
        at += size
    return found


def _highest_sack(options: bytes, ack: int) -> int:
    """The end of the last block that is acknowledged selectively."""
    highest = ack
    for kind, body in _options(options):
        if kind == _SACK and len(body) % 8 == 0:
            for at in range(0, len(body), 8):
                right = int.from_bytes(body[at + 4 : at + 8], "big")
                if before(highest, right):
                    highest = right
    return highest
