"""The kernel fixture itself: what it says of a packet must be what happened to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from ipaddress import ip_address

import pytest

from fireproof import kernel
from fireproof.kernel import FlowTuple, Oracle, Outcome, Port, Route, observer
from fireproof.kernel.nftrace import Record
from fireproof.packet.build import icmp, icmp_error, icmpv6, tcp, udp
from fireproof.packet.fragments import fragment
from fireproof.packet.parse import l4_checksum_ok, parse

C, R, S = "10.0.1.2", "10.0.1.1", "198.51.100.7"
C6, R6, S6 = "fd01::2", "fd01::1", "2001:db8::7"
PORTS = [Port("lan", ("10.0.1.1/24", "fd01::1/64")), Port("wan", ("10.0.2.1/24", "fd02::1/64"))]
ROUTES = [Route("default", "wan", "10.0.2.2"), Route("default", "wan", "fd02::2")]


@pytest.fixture(scope="module")
def machine() -> None:
    reason = kernel.unavailable()
    if reason is not None:
        pytest.skip(f"no kernel oracle: {reason}")


@pytest.fixture(scope="module")
def traced(machine: None) -> Iterator[Oracle]:
    with Oracle(PORTS, ROUTES) as oracle:
        yield oracle


@pytest.fixture(scope="module")
def untraced(machine: None) -> Iterator[Oracle]:
    with Oracle(PORTS, ROUTES, trace=False) as oracle:
        yield oracle


@pytest.fixture(params=["traced", "untraced"])
def oracle(request: pytest.FixtureRequest) -> Oracle:
    """The verdict must not depend on whether the way is watched."""
    found: Oracle = request.getfixturevalue(request.param)
    return found


def chain(hook: str, *rules: str, priority: int = 0, kind: str = "filter", policy: str = "accept") -> str:
    name = f"{kind}_{hook}"
    body = "\n".join(rules)
    return f"chain {name} {{ type {kind} hook {hook} priority {priority}; policy {policy};\n{body}\n}}\n"


def table(*chains: str, family: str = "inet") -> str:
    return f"table {family} t {{\n{''.join(chains)}}}\n"


def only_packet(outcome: Outcome, port: str) -> bytes:
    assert [name for name, _ in outcome.packets] == [port]
    return outcome.packets[0][1]


def ends(packet: bytes) -> tuple[str, int, str, int]:
    """Source, its port, destination, its port, of TCP or UDP without options."""
    four = packet[0] >> 4 == 4
    source, destination = (packet[12:16], packet[16:20]) if four else (packet[8:24], packet[24:40])
    ports = packet[20:24] if four else packet[40:44]
    return (
        str(ip_address(source)),
        int.from_bytes(ports[:2]),
        str(ip_address(destination)),
        int.from_bytes(ports[2:]),
    )


def way(outcome: Outcome) -> list[tuple[str, str, str, str]]:
    return [(step.hook, step.chain, step.kind, step.verdict) for step in outcome.path]


@pytest.mark.parametrize(("client", "server"), [(C, S), (C6, S6)])
def test_forwarded_with_one_hop_less(oracle: Oracle, client: str, server: str) -> None:
    oracle.load("")
    sent = tcp(client, 1000, server, 80)
    outcome = oracle.send(sent, "lan")
    assert outcome.verdict == "forward"
    assert only_packet(outcome, "wan") == tcp(client, 1000, server, 80, ttl=63)
    assert outcome.state is None
    assert outcome.events == []


@pytest.mark.parametrize(("client", "server"), [(C, S), (C6, S6)])
def test_dropped(oracle: Oracle, client: str, server: str) -> None:
    oracle.load(table(chain("forward", "tcp dport 80 drop")))
    assert oracle.send(tcp(client, 1000, server, 80), "lan").verdict == "drop"
    assert oracle.send(tcp(client, 1000, server, 80), "lan").packets == []
    assert oracle.send(tcp(client, 1000, server, 81), "lan").verdict == "forward"


@pytest.mark.parametrize("hook", ["prerouting", "forward"])
@pytest.mark.parametrize(
    ("statement", "client", "server", "start"),
    [
        ("reject with tcp reset", C, S, None),
        ("reject with tcp reset", C6, S6, None),
        ("reject", C, S, (3, 3)),
        ("reject", C6, S6, (1, 4)),
        ("reject with icmp type net-unreachable", C, S, (3, 0)),
        ("reject with icmp type admin-prohibited", C, S, (3, 13)),
        ("reject with icmpv6 type no-route", C6, S6, (1, 0)),
        ("reject with icmpv6 type admin-prohibited", C6, S6, (1, 1)),
    ],
)
def test_rejected(
    oracle: Oracle, statement: str, client: str, server: str, start: tuple[int, int] | None, hook: str
) -> None:
    oracle.load(table(chain(hook, f"tcp dport 80 {statement}")))
    outcome = oracle.send(tcp(client, 1000, server, 80, seq=7), "lan")
    assert outcome.verdict == "reject"
    answer = only_packet(outcome, "lan")
    offset = 20 if client == C else 40
    if start is None:
        assert ends(answer) == (server, 80, client, 1000)
        assert answer[offset + 13] == 0x14
        assert l4_checksum_ok(parse(answer))
    else:
        assert tuple(answer[offset : offset + 2]) == start


def test_reject_answers_every_packet(oracle: Oracle) -> None:
    """The kernel's limit on ICMP errors would silence it after a few."""
    oracle.load(table(chain("forward", "reject")))
    verdicts = [oracle.send(udp(C, 1000 + number, S, 53), "lan").verdict for number in range(200)]
    assert verdicts == ["reject"] * 200


def test_what_the_stack_answers_is_no_reject(oracle: Oracle) -> None:
    oracle.load(table(chain("forward", "tcp dport 80 accept")))
    expired = oracle.send(tcp(C, 1000, S, 80, ttl=1), "lan")
    assert expired.verdict == "drop"
    assert only_packet(expired, "lan")[20] == 11
    too_big = oracle.send(udp(C, 1000, S, 80, bytes(1600), df=True), "lan")
    assert too_big.verdict == "drop"
    assert tuple(only_packet(too_big, "lan")[20:22]) == (3, 4)


@pytest.mark.parametrize("trace", [True, False])
def test_no_route_is_no_reject(machine: None, trace: bool) -> None:
    with Oracle(PORTS, trace=trace) as oracle:
        for client, server, start in ((C, S, (3, 0)), (C6, S6, (1, 0))):
            outcome = oracle.send(udp(client, 1000, server, 53), "lan")
            assert outcome.verdict == "drop"
            answer = only_packet(outcome, "lan")
            assert tuple(answer[20:22] if client == C else answer[40:42]) == start


@pytest.mark.parametrize(("client", "router"), [(C, R), (C6, R6)])
def test_local_delivery_without_the_stacks_answer(oracle: Oracle, client: str, router: str) -> None:
    oracle.load(table(chain("input", "tcp dport 22 reject with tcp reset", "tcp dport 23 drop")))
    sent = tcp(client, 1000, router, 80)
    outcome = oracle.send(sent, "lan")
    assert (outcome.verdict, outcome.delivered, outcome.packets) == ("local", sent, [])
    ping = icmp(client, router, 8, echo_id=1) if client == C else icmpv6(client, router, 128, echo_id=1)
    outcome = oracle.send(ping, "lan")
    assert (outcome.verdict, outcome.delivered, outcome.packets) == ("local", ping, [])
    assert oracle.send(tcp(client, 1000, router, 22), "lan").verdict == "reject"
    assert oracle.send(tcp(client, 1000, router, 23), "lan").verdict == "drop"


def test_a_reject_that_output_drops_is_a_drop(traced: Oracle) -> None:
    traced.load(table(chain("forward", "reject"), chain("output", policy="drop")))
    outcome = traced.send(udp(C, 1000, S, 53), "lan")
    assert (outcome.verdict, outcome.packets) == ("drop", [])
    assert [(step.hook, step.verdict) for step in outcome.side_path] == [("output", "drop")]


def test_a_mark_of_the_rules_does_not_silence_reject(oracle: Oracle) -> None:
    oracle.load(table(chain("prerouting", "meta mark set 0xffffffff"), chain("forward", "reject")))
    assert oracle.send(udp(C, 1000, S, 53), "lan").verdict == "reject"


def test_masquerade_and_back(oracle: Oracle) -> None:
    oracle.load(table(chain("postrouting", 'oifname "wan" masquerade', kind="nat", priority=100)))
    out = only_packet(oracle.send(tcp(C, 1000, S, 80), "lan"), "wan")
    assert ends(out) == ("10.0.2.1", 1000, S, 80)
    assert l4_checksum_ok(parse(out))
    outcome = oracle.send(tcp(S, 80, "10.0.2.1", 1000, "SA", ack=1), "wan")
    assert outcome.verdict == "forward"
    back = only_packet(outcome, "lan")
    assert ends(back) == (S, 80, C, 1000)
    assert l4_checksum_ok(parse(back))


def test_dnat_and_the_flow_table(oracle: Oracle) -> None:
    oracle.load(
        table(chain("prerouting", "tcp dport 8080 dnat ip to 10.0.2.9:80", kind="nat", priority=-100), family="inet")
    )
    outcome = oracle.send(tcp(C, 1000, R, 8080), "lan")
    assert ends(only_packet(outcome, "wan")) == (C, 1000, "10.0.2.9", 80)
    [entry] = oracle.conntrack()
    assert entry.original == FlowTuple(C, R, 6, 1000, 8080)
    assert entry.reply == FlowTuple("10.0.2.9", C, 6, 80, 1000)
    assert (entry.tcp_state, entry.mark, entry.zone, entry.helper) == ("SYN_SENT", 0, 0, None)
    assert {"dst_nat", "confirmed"} <= entry.status
    assert "seen_reply" not in entry.status
    assert entry.timeout in (119, 120)
    assert [event.kind for event in outcome.events] == ["new"]
    assert outcome.events[0].flow.reply == entry.reply
    found = oracle.flow(FlowTuple("10.0.2.9", C, 6, 80, 1000))
    assert found is not None
    assert found.original == entry.original
    assert oracle.flow(FlowTuple("10.0.2.9", C, 6, 80, 1001)) is None
    outcome = oracle.send(tcp("10.0.2.9", 80, C, 1000, "SA", ack=1), "wan")
    assert ends(only_packet(outcome, "lan")) == (R, 8080, C, 1000)
    assert [(event.kind, event.flow.tcp_state) for event in outcome.events] == [("update", "SYN_RECV")]
    oracle.flush_conntrack()
    assert oracle.conntrack() == []


def test_redirect_is_delivered_rewritten(oracle: Oracle) -> None:
    oracle.load(table(chain("prerouting", "tcp dport 80 redirect to :3128", kind="nat", priority=-100)))
    outcome = oracle.send(tcp(C, 1000, S, 80), "lan")
    assert outcome.verdict == "local"
    assert outcome.delivered is not None
    assert ends(outcome.delivered) == (C, 1000, R, 3128)


def states(oracle: Oracle) -> None:
    """Every conntrack state, IPv4 and IPv6."""
    for client, server in ((C, S), (C6, S6)):
        there, back = tcp(client, 1000, server, 80), tcp(server, 80, client, 1000, "SA", ack=1)
        assert oracle.send(there, "lan").state == "new"
        assert oracle.send(back, "wan").state == "established"
        assert oracle.send(tcp(client, 1001, server, 80, "SA"), "lan").state == "invalid"
        assert oracle.send(tcp(client, 1002, server, 9), "lan").state == "untracked"
        assert oracle.send(udp(client, 1003, server, 53), "lan").state == "new"
        asked = udp(client, 1003, server, 53)
        kind, code = (3, 3) if client == C else (1, 4)
        assert oracle.send(icmp_error(asked, server, kind, code), "wan").state == "related"


STATEFUL = table(
    chain("prerouting", "tcp dport 9 notrack", priority=-300), chain("forward", "ct state established counter")
)


def test_states(traced: Oracle) -> None:
    traced.load(STATEFUL)
    states(traced)


def test_states_told_by_rules(traced: Oracle, monkeypatch: pytest.MonkeyPatch) -> None:
    """What older kernels need, whose trace is silent about conntrack."""
    monkeypatch.setattr(observer, "TRACE_TELLS_STATE", False)
    monkeypatch.setattr(observer, "seen_after_conntrack", without_state(observer.seen_after_conntrack))
    traced.load(STATEFUL)
    states(traced)
    assert {step.table for step in traced.send(tcp(C, 1, S, 80), "lan").path} == {"t"}
    assert observer.TABLE not in traced.list_text()
    traced.load(table(chain("forward", "ct state new accept"), family="ip"))
    assert traced.send(tcp(C, 1000, S, 80), "lan").state == "new"
    assert traced.send(tcp(C6, 1000, S6, 80), "lan").state is None


def without_state(seen: Callable[[list[Record]], Record | None]) -> Callable[[list[Record]], Record | None]:
    def mute(records: list[Record]) -> Record | None:
        record = seen(records)
        return None if record is None else record._replace(state=None)

    return mute


@pytest.mark.parametrize(
    ("rule", "family", "tracked"),
    [
        ("ct state new accept", "inet", (True, True)),
        ("ct state new accept", "ip", (True, False)),
        ("ct state new accept", "ip6", (False, True)),
        ("ct mark set 1", "inet", (True, True)),
        ("tcp dport 80 accept", "inet", (False, False)),
        ("meta l4proto tcp ct count over 20 drop", "ip", (True, False)),
        ("add @seen { ip saddr ct count over 20 } drop", "ip", (True, False)),
        ("add @seen { ip saddr limit rate over 20/second } drop", "ip", (False, False)),
    ],
)
def test_a_state_only_where_something_tracks(
    traced: Oracle, rule: str, family: str, tracked: tuple[bool, bool]
) -> None:
    seen = "set seen { type ipv4_addr; size 100; flags dynamic;\n}\n" if "@seen" in rule else ""
    traced.load(f"table {family} t {{\n{seen}{chain('forward', rule)}}}\n")
    for (client, server), active in zip(((C, S), (C6, S6)), tracked, strict=True):
        assert traced.send(tcp(client, 1000, server, 80), "lan").state == ("new" if active else None)
        assert traced.send(tcp(client, 1001, server, 80, "SA"), "lan").state == ("invalid" if active else None)


def test_nat_alone_tracks(traced: Oracle) -> None:
    for statement in ("masquerade", "snat to 10.0.2.77"):
        traced.load(table(chain("postrouting", statement, kind="nat", priority=100), family="ip"))
        assert traced.send(tcp(C, 1000, S, 80), "lan").state == "new"
        assert traced.send(tcp(C, 1000, S, 80, "SA"), "lan").state == "invalid"
        assert traced.send(tcp(C6, 1000, S6, 80), "lan").state is None


def test_the_way_through_jump_goto_and_return(traced: Oracle) -> None:
    traced.load(
        "table inet t {\n"
        "chain inner {\n tcp dport 80 return\n tcp dport 81 goto last\n}\n"
        "chain last {\n tcp dport 82 accept\n}\n"
        + chain("forward", 'jump inner comment "in"', 'tcp dport 80 accept comment "after"', policy="drop")
        + "}\n"
    )
    comments = traced.rules()

    def told(port: int) -> list[tuple[str, str, str, str | None, str | None]]:
        return [
            (
                step.chain,
                step.kind,
                step.verdict,
                step.target,
                comments[step.family, step.table, step.chain, step.handle] if step.handle is not None else None,
            )
            for step in traced.send(tcp(C, 1000, S, port), "lan").path
        ]

    jump = ("filter_forward", "rule", "jump", "inner", "in")
    end = ("filter_forward", "policy", "drop", None, None)
    assert told(80) == [
        jump,
        ("inner", "rule", "return", None, None),
        ("filter_forward", "rule", "accept", None, "after"),
    ]
    assert told(81) == [jump, ("inner", "rule", "goto", "last", None), end]
    assert told(83) == [jump, end]
    assert {key[1] for key in comments} == {"t"}


def test_the_way_through_every_hook(traced: Oracle) -> None:
    hooks = ("prerouting", "input", "forward", "output", "postrouting")
    traced.load(table(*(chain(hook) for hook in hooks)))
    forwarded = traced.send(tcp(C, 1000, S, 80), "lan")
    assert [step.hook for step in forwarded.path] == ["prerouting", "forward", "postrouting"]
    assert [step.hook for step in traced.send(tcp(C, 1000, R, 80), "lan").path] == ["prerouting", "input"]
    assert [step.hook for step in traced.send_local(tcp("10.0.2.1", 1000, S, 80)).path] == ["output", "postrouting"]
    looped = traced.send_local(tcp("127.0.0.1", 1000, "127.0.0.1", 80))
    assert [step.hook for step in looped.path] == ["output", "postrouting", "prerouting", "input"]


def test_fragments_travel_as_one_when_tracked(oracle: Oracle) -> None:
    parts = fragment(udp(C, 1000, S, 53, bytes(64)), 60)
    oracle.load(table(chain("forward", "ct state new accept", "drop")))
    outcomes = [oracle.send(part, "lan") for part in parts]
    assert [outcome.verdict for outcome in outcomes] == ["drop"] * (len(parts) - 1) + ["forward"]
    assert len(outcomes[-1].packets) == len(parts)
    if outcomes[-1].path:
        assert way(outcomes[-1]) == [("forward", "filter_forward", "rule", "accept")]
        assert outcomes[-1].state == "new"


@pytest.mark.parametrize(("source", "server"), [("10.0.2.1", S), ("fd02::1", S6)])
def test_made_here(oracle: Oracle, source: str, server: str) -> None:
    rules = ("tcp dport 80 accept", "tcp dport 81 drop", "tcp dport 82 reject with tcp reset", "udp dport 83 reject")
    oracle.load(table(chain("output", *rules)))
    sent = tcp(source, 1000, server, 80, ident=9) if source == "10.0.2.1" else tcp(source, 1000, server, 80)
    outcome = oracle.send_local(sent)
    assert outcome.verdict == "forward"
    assert only_packet(outcome, "wan") == sent
    assert oracle.send_local(tcp(source, 1000, server, 81)).verdict == "drop"
    for refused in (tcp(source, 1000, server, 82), udp(source, 1000, server, 83)):
        outcome = oracle.send_local(refused)
        assert outcome.verdict == "reject"
        assert l4_checksum_ok(parse(only_packet(outcome, "lo")))


def test_the_way_of_an_answer_to_this_host_is_not_the_packets_own(traced: Oracle) -> None:
    """The answer comes back through prerouting and input before the kernel records that the packet was dropped."""
    hooks = ("prerouting", "input", "postrouting")
    traced.load(table(*(chain(hook) for hook in hooks), chain("output", "tcp dport 82 reject with tcp reset")))
    outcome = traced.send_local(tcp("10.0.2.1", 1000, S, 82))
    assert [(step.hook, step.verdict) for step in outcome.path] == [("output", "drop")]
    assert [step.hook for step in outcome.side_path] == ["output", "postrouting", "prerouting", "input"]


def test_made_here_for_here(oracle: Oracle) -> None:
    oracle.load(table(chain("input", "tcp dport 22 reject")))
    for end in ("127.0.0.1", "::1"):
        assert oracle.send_local(tcp(end, 1000, end, 80)).verdict == "local"
        assert oracle.send_local(tcp(end, 1000, end, 22)).verdict == "reject"


def test_malformed_packets_are_dropped_not_raised(oracle: Oracle) -> None:
    oracle.load("")
    sent = tcp(C, 1000, S, 80)
    for raw in (b"", b"\x00" * 40, sent[:10], sent[:19], b"\x45" + bytes(30), b"\x60" + bytes(20)):
        assert oracle.send(raw, "lan").verdict == "drop"
    assert oracle.send(sent, "lan").verdict == "forward"


def test_unknown_port(oracle: Oracle) -> None:
    with pytest.raises(ValueError, match="no port is called 'dmz'"):
        oracle.send(tcp(C, 1000, S, 80), "dmz")


def test_none_of_many_is_wrong_or_late(untraced: Oracle) -> None:
    """Four outcomes in turn; a late packet would show up as the outcome of the next."""
    untraced.load(
        table(chain("forward", "tcp dport 1 drop", "tcp dport 2 reject with tcp reset", "ct state new accept"))
    )
    turns = [
        (tcp(C, 1000, S, 1), "drop"),
        (tcp(C, 1000, S, 2), "reject"),
        (tcp(C, 1000, R, 3), "local"),
        (tcp(C, 1000, S, 4), "forward"),
    ]
    for number in range(20_000):
        raw, expected = turns[number & 3]
        outcome = untraced.send(raw, "lan")
        assert outcome.verdict == expected, number
        assert len(outcome.packets) == (expected in ("reject", "forward")), number


def test_none_of_many_is_wrong_or_late_with_trace(traced: Oracle) -> None:
    traced.load(table(chain("forward", "tcp dport 1 drop", "tcp dport 2 reject with tcp reset", "ct state new accept")))
    turns = [
        (tcp(C, 1000, S, 1), "drop", 1),
        (tcp(C, 1000, S, 2), "reject", 1),
        (tcp(C, 1000, R, 3), "local", 0),
        (tcp(C, 1000, S, 4), "forward", 1),
    ]
    for number in range(4_000):
        raw, expected, steps = turns[number & 3]
        outcome = traced.send(raw, "lan")
        assert (outcome.verdict, outcome.state, len(outcome.path)) == (expected, "new", steps), number
