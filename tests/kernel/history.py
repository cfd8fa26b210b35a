"""Seeded packet histories for running the evaluator beside the kernel.

Far hosts are simulated just enough to answer what reached them: they go by the packet as they saw it, so that every
translation is exercised both ways.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import ip_address
from random import Random

from fireproof.packet import build
from fireproof.packet.parse import parse
from tests.kernel.generate import DPORTS, HOSTS4, HOSTS6, OWN4, OWN6, SPORTS


@dataclass
class Seen:
    """What an end saw of a flow: the last packet there, and where (a port, or None for the router itself)."""

    raw: bytes
    where: str | None


@dataclass
class Flow:
    """A conversation. Numbers are those of TCP; `next_*` is sent next by client (0) and server (1)."""

    version: int
    protocol: str
    client: str
    server: str
    sport: int
    dport: int
    enters: str | None
    next: list[int] = field(default_factory=lambda: [1000, 50_000])
    received: list[int] = field(default_factory=lambda: [0, 0])
    done: list[str] = field(default_factory=list)


@dataclass
class Action:
    """One packet to send: who sends what. `kind` is a flag text for TCP, `data` or an ICMP type else."""

    flow: int
    sender: int
    kind: str
    seq: int = 0
    ack: int = 0
    payload: bytes = b""
    ttl: int = 64


class History:
    """Chooses what happens next. The same actions go to kernel and evaluator, each with what it saw of the flow."""

    def __init__(self, seed: int, expires: bool = True) -> None:
        """`expires`: packets may die on the way. The router tells the sender, which the evaluator does not, and the
        message goes through rules as well: only for rulesets that would not notice.
        """
        self.random = Random(f"history {seed}")
        self.ttls = (64, 64, 64, 2, 1) if expires else (64, 64, 2)
        self.flows = [self._flow() for _ in range(self.random.randrange(2, 6))]

    def _flow(self) -> Flow:
        pick = self.random
        version = pick.choice((4, 4, 6))
        hosts, own = (HOSTS4, OWN4) if version == 4 else (HOSTS6, OWN6)
        enters = pick.choice(("lan", "lan", "wan", "dmz", None))
        client = pick.choice(hosts[enters] if enters else own)
        others = [a for port, group in hosts.items() if port != enters for a in group]
        server = pick.choice(others + list(own) if enters else others)
        if pick.random() < 0.06:
            # Forged: from a place where this address does not live.
            enters = pick.choice(("lan", "wan", "dmz"))
        protocol = pick.choice(("tcp", "tcp", "tcp", "udp", "udp", "echo"))
        return Flow(version, protocol, client, server, pick.choice(SPORTS), pick.choice(DPORTS), enters)

    def next(self) -> Action:
        pick = self.random
        number = pick.randrange(len(self.flows))
        if pick.random() < 0.03:
            self.flows[number] = self._flow()
        flow = self.flows[number]
        if pick.random() < 0.08:
            return Action(
                number, pick.randrange(2), pick.choice(("error", "error-other", "error-unknown", "error-time"))
            )
        if flow.protocol != "tcp":
            return Action(
                number,
                pick.choice((0, 0, 1)),
                "data",
                payload=bytes(pick.choice((0, 4, 30))),
                ttl=pick.choice(self.ttls),
            )
        return self._tcp(number, flow)

    def _tcp(self, number: int, flow: Flow) -> Action:
        pick = self.random
        odd = pick.random() < 0.06
        stages = (
            ("S", 0),
            ("SA", 1),
            ("A", 0),
            ("PA", 0),
            ("A", 1),
            ("PA", 1),
            ("A", 0),
            ("FA", 0),
            ("A", 1),
            ("FA", 1),
            ("A", 0),
        )
        if odd:
            kind, sender = (
                pick.choice(("", "FPU", "SF", "SR", "SA", "A", "R", "RA", "S", "F", "U", "SP")),
                pick.randrange(2),
            )
        elif pick.random() < 0.05:
            kind, sender = pick.choice(("R", "RA")), pick.randrange(2)
        else:
            at = next((i for i in range(len(stages)) if f"{stages[i][0]}{stages[i][1]}{i}" not in flow.done), None)
            if at is None:
                flow.done = []
                flow.next = [pick.randrange(1, 1 << 31), pick.randrange(1, 1 << 31)]
                flow.received = [0, 0]
                at = 0
            kind, sender = stages[at]
            if pick.random() < 0.1 and at:
                kind, sender = stages[at - 1]
        seq = flow.next[sender]
        if kind == "S" and sender == 0 and flow.done:
            seq -= 1
        payload = b"x" * 20 if "P" in kind else b""
        return Action(number, sender, kind, seq & 0xFFFFFFFF, flow.received[sender], payload)

    def arrived(self, action: Action) -> None:
        """The other end got the packet of this action."""
        flow = self.flows[action.flow]
        if flow.protocol != "tcp" or action.kind.startswith("error"):
            return
        flags = action.kind
        end = action.seq + len(action.payload) + ("S" in flags) + ("F" in flags)
        if action.seq == flow.next[action.sender]:
            flow.next[action.sender] = end & 0xFFFFFFFF
            flow.received[1 - action.sender] = end & 0xFFFFFFFF
        stages = ("S0", "SA1", "A0", "PA0", "A1", "PA1", "A0", "FA0", "A1", "FA1", "A0")
        at = len(flow.done)
        if at < len(stages) and stages[at] == f"{flags}{action.sender}":
            flow.done.append(f"{stages[at]}{at}")
        if "R" in flags:
            flow.done = []
            flow.received = [0, 0]


class Ends:
    """What the ends of the flows have seen on one side, kernel or evaluator, and the packets they make of it."""

    def __init__(self, history: History) -> None:
        self.history = history
        self.seen: dict[tuple[int, int], Seen] = {}
        self.flows: dict[int, Flow] = {}

    def packet(self, action: Action) -> tuple[bytes, str | None]:
        """The packet of an action, and the port it enters by (None: made by the router)."""
        flow = self.history.flows[action.flow]
        if self.flows.get(action.flow) is not flow:
            self.flows[action.flow] = flow
            self.seen.pop((action.flow, 0), None)
            self.seen.pop((action.flow, 1), None)
        if action.kind.startswith("error"):
            return self._error(action, flow)
        source, destination, sport, dport, where = self._as_seen(action, flow)
        # A raw socket fills in an identification of 0.
        ident = build.IpFields(ttl=action.ttl) if flow.version == 6 else build.IpFields(ttl=action.ttl, ident=77)
        if flow.protocol == "tcp":
            raw = build.tcp(
                source,
                sport,
                destination,
                dport,
                action.kind,
                seq=action.seq,
                ack=action.ack if "A" in action.kind else 0,
                payload=action.payload,
                **ident,
            )
        elif flow.protocol == "udp":
            raw = build.udp(source, sport, destination, dport, action.payload, **ident)
        elif flow.version == 4:
            raw = build.icmp(
                source,
                destination,
                0 if action.sender else 8,
                echo_id=sport if not action.sender else dport,
                seq=1,
                payload=action.payload,
                **ident,
            )
        else:
            raw = build.icmpv6(
                source,
                destination,
                129 if action.sender else 128,
                echo_id=sport if not action.sender else dport,
                seq=1,
                payload=action.payload,
                **ident,
            )
        return raw, where

    def _as_seen(self, action: Action, flow: Flow) -> tuple[str, str, int, int, str | None]:
        if action.sender == 0:
            return flow.client, flow.server, flow.sport, flow.dport, flow.enters
        seen = self.seen.get((action.flow, 1))
        if seen is None:
            where = "wan" if flow.enters != "wan" else "lan"
            return flow.server, flow.client, flow.dport, flow.sport, where
        source, destination, sport, dport = ends_of(seen.raw)
        if flow.protocol == "echo":
            dport = sport = int.from_bytes(seen.raw[parse(seen.raw).th or 0 :][4:6], "big")
        return destination, source, dport, sport, seen.where

    def _error(self, action: Action, flow: Flow) -> tuple[bytes, str | None]:
        seen = self.seen.get((action.flow, action.sender))
        four = flow.version == 4
        kinds = {"error": (3, 3) if four else (1, 4), "error-time": (11, 0) if four else (3, 0)}
        kind, code = kinds.get(action.kind, (3, 1) if four else (1, 3))
        if seen is None or seen.where is None or action.kind == "error-unknown":
            client = flow.client
            source = flow.server
            quoted = build.udp(client, 9, source, 9)
            return build.icmp_error(quoted, source, kind, code), "wan" if flow.enters != "wan" else "lan"
        _, destination, _, _ = ends_of(seen.raw)
        middle = ("203.0.113.9" if four else "2001:db8:9::99") if action.kind == "error-time" else destination
        raw = build.icmp_error(seen.raw, middle, kind, code)
        if action.kind == "error-other":
            other = "10.0.1.3" if four else "2001:db8:1::3"
            body = seen.raw[: 576 - 28 if four else 1280 - 48]
            raw = (
                build.icmp(middle, other, kind, code, payload=body)
                if four
                else build.icmpv6(middle, other, kind, code, payload=body)
            )
        return raw, seen.where

    def saw(self, action: Action, raw: bytes, where: str | None) -> None:
        if not action.kind.startswith("error"):
            self.seen[action.flow, 1 - action.sender] = Seen(raw, where)


def ends_of(raw: bytes) -> tuple[str, str, int, int]:
    """Addresses and ports of a packet."""
    headers = parse(raw)
    start, size = (12, 4) if headers.family == 4 else (8, 16)
    th = headers.th or 0
    return (
        str(ip_address(raw[start : start + size])),
        str(ip_address(raw[start + size : start + 2 * size])),
        int.from_bytes(raw[th : th + 2], "big"),
        int.from_bytes(raw[th + 2 : th + 4], "big"),
    )
