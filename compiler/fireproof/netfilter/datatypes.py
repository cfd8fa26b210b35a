"""The types of nft's values: width, byte order, the symbolic names nft accepts, and how it prints a number.

Names and numbers are what `nft describe TYPE` of 1.0.6 prints (values here are the real ones: describe shows
network-order types byte-swapped). Names that depend on the machine (users, groups, realms, connlabels, interfaces)
are not here; service and protocol names are looked up through `services` and `protocols`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

_NONE: Mapping[str, int] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Datatype:
    """One nft datatype.

    `kind` is one of integer, address4, address6, ether, bitmask, symbol, string, boolean, verdict, time, date, hour,
    day. `base` is how nft prints a number that has no name: decimal, hex (0x1f), hex2 / hex4 / hex8 (0x-padded to
    that many digits), tc (major:minor in hex), or text when it never prints a bare number.
    """

    name: str
    bits: int
    kind: str
    host_order: bool
    symbols: Mapping[str, int]
    base: str


_ICMP_TYPE = {
    "echo-reply": 0,
    "destination-unreachable": 3,
    "source-quench": 4,
    "redirect": 5,
    "echo-request": 8,
    "router-advertisement": 9,
    "router-solicitation": 10,
    "time-exceeded": 11,
    "parameter-problem": 12,
    "timestamp-request": 13,
    "timestamp-reply": 14,
    "info-request": 15,
    "info-reply": 16,
    "address-mask-request": 17,
    "address-mask-reply": 18,
}

_ICMPV6_TYPE = {
    "destination-unreachable": 1,
    "packet-too-big": 2,
    "time-exceeded": 3,
    "parameter-problem": 4,
    "echo-request": 128,
    "echo-reply": 129,
    "mld-listener-query": 130,
    "mld-listener-report": 131,
    "mld-listener-done": 132,
    "mld-listener-reduction": 132,
    "nd-router-solicit": 133,
    "nd-router-advert": 134,
    "nd-neighbor-solicit": 135,
    "nd-neighbor-advert": 136,
    "nd-redirect": 137,
    "router-renumbering": 138,
    "ind-neighbor-solicit": 141,
    "ind-neighbor-advert": 142,
    "mld2-listener-report": 143,
}

_DSCP = {
    "cs0": 0,
    "cs1": 8,
    "cs2": 16,
    "cs3": 24,
    "cs4": 32,
    "cs5": 40,
    "cs6": 48,
    "cs7": 56,
    "df": 0,
    "be": 0,
    "lephb": 1,
    "af11": 10,
    "af12": 12,
    "af13": 14,
    "af21": 18,
    "af22": 20,
    "af23": 22,
    "af31": 26,
    "af32": 28,
    "af33": 30,
    "af41": 34,
    "af42": 36,
    "af43": 38,
    "va": 44,
    "ef": 46,
}

_CT_EVENT = {
    "new": 1 << 0,
    "related": 1 << 1,
    "destroy": 1 << 2,
    "reply": 1 << 3,
    "assured": 1 << 4,
    "protoinfo": 1 << 5,
    "helper": 1 << 6,
    "mark": 1 << 7,
    "seqadj": 1 << 8,
    "secmark": 1 << 9,
    "label": 1 << 10,
}

_FIB_ADDRTYPE = {
    "unspec": 0,
    "unicast": 1,
    "local": 2,
    "broadcast": 3,
    "anycast": 4,
    "multicast": 5,
    "blackhole": 6,
    "unreachable": 7,
    "prohibit": 8,
}

_MH_TYPE = {
    "binding-refresh-request": 0,
    "home-test-init": 1,
    "careof-test-init": 2,
    "home-test": 3,
    "careof-test": 4,
    "binding-update": 5,
    "binding-acknowledgement": 6,
    "binding-error": 7,
    "fast-binding-update": 8,
    "fast-binding-acknowledgement": 9,
    "fast-binding-advertisement": 10,
    "experimental-mobility-header": 11,
    "home-agent-switch-message": 12,
}

_DCCP_PKTTYPE = {
    "request": 0,
    "response": 1,
    "data": 2,
    "ack": 3,
    "dataack": 4,
    "closereq": 5,
    "close": 6,
    "reset": 7,
    "sync": 8,
    "syncack": 9,
}

_IGMP_TYPE = {
    "membership-query": 0x11,
    "membership-report-v1": 0x12,
    "membership-report-v2": 0x16,
    "membership-report-v3": 0x22,
    "leave-group": 0x17,
}

_ARP_OP = {"request": 1, "reply": 2, "rrequest": 3, "rreply": 4, "inrequest": 8, "inreply": 9, "nak": 10}
_BOOLEAN = {"exists": 1, "missing": 0}
_CT_DIR = {"original": 0, "reply": 1}
_CT_STATE = {"invalid": 1, "new": 8, "established": 2, "related": 4, "untracked": 64}
_CT_STATUS = {
    "expected": 0x1,
    "seen-reply": 0x2,
    "assured": 0x4,
    "confirmed": 0x8,
    "snat": 0x10,
    "dnat": 0x20,
    "dying": 0x200,
}
_DAY = {"Sunday": 0, "Monday": 1, "Tuesday": 2, "Wednesday": 3, "Thursday": 4, "Friday": 5, "Saturday": 6}
_ECN = {"not-ect": 0, "ect1": 1, "ect0": 2, "ce": 3}
_ETHER_TYPE = {"ip": 0x0800, "arp": 0x0806, "ip6": 0x86DD, "8021q": 0x8100, "8021ad": 0x88A8, "vlan": 0x8100}
_IFACE_TYPE = {"ether": 1, "ppp": 512, "ipip": 768, "ipip6": 769, "loopback": 772, "sit": 776, "ipgre": 778}
_NF_PROTO = {"ipv4": 2, "ipv6": 10}
_PKT_TYPE = {"host": 0, "unicast": 0, "broadcast": 1, "multicast": 2, "other": 3}
_TCP_FLAG = {"fin": 1, "syn": 2, "rst": 4, "psh": 8, "ack": 16, "urg": 32, "ecn": 64, "cwr": 128}

# The names legal after `reject with icmp` and in `icmp code`; `reject` gives them their meaning per family.
_ICMP_CODE = {
    "net-unreachable": 0,
    "host-unreachable": 1,
    "prot-unreachable": 2,
    "port-unreachable": 3,
    "net-prohibited": 9,
    "host-prohibited": 10,
    "admin-prohibited": 13,
    "frag-needed": 4,
}
_ICMPV6_CODE = {
    "no-route": 0,
    "admin-prohibited": 1,
    "addr-unreachable": 3,
    "port-unreachable": 4,
    "policy-fail": 5,
    "reject-route": 6,
}
_ICMPX_CODE = {"port-unreachable": 1, "admin-prohibited": 3, "no-route": 0, "host-unreachable": 2}

_NETWORK, _HOST = False, True

DATATYPES: Mapping[str, Datatype] = {
    t.name: t
    for t in (
        # Unqualified: the width comes from the expression; `type integer` is refused in a set.
        Datatype("verdict", 0, "verdict", _HOST, _NONE, "text"),
        Datatype("integer", 0, "integer", _NETWORK, _NONE, "decimal"),
        Datatype("bitmask", 0, "bitmask", _NETWORK, _NONE, "hex"),
        Datatype("string", 0, "string", _HOST, _NONE, "text"),
        Datatype("ll_addr", 0, "integer", _NETWORK, _NONE, "text"),
        # Addresses and protocols, network order.
        Datatype("ipv4_addr", 32, "address4", _NETWORK, _NONE, "text"),
        Datatype("ipv6_addr", 128, "address6", _NETWORK, _NONE, "text"),
        Datatype("ether_addr", 48, "ether", _NETWORK, _NONE, "text"),
        Datatype("ether_type", 16, "symbol", _NETWORK, _ETHER_TYPE, "hex4"),
        Datatype("arp_op", 16, "symbol", _NETWORK, _ARP_OP, "decimal"),
        Datatype("inet_proto", 8, "symbol", _NETWORK, _NONE, "decimal"),
        Datatype("inet_service", 16, "symbol", _NETWORK, _NONE, "decimal"),
        Datatype("icmp_type", 8, "symbol", _NETWORK, _ICMP_TYPE, "decimal"),
        Datatype("icmp_code", 8, "symbol", _NETWORK, _ICMP_CODE, "decimal"),
        Datatype("icmpv6_type", 8, "symbol", _NETWORK, _ICMPV6_TYPE, "decimal"),
        Datatype("icmpv6_code", 8, "symbol", _NETWORK, _ICMPV6_CODE, "decimal"),
        Datatype("icmpx_code", 8, "symbol", _NETWORK, _ICMPX_CODE, "decimal"),
        Datatype("igmp_type", 8, "symbol", _NETWORK, _IGMP_TYPE, "decimal"),
        Datatype("tcp_flag", 8, "bitmask", _NETWORK, _TCP_FLAG, "hex"),
        Datatype("dccp_pkttype", 4, "symbol", _NETWORK, _DCCP_PKTTYPE, "decimal"),
        Datatype("mh_type", 8, "symbol", _NETWORK, _MH_TYPE, "decimal"),
        Datatype("dscp", 6, "symbol", _NETWORK, _DSCP, "hex2"),
        Datatype("ecn", 2, "symbol", _NETWORK, _ECN, "decimal"),
        # What the kernel keeps about a packet, host order.
        Datatype("nf_proto", 8, "symbol", _HOST, _NF_PROTO, "decimal"),
        Datatype("mark", 32, "integer", _HOST, _NONE, "hex8"),
        Datatype("iface_index", 32, "integer", _HOST, _NONE, "decimal"),
        Datatype("iface_type", 16, "symbol", _HOST, _IFACE_TYPE, "decimal"),
        Datatype("ifname", 128, "string", _HOST, _NONE, "text"),
        Datatype("devgroup", 32, "symbol", _HOST, {"default": 0}, "decimal"),
        Datatype("realm", 32, "integer", _HOST, _NONE, "decimal"),
        Datatype("classid", 32, "integer", _HOST, {"none": 0, "root": 0xFFFFFFFF}, "tc"),
        Datatype("uid", 32, "integer", _HOST, _NONE, "decimal"),
        Datatype("gid", 32, "integer", _HOST, _NONE, "decimal"),
        Datatype("pkt_type", 8, "symbol", _HOST, _PKT_TYPE, "decimal"),
        Datatype("fib_addrtype", 32, "symbol", _HOST, _FIB_ADDRTYPE, "decimal"),
        Datatype("boolean", 1, "boolean", _HOST, _BOOLEAN, "decimal"),
        Datatype("cgroupsv2", 64, "integer", _HOST, _NONE, "text"),
        Datatype("ct_state", 32, "bitmask", _HOST, _CT_STATE, "hex"),
        Datatype("ct_dir", 8, "symbol", _HOST, _CT_DIR, "decimal"),
        Datatype("ct_status", 32, "bitmask", _HOST, _CT_STATUS, "hex"),
        Datatype("ct_label", 128, "bitmask", _HOST, _NONE, "decimal"),
        Datatype("ct_event", 32, "bitmask", _HOST, _CT_EVENT, "hex"),
        # A duration in milliseconds ("1h30m"), and the clock. nft calls `meta time` "time" as well: here it is "date",
        # nanoseconds since 1970, because the two share nothing but the name.
        Datatype("time", 64, "time", _HOST, _NONE, "text"),
        Datatype("date", 64, "date", _HOST, _NONE, "text"),
        Datatype("hour", 32, "hour", _HOST, _NONE, "text"),
        Datatype("day", 8, "day", _HOST, _DAY, "decimal"),
    )
}

# Types that `type …` of a set or map refuses: unqualified ones, and those whose name nft has no keyword-free spelling
# for.
NOT_SET_TYPES = frozenset(
    ("verdict", "integer", "bitmask", "string", "ll_addr", "ct_label", "ct_event", "date", "hour", "day")
)
