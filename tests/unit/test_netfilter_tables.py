"""The fact tables fit together: every name one table uses exists in the other, widths agree, lookups go both ways."""

import subprocess
import sys
from itertools import pairwise

import pytest

from fireproof.netfilter import hooks, keys, reject
from fireproof.netfilter.datatypes import DATATYPES, NOT_SET_TYPES
from fireproof.netfilter.headers import (
    EXTENSION_HEADERS,
    HEADERS,
    IP_OPTIONS,
    SCTP_CHUNKS,
    TCP_OPTION_ALIASES,
    TCP_OPTIONS,
    HeaderField,
)
from fireproof.netfilter.protocols import PROTOCOLS, protocol_name
from fireproof.netfilter.services import SERVICES, service_name

KINDS = {
    *("integer", "address4", "address6", "ether", "bitmask", "symbol", "string", "boolean", "verdict"),
    *("time", "date", "hour", "day"),
}
KEY_TABLES = {
    "meta": keys.META_KEYS,
    "ct": keys.CT_KEYS,
    "rt": keys.RT_KEYS,
    "socket": keys.SOCKET_KEYS,
    "fib": keys.FIB_RESULTS,
    "osf": keys.OSF_KEYS,
    "ipsec": keys.IPSEC_KEYS,
}


def every_field() -> list[tuple[str, HeaderField]]:
    headers = [(h.name, f) for h in HEADERS.values() for f in h.fields.values()]
    options = [
        (o.name, f)
        for table in (EXTENSION_HEADERS, TCP_OPTIONS, IP_OPTIONS, SCTP_CHUNKS)
        for o in table.values()
        for f in o.fields.values()
    ]
    return headers + options


def test_every_datatype_is_consistent() -> None:
    for name, datatype in DATATYPES.items():
        assert datatype.name == name
        assert datatype.kind in KINDS, name
        for symbol, value in datatype.symbols.items():
            assert 0 <= value < (1 << datatype.bits), f"{name} {symbol}"
    assert set(DATATYPES) > NOT_SET_TYPES


@pytest.mark.parametrize(("header", "field"), every_field(), ids=lambda x: x if isinstance(x, str) else x.name)
def test_a_field_is_as_wide_as_its_type(header: str, field: HeaderField) -> None:
    width = DATATYPES[field.datatype].bits
    assert width in (0, field.bits)
    assert field.bits > 0
    if field.types:
        assert header in ("icmp", "icmpv6")
        assert set(field.types) <= set(DATATYPES[f"{header}_type"].symbols.values())


@pytest.mark.parametrize("name", ["ip", "ip6", "tcp", "udp", "udplite", "sctp", "arp", "ether", "ah", "esp", "comp"])
def test_a_fixed_header_has_neither_gap_nor_overlap(name: str) -> None:
    fields = sorted(HEADERS[name].fields.values(), key=lambda f: f.offset)
    assert fields[0].offset == 0
    for before, after in pairwise(fields):
        assert before.offset + before.bits == after.offset, f"{before.name} {after.name}"


def test_header_sizes() -> None:
    sizes = {h.name: max(f.offset + f.bits for f in h.fields.values()) // 8 for h in HEADERS.values()}
    expected = {"ether": 14, "arp": 28, "ip": 20, "ip6": 40, "icmp": 8, "icmpv6": 8, "tcp": 20, "udp": 8, "vlan": 4}
    assert {name: sizes[name] for name in expected} == expected


def test_header_dependencies_name_the_protocol() -> None:
    for name, header in HEADERS.items():
        required = dict(header.requires)
        if "l4proto" in required:
            assert PROTOCOLS[name] == required["l4proto"]
        assert header.base == {"ether": "ll", "vlan": "ll", "arp": "nh", "ip": "nh", "ip6": "nh"}.get(name, "th")
    assert HEADERS["th"].requires == ()
    for option in EXTENSION_HEADERS.values():
        assert option.requires == (("nfproto", 10),)


def test_option_aliases_lead_somewhere() -> None:
    for alias, name in TCP_OPTION_ALIASES.items():
        assert alias not in TCP_OPTIONS
        assert name in TCP_OPTIONS


@pytest.mark.parametrize("table", KEY_TABLES)
def test_keys_have_known_types(table: str) -> None:
    for name, key in KEY_TABLES[table].items():
        datatype = DATATYPES[key.datatype]
        assert key.name == name
        # A key may be narrower or wider than its type: `ct expiration` has 32 bits, the type time 64; a boolean has 8.
        if datatype.bits and datatype.kind not in ("time", "boolean"):
            assert key.bits == datatype.bits, name
        if datatype.bits and datatype.bits > 8:
            assert key.host_order == datatype.host_order, name
        assert key.direction in ("no", "optional", "required")
        assert key.direction == "no" or table == "ct"


def test_service_names_go_both_ways() -> None:
    assert (SERVICES["ssh"], SERVICES["http"], SERVICES["www"], SERVICES["domain"]) == (22, 80, 80, 53)
    # known for UDP alone, and two names on one port
    assert (SERVICES["tftp"], SERVICES["syslog"], SERVICES["shell"]) == (69, 514, 514)
    assert (service_name(514), service_name(80), service_name(5)) == ("shell", "http", None)
    assert {service_name(port) for port in SERVICES.values()} <= set(SERVICES)
    assert all(SERVICES[name] == port for port in range(65536) if (name := service_name(port)) is not None)


def test_protocol_names_go_both_ways() -> None:
    assert [protocol_name(n) for n in (0, 1, 6, 17, 50, 58, 108, 254)] == [
        *("ip", "icmp", "tcp", "udp", "esp", "ipv6-icmp", "ipcomp"),
        None,
    ]
    assert (PROTOCOLS["icmpv6"], PROTOCOLS["comp"], PROTOCOLS["OSPFIGP"]) == (58, 108, 89)
    assert "mptcp" not in PROTOCOLS
    assert all(0 <= number < 256 for number in PROTOCOLS.values())


def test_chain_types_stand_at_hooks_of_their_family() -> None:
    for (family, _), at in hooks.CHAIN_TYPES.items():
        assert set(at) <= set(hooks.HOOKS[family])
    assert set(hooks.NAMED_PRIORITIES) == {(f, h) for f in hooks.FAMILIES for h in hooks.HOOKS[f]}
    for named in hooks.NAMED_PRIORITIES.values():
        assert "filter" in named


def test_statements_known_by_their_place() -> None:
    assert hooks.statement_allowed("dnat", "ip", "nat", "prerouting")
    assert not hooks.statement_allowed("dnat", "ip", "filter", "prerouting")
    assert not hooks.statement_allowed("snat", "inet", "nat", "output")
    assert hooks.statement_allowed("snat", "inet", "nat", "input")
    assert not hooks.statement_allowed("reject", "inet", "filter", "postrouting")
    assert hooks.expression_allowed("tcp dport", "ip", "filter", "input")
    assert not hooks.expression_allowed("socket", "ip", "filter", "forward")
    with pytest.raises(KeyError):
        hooks.statement_allowed("teleport", "ip", "filter", "input")


def test_reject_defaults_are_legal_kinds() -> None:
    codes = {"icmp": reject.ICMP_CODES, "icmpv6": reject.ICMPV6_CODES, "icmpx": reject.ICMPX_CODES}
    for family, (kind, code) in reject.DEFAULT_REJECT.items():
        assert kind in reject.REJECT_KINDS[family]
        assert codes[kind]["port-unreachable"] == code
    assert set(reject.ICMPX_TO_ICMP) == set(reject.ICMPX_TO_ICMPV6) == set(reject.ICMPX_CODES.values())


def test_services_are_imported_only_on_demand() -> None:
    code = (
        "import sys; from fireproof.netfilter import datatypes, headers, keys, hooks, reject, protocols;"
        "sys.exit('fireproof.netfilter.services' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
