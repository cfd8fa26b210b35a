"""Named sets, maps and objects: types, settings, elements, and what the kernel would refuse in them."""

from __future__ import annotations

import pytest

from fireproof.extensions.connlimit import ConnectionLimit
from fireproof.extensions.counter import Counter
from fireproof.extensions.limit import Limit
from fireproof.extensions.quota import Quota
from fireproof.model.expression import Element, Interval, Name, VerdictTarget
from tests.unit.syntax_reading import marked, problem, problems, ruleset, table


def one(address: str) -> int:
    a, b, c, d = map(int, address.split("."))
    return a << 24 | b << 16 | c << 8 | d


def test_everything_a_set_can_say() -> None:
    named = table("""\
 set s {
    typeof ip saddr . tcp dport
    flags dynamic,timeout
    timeout 1h30m
    gc-interval 10s
    size 1000
    policy memory
    counter
    ct count over 3
    comment "what; it {is} for"
    elements = { 10.0.0.1 . 22 timeout 5s expires 3s comment "one" counter packets 1 bytes 2 }
 }""").sets["s"]
    assert (named.key, named.key_bits) == (("ipv4_addr", "inet_service"), (32, 16))
    assert named.typeof == "ip saddr . tcp dport"
    assert named.flags == ("dynamic", "timeout")
    assert (named.timeout, named.gc_interval, named.size, named.policy) == (5_400_000, 10_000, 1000, "memory")
    assert named.stateful == (Counter(), ConnectionLimit(3, over=True))
    assert named.comment == "what; it {is} for"
    key = (Interval(one("10.0.0.1"), one("10.0.0.1")), Interval(22, 22))
    assert named.elements == [Element(key, None, 5000, 3000, "one", (Counter(1, 2),))]


def test_elements_of_every_form() -> None:
    found = table("""\
 define more = { 10.3.0.0/16, 10.4.0.1 }
 set s {
    type ipv4_addr; flags interval;
    elements = { 10.0.0.1, 10.1.0.0/16 , # a remark, with { marks }
                 10.2.0.1-10.2.0.9,
                 # another
                 $more, { 10.5.0.1, 10.5.0.2 }, }
 }""").sets["s"]
    ranges = [element.key[0] for element in found.elements if element.key]
    assert ranges == [
        Interval(one("10.0.0.1"), one("10.0.0.1")),
        Interval(one("10.1.0.0"), one("10.1.255.255")),
        Interval(one("10.2.0.1"), one("10.2.0.9")),
        Interval(one("10.3.0.0"), one("10.3.255.255")),
        Interval(one("10.4.0.1"), one("10.4.0.1")),
        Interval(one("10.5.0.1"), one("10.5.0.1")),
        Interval(one("10.5.0.2"), one("10.5.0.2")),
    ]


def test_maps() -> None:
    found = table("""\
 map verdicts { type ifname : verdict; elements = { lo : accept, "wg*" : jump other, * : drop }; }
 map ports { type inet_service : ipv4_addr . inet_service; elements = { 80 : 10.0.0.1 . 8080 }; }
 map names { typeof tcp dport : counter; elements = { 22 : "hits" }; }
 counter hits { }
 chain other { }""").sets
    assert [(e.key, e.data) for e in found["verdicts"].elements] == [
        ((Name("lo"),), VerdictTarget("accept")),
        ((Name("wg", prefix=True),), VerdictTarget("jump", "other")),
        (None, VerdictTarget("drop")),
    ]
    assert found["ports"].elements[0].data == (
        Interval(one("10.0.0.1"), one("10.0.0.1")), Interval(8080, 8080),
    )  # fmt: skip
    assert (found["names"].data, found["names"].elements[0].data) == (("counter",), "hits")


def test_a_whole_list_in_a_variable() -> None:
    found = table("define d = { 1, 2-4 }\nset s { type inet_service; flags interval; elements = $d; }").sets["s"]
    assert len(found.elements) == 2


def test_a_repeated_set_adds_to_the_first() -> None:
    found = (
        ruleset("""\
table ip t { set s { type ipv4_addr; elements = { 10.0.0.1 }; }; }
table ip t { set s { type ipv4_addr; elements = { 10.0.0.2 }; }; }
add element ip t s { 10.0.0.3, 10.0.0.4 }
delete element ip t s { 10.0.0.1 }
""")
        .tables["ip", "t"]
        .sets["s"]
    )
    assert [e.key[0].low & 255 for e in found.elements if e.key and isinstance(e.key[0], Interval)] == [2, 3, 4]


def test_merged_sets_lose_parts_of_their_intervals() -> None:
    found = (
        ruleset("""\
table ip t { set s { type ipv4_addr; flags interval; auto-merge; elements = { 10.0.0.0/24, 10.0.1.0/24, 10.0.0.9 }; }; }
delete element ip t s { 10.0.0.128/25 }
""")
        .tables["ip", "t"]
        .sets["s"]
    )
    assert [e.key for e in found.elements] == [
        (Interval(one("10.0.0.0"), one("10.0.0.127")),),
        (Interval(one("10.0.1.0"), one("10.0.1.255")),),
    ]


@pytest.mark.parametrize(
    ("body", "message", "mark"),
    [
        ("set s { type ipv4_adr; }", "there is no type `ipv4_adr`", "ipv4_adr"),
        ("set s { type ipv4_addr : mark; }", "only a map has values", "set s"),
        ("map s { type ipv4_addr; }", "the map `s` has no type for its values", "map s"),
        ("set s { flags interval; }", "the set `s` has no type", "set s"),
        ("set s { type integer; }", "`integer` has no fixed size", "integer"),
        ("set s { type ipv4_addr; flags intervall; }", "a set has no flag `intervall`", "intervall"),
        ("set s { type ipv4_addr; policy speed; }", "a set's policy is memory or performance", "speed"),
        ("set s { type ipv4_addr; elements = { 10.0.0.1, ssh, 10.0.0.2 }; }", "`ssh` is a host name", "ssh"),
        ("set s { type inet_service; elements = { 22, 99999, 80 }; }", "99999 is too large", "99999"),
        ("set s { type inet_service; elements = { 22, 80 81 }; }", "unexpected `81`", "81"),
        ("set s { type inet_service; elements = { 22 } x; }", "unexpected `x` after the elements", "x"),
        ("set s { type inet_service; elements = { 22 : 23 }; }", "a set has no values", "23"),
        ("set s { type inet_service . inet_service; elements = { 22 }; }", "2 values joined by", "22"),
        ("map s { type inet_service : verdict; elements = { 22 }; }", "this element of a map has no value", "22"),
        ("map s { type inet_service : verdict; elements = { 22 : 23 }; }", "a verdict is needed here", "23"),
        ("set s { type inet_service; elements = { 2-5 }; }", "holds ranges but has no `flags", "elements = { 2-5 }"),
        ("set s { type inet_service; flags interval; elements = { 22-25, 24 }; }", "overlap", "24"),
        ("set s { type ipv4_addr; flags interval; elements = { 10.0.0.0/8, 10.1.0.0/16 }; }", "overlap", "10.1.0.0/16"),
        ("map s { type mark : mark; elements = { 1 : 1, 1 : 2 }; }", "two values", "elements = { 1 : 1, 1 : 2 }"),
        ("set s { type ipv4_addr; }\nmap s { type ipv4_addr : mark; }", "`s` is a set already", "map s"),
        ("set s { type ipv4_addr; }\nset s { type ipv6_addr; }", "already has another type", "set s"),
        ("set s s { type ipv4_addr; }", "unexpected `s`", "s"),
        ("set s { type ipv4_addr; frobnicate; }", "unexpected `frobnicate`", "frobnicate"),
        ("counter c { rate 5/second; }", "this is no setting of a counter", "rate 5/second"),
        ("counter c d { }", "unexpected `d`", "d"),
        ("quota q { }", "the quota `q` has no amount", "quota q"),
        ("limit l { }", "the limit `l` has no amount", "limit l"),
        ("ct helper h { }", "the ct helper `h` has no type", "ct helper h"),
        ("set s { type mark; limit name l; }", "not named ones", "l"),
        ("quota- q { 5 mbytes; }", "unexpected `quota-`", "quota-"),
        ("chain- c { }", "unexpected `chain-`", "chain-"),
        ("ct herper h { }", "there is no object `ct herper`", "herper"),
        ("ct timeout x { protocol tcp; policy = { estalbished : 5 }; }", "no conntrack state `est", "ct timeout x"),
        ("ct timeout x { protocol udp; policy = { established : 5 }; }", "udp has no conntrack state", "ct timeout x"),
        ("ct expectation x { protocol tcp; dport 5; }", "the ct expectation `x` has no timeout", "ct expectation x"),
        ("flowtable f { devices = { lo }; }", "the flowtable `f` has no hook", "flowtable f"),
        ("flowtable f { hook egress priority 0; }", "a flowtable hooks ingress", "egress"),
    ],
)  # fmt: skip
def test_what_is_refused(body: str, message: str, mark: str) -> None:
    found = problems(f"table inet t {{\n{body}\n}}\n")
    assert len(found) == 1
    assert message in found[0].message
    assert marked(found[0]) == mark


def test_a_bad_element_leaves_the_others_readable() -> None:
    found = problem("table ip t {\nset s { type inet_service; elements = { 1,\n2,\n99999 } \n}\n}\n")
    assert found.span is not None
    assert (found.span.line, found.span.column) == (4, 1)


def test_named_objects() -> None:
    objects = table("""\
 counter c { packets 3 bytes 4; comment "x"; }
 quota q { over 10 mbytes used 5 bytes; }
 limit l { rate over 5/minute burst 9 packets; }
 ct helper h { type "ftp" protocol tcp; l3proto ip; }
 ct timeout o { protocol udp; l3proto ip; policy = { replied : 14, unreplied : 1m }; }
 ct expectation e { protocol udp; dport 9876; timeout 2m; size 12; }
 synproxy p { mss 1460 wscale 7; timestamp sack-perm; }
 secmark m { "system_u:object_r:x:s0"; }
""").objects  # fmt: skip
    assert objects["counter", "c"].statement == Counter(3, 4)
    assert objects["counter", "c"].comment == "x"
    assert objects["quota", "q"].statement == Quota(10 << 20, over=True, used=5)
    assert objects["limit", "l"].statement == Limit(5, "minute", 9, over=True)
    assert objects["ct helper", "h"].settings == {"type": "ftp", "protocol": "tcp", "l3proto": "ip"}
    assert objects["ct timeout", "o"].settings["policy"] == {"replied": 14, "unreplied": 60}
    assert objects["ct expectation", "e"].settings == {
        "protocol": "udp", "dport": 9876, "timeout": 120_000, "size": 12,
    }  # fmt: skip
    assert objects["synproxy", "p"].settings == {"mss": 1460, "wscale": 7, "flags": ["timestamp", "sack-perm"]}
    assert objects["secmark", "m"].settings == {"context": "system_u:object_r:x:s0"}


def test_values_may_be_ranges() -> None:
    found = table("""\
 map m { type ipv4_addr : interval ipv4_addr; elements = { 10.0.0.1 : 10.1.0.1-10.1.0.9 }; }
 map n { typeof tcp dport : interval ip daddr; elements = { 22 : 10.1.0.0/16 }; }""").sets
    assert found["m"].elements[0].data == (Interval(one("10.1.0.1"), one("10.1.0.9")),)
    assert (found["n"].data_typeof, found["n"].data) == ("ip daddr", ("ipv4_addr",))


def test_a_synproxy_on_several_lines() -> None:
    found = table("synproxy p { mss 1460; wscale 7; timestamp sack-perm; }").objects["synproxy", "p"]
    assert found.settings == {"mss": 1460, "wscale": 7, "flags": ["timestamp", "sack-perm"]}


def test_flowtables() -> None:
    found = table("flowtable f { hook ingress priority filter + 5; devices = { lo, eth0 }; flags offload; counter; }")
    flowtable = found.flowtables["f"]
    assert (flowtable.priority, flowtable.devices) == (5, ("lo", "eth0"))
    assert (flowtable.flags, flowtable.counter) == (("offload",), True)
