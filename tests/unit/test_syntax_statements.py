"""Every kind of statement and selector: nothing in it is lost, and what makes no sense together is refused."""

from __future__ import annotations

import pytest

from fireproof.extensions.connlimit import ConnectionLimit
from fireproof.extensions.counter import Counter
from fireproof.extensions.limit import Limit
from fireproof.extensions.quota import Quota
from fireproof.model.expression import (
    Binary,
    Concat,
    Constant,
    Ct,
    Hash,
    Interval,
    MapLookup,
    Meta,
    Numgen,
    Payload,
    SetLiteral,
    SetReference,
    VerdictTarget,
)
from fireproof.model.statement import (
    Log,
    Mangle,
    Match,
    Meter,
    Nat,
    Notrack,
    ObjectReference,
    Queue,
    Reject,
    ResetOption,
    SetUpdate,
    Synproxy,
    Tproxy,
    Verdict,
    VerdictMap,
)
from tests.unit.syntax_reading import marked, problems, rule, rule_problem, statements

SETS = """\
 set s { type ipv4_addr; size 9; flags dynamic,timeout; }
 set pairs { type ipv4_addr . inet_service; size 9; flags dynamic; }
 map marks { type ipv4_addr : mark; size 9; flags dynamic; }
 map verdicts { type ipv4_addr : verdict; }
 counter hits { }
 quota budget { over 5 mbytes; }
 limit slow { rate 5/second; }
 ct helper ftp-std { type "ftp" protocol tcp; }
 ct timeout long { protocol tcp; policy = { established : 5 }; }
 ct expectation data { protocol tcp; dport 9; timeout 1m; size 3; }
 synproxy proxy { mss 1460 wscale 7; }
 flowtable fast { hook ingress priority 0; devices = { lo }; }
 chain other { }
"""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("accept", Verdict(VerdictTarget("accept"))),
        ("drop", Verdict(VerdictTarget("drop"))),
        ("return", Verdict(VerdictTarget("return"))),
        ("continue", Verdict(VerdictTarget("continue"))),
        ("jump other", Verdict(VerdictTarget("jump", "other"))),
        ("goto other", Verdict(VerdictTarget("goto", "other"))),
        ("counter", Counter()),
        ("counter packets 3 bytes 4", Counter(3, 4)),
        ("counter packets 0x3 bytes 010", Counter(3, 8)),
        ("counter name hits", ObjectReference("counter", "hits")),
        ('counter name "hits"', ObjectReference("counter", "hits")),
        ("quota name budget", ObjectReference("quota", "budget")),
        ("limit name slow", ObjectReference("limit", "slow")),
        ("synproxy name proxy", ObjectReference("synproxy", "proxy")),
        ('ct helper set "ftp-std"', ObjectReference("ct helper", "ftp-std")),
        ('ct timeout set "long"', ObjectReference("ct timeout", "long")),
        ('ct expectation set "data"', ObjectReference("ct expectation", "data")),
        ("limit rate 10/second", Limit(10, "second")),
        ("limit rate over 10/minute burst 7 packets", Limit(10, "minute", 7, over=True)),
        ("limit rate until 10/hour", Limit(10, "hour")),
        ("limit rate 3 kbytes/second burst 2 mbytes", Limit(3072, "second", 2 << 20, bytes=True)),
        ("quota 10 mbytes", Quota(10 << 20)),
        ("quota over 10 kbytes used 3 bytes", Quota(10 << 10, over=True, used=3)),
        ("ct count over 20", ConnectionLimit(20, over=True)),
        ("ct count 20", ConnectionLimit(20)),
        ("notrack", Notrack()),
        ("log", Log()),
        (
            'log prefix "a b" level warn flags tcp sequence,options flags ip options flags skuid',
            Log("a b", "warn", flags=("tcp sequence", "tcp options", "ip options", "skuid")),
        ),
        ("log prefix x group 3 snaplen 64 queue-threshold 5", Log("x", None, 3, 64, 5)),
        ("reject", Reject("icmpx", 1)),
        ("reject with icmpx type admin-prohibited", Reject("icmpx", 3)),
        ("reject with icmp host-unreachable", Reject("icmp", 1)),
        ("reject with icmpv6 type 4", Reject("icmpv6", 4)),
        ("reject with tcp reset", Reject("tcp-reset", None)),
        ("masquerade", Nat("masquerade")),
        ("masquerade random,persistent", Nat("masquerade", flags=("random", "persistent"))),
        ("dnat ip to 192.0.2.1", Nat("dnat", "ip", (Interval(0xC0000201, 0xC0000201),))),
        (
            "snat ip to 10.0.0.1-10.0.0.4 random",
            Nat("snat", "ip", (Interval(0x0A000001, 0x0A000004),), flags=("random",)),
        ),
        ("queue", Queue()),
        ("queue num 3", Queue((Interval(3, 3),))),
        ("queue flags bypass,fanout to 1-3", Queue((Interval(1, 3),), ("bypass", "fanout"))),
        ("queue num 1-3 fanout bypass", Queue((Interval(1, 3),), ("fanout", "bypass"))),
        ("reset tcp option sack-perm", ResetOption("sack-perm")),
        ("synproxy mss 1460 wscale 7 timestamp sack-perm", Synproxy(1460, 7, ("timestamp", "sack-perm"))),
    ],
)
def test_statements(text: str, expected: object) -> None:
    assert statements(text, declarations=SETS) == (expected,)


PORT = (Interval(8080, 8080),)
TCP = "meta l4proto tcp"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"{TCP} dnat ip to 192.0.2.1:8080", Nat("dnat", "ip", (Interval(0xC0000201, 0xC0000201),), PORT)),
        (f"{TCP} dnat ip6 to [::1]:8080", Nat("dnat", "ip6", (Interval(1, 1),), PORT)),
        (f"{TCP} dnat to :8080", Nat("dnat", None, None, PORT)),
        (f"{TCP} redirect to :8080", Nat("redirect", None, None, PORT)),
        (f"{TCP} redirect to :8080-8090 random", Nat("redirect", None, None, (Interval(8080, 8090),), ("random",))),
        (f"{TCP} masquerade to :8080", Nat("masquerade", None, None, PORT)),
        (f"{TCP} tproxy to :8080", Tproxy(None, None, PORT)),
        (f"{TCP} tproxy ip to 127.0.0.1:8080", Tproxy("ip", (Interval(0x7F000001, 0x7F000001),), PORT)),
    ],
)
def test_statements_with_ports(text: str, expected: object) -> None:
    assert statements(text)[1] == expected


def test_nat_through_maps() -> None:
    made = statements("dnat ip to tcp dport map { 80 : 10.0.0.1, 443 : 10.0.0.2 }")[0]
    assert isinstance(made, Nat)
    assert isinstance(made.address, MapLookup)
    assert (made.address.datatype, made.pair) == ("ipv4_addr", False)
    made = statements("dnat ip to tcp dport map { 80 : 10.0.0.1 . 8080, 443 : 10.0.0.2 . 8443-8444 }")[0]
    assert isinstance(made, Nat)
    assert isinstance(made.address, MapLookup)
    assert (made.address.datatype, made.pair) == ("ipv4_addr . inet_service", True)
    made = statements("dnat numgen inc mod 2 map { 0 : 10.0.0.1, 1 : 10.0.0.2 }", "ip")[0]
    assert isinstance(made, Nat)
    assert isinstance(made.address, MapLookup)
    assert isinstance(made.address.key, Numgen)


def test_set_updates_keep_everything_inside() -> None:
    made = statements("update @s { ip saddr timeout 30s limit rate over 5/minute } drop", declarations=SETS)[0]
    assert isinstance(made, SetUpdate)
    assert (made.operation, made.set, made.timeout) == ("update", "s", 30_000)
    assert made.stateful == (Limit(5, "minute", over=True),)
    made = statements("add @s { ip saddr counter ct count over 3 }", declarations=SETS)[0]
    assert isinstance(made, SetUpdate)
    assert made.stateful == (Counter(), ConnectionLimit(3, over=True))
    made = statements("add @pairs { ip saddr . tcp dport }", declarations=SETS)[0]
    assert isinstance(made, SetUpdate)
    assert isinstance(made.key, Concat)
    made = statements("update @marks { ip saddr : meta mark }", declarations=SETS)[0]
    assert isinstance(made, SetUpdate)
    assert isinstance(made.data, Meta)
    made = statements("set update ip saddr timeout 5s @s", declarations=SETS)[0]
    assert isinstance(made, SetUpdate)
    assert (made.set, made.timeout) == ("s", 5000)
    made = statements("add @s { ip saddr & 255.255.255.0 }", declarations=SETS)[0]
    assert isinstance(made, SetUpdate)
    assert isinstance(made.key, Binary)


def test_meters() -> None:
    made = statements("meter m size 128 { ip saddr timeout 10s limit rate 3/second }")[0]
    assert made == Meter("m", 128, Payload("nh", 96, 32, "ipv4_addr", "ip", "saddr"), 10_000, (Limit(3, "second"),))


def test_mangling() -> None:
    made = statements("meta mark set 0x10")[0]
    assert made == Mangle(Meta("mark", "mark", 32), Constant(16, "mark", 32))
    made = statements("ct mark set meta mark | 0x10")[0]
    assert isinstance(made, Mangle)
    assert isinstance(made.target, Ct)
    assert isinstance(made.value, Binary)
    made = statements("meta mark set ip saddr map { 10.0.0.1 : 1, 10.0.0.2 : 2 }")[0]
    assert isinstance(made, Mangle)
    assert isinstance(made.value, MapLookup)
    made = statements("meta mark set jhash ip saddr . tcp dport mod 7 seed 3 offset 9")[0]
    assert isinstance(made, Mangle)
    assert isinstance(made.value, Hash)
    assert (made.value.modulus, made.value.seed, made.value.offset) == (7, 3, 9)
    made = statements("ip daddr set 192.0.2.1")[0]
    assert made == Mangle(Payload("nh", 128, 32, "ipv4_addr", "ip", "daddr"), Constant(0xC0000201, "ipv4_addr", 32))


def test_verdict_maps() -> None:
    made = statements("ct state vmap { established : accept, new : jump other, invalid : drop }", declarations=SETS)[0]
    assert isinstance(made, VerdictMap)
    assert isinstance(made.map, SetLiteral)
    assert [element.data for element in made.map.elements] == [
        VerdictTarget("accept"), VerdictTarget("jump", "other"), VerdictTarget("drop"),
    ]  # fmt: skip
    made = statements("ip saddr vmap @verdicts", declarations=SETS)[0]
    assert made == VerdictMap(Payload("nh", 96, 32, "ipv4_addr", "ip", "saddr"), SetReference("verdicts"))
    made = statements("iifname . oifname vmap { a . b : accept, * : drop }")[0]
    assert isinstance(made, VerdictMap)
    assert isinstance(made.map, SetLiteral)
    assert made.map.elements[1].key is None


def test_comments_of_rules() -> None:
    assert rule('accept comment "a; b # {c}"').comment == "a; b # {c}"
    assert rule("accept comment word").comment == "word"
    assert "at most 128 bytes" in rule_problem(f'accept comment "{"a" * 129}"').message


@pytest.mark.parametrize(
    "selector",
    """\
ip version|ip hdrlength|ip dscp|ip ecn|ip length|ip id|ip frag-off|ip ttl|ip protocol|ip checksum|ip saddr|ip daddr
ip6 version|ip6 dscp|ip6 flowlabel|ip6 length|ip6 nexthdr|ip6 hoplimit|ip6 saddr|ip6 daddr
tcp sport|tcp sequence|tcp ackseq|tcp doff|tcp window|tcp checksum|tcp urgptr|tcp flags
udp length|udplite csumcov|sctp vtag|dccp type|th sport|icmp type|icmp mtu|icmpv6 max-delay|igmp group
ah spi|esp sequence|comp cpi|ether type|vlan pcp|hbh nexthdr|rt type|frag id|dst hdrlength|mh type|srh tag|srh sid[1]
rt0 addr[2]|tcp option maxseg size|tcp option timestamp tsval|tcp option @255,0,16|ip option rr ptr
sctp chunk data tsn|@th,16,16|@nh,0,8|@ll,96,16|@ih,0,32
meta length|meta protocol|meta nfproto|meta l4proto|meta mark|mark|meta iif|meta skuid|skgid|meta cpu|meta cgroup
meta random|meta ipsec|meta time|meta day|meta hour|meta pkttype|meta iifgroup|oifgroup|meta iifkind|meta sdif
ct mark|ct zone|ct id|ct original zone|ct expiration|ct original packets|ct reply bytes|ct avgpkt
ct original proto-src|ct original ip saddr|ct reply ip6 daddr|ct l3proto|ct original protocol
fib saddr . iif oif|fib daddr type|fib daddr . mark . iif type|rt classid|rt ip nexthop|rt tcp mtu
socket mark|socket transparent|numgen inc mod 5|numgen random mod 5 offset 3
jhash ip saddr mod 7|symhash mod 7|ipsec in reqid|ipsec out spnum 1 ip saddr""".replace("\n", "|").split("|"),
)
def test_selectors(selector: str) -> None:
    if selector == "rt tcp mtu":
        assert rule_problem(f"{selector} 1").message == "rt has no key `mtu`"
        return
    made = statements(f"{selector} 1 accept" if "addr" not in selector else f"{selector} != 0 accept")
    assert isinstance(made[0], Match)
    assert len(made) == 2


@pytest.mark.parametrize(
    ("text", "message", "mark", "help"),
    [
        ("tcp dprot 22", "tcp has no field `dprot`", "dprot", "did you mean `dport`"),
        ("meta iifnam eth0", "meta has no key `iifnam`", "iifnam", "`iifname`"),
        ("ct stat new", "ct has no key `stat`", "stat", "`state`"),
        ("tcp option maxsize size 1", "tcp has no option `maxsize`", "maxsize", "`maxseg`"),
        ("tcp option maxseg sise 1", "`tcp option maxseg` has no field `sise`", "sise", "`size`"),
        ("tcp option 256 exists", "tcp has no option `256`", "256", ""),
        ("ct original mark 1", "`ct mark` is the same in both directions", "mark", "leave it out"),
        ("ct proto-src 1", "`ct proto-src` needs a direction", "proto-src", "ct original proto-src"),
        ("fib saddr tipe local", "fib has no result `tipe`", "tipe", "`type`"),
        ("fib mark type local", "fib needs exactly one of saddr and daddr", "mark", ""),
        ("numgen sometimes mod 2 0", "numgen has no mode `sometimes`", "sometimes", "inc"),
        ("numgen inc mod 0 0", "the modulus must be at least 1", "0", ""),
        ("meta ibrname br0", "`meta ibrname` is only known in the bridge family", "ibrname", ""),
        ("rt0 addr ::1", "`rt0 addr` is numbered from 1 to 2", "addr", ""),
        ("ipsec in spnum 256 reqid 1", "spnum is a number up to 255", "256", ""),
        ('osf ttl nottl name "Linux"', "osf compares no ttl by `nottl`", "nottl", "loose"),
        ('osf name "sixteen_letters_"', "`osf name` has at most 15 bytes", '"sixteen_letters_"', ""),
        ("meta l4proto set 6", "this can be matched but not set", "l4proto", ""),
        ("ip saddr . ip daddr set 1.1.1.1", "this can be matched but not set", "ip saddr . ip daddr", ""),
        ("meta mark set 1, 2", "a single value is needed here", "1", ""),
        ("masquerade to 1.2.3.4", "`masquerade` chooses the address itself", "1.2.3.4", ":PORT"),
        ("dnat ip to 1.2.3.9-1.2.3.1", "this range ends before it starts", "1.2.3.9-1.2.3.1", "swap"),
        ("snat tcp to 1.2.3.4", "NAT works on ip or ip6", "tcp", ""),
        ("tcp dport 1 tproxy ether to :5", "tproxy works on ip or ip6", "ether", ""),
        ("fwd arp to 1.2.3.4 device lo", "forwarded to an ip or ip6 address", "arp", ""),
        ("log level noisy", "`noisy` is not a log level", "noisy", ""),
        ("log level info group 2", "a message goes to a group or to the system log", "info group 2", ""),
        ("log level audit group 2", "`level audit` goes with no other option", "audit group 2", ""),
        (f'log prefix "{"p" * 128}"', "a log prefix has at most 127 bytes", f'"{"p" * 128}"', "shorten"),
        ("reject with tcp type 3", "`reject with tcp` is not known", "tcp", "tcp reset"),
        ("reject with icmp reset", "only TCP has a reset", "icmp", ""),
        ("reset tcp option meh", "there is no option `meh` to reset", "meh", ""),
        ("queue to meta oif", "a queue is a number, or chosen by", "oif", ""),
        ("queue num 4-3", "a range of queues goes from a lower to a higher", "4-3", ""),
        ("limit rate 0/second", "a rate of 0 lets nothing through", "0", "drop"),
        ("limit rate 5/fortnight", "`fortnight` is not a unit of time", "fortnight", ""),
        ("quota 5 tbytes", "`tbytes` is not a unit of size", "tbytes", "bytes"),
        ("ip saddr map { 1.1.1.1 : 2 }", "unexpected `map`", "map", "`vmap`"),
        ("ip saddr vmap { 1.1.1.1 : 2 }", "a verdict is needed here", "2", "accept"),
        ("ip saddr vmap { 1.1.1.1 }", "this element of a map has no value", "1.1.1.1", "key : value"),
        ("meta mark set ip saddr map { 1.1.1.1 : drop }", "a value is needed here, not a verdict", "drop", "vmap"),
        ("zone lan accept", "no interface belongs to a zone `lan`", "lan", "host"),
        ("xyz", "unexpected `xyz`", "xyz", ""),
    ],
)  # fmt: skip
def test_what_is_wrong_and_where(text: str, message: str, mark: str, help: str) -> None:
    found = rule_problem(f"  {text}")
    assert message in found.message
    assert marked(found) == mark
    assert help in found.help
    assert found.span is not None
    assert found.span.line == 4


@pytest.mark.parametrize(
    "text",
    [
        "ip saddr 1.1.1.1 ip6 saddr ::1 accept",
        "tcp dport 1 udp dport 1",
        "meta l4proto udp tcp dport 1",
        "ip protocol icmp icmpv6 type echo-request",
        "meta nfproto ipv6 ip saddr 1.1.1.1",
        "icmp type echo-request icmp mtu 5",
        "meta l4proto 17 reject with tcp reset",
        "ip6 saddr ::1 reject with icmp type host-unreachable",
        "ip6 daddr ::1 dnat to 10.1.2.3",
        "meta nfproto ipv6 ct original ip saddr 1.2.3.4",
        "frag id 1 ip saddr 1.1.1.1",
    ],
)
def test_protocols_that_exclude_each_other(text: str) -> None:
    assert rule_problem(text).code == "conflict"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("redirect to :80", "a port needs a transport protocol"),
        ("th dport 53 redirect to :80", "a port needs a transport protocol"),
        ("meta l4proto != tcp redirect to :80", "a port needs a transport protocol"),
        ("dnat to 1.2.3.4", "ip or ip6 is not known here"),
        ("ct original saddr 1.1.1.1", "ip or ip6 is not known here"),
        ("rt nexthop 1.1.1.1", "ip or ip6 is not known here"),
        ("tproxy ip to 1.1.1.1", "tproxy needs a match on tcp or udp"),
        ("accept drop", "this is never reached"),
        ("reject counter", "this is never reached"),
        ("dnat ip to 1.2.3.4 log", "this is never reached"),
        ("jump other accept", "this is never reached"),
        ("queue accept", "this is never reached"),
    ],
)
def test_what_needs_something_before_or_nothing_behind(text: str, message: str) -> None:
    assert message in rule_problem(text, declarations=" chain other { }").message


@pytest.mark.parametrize(
    "text",
    [
        "meta l4proto { tcp, udp } redirect to :80",
        "tcp dport 1 meta l4proto udp accept",
        "meta protocol ip6 ip saddr 1.1.1.1",
        "ip daddr 1.2.3.4 dnat to 10.0.0.1",
        "continue accept",
        "tcp dport vmap { 22 : drop } accept",
        "meta l4proto tcp tproxy to :80 accept",
        "ip protocol tcp dnat to 10.0.0.1:80",
        "reject with tcp reset",
        "icmpv6 type echo-request ip6 saddr ::1 accept",
        "ip saddr . tcp dport { 1.1.1.1 . 22 } redirect to :80",
    ],
)
def test_what_nft_lets_pass(text: str) -> None:
    statements(text)


def test_icmpx_is_for_both_families_only() -> None:
    assert "both families" in rule_problem("reject with icmpx type 1", "ip").message


def test_sets_and_maps_of_another_kind() -> None:
    def messages(text: str) -> list[str]:
        return [d.message for d in problems(f"table ip t {{\n{SETS}\nchain c {{\n{text}\n}}\n}}\n")]

    assert messages("tcp dport @s accept") == ["`s` holds ipv4_addr, but this is inet_service"]
    assert messages("ip saddr @pairs accept") == ["the elements of `pairs` have 2 parts, not 1"]
    assert messages("ip saddr @verdicts accept") == ["`verdicts` is a map, and a set is needed here"]
    assert messages("ip saddr vmap @s") == ["`s` is a set, and a map is needed here"]
    assert messages("ip saddr @gone accept") == ["there is no set `gone` in table `ip t`"]
    assert messages("jump gone") == ["there is no chain `gone` in table `ip t`"]
    assert messages("counter name gone") == ["there is no counter `gone` in this table"]
    assert messages("flow add @gone") == ["there is no flowtable `gone` in this table"]
