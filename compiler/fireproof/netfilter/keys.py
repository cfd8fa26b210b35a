"""What nft can read about a packet besides its bytes: meta, ct, rt, socket, fib, osf and ipsec keys.

Types and widths are nft's own (`nft describe`); settable is what Linux 6.18 accepts after `set`. Byte order matters to
anyone who masks or shifts a value: it is the type's, except where a plain integer says otherwise here.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Key:
    """One key.

    `unqualified` keys may be written without `meta`. `settable` are those with a `set` statement, `readable` is False
    for the ones that only have that. `direction` of a ct key is "no", "optional" or "required" (`ct original …`).
    `host_order` is the byte order of the value in the kernel's register.
    """

    name: str
    datatype: str
    bits: int
    settable: bool = False
    unqualified: bool = False
    direction: str = "no"
    host_order: bool = True
    readable: bool = True


def _by_name(*keys: Key) -> dict[str, Key]:
    return {key.name: key for key in keys}


META_KEYS: Mapping[str, Key] = _by_name(
    Key("length", "integer", 32),
    Key("protocol", "ether_type", 16, host_order=False),
    Key("nfproto", "nf_proto", 8),
    Key("l4proto", "inet_proto", 8),
    # `meta priority set` classifies for traffic control; not written without `meta`.
    Key("priority", "classid", 32, settable=True),
    Key("mark", "mark", 32, settable=True, unqualified=True),
    Key("iif", "iface_index", 32, unqualified=True),
    Key("oif", "iface_index", 32, unqualified=True),
    Key("iifname", "ifname", 128, unqualified=True),
    Key("oifname", "ifname", 128, unqualified=True),
    Key("iiftype", "iface_type", 16, unqualified=True),
    Key("oiftype", "iface_type", 16, unqualified=True),
    Key("skuid", "uid", 32, unqualified=True),
    Key("skgid", "gid", 32, unqualified=True),
    # nft parses `meta nftrace 1` as a match; the kernel only knows `meta nftrace set 1`.
    Key("nftrace", "integer", 1, settable=True, unqualified=True, readable=False),
    Key("rtclassid", "realm", 32, unqualified=True),
    # Older spellings of ibrname and obrname.
    Key("ibriport", "ifname", 128, unqualified=True),
    Key("obriport", "ifname", 128, unqualified=True),
    Key("ibrname", "ifname", 128, unqualified=True),
    Key("obrname", "ifname", 128, unqualified=True),
    Key("pkttype", "pkt_type", 8, settable=True, unqualified=True),
    Key("cpu", "integer", 32, unqualified=True),
    Key("iifgroup", "devgroup", 32, unqualified=True),
    Key("oifgroup", "devgroup", 32, unqualified=True),
    Key("cgroup", "integer", 32, unqualified=True),
    # The only integer of meta in network order.
    Key("random", "integer", 32, host_order=False),
    Key("ipsec", "boolean", 8, unqualified=True),
    Key("secpath", "boolean", 8),
    Key("iifkind", "ifname", 128),
    Key("oifkind", "ifname", 128),
    Key("ibrpvid", "integer", 16),
    Key("ibrvproto", "ether_type", 16, host_order=False),
    Key("sdif", "iface_index", 32),
    Key("sdifname", "ifname", 128),
    Key("time", "date", 64, unqualified=True),
    Key("day", "day", 8, unqualified=True),
    # Seconds since midnight UTC.
    Key("hour", "hour", 32, unqualified=True),
    # Takes a named secmark object only; a number on the right is refused.
    Key("secmark", "integer", 32, settable=True),
)

# The addresses have two spellings. `ct original ip saddr` names its protocol; `ct original saddr` takes it from the
# rule or the family and is refused where that is unknown. The ports need an earlier match on the transport protocol.
CT_KEYS: Mapping[str, Key] = _by_name(
    Key("state", "ct_state", 32),
    Key("direction", "ct_dir", 8),
    Key("status", "ct_status", 32),
    Key("mark", "mark", 32, settable=True),
    Key("expiration", "time", 32),
    Key("helper", "string", 128, settable=True),
    Key("l3proto", "nf_proto", 8, direction="optional"),
    Key("saddr", "integer", 0, direction="required", host_order=False),
    Key("daddr", "integer", 0, direction="required", host_order=False),
    Key("ip saddr", "ipv4_addr", 32, direction="required", host_order=False),
    Key("ip daddr", "ipv4_addr", 32, direction="required", host_order=False),
    Key("ip6 saddr", "ipv6_addr", 128, direction="required", host_order=False),
    Key("ip6 daddr", "ipv6_addr", 128, direction="required", host_order=False),
    Key("protocol", "inet_proto", 8, direction="optional"),
    Key("proto-src", "inet_service", 16, direction="required", host_order=False),
    Key("proto-dst", "inet_service", 16, direction="required", host_order=False),
    Key("label", "ct_label", 128, settable=True),
    # Without a direction, both are summed.
    Key("bytes", "integer", 64, direction="optional"),
    Key("packets", "integer", 64, direction="optional"),
    Key("avgpkt", "integer", 64, direction="optional"),
    Key("zone", "integer", 16, settable=True, direction="optional"),
    Key("event", "ct_event", 32, settable=True, readable=False),
    # Copied to and from `meta secmark`; a number on the right is refused.
    Key("secmark", "integer", 32, settable=True),
    Key("id", "integer", 32, host_order=False),
)

RT_KEYS: Mapping[str, Key] = _by_name(
    Key("classid", "realm", 32),
    # Takes its protocol from the family; in inet it is written `rt ip nexthop` or `rt ip6 nexthop`.
    Key("nexthop", "integer", 0, host_order=False),
    Key("ip nexthop", "ipv4_addr", 32, host_order=False),
    Key("ip6 nexthop", "ipv6_addr", 128, host_order=False),
    # The TCP maximum segment size that fits the route, not the link's MTU.
    Key("mtu", "integer", 16),
    Key("ipsec", "boolean", 8),
)

SOCKET_KEYS: Mapping[str, Key] = _by_name(
    Key("transparent", "integer", 8),
    Key("mark", "mark", 32),
    Key("wildcard", "integer", 8),
    # Written `socket cgroupv2 level NUMBER "path"`.
    Key("cgroupv2", "cgroupsv2", 64),
)

FIB_RESULTS: Mapping[str, Key] = _by_name(
    Key("oif", "iface_index", 32),
    Key("oifname", "string", 128),
    Key("type", "fib_addrtype", 32),
)
FIB_FLAGS: frozenset[str] = frozenset(("saddr", "daddr", "mark", "iif", "oif"))

OSF_KEYS: Mapping[str, Key] = _by_name(Key("name", "string", 128), Key("version", "string", 128))
OSF_TTL: frozenset[str] = frozenset(("loose", "skip"))

# Written `ipsec in|out [spnum N] KEY`.
IPSEC_KEYS: Mapping[str, Key] = _by_name(
    Key("reqid", "integer", 32),
    Key("spi", "integer", 32, host_order=False),
    Key("ip saddr", "ipv4_addr", 32, host_order=False),
    Key("ip daddr", "ipv4_addr", 32, host_order=False),
    Key("ip6 saddr", "ipv6_addr", 128, host_order=False),
    Key("ip6 daddr", "ipv6_addr", 128, host_order=False),
)
