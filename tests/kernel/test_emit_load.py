"""Every kind of statement and expression, loaded as text and as JSON: nft must take both and list the same for both."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from fireproof.emit import libnftables, nft_json, nft_text
from fireproof.emit.problem import Unsayable
from fireproof.kernel import KernelUnavailable, Namespace, nft
from fireproof.model.ruleset import Ruleset
from fireproof.source.text import SourceFile
from fireproof.syntax.build import load, load_source
from fireproof.syntax.nft_json import to_text

FILTER = "type filter hook input priority 0; policy accept;"
FORWARD = "type filter hook forward priority 0; policy accept;"
DNAT = "type nat hook prerouting priority -100;"
SNAT = "type nat hook postrouting priority 100;"
MANGLE = "type filter hook prerouting priority -150;"
RAW = "type filter hook prerouting priority -300;"

MATCHES = """\
ip saddr 10.0.0.1 accept
ip saddr != 10.0.0.0/8 drop
ip saddr 10.0.0.1-10.0.0.9 accept
ip saddr 0.0.0.0/0 accept
ip saddr { 10.0.0.1, 10.1.0.0/16, 10.2.0.5-10.2.0.7 } accept
ip saddr & 255.255.255.0 == 10.0.0.0 accept
ip saddr < 10.0.0.9 accept
ip6 saddr fe80::/10 accept
ip6 daddr 2001:db8::1-2001:db8::ff accept
ip6 saddr & ffff:ffff:ffff:: == 2001:db8:: accept
ip protocol { tcp, udp, 47 } accept
ip dscp ef accept
ip dscp { cs0, 0x20 } accept
ip ecn ce accept
ip frag-off & 0x1fff != 0 drop
ip ttl < 5 drop
ip length 20-1500 accept
ip version 4 accept
ip6 hoplimit 255 accept
ip6 flowlabel 5 accept
ip6 nexthdr icmpv6 accept
ether saddr 00:01:02:03:04:05 accept
ether saddr { 00:01:02:03:04:05, aa:bb:cc:dd:ee:ff } accept
ether type ip accept
ether type 0x88cc accept
vlan id 5 accept
tcp dport 22 accept
tcp dport 22-25 accept
tcp dport { 22, 80-90 } accept
tcp dport != { 22, 80 } drop
tcp sport > 1023 accept
tcp flags syn accept
tcp flags syn,ack accept
tcp flags == syn accept
tcp flags != syn,ack accept
tcp flags ! syn,rst accept
tcp flags & (fin | syn | rst | ack) == syn accept
tcp flags syn / fin,syn,rst,ack accept
tcp flags & (fin | syn) != 0 drop
tcp flags { syn, syn | ack } accept
tcp flags 0x0 drop
tcp sequence 0xffffffff accept
tcp option maxseg size 500-1460 accept
tcp option sack-perm exists accept
tcp option timestamp missing accept
tcp option @34,0,16 5 accept
udp length 8-100 accept
udp dport 53 accept
sctp chunk init exists accept
sctp chunk data flags 2 accept
sctp dport 9 accept
dccp type request accept
icmp type echo-request accept
icmp type { echo-reply, destination-unreachable, 40 } accept
icmp type 0-5 accept
icmp code host-unreachable accept
icmp id 5 accept
icmpv6 type { nd-neighbor-solicit, nd-router-advert, echo-request } accept
icmpv6 code no-route accept
igmp type membership-query accept
ah spi 5 accept
esp spi 0x100 accept
comp cpi 5 accept
th dport 53 accept
meta l4proto { tcp, udp } th dport 53 accept
frag more-fragments 1 accept
exthdr frag exists accept
exthdr hbh missing accept
rt type 0 drop
srh sid[2] ::1 accept
mh type binding-update accept
ip option lsrr exists drop
ip option rr ptr 4 accept
@th,0,16 53 accept
@nh,8,16 0x1234 accept
@ih,0,128 0x1342deadbeef1342deadbeef1342dead accept
@nh,64,64 0xffffffffffffffff accept
meta length > 1500 drop
meta nfproto ipv4 accept
meta protocol ip6 accept
meta protocol { ip, arp } accept
meta l4proto 47 accept
meta mark 0x10 accept
mark 0x10-0xff accept
meta mark & 0xff == 0x1 accept
meta mark ^ 0x1 == 5 accept
meta mark | 0x1 != 0xffffffff accept
meta mark { 1, 2, 0x80000000 } accept
iifname "eth0" accept
iifname "eth*" accept
iifname "eth\\*" accept
oifname != { "eth0", "wg*" } drop
iifname "br-lan.10" accept
iif "lo" accept
iif "dev0" accept
iif { "lo", "dev0" } accept
iiftype ether accept
iifgroup 5 accept
meta iifkind "veth" accept
meta skuid 1000 accept
meta skgid { 0, 1000-2000 } accept
meta cgroup 0x100001 accept
meta cpu 1 accept
meta pkttype { broadcast, multicast } accept
meta priority "1:10" accept
meta priority none accept
meta random < 0x10000 accept
meta ipsec exists accept
meta sdif "lo" accept
rtclassid 5 accept
meta day "Monday" accept
meta day { "Monday", "Friday" } accept
meta hour "08:00"-"18:00" accept
meta hour "22:00"-"06:00" accept
meta hour "23:59:59" accept
meta time "2026-01-01 00:00:00"-"2026-12-31 23:59:59" accept
meta time > "2026-01-01 00:00:00" accept
ct state new,established accept
ct state invalid drop
ct state != invalid accept
ct state == established accept
ct state { new, untracked } accept
ct state vmap { established : accept, related : accept, invalid : drop }
ct state & (new | related) == new accept
ct status dnat accept
ct status snat,dnat accept
ct direction original accept
ct mark 0x1 accept
ct mark & 0xf == 0x1 accept
ct expiration 30s-1m30s accept
ct expiration > 500ms accept
ct helper "ftp" accept
ct original ip saddr 10.0.0.1 accept
ct reply ip6 daddr ::1 accept
ct l3proto ipv6 accept
ct original l3proto ipv4 accept
ct original protocol tcp accept
meta l4proto tcp ct original proto-dst 80 accept
ct bytes > 100000 accept
ct original packets 5-10 accept
ct avgpkt < 100 accept
ct zone 5 accept
ct original zone 5 accept
ct id 0x12345 accept
fib daddr type local accept
fib daddr . iif type { local, broadcast } accept
fib saddr . iif oif missing drop
fib saddr . iif oif exists accept
fib saddr . mark oifname "eth0" accept
rt classid 5 accept
rt ipsec missing accept
rt ip nexthop 10.0.0.1 accept
socket transparent 1 accept
socket mark 0x5 accept
socket wildcard 0 accept
osf name "Linux" accept
osf ttl loose version "Linux:3.0" accept
ipsec in reqid 5 accept
ipsec in spnum 1 ip saddr 10.0.0.1 accept
numgen inc mod 10 0 accept
numgen random mod 100 < 30 accept
numgen inc mod 3 offset 2 3 accept
jhash ip saddr . tcp dport mod 4 seed 0xdead offset 2 3 accept
symhash mod 2 1 accept
ip saddr . tcp dport { 10.0.0.1 . 22, 10.1.0.0/16 . 80-90 } accept
ip saddr . iifname { 10.0.0.1 . "eth0" } accept
iifname . tcp dport vmap { "eth*" . 80 : accept, "lo" . 22 : drop }
ip saddr . meta mark { 10.0.0.1 . 0x5 } accept
meta l4proto . th dport { tcp . 53, udp . 53 } accept
ip saddr . ip daddr != { 10.0.0.1 . 10.0.0.2 } accept
tcp dport vmap { 22 : jump other, 80 : goto other, 81 : return, 82 : continue }
ip saddr vmap { 10.0.0.0/8 : drop, * : accept }
ip saddr @plain accept
ip saddr != @plain drop
ip saddr . tcp dport @joined accept
tcp dport vmap @verdicts
""".splitlines()

STATEMENTS = """\
accept
drop
continue
return
jump other
goto other
accept comment "it's fine"
counter
counter packets 5 bytes 500 accept
counter name "hits" accept
limit rate 10/second accept
limit rate over 5/minute burst 10 packets drop
limit rate 1/week accept
limit rate 10 kbytes/second accept
limit rate over 1 mbytes/minute burst 2 mbytes drop
limit name "slow" accept
quota 500 mbytes accept
quota over 25 kbytes drop
quota until 1000 bytes used 10 bytes accept
quota name "volume" accept
ct state new ct count over 20 drop
ct count 5 accept
log
log prefix "in: " level info
log prefix "x" group 5 snaplen 100 queue-threshold 10
log level audit
log flags all
log prefix "t" flags tcp sequence,options flags ip options flags skuid flags ether
reject
reject with tcp reset
meta l4proto tcp reject with tcp reset
reject with icmp type host-unreachable
reject with icmpv6 type no-route
reject with icmpx type admin-prohibited
add @dyn { ip saddr }
add @dyn { ip saddr timeout 30s }
update @dyn { ip saddr timeout 1m limit rate over 10/second burst 20 packets } drop
update @dyn { ip saddr counter } accept
delete @dyn { ip saddr }
add @counting { ip saddr & 255.255.255.0 ct count over 10 } drop
add @pairs { ip saddr . tcp dport }
meter m { ip saddr limit rate over 5/second } drop
meter m2 size 100 { ip saddr . tcp dport ct count over 4 } drop
meter m3 { ip saddr timeout 30s counter } accept
meta nftrace set 1
meta mark set 0x10
meta mark set meta mark & 0xffffff00 | 0x5
meta mark set ct mark
meta mark set (ct mark & 0xff) | 0x100
meta mark set ip saddr map { 10.0.0.1 : 1, 10.0.0.0-10.0.0.0 : 2 }
meta mark set tcp dport map @marks
meta mark set numgen inc mod 2 map { 0 : 0x1, 1 : 0x2 }
meta mark set jhash ip saddr mod 4
meta mark set symhash mod 4 offset 1
meta mark set numgen random mod 4 offset 10
meta priority set "1:10"
meta priority set none
meta priority set tcp dport map { 80 : "1:10" }
ct mark set 0x5
ct mark set meta mark
ct mark set ct mark | 0x10
ct label set 3
ct event set new,related
ct event set new | destroy
ct helper set "ftp-std"
ct secmark set meta secmark
meta secmark set ct secmark
ip dscp set cs1
ip dscp set 0x2e
ip ecn set ce
ip ttl set 64
ip saddr set 10.0.0.1
ip6 hoplimit set 64
ip6 dscp set ef
tcp dport set 8080
udp checksum set 0
ether saddr set 00:01:02:03:04:05
tcp option maxseg size set 1360
@nh,8,8 set 5
reset tcp option sack-perm
notrack
""".splitlines()

FORWARDED = """\
synproxy
synproxy mss 1460 wscale 7 timestamp sack-perm
tcp flags syn tcp option maxseg size set rt mtu
oif "dev0" accept
rt mtu 1000-1500 accept
ipsec out ip6 daddr ::1 accept
""".splitlines()

TRANSLATIONS = """\
dnat ip to 10.0.0.1
dnat ip to 10.0.0.1-10.0.0.9 random
dnat ip to 10.0.0.0/24
tcp dport 80 dnat ip to 10.0.0.1:8080
tcp dport 80 dnat ip to 10.0.0.1:8080-8090 persistent
tcp dport 80 dnat ip6 to [2001:db8::1]:80
dnat ip6 to 2001:db8::1-2001:db8::9
tcp dport 80 dnat ip6 to [2001:db8::1]-[2001:db8::9]:80
tcp dport 80 dnat to :8080
dnat ip to ip saddr map { 10.0.0.1 : 10.1.0.1, 10.0.0.2 : 10.1.0.2 }
dnat ip to numgen inc mod 2 map { 0 : 10.0.0.1, 1 : 10.0.0.2 }
dnat ip to symhash mod 2 map { 0 : 10.0.0.1, 1 : 10.0.0.2 }
tcp dport 80 dnat ip to ip daddr map { 10.0.0.1 : 10.1.0.1 . 8080 }
tcp dport 80 dnat ip to 10.0.0.1:tcp dport map { 80 : 8080 }
dnat ip prefix to ip daddr map { 10.0.0.0/24 : 10.1.0.0/24 }
dnat ip to ip saddr map @targets
redirect
tcp dport 80 redirect to :8080
meta l4proto udp redirect to :8080-8090 random
tcp dport 80 redirect to :tcp dport map { 80 : 8080, 81 : 8081 }
""".splitlines()

SOURCES = """\
masquerade
masquerade random,persistent
masquerade fully-random
meta l4proto tcp masquerade to :1024-65535
snat ip to 10.0.0.1
snat ip to 10.0.0.1-10.0.0.9 random,persistent
snat ip6 to 2001:db8::1
meta l4proto tcp snat ip to 10.0.0.1:1024-2048
snat ip prefix to ip saddr map { 10.0.0.0/24 : 10.1.0.0/24 }
""".splitlines()

# What the rules above refer to.
DECLARATIONS = """
set plain { type ipv4_addr; elements = { 10.0.0.1, 10.0.0.2 comment "two" }; }
set joined { type ipv4_addr . inet_service; flags interval; elements = { 10.0.0.0/8 . 80-90, 10.9.9.9 . 22 }; }
set dyn { type ipv4_addr; size 1000; flags dynamic,timeout; timeout 60s; }
set counting { type ipv4_addr; size 1000; flags dynamic; }
set pairs { type ipv4_addr . inet_service; size 1000; flags dynamic; }
map marks { type inet_service : mark; elements = { 22 : 0x1, 80 : 0x2 }; }
map verdicts { type inet_service : verdict; elements = { 22 : accept, 80 : jump other, 81 : drop }; }
map targets { type ipv4_addr : ipv4_addr; elements = { 10.0.0.1 : 10.1.0.1 }; }
map learned { type ipv4_addr : inet_service; size 1000; flags dynamic; }
counter hits {
    packets 3 bytes 300
    comment "counted"
}
quota volume { over 100 mbytes }
limit slow { rate 5/second burst 7 packets }
ct helper ftp-std { type "ftp" protocol tcp; l3proto ip; }
"""
OTHERS = """\
set merged { type ipv4_addr; flags interval; auto-merge; elements = { 10.0.0.0/24, 10.0.1.0/24, 10.0.0.128/25 }; }
set timed { type ipv4_addr; timeout 1h; gc-interval 10s; elements = { 10.0.0.1 timeout 30m, 10.0.0.2 }; }
set counted { type ipv4_addr; counter; elements = { 10.0.0.1, 10.0.0.2 }; }
set six { type ipv6_addr; flags interval; policy memory; elements = { 2001:db8::/32, fe80::1-fe80::9 }; }
set names { type ifname; elements = { "eth0", "wg0" }; }
set patterns { type ifname; flags interval; elements = { "eth*", "wg0" }; }
set marks4 { type mark; flags interval; elements = { 0x1-0x5, 0x10 }; }
set macs { type ether_addr; elements = { 00:01:02:03:04:05 }; }
set protocols { type inet_proto . inet_service; elements = { tcp . 53, 47 . 0 }; }
set icmps { type icmp_type; elements = { echo-request }; }
set states { type ct_state; elements = { new, established }; }
set constants { type inet_service; flags constant; elements = { 22, 80 }; }
map hitmap { type inet_service : counter; elements = { 22 : "hits" }; }
map rest { type ipv4_addr : verdict; flags interval; elements = { 10.0.0.0/8 : accept, * : drop }; }
limit in-bytes { rate over 10 kbytes/second burst 1 mbytes; }
limit weekly { rate 1/week; }
quota used-up { 10 mbytes used 5 bytes; }
ct helper sip { type "sip" protocol udp; }
""".splitlines()
# nft 1.0.6 does not read these from JSON, or loses a part of them.
TEXT_ONLY = """\
set preset { type ipv4_addr; counter; elements = { 10.0.0.1 counter packets 5 bytes 50 }; }
map services { type ipv4_addr : ipv4_addr . inet_service; flags interval; elements = { 10.0.0.0/24 : 10.1.0.1 . 80 }; }
map ranges { type ipv4_addr : interval ipv4_addr; elements = { 10.0.0.1 : 10.1.0.1-10.1.0.9 }; }
set lengths { typeof ip length; elements = { 20, 40 }; }
set halves { type ipv4_addr; timeout 500ms; }
ct timeout short { protocol tcp; l3proto ip; policy = { established : 100, close : 4 }; }
ct expectation expect { protocol udp; dport 9876; timeout 2m; size 12; l3proto ip; }
synproxy proxy { mss 1460; wscale 7; timestamp sack-perm; }
""".splitlines()


def ruleset(text: str) -> Ruleset:
    return load_source(SourceFile("dir/case.nft", text)).require()


def table(hook: str, rule: str, declarations: str = DECLARATIONS) -> str:
    return f"table inet t {{\n{declarations}\nchain other {{\n}}\nchain c {{\n{hook}\n{rule}\n}}\n}}\n"


def listing(answer: dict[str, Any]) -> list[Any]:
    """A listing without what differs from load to load: handles, ages, the order in a set."""

    def plain(node: Any) -> Any:
        if isinstance(node, dict):
            made = {key: plain(value) for key, value in node.items() if key not in ("handle", "expires")}
            for key in ("set", "elem"):
                if isinstance(made.get(key), list):
                    made[key].sort(key=json.dumps)
            return made
        return [plain(each) for each in node] if isinstance(node, list) else node

    objects = [plain(each) for each in answer["nftables"] if "metainfo" not in each]
    rules = [each for each in objects if "rule" in each]
    return sorted((each for each in objects if "rule" not in each), key=json.dumps) + rules


@cache
def available() -> str:
    try:
        problem = libnftables.check_text("table inet probe {\n}\n", ["dev0"])
    except KernelUnavailable as reason:
        return str(reason)
    return problem or ""


@pytest.fixture(autouse=True)
def kernel() -> None:
    if available():
        pytest.skip(f"no nftables to load into: {available()}")


def same(text: str, json_too: bool = True) -> None:
    """The source itself, the emitted text and the emitted JSON list alike."""
    made = ruleset(text)
    devices = libnftables.devices(made)
    original = listing(libnftables.readback(text, "nft", devices))
    emitted = nft_text.emit(made, tag=False)
    assert listing(libnftables.readback(emitted, "nft", devices)) == original
    if json_too:
        sayable = json.dumps(nft_json.emit(made, tag=False))
        assert listing(libnftables.readback(sayable, "nft-json", devices)) == original


@pytest.mark.parametrize("rule", MATCHES)
def test_match(rule: str) -> None:
    same(table(FILTER, rule))


@pytest.mark.parametrize("rule", STATEMENTS)
def test_statement(rule: str) -> None:
    same(table(FILTER, rule))


@pytest.mark.parametrize("rule", FORWARDED)
def test_forwarded(rule: str) -> None:
    same(table(FORWARD, rule))


@pytest.mark.parametrize("rule", TRANSLATIONS)
def test_destination_nat(rule: str) -> None:
    same(table(DNAT, rule))


@pytest.mark.parametrize("rule", SOURCES)
def test_source_nat(rule: str) -> None:
    same(table(SNAT, rule))


@pytest.mark.parametrize("declaration", OTHERS)
def test_declaration(declaration: str) -> None:
    same(table(FILTER, "accept", f"{DECLARATIONS}\n{declaration}"))


@pytest.mark.parametrize("declaration", TEXT_ONLY)
def test_declaration_that_json_cannot_say(declaration: str) -> None:
    text = table(FILTER, "accept", declaration)
    same(text, json_too=False)
    with pytest.raises(Unsayable) as problem:
        nft_json.emit(ruleset(text))
    assert problem.value.span is not None


# ---- from the kernel's JSON back to text ---------------------------------------------------------------------------
# What `nft -j list` of 1.0.6 says of these is not enough to make them again.
LOSSY = ("tcp option @34", "typeof ip length", "500ms")
LISTED = [
    *(table(FILTER, rule) for rule in (*MATCHES, *STATEMENTS)),
    *(table(FORWARD, rule) for rule in FORWARDED),
    *(table(DNAT, rule) for rule in TRANSLATIONS),
    *(table(SNAT, rule) for rule in SOURCES),
    *(table(FILTER, "accept", f"{DECLARATIONS}\n{declaration}") for declaration in (*OTHERS, *TEXT_ONLY)),
]


@pytest.mark.parametrize("text", [text for text in LISTED if not any(each in text for each in LOSSY)])
def test_a_listing_becomes_text_that_lists_the_same(text: str) -> None:
    devices = ["dev0"]
    answer = libnftables.readback(text, "nft", devices)
    again = to_text(answer)
    assert listing(libnftables.readback(again.text, "nft", devices)) == listing(answer)
    ruleset(again.text)
    rules = [each["rule"] for each in answer["nftables"] if "rule" in each]
    assert list(again.handles.values()) == [(r["family"], r["table"], r["chain"], r["handle"]) for r in rules]


# ---- whole rulesets ------------------------------------------------------------------------------------------------
REGISTERED = """
table inet a { chain first { type filter hook input priority 0; }
}
table inet b { chain second { type filter hook input priority 0; }
}
table inet a { chain third { type filter hook input priority 0; policy drop; }
    set s { type mark; elements = { 1 }; }
}
"""


def test_registration_across_tables_is_kept() -> None:
    made = ruleset(REGISTERED)
    text = nft_text.emit(made)
    assert libnftables.check_text(text) is None
    assert [chain.name for chain in ruleset(text).registration] == ["first", "second", "third"]
    commands = nft_json.emit(made)
    assert libnftables.check_json(json.dumps(commands)) is None
    assert [chain.name for chain in ruleset(to_text(commands).text).registration] == ["first", "second", "third"]


def test_loading_twice_leaves_one_copy_and_other_tables_alone() -> None:
    made = ruleset(table(FILTER, "tcp dport 22 accept"))
    emitted = nft_text.emit(made)
    with nft.files(ruleset=emitted, other="table inet theirs {\n}\n") as paths, Namespace() as namespace:
        for path in (paths["other"], paths["ruleset"], paths["ruleset"]):
            assert namespace.run([nft.nft_path(), "-f", path]).stderr == ""
        listed = namespace.run([nft.nft_path(), "list", "ruleset"]).stdout
    assert listed.count("tcp dport 22 accept") == 1
    assert "table inet theirs" in listed


def test_a_netdev_chain_loads_with_its_devices() -> None:
    same(
        """
table netdev t {
    chain one { type filter hook ingress device "dev0" priority -500; policy drop; }
    chain two { type filter hook ingress device "dev1" priority 10;
        ip saddr 10.0.0.1 fwd to "dev1"
        udp dport 53 dup to "dev1"
    }
}
"""
    )
    several = """
table netdev t {
    chain c { type filter hook ingress devices = { "dev0", "dev1" } priority 10; policy drop; }
}
"""
    same(several, json_too=False)
    with pytest.raises(Unsayable):
        nft_json.emit(ruleset(several))


OBJECTS = {
    'ct timeout set "short"': "ct timeout short { protocol tcp; l3proto ip; policy = { established : 9, close : 4 }; }",
    'ct expectation set "expect"': "ct expectation expect { protocol udp; dport 99; timeout 2m; size 12; l3proto ip; }",
    'synproxy name "proxy"': "synproxy proxy { mss 1460; wscale 7; }",
}


@pytest.mark.parametrize("rule", OBJECTS)
def test_objects_that_json_cannot_declare(rule: str) -> None:
    same(table(FILTER, rule, OBJECTS[rule]), json_too=False)


def test_the_real_load_finds_what_a_check_does_not() -> None:
    loop = "table inet t {\n chain a {\n type filter hook input priority 0\n jump b\n }\n chain b {\n jump a\n }\n}\n"
    assert libnftables.check_text(loop) is not None
    assert libnftables.check_json("{") is not None
    assert libnftables.check_text("table inet t {\n}\n") is None


def test_corpus(corpus_dir: Path) -> None:
    """Real rulesets: what nft takes, it takes from us, as text and as JSON, and lists alike."""
    tried = 0
    for path in sorted((corpus_dir / "nft").glob("*.nft")):
        source = path.read_text(encoding="utf-8", errors="replace")
        if libnftables.check_text(source) is not None:
            continue
        made = load(str(path)).require()
        emitted = nft_text.emit(made, tag=False)
        assert libnftables.check_text(emitted) is None, path.name
        # The kernel gives chains without a name names of its own.
        if not re.search(r"(?:jump|goto)\s*\{", source):
            original = listing(libnftables.readback(source, "nft"))
            assert listing(libnftables.readback(emitted, "nft")) == original, path.name
        sayable = json.dumps(nft_json.emit(made, tag=False))
        assert libnftables.check_json(sayable) is None, path.name
        tried += 1
    assert tried > 20


@pytest.mark.parametrize(
    "case", sorted((Path(__file__).parents[1] / "golden" / "emit").iterdir()), ids=lambda c: c.name
)
def test_golden_files_load(case: Path) -> None:
    assert libnftables.check_text((case / "golden.nft").read_text()) is None
    if (case / "golden.json").is_file():
        assert libnftables.check_json((case / "golden.json").read_text()) is None
