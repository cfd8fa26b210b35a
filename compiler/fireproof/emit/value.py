"""Constants as nft reads them: numbers, addresses, flags, times.

Numbers rather than names: services, protocols, users and routing marks are looked up in files that differ from machine
to machine. Times of day and dates are numbers too, because nft converts their text with the time zone of whoever
loads it (seen with 1.0.6).
"""

from __future__ import annotations

import ipaddress

from fireproof.emit.naming import pattern, quoted
from fireproof.emit.problem import Unprintable
from fireproof.model.expression import Interval, Key, Name, Part
from fireproof.netfilter.datatypes import DATATYPES

# Numbers nft prints by names of its own, which no file of the machine can change.
_NAMED_TYPES = """arp_op boolean ct_dir dccp_pkttype ether_type fib_addrtype icmp_code icmp_type icmpv6_code icmpv6_type
    icmpx_code igmp_type mh_type nf_proto pkt_type"""
_NAMED = frozenset(_NAMED_TYPES.split())
_PROTOCOLS = {1: "icmp", 2: "igmp", 6: "tcp", 17: "udp", 33: "dccp", 50: "esp", 51: "ah", 58: "icmpv6", 108: "comp",
              132: "sctp", 136: "udplite"}  # fmt: skip
_HEX = frozenset(("mark", "dscp", "ether_type", "bitmask", "tcp_flag", "ct_state", "ct_status", "ct_event"))
_UNITS = (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1))
NANOSECONDS = 1_000_000_000
ADDRESS_BITS = {"ipv4_addr": 32, "ipv6_addr": 128}


def kind(datatype: str) -> str:
    found = DATATYPES.get(datatype)
    return found.kind if found else "integer"


def is_flags(datatype: str) -> bool:
    """Whether nft tests single bits of this type when there is no operator."""
    return kind(datatype) == "bitmask"


def symbol(value: int, datatype: str) -> str | None:
    """The name of a number, None where the number itself is to be written."""
    if datatype == "inet_proto":
        return _PROTOCOLS.get(value)
    if datatype not in _NAMED:
        return None
    return next((word for word, number in DATATYPES[datatype].symbols.items() if number == value), None)


def flag_names(value: int, datatype: str) -> list[str] | None:
    """The flags that make up a number; None when it has bits without a name, or none at all."""
    found = DATATYPES.get(datatype)
    if found is None:
        return None
    names = [word for word, bit in found.symbols.items() if value & bit]
    return names if names and value == sum(found.symbols[word] for word in names) else None


def address(value: int, bits: int) -> str:
    return str(ipaddress.IPv4Address(value) if bits == 32 else ipaddress.IPv6Address(value))


def ether(value: int) -> str:
    return ":".join(f"{value >> shift & 0xFF:02x}" for shift in range(40, -8, -8))


def duration(milliseconds: int) -> str:
    """A span of time such as `1h30m`."""
    if milliseconds == 0:
        return "0s"
    text = ""
    for unit, size in _UNITS:
        count, milliseconds = divmod(milliseconds, size)
        if count:
            text += f"{count}{unit}"
    return text


def whole_seconds(value: int, unit: int, what: str) -> int:
    seconds, rest = divmod(value, unit)
    if rest:
        raise Unprintable(f"{what} is counted in whole seconds")
    return seconds


def prefix_length(low: int, high: int, bits: int) -> int | None:
    """The length of the prefix that an interval is, None if it is not one."""
    size = high - low + 1
    if size <= 0 or size & (size - 1) or low & (size - 1):
        return None
    return bits - size.bit_length() + 1


def _hex(value: int, datatype: str, bits: int) -> bool:
    return datatype in _HEX or (datatype == "integer" and bits > 64)


def scalar(value: int, datatype: str, bits: int) -> str:
    """One number of a datatype in nft's syntax."""
    form = kind(datatype)
    if form in ("address4", "address6"):
        return address(value, ADDRESS_BITS[datatype])
    if form == "ether":
        return ether(value)
    if form == "time":
        return duration(value)
    if form == "date":
        return str(whole_seconds(value, NANOSECONDS, "a date"))
    if form == "bitmask" and datatype != "ct_label":
        names = flag_names(value, datatype)
        return names[0] if names and len(names) == 1 else f"{value:#x}"
    name = symbol(value, datatype)
    if name is not None:
        return name
    return f"{value:#x}" if _hex(value, datatype, bits) else str(value)


def part(value: Part, datatype: str, bits: int) -> str:
    """One component of a key: a single value, a prefix, a range, a name or a pattern."""
    if isinstance(value, Name):
        return quoted(pattern(value.text, value.prefix))
    if value.low == value.high:
        return scalar(value.low, datatype, bits)
    width = ADDRESS_BITS.get(datatype)
    if width:
        length = prefix_length(value.low, value.high, width)
        if length is not None:
            return f"{address(value.low, width)}/{length}"
    return f"{_range_end(value.low, datatype, bits)}-{_range_end(value.high, datatype, bits)}"


def _range_end(value: int, datatype: str, bits: int) -> str:
    """Names have no order that a reader could see."""
    if symbol(value, datatype) is not None or is_flags(datatype):
        return f"{value:#x}" if datatype in _HEX else str(value)
    return scalar(value, datatype, bits)


def is_single(value: Part) -> bool:
    return not value.prefix if isinstance(value, Name) else value.low == value.high


def sole(key: Key) -> int | None:
    """The number of a key that is one number."""
    first = key[0]
    return first.low if len(key) == 1 and isinstance(first, Interval) and first.low == first.high else None
