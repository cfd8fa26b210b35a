"""The real kernel as an oracle: a ruleset in a throw-away namespace, packets in, verdicts out, one at a time.

The router has one TUN interface per port; the hosts behind are this process, so nothing answers by itself. A write to a
port runs reception, netfilter, routing and transmission in the calling thread: when it returns, everything there is to
read is queued, and nothing waits or polls. A table of the oracle's own watches (observer.py); listings and traces
leave it out.

Limits: rules at priority -2147483648, or above 2147483645 in input, may run on the wrong side of the observer; no trace
of ingress and egress chains; fwmark_reflect is on, so answers carry the packet's mark; multicast housekeeping (IGMP,
MLD, neighbour discovery) by this host is dropped unseen. One oracle is for one thread at a time.
"""

from __future__ import annotations

import errno
import json
import os
import select
import socket
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cache
from types import TracebackType
from typing import Any, Literal, Self

from fireproof.kernel import netlink, nft, nftables, observer
from fireproof.kernel.answers import Answer, answer, completed
from fireproof.kernel.conntrack import Conntrack, FlowEntry, FlowEvent, FlowTuple
from fireproof.kernel.namespace import KernelUnavailable, Namespace
from fireproof.kernel.netlink import Netlink
from fireproof.kernel.nflog import PacketLog
from fireproof.kernel.nft import NftRefused
from fireproof.kernel.nftrace import Record, State, TraceReader, TraceStep, steps
from fireproof.kernel.router import Port, Route, Router, read_port

Verdict = Literal["forward", "local", "drop", "reject"]

# What the kernel may say of a packet that it drops early, to the writer of a port.
_DROPPED_ON_ARRIVAL = frozenset({errno.EINVAL, errno.EIO})
# The same to a raw socket: dropped in output, or no route.
_DROPPED_IN_OUTPUT = frozenset({errno.EPERM, errno.ENETUNREACH, errno.EHOSTUNREACH})


@dataclass
class Outcome:
    verdict: Verdict
    """drop also where routing, not a rule, ended it, whether or not the stack answered (see packets)."""
    packets: list[tuple[str, bytes]] = field(default_factory=list)
    """What left, with the port it left on. An answer that the router gave itself leaves on `lo`."""
    delivered: bytes | None = None
    """The packet as a local socket would get it."""
    state: State | None = None
    """Right after conntrack's hook. None without tracking, without trace, or for a packet that ended before."""
    path: list[TraceStep] = field(default_factory=list)
    side_path: list[TraceStep] = field(default_factory=list)
    """What the rules did to packets made on the way, such as a reset that the output chains then dropped."""
    events: list[FlowEvent] = field(default_factory=list)


class Oracle:
    """A router with these ports. Use it in a `with` statement."""

    def __init__(
        self,
        ports: Sequence[Port],
        routes: Sequence[Route] = (),
        *,
        sysctls: Mapping[str, str] | None = None,
        trace: bool = True,
        loopback: bool = True,
    ) -> None:
        self._stack = ExitStack()
        self._observer = observer.watching_table(trace)
        # Nothing yet, not even the observer: the kernel takes long to replace rules, so the first load has none to.
        self._observed = False
        self._loaded: nftables.Loaded | None = None
        self._trace: TraceReader | None = None
        try:
            self._router = Router(self._stack, ports, routes, sysctls or {}, loopback)
            self._port_names = {descriptor: name for name, descriptor in self._router.ports.items()}
            with self.namespace.entered():
                self._open_readers(trace)
        except PermissionError as error:
            self._stack.close()
            raise KernelUnavailable(f"the kernel fixture needs root: {error}") from error
        except BaseException:
            self._stack.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """The namespace and all in it are gone, unless a child process still holds it."""
        self._stack.close()

    @property
    def namespace(self) -> Namespace:
        return self._router.namespace

    def run(self, argv: Sequence[str]) -> subprocess.CompletedProcess[str]:
        """A program inside, such as iptables-restore or a client; rules that it changes are taken note of."""
        if not self._observed:
            self.load("")
        self._loaded = None
        return self.namespace.run(argv)

    def _open_readers(self, trace: bool) -> None:
        self._rules = Netlink(netlink.NETLINK_NETFILTER)
        self._stack.callback(self._rules.close)
        self._conntrack = Conntrack(events=True)
        self._stack.callback(self._conntrack.close)
        self._log = PacketLog(observer.LOG_GROUP)
        self._stack.callback(self._log.close)
        if trace:
            self._trace = TraceReader()
            self._stack.callback(self._trace.close)
        self._raw = self._stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW))
        self._raw.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        self._raw6 = self._stack.enter_context(socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_RAW))
        self._epoll = self._stack.enter_context(select.epoll())
        for descriptor in (*self._port_names, self._log.fileno(), self._conntrack.fileno()):
            self._epoll.register(descriptor, select.EPOLLIN)
        if self._trace is not None:
            self._epoll.register(self._trace.fileno(), select.EPOLLIN)

    # Rulesets

    def load(self, nft_text: str, *, keep_flows: bool = False) -> None:
        """This ruleset instead of whatever was there, in one transaction; then no flow is known, unless kept.

        Raises NftRefused, and the old rules go on.
        """
        with nft.files(ruleset=nft_text + "\n", observer=self._observer) as paths:
            content = f'flush ruleset\ninclude "{paths["ruleset"]}"\ninclude "{paths["observer"]}"\n'
            with nft.files(load=content) as outer:
                try:
                    self._nft("-f", outer["load"], paths=paths | outer)
                except NftRefused as refused:
                    if "observer:" in str(refused):
                        # A brace left open is noticed only there. Alone, the ruleset gets the blame in its place.
                        self._nft("-c", "-f", paths["ruleset"], paths=paths)
                    raise
        self._after_load(keep_flows)

    def load_json(self, text: str, *, keep_flows: bool = False) -> None:
        """As load, for libnftables JSON; a leading `flush ruleset` is added."""
        try:
            commands = json.loads(text)["nftables"]
        except (ValueError, KeyError, TypeError) as error:
            raise NftRefused(f"not libnftables JSON: {error!r}") from error
        content = json.dumps({"nftables": [{"flush": {"ruleset": None}}, *commands]})
        with nft.files(ruleset=content, observer=self._observer) as paths:
            self._nft("-j", "-f", paths["ruleset"], paths=paths)
            self._nft("-f", paths["observer"], paths=paths)
        self._after_load(keep_flows)

    def _nft(self, *arguments: str, paths: Mapping[str, str]) -> str:
        result = self.namespace.run([nft.nft_path(), *arguments])
        message = nft.refusal(result, paths)
        if message is not None:
            raise NftRefused(message)
        return result.stdout

    def _after_load(self, keep_flows: bool) -> None:
        self._observed = True
        self._loaded = None
        if self._trace is not None and not observer.TRACE_TELLS_STATE and self._ruleset().tracking:
            with nft.files(states=observer.state_table(self._ruleset().tracking)) as paths:
                self._nft("-f", paths["states"], paths=paths)
            self._loaded = None
        if not keep_flows:
            self.flush_conntrack()

    def list_json(self) -> dict[str, Any]:
        """`nft -j list ruleset`, without the observer."""
        listing: dict[str, Any] = json.loads(self._nft("-j", "list", "ruleset", paths={}))
        kept = [item for item in listing["nftables"] if not any(map(observer.own_item, item.values()))]
        return {**listing, "nftables": kept}

    def list_text(self) -> str:
        """`nft list ruleset`, without the observer."""
        return observer.without_observer(self._nft("list", "ruleset", paths={}))

    def rules(self) -> dict[nftables.RuleKey, str | None]:
        """The comment of every rule, by what a trace step says of it: family, table, chain, handle."""
        return {key: comment for key, comment in self._ruleset().comments.items() if key[1] != observer.TABLE}

    def _ruleset(self) -> nftables.Loaded:
        if self._loaded is None:
            self._loaded = nftables.loaded(self._rules)
        return self._loaded

    # Flows

    def conntrack(self) -> list[FlowEntry]:
        return self._conntrack.dump()

    def flow(self, flow: FlowTuple, zone: int = 0) -> FlowEntry | None:
        """The entry with this tuple in one of its directions; far quicker than a listing."""
        return self._conntrack.get(flow, zone)

    def flush_conntrack(self) -> None:
        self._conntrack.flush()
        self._discard()

    # Packets

    def send(self, raw: bytes, iif: str) -> Outcome:
        """A packet, from the IP header on, arrives on a port."""
        try:
            descriptor = self._router.ports[iif]
        except KeyError:
            raise ValueError(f"no port is called {iif!r}") from None
        self._prepare()
        try:
            os.write(descriptor, raw)
        except OSError as error:
            if error.errno not in _DROPPED_ON_ARRIVAL:
                raise
        return self._outcome(raw, made_here=False)

    def send_local(self, raw: bytes) -> Outcome:
        """A packet made by this host, through a raw socket.

        Limits: it is routed by its destination alone, as root's; the kernel sets IPv4 total length and checksum, an
        identification of 0 and a source of 0.0.0.0. It must fit the interface (else OSError EMSGSIZE). Without a route
        it is dropped before any rule.
        """
        if not raw or raw[0] >> 4 not in (4, 6) or len(raw) < (20 if raw[0] >> 4 == 4 else 40):
            raise ValueError("a packet made here has a whole IPv4 or IPv6 header")
        self._prepare()
        try:
            if raw[0] >> 4 == 4:
                self._raw.sendto(raw, (socket.inet_ntop(socket.AF_INET, raw[16:20]), 0))
            else:
                self._raw6.sendto(raw, (socket.inet_ntop(socket.AF_INET6, raw[24:40]), 0))
        except OSError as error:
            if error.errno not in _DROPPED_IN_OUTPUT:
                raise
        return self._outcome(raw, made_here=True)

    def _prepare(self) -> None:
        if not self._observed:
            self.load("")
        self._discard()

    def _discard(self) -> None:
        """Forgets what came of itself since the last packet, such as the end of a flow that timed out."""
        if self._epoll.poll(0):
            self._read(Outcome("drop"), [], [])

    def _read(self, outcome: Outcome, logged: list[bytes], records: list[Record]) -> None:
        for descriptor, _ in self._epoll.poll(0):
            name = self._port_names.get(descriptor)
            if name is not None:
                outcome.packets += [(name, packet) for packet in read_port(descriptor)]
            elif descriptor == self._log.fileno():
                logged += self._log.read()
            elif descriptor == self._conntrack.fileno():
                outcome.events = self._conntrack.events()
            elif self._trace is not None:
                records += self._trace.read()

    def _outcome(self, sent: bytes, *, made_here: bool) -> Outcome:
        outcome = Outcome("drop")
        logged: list[bytes] = []
        records: list[Record] = []
        self._read(outcome, logged, records)
        own, side = observer.by_packet(records, made_here)
        if records:
            hooks = self._ruleset().hooks
            outcome.path = steps((r for r in own if not observer.watched(r)), hooks)
            outcome.side_path = steps((r for r in side if not observer.watched(r)), hooks)
            outcome.state = self._state(own, sent[0] >> 4)

        # An answer is never answered, so what comes of one is the packet itself.
        answerable = answer(sent) is None
        answers: list[Answer] = []
        passed = False
        for _, packet in outcome.packets:
            kind = answer(packet) if answerable else None
            if kind is None:
                passed = True
            else:
                answers.append(kind)
        for packet in logged:
            kind = answer(packet) if answerable else None
            if kind is None:
                outcome.delivered = packet
            else:
                answers.append(kind)
                outcome.packets.append(("lo", completed(packet)))

        ruled_out = bool(outcome.path) and outcome.path[-1].verdict == "drop"
        if outcome.delivered is not None:
            outcome.verdict = "local"
        elif passed and not ruled_out:
            outcome.verdict = "forward"
        elif self._rejected(sent, answers, ruled_out=ruled_out, traced=bool(own)):
            outcome.verdict = "reject"
        return outcome

    def _state(self, own: list[Record], version: int) -> State | None:
        seen = observer.seen_after_conntrack(own)
        if seen is None or seen.state is not None:
            return seen.state if seen is not None else None
        # Nothing is known of this packet: nobody asked conntrack, conntrack made nothing of it, or the trace is mute.
        if version not in self._ruleset().tracking:
            return None
        return "invalid" if observer.TRACE_TELLS_STATE else observer.told_state(own, self._ruleset().comments)

    def _rejected(self, sent: bytes, answers: list[Answer], *, ruled_out: bool, traced: bool) -> bool:
        """Whether a rule gave the answer. Only a missing route answers alike."""
        if self._trace is None:
            return any(a.can_be_reject and not (a.can_be_no_route and not self._router.routes(sent)) for a in answers)
        return any(a.can_be_reject for a in answers) and (ruled_out or not traced)


@cache
def unavailable() -> str | None:
    """Why this machine cannot run an Oracle; None if it can. The first call tries (a few milliseconds)."""
    try:
        with Oracle([Port("probe0")]) as oracle:
            oracle.load("")
            return None
    except KernelUnavailable as error:
        return str(error)
    except NftRefused as error:
        return f"nft or the kernel does not take the observer's rules: {error}"
    except OSError as error:
        return f"the kernel lacks what the fixture needs: {error}"
