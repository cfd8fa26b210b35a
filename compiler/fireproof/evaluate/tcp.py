"""The TCP state machine of connection tracking.

Which segment leads from which state to which was measured on Linux 6.18, segment by segment, in both directions (12
kinds of segment, 10 states). Limits: sequence numbers are not checked against the windows (`be_liberal` in effect), except that a RST
with a number other than the one expected closes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field

NONE, SYN_SENT, SYN_RECV, ESTABLISHED = "NONE", "SYN_SENT", "SYN_RECV", "ESTABLISHED"
FIN_WAIT, CLOSE_WAIT, LAST_ACK, TIME_WAIT = "FIN_WAIT", "CLOSE_WAIT", "LAST_ACK", "TIME_WAIT"
CLOSE, SYN_SENT2 = "CLOSE", "SYN_SENT2"

TIMEOUTS = {
    SYN_SENT: 120, SYN_RECV: 60, ESTABLISHED: 432_000, FIN_WAIT: 120, CLOSE_WAIT: 60, LAST_ACK: 30, TIME_WAIT: 120,
    CLOSE: 10, SYN_SENT2: 120,
}  # fmt: skip
UNACKNOWLEDGED = 300
"""Seconds while data waits for its acknowledgement, or no answer was seen yet."""

FIN, SYN, RST, PSH, ACK, URG, ECE, CWR = 1, 2, 4, 8, 16, 32, 64, 128
# PSH, ECE and CWR do not matter; every other combination of flags is invalid.
_SENSIBLE = frozenset(
    (SYN, SYN | URG, SYN | ACK, RST, RST | ACK, FIN | ACK, FIN | ACK | URG, ACK, ACK | URG)
)  # fmt: skip


def kind_of(flags: int) -> str | None:
    """syn, syn-ack, fin, ack or rst; None when the flags make no sense together."""
    if flags & ~(PSH | ECE | CWR) not in _SENSIBLE:
        return None
    if flags & RST:
        return "rst"
    if flags & SYN:
        return "syn-ack" if flags & ACK else "syn"
    return "fin" if flags & FIN else "ack"


IGNORED = "ignored"
"""The segment passes with its flow, which stays as it is."""
_LIVE = (SYN_RECV, ESTABLISHED, FIN_WAIT, CLOSE_WAIT, LAST_ACK)
_CLOSING = {
    "fin": {SYN_RECV: FIN_WAIT, ESTABLISHED: FIN_WAIT, FIN_WAIT: LAST_ACK, CLOSE_WAIT: LAST_ACK, LAST_ACK: LAST_ACK,
            TIME_WAIT: TIME_WAIT, CLOSE: CLOSE},
    "rst": dict.fromkeys((SYN_SENT, *_LIVE, TIME_WAIT, CLOSE, SYN_SENT2), CLOSE),
}  # fmt: skip
_ACK = {
    ESTABLISHED: ESTABLISHED, FIN_WAIT: CLOSE_WAIT, CLOSE_WAIT: CLOSE_WAIT, LAST_ACK: TIME_WAIT, TIME_WAIT: TIME_WAIT,
    CLOSE: CLOSE,
}  # fmt: skip
TRANSITIONS: tuple[dict[str, dict[str, str]], dict[str, dict[str, str]]] = (
    {
        "syn": {NONE: SYN_SENT, SYN_SENT: SYN_SENT, **dict.fromkeys(_LIVE, IGNORED), TIME_WAIT: SYN_SENT,
                CLOSE: SYN_SENT},
        "syn-ack": {SYN_RECV: SYN_RECV, SYN_SENT2: SYN_RECV},
        "ack": {NONE: ESTABLISHED, SYN_RECV: ESTABLISHED, **_ACK},
        **_CLOSING,
    },
    {
        "syn": {SYN_SENT: SYN_SENT2, TIME_WAIT: SYN_SENT},
        "syn-ack": {SYN_SENT: SYN_RECV, SYN_SENT2: SYN_RECV, **dict.fromkeys((*_LIVE, TIME_WAIT, CLOSE), IGNORED)},
        "ack": {SYN_SENT: IGNORED, SYN_RECV: SYN_RECV, SYN_SENT2: IGNORED, **_ACK},
        **_CLOSING,
    },
)  # fmt: skip
"""By direction (0 is the original one), kind of segment and state; what is missing is invalid."""


@dataclass(frozen=True, slots=True)
class Segment:
    """What the state machine looks at. `end` is the sequence number after this segment."""

    kind: str
    seq: int
    ack: int
    end: int


@dataclass(slots=True)
class Connection:
    """The TCP part of a flow. `closing`: a FIN was seen, so the end came about properly."""

    state: str = NONE
    closing: bool = False
    last: Segment | None = None
    last_direction: int = 0
    acknowledged: list[int | None] = field(default_factory=lambda: [None, None])
    """The highest acknowledgement each side has sent: where the other's next segment starts."""
    simultaneous: bool = False

    def step(self, direction: int, segment: Segment) -> str:
        """`invalid`, `reopen` (a fresh connection begins under this tuple), `ignored` or `taken`."""
        kind = segment.kind
        new = TRANSITIONS[direction][kind].get(self.state)
        if new is None:
            return "invalid"
        if new == SYN_SENT and self.state in (TIME_WAIT, CLOSE):
            own_reset = self.last is not None and self.last_direction == direction and self.last.kind == "rst"
            if self.closing or own_reset:
                return "reopen"
            new = IGNORED
        if new == IGNORED:
            if not self._answers_ignored_syn(direction, segment):
                self.last, self.last_direction = segment, direction
                return "ignored"
            # Client and server agree about a connection that was unknown here: catch up with them.
            new = SYN_RECV
        if new == SYN_SENT2:
            self.simultaneous = True
        if new == SYN_RECV and direction == 1 and kind == "ack" and self.simultaneous:
            new = ESTABLISHED
        if kind == "rst":
            reaction = self._reset(direction, segment)
            if reaction == "invalid":
                return reaction
            if reaction == "ignored":
                new = self.state
        if new == FIN_WAIT and self.state != FIN_WAIT:
            self.closing = True
        self.state = new
        self.last, self.last_direction = segment, direction
        if kind in ("ack", "syn-ack", "fin"):
            self._note_acknowledgement(direction, segment.ack)
        return "taken"

    def _answers_ignored_syn(self, direction: int, segment: Segment) -> bool:
        last = self.last
        return (
            segment.kind == "syn-ack" and last is not None and last.kind == "syn"
            and self.last_direction != direction and segment.ack == last.end
        )  # fmt: skip

    def _note_acknowledgement(self, direction: int, ack: int) -> None:
        known = self.acknowledged[direction]
        if known is None or not _before(ack, known):
            self.acknowledged[direction] = ack

    def _reset(self, direction: int, segment: Segment) -> str:
        """What a reset does: `close`, `ignored` (a challenge may follow), or `invalid`."""
        expected = self.acknowledged[1 - direction]
        if expected is None or (self.last is not None and self.last.kind == "syn"):
            return "close"
        if segment.seq == 0 and self.state != ESTABLISHED:
            return "close"
        if _before(segment.seq, expected):
            return "invalid"
        if self.state != ESTABLISHED or segment.seq == expected:
            return "close"
        last = self.last
        in_train = last is not None and last.kind == "ack" and self.last_direction == direction and segment.seq == last.end
        return "close" if in_train else "ignored"


def _before(left: int, right: int) -> bool:
    """Whether sequence number `left` comes before `right`, which may have wrapped around."""
    return 0 < (right - left) & 0xFFFFFFFF < 0x80000000
