"""No bytes make the evaluator raise, and what it does is decided by ruleset, seed and packets alone."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from fireproof.evaluate.evaluator import Evaluator
from fireproof.packet import build
from fireproof.syntax.build import load_text

RULES = """host {
    interface "lan" { address 10.0.1.1/24; address 2001:db8:1::1/64; }
    interface "wan" { address 10.0.2.1/24; address 2001:db8:2::1/64; }
    route default via 10.0.2.2 dev "wan";
    route default via 2001:db8:2::2 dev "wan";
}
table inet f {
    set seen { type ipv4_addr . inet_service; flags dynamic,timeout; timeout 1m; size 20; }
    chain pre {
        type filter hook prerouting priority -300; policy accept;
        ip ttl 1 notrack
        tcp flags & (fin | syn) == fin | syn drop
        tcp option maxseg size 1-500 drop
        exthdr hbh exists drop
        @th,0,64 0x1234567890abcdef drop
        ip dscp set cs1
    }
    chain forward {
        type filter hook forward priority 0; policy drop;
        ct state vmap { established : accept, related : accept, invalid : drop }
        add @seen { ip saddr . th dport } limit rate 5/second
        tcp option maxseg size set 1200
        iifname "lan" accept
        meta l4proto { icmp, ipv6-icmp } reject
        reject with tcp reset
    }
    chain input {
        type filter hook input priority 0; policy accept;
        ct count over 3 reject
        udp dport 53 reject with icmpx admin-prohibited
    }
}
table inet n {
    chain pre { type nat hook prerouting priority -100;
        tcp dport 80 dnat ip to 10.0.1.9:8080
        meta l4proto udp redirect to :53
    }
    chain post { type nat hook postrouting priority 100; oifname "wan" masquerade; }
}
"""
PARSED = load_text(RULES).require()

addresses = st.sampled_from(
    ("10.0.1.2", "198.51.100.7", "10.0.2.1", "10.0.1.1", "127.0.0.1", "224.0.0.1", "255.255.255.255", "0.0.0.0")
)
addresses6 = st.sampled_from(("2001:db8:1::2", "2001:db8:9::7", "2001:db8:2::1", "::1", "ff02::1", "fe80::1", "::"))
ports = st.sampled_from((1, 53, 80, 8080, 4000))


@st.composite
def wellformed(draw: st.DrawFn) -> bytes:
    ends = draw(st.sampled_from((addresses, addresses6)))
    source, destination = draw(ends), draw(ends)
    kind = draw(st.sampled_from(("tcp", "udp", "icmp", "raw")))
    ttl = draw(st.sampled_from((0, 1, 2, 64)))
    if kind == "tcp":
        flags, numbers = draw(st.integers(0, 255)), st.integers(0, 0xFFFFFFFF)
        return build.tcp(
            source,
            draw(ports),
            destination,
            draw(ports),
            flags,
            seq=draw(numbers),
            ack=draw(numbers),
            tcp_options=draw(st.binary(max_size=12)),
            payload=draw(st.binary(max_size=40)),
            ttl=ttl,
        )
    if kind == "udp":
        return build.udp(source, draw(ports), destination, draw(ports), draw(st.binary(max_size=60)), ttl=ttl)
    if kind == "icmp":
        inner = draw(st.one_of(st.binary(max_size=60), st.just(build.udp("10.0.1.2", 1, "198.51.100.7", 2))))
        make = build.icmpv6 if ":" in source else build.icmp
        return make(source, destination, draw(st.integers(0, 255)), draw(st.integers(0, 15)), payload=inner, ttl=ttl)
    return build.ip_packet(source, destination, draw(st.integers(0, 255)), draw(st.binary(max_size=60)), ttl=ttl)


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    raw = bytearray(draw(wellformed()))
    for _ in range(draw(st.integers(0, 4))):
        raw[draw(st.integers(0, len(raw) - 1))] = draw(st.integers(0, 255))
    return bytes(raw[: draw(st.integers(0, len(raw)))]) if draw(st.booleans()) else bytes(raw)


packets = st.one_of(st.binary(max_size=120), wellformed(), mutated())
histories = st.lists(st.tuples(packets, st.sampled_from(("lan", "wan", "lo", None))), min_size=1, max_size=12)


@settings(max_examples=300, deadline=None)
@given(histories)
def test_never_raises_and_repeats_itself(history: list[tuple[bytes, str | None]]) -> None:
    told = []
    for _ in range(2):
        firewall = Evaluator(PARSED, clock=0, seed=3)
        outcomes = []
        for raw, iif in history:
            out = firewall.send(raw, iif) if iif else firewall.send_local(raw)
            firewall.advance(0.5)
            assert out.verdict in ("forward", "local", "drop", "reject")
            assert (out.delivered is not None) == (out.verdict == "local")
            assert bool(out.packets) == (out.verdict in ("forward", "reject"))
            outcomes.append((out.verdict, out.packets, out.delivered, out.state))
        told.append(outcomes)
        for flow in firewall.conntrack:
            assert firewall.conntrack.find(flow.reply) == (flow, 1)
            # A packet to its own sender is its own reply.
            assert firewall.conntrack.find(flow.original) == (flow, int(flow.original == flow.reply))
    assert told[0] == told[1]
