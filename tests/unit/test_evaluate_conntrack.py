"""Flows, bindings and answers of the evaluator, one fact at a time."""

from __future__ import annotations

import pytest

from fireproof.evaluate.evaluator import Evaluator
from fireproof.packet import build
from fireproof.packet.description import describe
from fireproof.packet.fragments import fragment
from fireproof.packet.notation import parse_packet
from fireproof.source.diagnostic import InputError
from fireproof.syntax.build import load_text

HOST = """host {
    interface "lan" { address 10.0.1.1/24; address 2001:db8:1::1/64; }
    interface "wan" { address 10.0.2.1/24; address 2001:db8:2::1/64; }
    route default via 10.0.2.2 dev "wan";
    route default via 2001:db8:2::2 dev "wan";
}
"""


def firewall(rules: str, host: str = HOST, **options: object) -> Evaluator:
    return Evaluator(load_text(host + rules).require(), clock=0, **options)  # type: ignore[arg-type]


def chain(hook: str, *rules: str, kind: str = "filter", priority: str = "0", policy: str = "accept") -> str:
    body = "".join(f"        {rule}\n" for rule in rules)
    head = f"chain {hook}{priority.replace('-', 'm')}{kind}"
    place = f"type {kind} hook {hook} priority {priority}; policy {policy};"
    return f"    {head} {{\n        {place}\n{body}    }}\n"


def table(*chains: str, family: str = "inet") -> str:
    return f"table {family} t {{\n{''.join(chains)}}}\n"


def send(fw: Evaluator, text: str, iif: str = "lan") -> str:
    """Verdict, state and what left, in words."""
    out = fw.send(parse_packet(text).raw, iif)
    parts = [out.verdict, str(out.state), *(f"{name} {describe(raw)}" for name, raw in out.packets)]
    return " | ".join(parts)


STATEFUL = table(
    chain("forward", "ct state established,related accept", 'ct state new iifname "lan" accept', policy="drop")
)
MASQUERADE = table(chain("postrouting", 'oifname "wan" masquerade', kind="nat", priority="100"))


def test_udp_flow() -> None:
    fw = firewall(STATEFUL)
    assert send(fw, "udp 198.51.100.7:53 > 10.0.1.2:4000", "wan").startswith("drop | new")
    assert len(fw.conntrack) == 0
    assert send(fw, "udp 10.0.1.2:4000 > 198.51.100.7:53").startswith("forward | new")
    assert send(fw, "udp 10.0.1.2:4000 > 198.51.100.7:53").startswith("forward | new")
    assert send(fw, "udp 198.51.100.7:53 > 10.0.1.2:4000", "wan").startswith("forward | established")
    fw.advance(31)
    assert send(fw, "udp 198.51.100.7:53 > 10.0.1.2:4000", "wan").startswith("drop | new")


def test_udp_becomes_assured_after_two_seconds() -> None:
    fw = firewall(STATEFUL)
    for wait, text, iif in (
        (0, "udp 10.0.1.2:1 > 198.51.100.7:2", "lan"),
        (1, "udp 198.51.100.7:2 > 10.0.1.2:1", "wan"),
        (2, "udp 10.0.1.2:1 > 198.51.100.7:2", "lan"),
    ):
        fw.advance(wait)
        send(fw, text, iif)
    assert [flow.timeout for flow in fw.conntrack] == [120]


def test_dropped_reply_still_counts() -> None:
    rules = table(chain("forward", 'iifname "wan" drop', "ct state new accept", policy="drop"))
    fw = firewall(rules)
    assert send(fw, "udp 10.0.1.2:1 > 198.51.100.7:2").startswith("forward | new")
    assert send(fw, "udp 198.51.100.7:2 > 10.0.1.2:1", "wan").startswith("drop | established")
    assert send(fw, "udp 10.0.1.2:1 > 198.51.100.7:2").startswith("drop | established")


@pytest.mark.parametrize(
    ("packet", "state"),
    [
        ("icmp 198.51.100.7 > 10.0.1.2 echo-reply id 4", "invalid"),
        ("icmp 198.51.100.7 > 10.0.1.2 type 10", "invalid"),
        ("icmp 198.51.100.7 > 10.0.1.2 type 200", "invalid"),
        ("icmp 198.51.100.7 > 10.0.1.2 type 13", "new"),
        ("icmp 198.51.100.7 > 10.0.1.2 echo-request badsum", "invalid"),
        ("icmpv6 2001:db8:9::7 > 2001:db8:1::2 nd-neighbor-solicit", "untracked"),
        ("icmpv6 2001:db8:9::7 > 2001:db8:1::2 type 143", "untracked"),
        ("icmpv6 2001:db8:9::7 > 2001:db8:1::2 type 137", "invalid"),
        ("icmpv6 2001:db8:9::7 > 2001:db8:1::2 type 139", "new"),
        ("udp 198.51.100.7:1 > 10.0.1.2:2 badsum", "invalid"),
        ("proto 47 198.51.100.7 > 10.0.1.2 data 0x00000800", "new"),
        ("proto 50 198.51.100.7 > 10.0.1.2 len 8", "new"),
        ("proto 17 198.51.100.7 > 10.0.1.2 len 4", "invalid"),
        ("proto 1 2001:db8:9::7 > 2001:db8:1::2 data 0x0800f7ff00000000", "invalid"),
    ],
)
def test_states_of_first_packets(packet: str, state: str) -> None:
    assert firewall(STATEFUL).send(parse_packet(packet).raw, "wan").state == state


@pytest.mark.parametrize(
    ("error", "state"),
    [
        ("icmp 198.51.100.9 > 10.0.1.2 port-unreachable about (udp 10.0.1.2:1 > 198.51.100.7:2)", "related"),
        ("icmp 198.51.100.9 > 10.0.1.2 port-unreachable about (udp 10.0.1.2:1 > 198.51.100.7:3)", "invalid"),
        ("icmp 198.51.100.9 > 10.0.1.3 port-unreachable about (udp 10.0.1.2:1 > 198.51.100.7:2)", "invalid"),
        ("icmp 10.0.1.2 > 198.51.100.7 port-unreachable about (udp 198.51.100.7:2 > 10.0.1.2:1)", "related"),
    ],
)
def test_icmp_errors(error: str, state: str) -> None:
    fw = firewall(STATEFUL)
    send(fw, "udp 10.0.1.2:1 > 198.51.100.7:2")
    assert fw.send(parse_packet(error).raw, "wan").state == state


def test_masquerade_and_back() -> None:
    fw = firewall(MASQUERADE)
    assert (
        send(fw, "udp 10.0.1.2:1000 > 198.51.100.7:53")
        == "forward | new | wan udp 10.0.2.1:1000 > 198.51.100.7:53 ttl 63"
    )
    assert (
        send(fw, "udp 198.51.100.7:53 > 10.0.2.1:1000", "wan")
        == "forward | established | lan udp 198.51.100.7:53 > 10.0.1.2:1000 ttl 63"
    )
    error = "icmp 198.51.100.9 > 10.0.2.1 port-unreachable about (udp 10.0.2.1:1000 > 198.51.100.7:53)"
    assert send(fw, error, "wan") == (
        "forward | related | lan icmp 198.51.100.9 > 10.0.1.2 destination-unreachable code port-unreachable "
        "about (udp 10.0.1.2:1000 > 198.51.100.7:53) ttl 63"
    )


@pytest.mark.parametrize(("port", "low", "high"), [(400, 1, 511), (700, 600, 1023), (4000, 1024, 65535)])
def test_clash_takes_a_port_of_the_same_class(port: int, low: int, high: int) -> None:
    fw = firewall(MASQUERADE)
    send(fw, f"udp 10.0.1.2:{port} > 198.51.100.7:53")
    out = fw.send(parse_packet(f"udp 10.0.1.3:{port} > 198.51.100.7:53").raw, "lan")
    chosen = int.from_bytes(out.packets[0][1][20:22], "big")
    assert low <= chosen <= high and chosen != port
    again = fw.send(parse_packet(f"udp 10.0.1.3:{port} > 198.51.100.8:53").raw, "lan")
    # One sender keeps its face towards everybody.
    assert int.from_bytes(again.packets[0][1][20:22], "big") == chosen


def test_exhausted_range_drops() -> None:
    rules = table(chain("postrouting", "meta l4proto udp snat ip to 10.0.2.9:6000-6002", kind="nat", priority="100"))
    fw = firewall(rules)
    verdicts = [fw.send(build.udp("10.0.1.2", 1000 + n, "198.51.100.7", 53), "lan").verdict for n in range(4)]
    assert verdicts == ["forward"] * 3 + ["drop"]
    assert {flow.reply.dport for flow in fw.conntrack} == {6000, 6001, 6002}


def test_destination_range_takes_the_first_free_port() -> None:
    rules = table(chain("prerouting", "udp dport 53 dnat ip to 10.0.1.9:8000-8002", kind="nat", priority="-100"))
    fw = firewall(rules)
    assert send(fw, "udp 198.51.100.7:9 > 10.0.2.1:53", "wan").endswith("10.0.1.9:8000 ttl 63")
    assert send(fw, "udp 198.51.100.7:9 > 10.0.2.2:53", "wan").endswith("10.0.1.9:8001 ttl 63")


def test_prefix_keeps_the_host_part() -> None:
    rules = table(
        chain(
            "prerouting", "dnat ip prefix to ip daddr map { 192.0.2.0/24 : 10.0.1.0/24 }", kind="nat", priority="-100"
        )
    )
    assert "10.0.1.77:2" in send(firewall(rules), "udp 198.51.100.7:1 > 192.0.2.77:2", "wan")


def test_first_packet_only() -> None:
    """A retransmitted SYN is still new and does not go through the nat chains again."""
    rules = table(chain("prerouting", "tcp dport 80 counter redirect to :8080", kind="nat", priority="-100"))
    fw = firewall(rules)
    first = fw.send(build.tcp("10.0.1.2", 4000, "10.0.1.1", 80), "lan")
    second = fw.send(build.tcp("10.0.1.2", 4000, "10.0.1.1", 80), "lan")
    assert [out.state for out in (first, second)] == ["new", "new"]
    assert [step.hook for step in first.path] == ["prerouting"] and second.path == []
    assert second.delivered is not None and second.delivered[22:24] == (8080).to_bytes(2, "big")


def test_output_redirect_comes_back_through_lo() -> None:
    rules = table(
        chain("output", "udp dport 53 redirect to :5353", kind="nat", priority="-100"),
        chain("input", 'iifname "lo" ct status dnat accept', policy="drop"),
    )
    out = firewall(rules).send_local(build.udp("10.0.1.1", 4000, "198.51.100.7", 53))
    assert out.verdict == "local" and out.delivered is not None
    assert describe(out.delivered).startswith("udp 10.0.1.1:4000 > 127.0.0.1:5353")


def test_notrack_before_and_after_conntrack() -> None:
    packet = build.udp("10.0.1.2", 1, "198.51.100.7", 2)
    see = chain("forward", "ct state untracked accept", policy="drop")
    assert (
        firewall(table(chain("prerouting", "notrack", priority="-300"), see)).send(packet, "lan").verdict == "forward"
    )
    assert firewall(table(chain("prerouting", "notrack", priority="-150"), see)).send(packet, "lan").verdict == "drop"


def test_zones_keep_flows_apart() -> None:
    rules = table(
        chain("prerouting", 'iifname "wan" ct zone set 7', priority="-300"), chain("forward", "ct zone 7 counter")
    )
    fw = firewall(rules)
    send(fw, "udp 10.0.1.2:1 > 198.51.100.7:2")
    assert send(fw, "udp 198.51.100.7:2 > 10.0.1.2:1", "wan").startswith("forward | new")
    assert sorted(flow.zone for flow in fw.conntrack) == [0, 7]


def test_ct_mark_stays_with_the_flow() -> None:
    rules = table(
        chain("prerouting", "ct mark 5 meta mark set 9"),
        chain("forward", "ct state new ct mark set 5", "meta mark 9 drop"),
    )
    fw = firewall(rules)
    assert send(fw, "udp 10.0.1.2:1 > 198.51.100.7:2").startswith("forward")
    assert send(fw, "udp 198.51.100.7:2 > 10.0.1.2:1", "wan").startswith("drop | established")


@pytest.mark.parametrize(
    ("reject", "packet", "answer"),
    [
        (
            "reject with tcp reset",
            "tcp 10.0.1.2:5 > 198.51.100.7:80 syn seq 9",
            "lan tcp 198.51.100.7:80 > 10.0.1.2:5 rst,ack ack 10 win 0 df",
        ),
        (
            "reject",
            "udp 10.0.1.2:5 > 198.51.100.7:80",
            "lan icmp 10.0.1.1 > 10.0.1.2 destination-unreachable code port-unreachable "
            "about (udp 10.0.1.2:5 > 198.51.100.7:80 ttl 63) dscp cs6",
        ),
        (
            "reject with icmpx admin-prohibited",
            "udp [2001:db8:1::2]:5 > [2001:db8:9::7]:80",
            "lan icmpv6 2001:db8:1::1 > 2001:db8:1::2 destination-unreachable code admin-prohibited "
            "about (udp [2001:db8:1::2]:5 > [2001:db8:9::7]:80 ttl 63)",
        ),
    ],
)
def test_reject_answers(reject: str, packet: str, answer: str) -> None:
    fw = firewall(table(chain("forward", "ct state new " + reject)))
    assert send(fw, packet) == f"reject | new | {answer}"
    assert len(fw.conntrack) == 0


def test_reject_looks_at_the_protocol_first() -> None:
    """nft puts the dependency of `reject with tcp reset` in front of the whole rule."""
    fw = firewall(table(chain("forward", "meta mark set 1 reject with tcp reset", "meta mark 1 drop")))
    assert send(fw, "udp 10.0.1.2:5 > 198.51.100.7:80").startswith("forward")


def test_answer_to_a_translated_packet_is_translated_back() -> None:
    rules = table(
        chain("prerouting", "tcp dport 80 dnat ip to 10.0.1.9:8080", kind="nat", priority="-100"),
        chain("forward", "reject"),
    )
    text = send(firewall(rules), "tcp 198.51.100.7:5 > 10.0.2.1:80 syn", "wan")
    assert "wan icmp 10.0.2.1 > 198.51.100.7" in text and "about (tcp 198.51.100.7:5 > 10.0.2.1:80 syn" in text


def test_fragments_are_put_together_and_cut_again() -> None:
    fw = firewall(STATEFUL)
    whole = build.udp("10.0.1.2", 1, "198.51.100.7", 2, bytes(2000), ident=5)
    parts = fragment(whole, 1500)
    assert fw.send(parts[0], "lan").verdict == "drop"
    out = fw.send(parts[1], "lan")
    assert out.verdict == "forward" and [len(raw) for _, raw in out.packets] == [len(part) for part in parts]


def test_host_facts_or_hints_are_needed() -> None:
    fw = firewall(table(chain("forward", 'oifname "wan" accept', policy="drop")), host="")
    packet = build.udp("10.0.1.2", 1, "198.51.100.7", 2)
    with pytest.raises(InputError, match="nothing says where"):
        fw.send(packet, "lan")
    assert fw.send(packet, "lan", oif="wan").verdict == "forward"
    assert fw.send(packet, "lan", oif="dmz").verdict == "drop"
    assert fw.send(packet, "lan", local=True).verdict == "local"


def test_choices_are_asked_only_where_they_matter() -> None:
    rules = table(chain("input", "counter"))
    many = build.udp("10.0.1.2", 1, "239.1.2.3", 2)
    assert firewall(rules).send(build.udp("10.0.1.2", 1, "10.0.1.1", 2), "lan").choices == {}
    assert list(firewall(rules).send(many, "lan").choices) == ["multicast joined"]
    assert firewall(rules, choices={"multicast joined": True}).send(many, "lan").verdict == "local"


def test_path_names_rules_and_places() -> None:
    fw = firewall(STATEFUL)
    out = fw.send(build.udp("198.51.100.7", 1, "10.0.1.2", 2), "wan")
    assert [(s.hook, s.table, s.verdict, s.span) for s in out.path] == [("forward", "inet t", "policy drop", None)]
    out = fw.send(build.udp("10.0.1.2", 1, "198.51.100.7", 2), "lan")
    assert out.path[0].span is not None and out.path[0].span.text == 'ct state new iifname "lan" accept'


def test_full_table_evicts_what_is_not_assured() -> None:
    host = HOST.replace("route default via 10", "conntrack { max 2; }\n    route default via 10", 1)
    fw = firewall(STATEFUL, host=host)
    for port in (1, 2, 3):
        assert send(fw, f"udp 10.0.1.2:{port} > 198.51.100.7:9").startswith("forward | new")
    assert {flow.original.sport for flow in fw.conntrack} == {2, 3}
