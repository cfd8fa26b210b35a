"""Rules that earlier ones hide, rules that match nothing, and everything that only looks like it.

Each case is the body of a table and the findings it must have, as "code:line" of the body; most clean cases were once
reported wrongly.
"""

from __future__ import annotations

import pytest

from fireproof.lint import check
from fireproof.syntax.build import load_text

FORWARD = "chain f { type filter hook forward priority 0; policy drop;"
RAW = "chain f { type filter hook prerouting priority raw;"
CODES = ("unreachable-rule", "never-matches")
HOST = 'host { interface "ppp*" { zone a; } interface "eth0" { zone b; } }\n'


def findings(text: str) -> list[str]:
    ruleset = load_text(text, "case.nft").require()
    return [f"{d.code}:{d.span.line}" for d in check(ruleset) if d.code in CODES and d.span is not None]


def in_table(body: str, family: str = "inet") -> str:
    return f"table {family} t {{ {body} }}"


FOUND = {
    "twice the same": (f"{FORWARD}\ntcp dport 22 accept\ntcp dport 22 accept\n}}", ["unreachable-rule:3"]),
    "a larger one before": (f"{FORWARD}\nip saddr 10.0.0.0/8 accept\nip saddr 10.1.0.0/16 tcp dport 22 drop\n}}",
                            ["unreachable-rule:3"]),
    "two halves": (f"{FORWARD}\nip saddr 10.0.0.0/9 drop\nip saddr 10.128.0.0/9 accept\nip saddr 10.9.9.9 accept\n"
                   "ip saddr 10.0.0.0/8 accept\n}", ["unreachable-rule:4", "unreachable-rule:5"]),
    "halves by different fields": (
        f"{FORWARD}\ntcp dport 22 ip saddr 10.0.0.0/8 accept\ntcp dport 22 ip saddr != 10.0.0.0/8 drop\n"
        "tcp dport 22 ip6 saddr ::/0 accept\ntcp dport 22 counter\n}", ["unreachable-rule:5"]),
    "after all": (f"{FORWARD}\ndrop\nip protocol udp accept\n}}", ["unreachable-rule:3"]),
    "both families": (f"{FORWARD}\nmeta nfproto ipv4 accept\nmeta nfproto ipv6 drop\nudp dport 53 accept\n}}",
                      ["unreachable-rule:4"]),
    "every conntrack state": (
        f"{FORWARD}\nct state vmap {{ established : accept, related : accept, invalid : drop }}\n"
        "ct state new accept\nct state untracked drop\ntcp dport 22 accept\n}", ["unreachable-rule:5"]),
    "a verdict map's fallback": (f"{FORWARD}\ntcp dport vmap {{ 22 : accept, * : drop }}\ntcp dport 80 accept\n}}",
                                 ["unreachable-rule:3"]),
    "a fallback beside a jump": (
        f"chain c {{ ip saddr 10.0.0.1 accept\n}}\n{FORWARD}\ntcp dport vmap {{ 22 : jump c, * : drop }}\n"
        "tcp dport 22 ip saddr 10.0.0.1 drop\ntcp dport 80 accept\ntcp dport 22 accept\n}",
        ["unreachable-rule:5", "unreachable-rule:6"]),
    "a called chain that ends": (
        f"chain c {{ tcp dport 22 accept\ndrop\n}}\n{FORWARD}\niifname lan jump c\niifname lan udp dport 5 accept\n}}",
        ["unreachable-rule:6"]),
    "a called chain with masks": (
        f"chain c {{ meta mark & 1 == 1 accept\nmeta mark & 1 == 0 drop\n}}\n{FORWARD}\nip protocol 6 jump c\n"
        "ip protocol 6 accept\n}", ["unreachable-rule:6"]),
    "goto does not come back": (f"chain c {{ counter\n}}\n{FORWARD}\ntcp dport 22 goto c\ntcp dport 22 accept\n}}",
                                ["unreachable-rule:5"]),
    "return leaves a chain": (f"chain c {{ tcp dport 22 return\ntcp dport 22 accept\n}}\n{FORWARD}\njump c\n}}",
                              ["unreachable-rule:2"]),
    "masks": (f"{FORWARD}\nmeta mark & 0xf00 == 0x100 accept\nmeta mark & 0xff00 == 0x100 drop\n}}",
              ["unreachable-rule:3"]),
    "patterns": (f'{FORWARD}\niifname "eth*" accept\niifname "eth0" drop\niifname "eth1*" drop\n}}',
                 ["unreachable-rule:3", "unreachable-rule:4"]),
    "ranges with gaps": (f"{FORWARD}\ntcp dport {{ 1-99, 200-299 }} drop\ntcp dport {{ 5-9, 250 }} accept\n}}",
                         ["unreachable-rule:3"]),
    "concatenations": (
        f"{FORWARD}\nip saddr . tcp dport {{ 10.0.0.1 . 22, 10.0.0.2 . 22 }} accept\n"
        "ip saddr { 10.0.0.1, 10.0.0.2 } tcp dport 22 drop\n}", ["unreachable-rule:3"]),
    "reject with an implicit protocol": (
        f"{FORWARD}\nreject with tcp reset\ntcp dport 22 accept\nudp dport 5 accept\n}}", ["unreachable-rule:3"]),
    "contradiction": (f"{FORWARD}\nip saddr 10.0.0.1 ip saddr 10.0.0.2 accept\n}}", ["never-matches:2"]),
    "no state at all": (f"{FORWARD}\nct state != {{ new, established, related, invalid, untracked }} drop\n}}",
                        ["never-matches:2"]),
    "no way out yet": ('chain f { type filter hook input priority 0;\noifname "eth0" accept\n}', ["never-matches:2"]),
    "no way in": ('chain f { type filter hook output priority 0;\niifname "eth0" accept\n}', ["never-matches:2"]),
    "never established in NAT": (
        "chain f { type nat hook prerouting priority -100;\nct state established accept\nredirect\n}",
        ["never-matches:2"]),
    "states before tracking": (f'{RAW}\niifname "eth0" ct state established accept\n}}', ["never-matches:2"]),
    "a set with nothing in it that nobody can fill": (
        "set s { type ipv4_addr; flags constant; }\n" + FORWARD + "\nip saddr @s drop\n}", ["never-matches:3"]),
}  # fmt: skip


@pytest.mark.parametrize("name", FOUND)
def test_found(name: str) -> None:
    body, expected = FOUND[name]
    assert findings(in_table(body)) == expected


CLEAN = {
    "no entry, no mark": f"{FORWARD}\nct mark != 5 accept\nct mark 5 accept\ntcp dport 22 drop\n}}",
    "no entry, no direction": f"{FORWARD}\nct direction original accept\nct direction reply accept\ndrop\n}}",
    "a label that was set": f"{FORWARD}\nct label 1 accept\nct label set 1\nct label 1 drop\n}}",
    "a mark that was set": f"{FORWARD}\nmeta mark 1 accept\nmeta mark set 1\nmeta mark 1 drop\n}}",
    "a mark set in a called chain": (
        f"chain c {{ meta mark set 1\n}}\n{FORWARD}\nmeta mark 1 accept\njump c\nmeta mark 1 drop\n}}"
    ),
    "a mark set by a masked one": f"{FORWARD}\nmeta mark 1 accept\nmeta mark set meta mark | 1\nmeta mark 1 drop\n}}",
    "a port that was set": f"{FORWARD}\ntcp dport 22 accept\ntcp dport 23 tcp dport set 22\ntcp dport 22 drop\n}}",
    "an option that was set": (
        f"{FORWARD}\ntcp option maxseg size 1460 accept\ntcp option maxseg size set 1460\n"
        "tcp option maxseg size 1460 drop\n}"
    ),
    "an option that was taken away": (
        f"{FORWARD}\ntcp option sack-perm missing accept\nreset tcp option sack-perm\n"
        "tcp option sack-perm missing drop\n}"
    ),
    "a packet type that was set": (
        "chain f { type filter hook prerouting priority 0;\nmeta pkttype host accept\nmeta pkttype set host\n"
        "meta pkttype host drop\n}"
    ),
    "untracked after notrack": f"{RAW}\nct state untracked accept\nnotrack\nct state untracked accept\n}}",
    "a new zone": f"{RAW}\nct state new accept\nct zone set 1\nct state new accept\n}}",
    "loopback brings its entry": f"{RAW}\nct state established accept\n}}",
    "dice": f"{FORWARD}\nnumgen random mod 4 0 accept\nnumgen random mod 4 0 drop\n}}",
    "turns": f"{FORWARD}\nnumgen inc mod 2 0 accept\nnumgen inc mod 2 0 drop\n}}",
    "chance": f"{FORWARD}\nmeta random < 100 accept\nmeta random < 50 drop\n}}",
    "hashes with seeds of their own": f"{FORWARD}\njhash ip saddr mod 2 0 accept\njhash ip saddr mod 2 0 drop\n}}",
    "a limit": f"{FORWARD}\ntcp dport 22 limit rate 1/second accept\ntcp dport 22 drop\n}}",
    "a quota": f"{FORWARD}\nquota over 1 mbytes drop\nquota over 1 mbytes drop\naccept\n}}",
    "a dynamic set": (
        "set s { type ipv4_addr; flags dynamic; size 9; }\n"
        f"{FORWARD}\nip saddr @s drop\nip saddr != @s accept\nip saddr @s accept\n}}"
    ),
    "a set that rules fill": (
        f"set s {{ type ipv4_addr; size 9; }}\n{FORWARD}\nupdate @s {{ ip saddr }}\nip saddr @s drop\n}}"
    ),
    "a set that somebody fills": (
        f"set s {{ type ipv4_addr; }}\n{FORWARD}\nip saddr @s drop\nip saddr != @s accept\ntcp dport 22 accept\n}}"
    ),
    "a full set": (
        "set s { type ipv4_addr; flags dynamic; size 9; }\n"
        f"{FORWARD}\nadd @s {{ ip saddr }} accept\nip saddr 10.0.0.1 accept\n}}"
    ),
    "limits inside a set": (
        "set s { type ipv4_addr; limit rate 1/second; elements = { 10.0.0.1 limit rate 1/second } }\n"
        f"{FORWARD}\nip saddr @s accept\nip saddr 10.0.0.1 drop\n}}"
    ),
    "a verdict map that somebody fills": (
        f"map m {{ type ipv4_addr : verdict; }}\nchain c {{ ip saddr vmap @m\ndrop\n}}\n{FORWARD}\njump c\naccept\n}}"
    ),
    "a mark out of a map": f"{FORWARD}\nmeta mark set tcp dport map {{ 22 : 1 }} accept\ntcp dport 80 accept\n}}",
    "a header of one family": f"{FORWARD}\nip dscp set cs1 accept\nip6 saddr ::1 accept\n}}",
    "a counter out of a map": (
        f'counter w {{ }}\n{FORWARD}\ncounter name tcp dport map {{ 80 : "w" }} accept\ntcp dport 22 accept\n}}'
    ),
    "addresses out of a map": (
        "chain f { type nat hook prerouting priority dstnat;\ndnat ip to tcp dport map { 80 : 10.0.0.1 }\n"
        "tcp dport 443 dnat ip to 10.0.0.2\n}"
    ),
    "NAT of one family": (
        "chain f { type nat hook postrouting priority srcnat;\nsnat ip to 10.0.0.1\nip6 saddr ::1 snat ip6 to ::2\n}"
    ),
    "short TCP headers": f"{FORWARD}\ntcp flags syn accept\ntcp flags ! syn accept\ntcp dport 22 drop\n}}",
    "loads that a fragment refuses": f"{FORWARD}\n@th,0,64 0 accept\n@th,0,64 != 0 accept\ntcp dport 22 drop\n}}",
    "indices": f"{FORWARD}\niif {{ 2, 3 }} accept\niifname lo drop\niifname eth0 drop\n}}",
    "an index in and out": f"{FORWARD}\niif 2 accept\noif 2 accept\niif != 2 oif != 2 drop\naccept\n}}",
    "interfaces of routes": f'{FORWARD}\nfib saddr oifname "eth7" accept\n}}',
    "counting before matching": f"{FORWARD}\ntcp dport 22 accept\ncounter tcp dport 22 drop\n}}",
    "marking before a verdict map": (
        f"{FORWARD}\nct state established accept\nmeta mark set 1 ct state vmap {{ established : drop }}\naccept\n}}"
    ),
    "a chain called from two places": (
        f"chain c {{ tcp dport 22 accept\nudp dport 22 drop\n}}\n{FORWARD}\nip protocol tcp jump c\n"
        "meta l4proto udp jump c\n}"
    ),
    "a chain called from two hooks": (
        'chain c { iifname "lan" accept\noifname "lan" accept\n}\n'
        "chain i { type filter hook input priority 0;\njump c\n}\n"
        "chain o { type filter hook output priority 0;\njump c\n}"
    ),
    "return from a called chain": (
        f"chain c {{ tcp dport 22 return\ndrop\n}}\n{FORWARD}\njump c\ntcp dport 22 accept\n}}"
    ),
    "goto within a called chain": (
        f"chain d {{ counter\n}}\nchain c {{ tcp dport 22 goto d\ndrop\n}}\n{FORWARD}\njump c\ntcp dport 22 accept\n}}"
    ),
    "continue": f"{FORWARD}\ntcp dport vmap {{ 22 : continue, 80 : drop }}\ntcp dport 22 accept\n}}",
    "a queue of one protocol": f"{FORWARD}\nmeta l4proto tcp queue\nudp dport 53 accept\n}}",
    "a time of day over midnight": (
        f'{FORWARD}\nmeta hour "22:00"-"06:00" accept\nmeta hour "06:01"-"21:59" accept\ntcp dport 22 drop\n}}'
    ),
}


@pytest.mark.parametrize("name", CLEAN)
def test_clean(name: str) -> None:
    assert findings(in_table(CLEAN[name])) == []


def test_frames_are_not_all_ip() -> None:
    body = (
        "chain i { type filter hook ingress device eth0 priority 0;\nmeta protocol ip accept\n"
        "meta protocol ip6 accept\nmeta protocol arp accept\nvlan id 5 accept\n"
        "meta l4proto tcp accept\nmeta l4proto != tcp accept\ndrop\n}"
    )
    assert findings(in_table(body, "netdev")) == ["unreachable-rule:6", "unreachable-rule:7"]


def test_netdev_rules_hide_each_other() -> None:
    body = (
        "chain i { type filter hook ingress device eth0 priority 0;\nip saddr 10.0.0.0/8 drop\nip saddr 10.1.1.1 drop\n"
        "ip6 saddr ::1 drop\ndrop\nmeta protocol arp accept\n}"
    )
    assert findings(in_table(body, "netdev")) == ["unreachable-rule:3", "unreachable-rule:6"]


@pytest.mark.parametrize(("family", "expected"), [("ip", ["unreachable-rule:3"]), ("inet", [])])
def test_the_family_of_the_table_counts(family: str, expected: list[str]) -> None:
    assert findings(in_table(f"{FORWARD}\nip saddr 0.0.0.0/0 drop\ntcp dport 22 accept\n}}", family)) == expected


def test_host_facts_close_the_world() -> None:
    body = (
        f'{FORWARD}\niifname "ppp1*" accept\niifname "ppp0" accept\niifname "eth0" accept\niifname "wg0" accept\n'
        'iifname "ppp*" accept\niifname "lo" accept\noifname "eth0" accept\n}'
    )
    assert findings(HOST + in_table(body)) == ["never-matches:6", "unreachable-rule:9"]


def test_all_interfaces_of_the_host_together_are_all() -> None:
    body = f'{FORWARD}\niifname "eth0" accept\niifname "ppp*" drop\niifname "lo" drop\ntcp dport 22 accept\n}}'
    assert findings(HOST + in_table(body)) == ["unreachable-rule:6"]
    assert findings(in_table(body)) == []


def test_many_chains_in_a_row() -> None:
    chains = "".join(f"chain c{n} {{ goto c{n - 1}\n}}\n" for n in range(1, 3000))
    body = f"chain c0 {{ accept\ndrop\n}}\n{chains}{FORWARD}\ngoto c2999\n}}"
    assert findings(in_table(body)) == ["unreachable-rule:2"]


def test_the_finding_names_what_blocks() -> None:
    text = in_table(f"{FORWARD}\nip saddr 10.0.0.0/9 drop\nip saddr 10.128.0.0/9 drop\nip saddr 10.0.0.0/8 drop\n}}")
    (finding,) = [d for d in check(load_text(text, "case.nft").require()) if d.code in CODES]
    assert "lines 2, 3" in finding.message
    assert [related.span.line for related in finding.related] == [2, 3]
    assert finding.help.startswith("remove it")
