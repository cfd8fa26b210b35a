"""The TCP state machine of connection tracking.

Which segment leads from which state to which was measured on Linux 6.18, segment by segment, in both directions (12
kinds of segment, 10 states); sequence numbers are the business of `tcp_window`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from fireproof.evaluate import tcp_window
from fireproof.evaluate.tcp_window import Segment, Side, before
from fireproof.netfilter.conntrack import ACK, FIN, IGNORED_FLAGS, RST, SENSIBLE_FLAGS, SYN

NONE, SYN_SENT, SYN_RECV, ESTABLISHED = "NONE", "SYN_SENT", "SYN_RECV", "ESTABLISHED"
FIN_WAIT, CLOSE_WAIT, LAST_ACK, TIME_WAIT = "FIN_WAIT", "CLOSE_WAIT", "LAST_ACK", "TIME_WAIT"
CLOSE, SYN_SENT2 = "CLOSE", "SYN_SENT2"

TIMEOUTS = {
    SYN_SENT: 120.0, SYN_RECV: 60.0, ESTABLISHED: 432_000.0, FIN_WAIT: 120.0, CLOSE_WAIT: 60.0, LAST_ACK: 30.0,
    TIME_WAIT: 120.0, CLOSE: 10.0, SYN_SENT2: 120.0,
}  # fmt: skip
UNACKNOWLEDGED = 300.0
"""Seconds while data waits for its acknowledgement, or is sent again and again, or no answer was seen yet."""
_RETRANSMISSIONS = 3


def kind_of(flags: int) -> str | None:
    """syn, syn-ack, fin, ack or rst; None when the flags make no sense together."""
    if flags & ~IGNORED_FLAGS not in SENSIBLE_FLAGS:
        return None
    if flags & RST:
        return "rst"
    if flags & SYN:
        return "syn-ack" if flags & ACK else "syn"
    return "fin" if flags & FIN else "ack"


IGNORED = "ignored"
"""The segment passes with its flow, which stays as it is."""
_OPEN = (SYN_RECV, ESTABLISHED, FIN_WAIT, CLOSE_WAIT, LAST_ACK)
_ENDING = frozenset((FIN_WAIT, CLOSE_WAIT, LAST_ACK, TIME_WAIT, CLOSE))
_BOTH_WAYS = {
    "fin": {SYN_RECV: FIN_WAIT, ESTABLISHED: FIN_WAIT, FIN_WAIT: LAST_ACK, CLOSE_WAIT: LAST_ACK, LAST_ACK: LAST_ACK,
            TIME_WAIT: TIME_WAIT, CLOSE: CLOSE},
    "rst": dict.fromkeys((SYN_SENT, *_OPEN, TIME_WAIT, CLOSE, SYN_SENT2), CLOSE),
}  # fmt: skip
_ACK = {
    ESTABLISHED: ESTABLISHED, FIN_WAIT: CLOSE_WAIT, CLOSE_WAIT: CLOSE_WAIT, LAST_ACK: TIME_WAIT, TIME_WAIT: TIME_WAIT,
    CLOSE: CLOSE,
}  # fmt: skip
TRANSITIONS: tuple[dict[str, dict[str, str]], dict[str, dict[str, str]]] = (
    {
        "syn": {NONE: SYN_SENT, SYN_SENT: SYN_SENT, **dict.fromkeys(_OPEN, IGNORED), TIME_WAIT: SYN_SENT,
                CLOSE: SYN_SENT, SYN_SENT2: SYN_SENT2},
        "syn-ack": {SYN_RECV: SYN_RECV, SYN_SENT2: SYN_RECV},
        "ack": {NONE: ESTABLISHED, SYN_RECV: ESTABLISHED, **_ACK},
        **_BOTH_WAYS,
    },
    {
        "syn": {SYN_SENT: SYN_SENT2, TIME_WAIT: SYN_SENT, SYN_SENT2: SYN_SENT2},
        "syn-ack": {SYN_SENT: SYN_RECV, SYN_SENT2: SYN_RECV, **dict.fromkeys((*_OPEN, TIME_WAIT, CLOSE), IGNORED)},
        "ack": {SYN_SENT: IGNORED, SYN_RECV: SYN_RECV, SYN_SENT2: IGNORED, **_ACK},
        **_BOTH_WAYS,
    },
)  # fmt: skip
"""By direction (0 is the original one), kind of segment and state; what is missing is invalid."""


@dataclass(slots=True)
class Connection:
    """The TCP part of a flow. `last` is the segment seen last, `last_direction` its direction.

    `challenged`: a SYN went by in LAST_ACK, so that an ACK may be a challenge and not the end. `perhaps_over`: both
    sides sent a FIN or RST, though out of place; the flow shall not live on for days.
    """

    state: str = NONE
    sides: tuple[Side, Side] = field(default_factory=lambda: (Side(), Side()))
    last: Segment | None = None
    last_direction: int = 0
    let_through_ack: int | None = None
    """What an ACK acknowledged that was let through in SYN_SENT: a reset may answer it."""
    simultaneous: bool = False
    challenged: bool = False
    perhaps_over: bool = False
    repeated: int = 0
    _acknowledging: tuple[int, Segment] | None = None

    def begins(self, segment: Segment) -> None:
        """The first segment of a flow: a SYN, or anything else of a connection that is picked up in the middle."""
        side = self.sides[0]
        if segment.kind == "syn":
            side.end = side.limit = segment.end
            side.window = max(segment.window, 1)
            side.read_options(segment)
            return
        side.picked_up(segment)
        for each in self.sides:
            each.sack = each.liberal = True

    def step(self, direction: int, segment: Segment, *, seen_reply: bool, assured: bool, liberal: bool) -> str:
        """`invalid`, `reopen` (a fresh connection begins under this tuple), `ignored` or `taken`."""
        kind, old = segment.kind, self.state
        self.perhaps_over = False
        new = TRANSITIONS[direction][kind].get(old)
        if new is None:
            return "invalid"
        if new == SYN_SENT and old in (TIME_WAIT, CLOSE):
            if (
                self.sides[0].closing
                or self.sides[1].closing
                or (self._last_was("rst") and self.last_direction == direction)
            ):
                return "reopen"
            new = IGNORED
        if new == IGNORED:
            if not self._answers_ignored_syn(direction, segment):
                self._ignore(direction, segment)
                return "ignored"
            self._catch_up(direction)
            old, new = SYN_SENT, SYN_RECV
            self.state = old
        if new == TIME_WAIT and old == LAST_ACK and kind == "ack" and self._is_challenge(direction):
            self.challenged = False
            return "ignored"
        if new == SYN_SENT2:
            self.simultaneous = True
        if new == SYN_RECV and direction == 1 and kind == "ack" and self.simultaneous:
            new = ESTABLISHED
        checked = True
        if kind == "rst":
            reaction = self._reset(direction, segment, seen_reply, assured)
            if reaction == "invalid":
                return reaction
            if reaction == "challenge":
                new = old
            checked = reaction != "unchecked"
        if checked:
            place = tcp_window.check(
                self.sides[direction], self.sides[1 - direction], segment, self.state, direction == 1, liberal
            )
            if place == "invalid":
                self._note_misplaced_end(direction, segment, assured)
                return "invalid"
            if place == "stale":
                return "ignored"
            if place == "good" and kind == "ack":
                self._count_repetition(direction, segment)
        if new == FIN_WAIT and old != FIN_WAIT:
            self.sides[direction].closing = True
        self.state = new
        self.last, self.last_direction = segment, direction
        return "taken"

    def _note_misplaced_end(self, direction: int, segment: Segment, assured: bool) -> None:
        """A FIN or RST out of the window may be real all the same; if both sides send one, the end is near."""
        if not assured or segment.kind not in ("fin", "rst"):
            return
        if self.last_direction != direction and (self._last_was("fin") or self._last_was("rst")):
            self.perhaps_over = True
        else:
            self.last, self.last_direction = segment, direction

    def timeout(self, segment: Segment) -> float:
        """Seconds that the flow lives on after a segment that was taken."""
        usual = TIMEOUTS[self.state]
        if self.repeated >= _RETRANSMISSIONS:
            return min(usual, UNACKNOWLEDGED)
        if segment.kind == "rst":
            return TIMEOUTS[CLOSE]
        waiting = self.sides[0].unacknowledged or self.sides[1].unacknowledged
        shut = self._acknowledging is not None and self._acknowledging[1].window == 0
        return min(usual, UNACKNOWLEDGED) if waiting or shut else usual

    def _last_was(self, kind: str) -> bool:
        return self.last is not None and self.last.kind == kind

    def _answers_ignored_syn(self, direction: int, segment: Segment) -> bool:
        last = self.last
        return (
            segment.kind == "syn-ack" and last is not None and last.kind == "syn"
            and self.last_direction != direction and segment.ack == last.end
        )  # fmt: skip

    def _ignore(self, direction: int, segment: Segment) -> None:
        self.last, self.last_direction = segment, direction
        if segment.kind == "syn" and direction == 0:
            self.challenged = self.state == LAST_ACK
        if self.state == SYN_SENT and segment.kind == "ack" and direction == 1:
            self.let_through_ack = segment.ack

    def _catch_up(self, direction: int) -> None:
        """Client and server agree about a connection that was unknown here: start from the SYN that was ignored."""
        assert self.last is not None
        first, second = Side(), Side(liberal=self.sides[direction].liberal)
        first.end = first.limit = self.last.end
        first.window = max(self.last.window, 1)
        first.read_options(self.last)
        self.challenged = False
        self.sides = (second, first) if direction == 0 else (first, second)

    def _is_challenge(self, direction: int) -> bool:
        return self.challenged and self._last_was("syn") and self.last_direction != direction

    def _reset(self, direction: int, segment: Segment, seen_reply: bool, assured: bool) -> str:
        """`close`, `unchecked` (close whatever its numbers), `challenge` (it may provoke an answer) or `invalid`."""
        if self.state in _ENDING:
            return "unchecked"
        reaction = "close"
        expected = self.sides[1 - direction].acked
        if expected is not None and not self._last_was("syn"):
            established = self.state == ESTABLISHED and assured
            if segment.seq == 0 and not established:
                return "close"
            if before(segment.seq, expected):
                return "invalid"
            if not established or segment.seq == expected:
                return "close"
            last = self.last
            if (
                self._last_was("ack")
                and self.last_direction == direction
                and last is not None
                and segment.seq == last.end
            ):
                return "close"
            reaction = "challenge"
        return "unchecked" if self._answers_ignored(segment, seen_reply, assured) and reaction == "close" else reaction

    def _answers_ignored(self, segment: Segment, seen_reply: bool, assured: bool) -> bool:
        """A reset about a SYN or an ACK that was let through although it did not fit."""
        last = self.last
        if last is None:
            return False
        half_open = (seen_reply and last.kind == "syn") or (not assured and last.kind == "ack")
        if half_open and segment.ack == last.end:
            return True
        return last.kind == "ack" and self.last_direction == 1 and segment.seq == self.let_through_ack

    def _count_repetition(self, direction: int, segment: Segment) -> None:
        this = direction, segment
        self.repeated = self.repeated + 1 if self._acknowledging == this else 0
        self._acknowledging = this
