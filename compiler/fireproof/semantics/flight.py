"""A packet on its way through the host, and what the selectors of rules read from it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Generic, Protocol

from fireproof.model.expression import (
    Binary,
    Concat,
    Constant,
    Ct,
    Element,
    Expression,
    Fib,
    Hash,
    HeaderOption,
    MapLookup,
    Meta,
    Numgen,
    Payload,
    SetLiteral,
    SetReference,
)
from fireproof.model.host import Host
from fireproof.model.ruleset import NamedSet, Rule, Table
from fireproof.netfilter.headers import HEADERS
from fireproof.semantics import register as reg
from fireproof.semantics.algebra import Algebra, P, V
from fireproof.semantics.interfaces import Interfaces
from fireproof.semantics.interval import Intervals
from fireproof.semantics.register import Register, Slice, header_slices

_LITERAL_FAMILY = {"ip": 0, "ip6": 1}


class Runtime(Protocol[P, V]):
    """What only a running machine knows: where there is one, it answers in place of a free choice."""

    def holds(self, flight: Flight[P, V], expression: Payload) -> P:
        """Whether the packet is long enough for these bits."""
        ...

    def find(self, flight: Flight[P, V], source: NamedSet, values: list[tuple[V, int]]) -> Element | None:
        """The element of a set that changes at run time."""
        ...

    def number(self, flight: Flight[P, V], expression: Numgen | Hash, site: Site) -> V: ...


@dataclass(slots=True)
class World(Generic[P, V]):
    """What stays the same for every packet: the algebra, the interfaces, the host facts."""

    algebra: Algebra[P, V]
    interfaces: Interfaces
    host: Host | None
    conntrack: bool = True
    """Whether any rule needs connection tracking; without it every packet is `invalid` to who asks."""
    joined: dict[tuple[int, int, int, int], Intervals] = field(default_factory=dict)
    """What one-part sets hold, computed once."""
    frames: bool = False
    """Whether frames come that carry something other than IP, as they do in netdev tables."""
    cut: bool = False
    """Whether a transport header may end early, so that each load of it can fail by itself."""
    sites: dict[tuple[Rule, int], Site] = field(default_factory=dict)
    runtime: Runtime[P, V] | None = None
    opaque: Callable[[str, list[tuple[V, int]]], str] | None = None
    """Names the contents of a named set at a key, where what its text says must not count."""


@dataclass(slots=True)
class Flight(Generic[P, V]):
    """The state of one packet. `written` holds what rules, NAT and the host changed since it arrived."""

    world: World[P, V]
    written: dict[Register, V] = field(default_factory=dict)
    tracked: P | None = None
    """Where the packet has a conntrack entry; None before connection tracking looked at it."""
    label: str = ""
    """Tells the packets of one history apart: the reply has fields and choices of its own."""

    def copy(self) -> Flight[P, V]:
        return Flight(self.world, dict(self.written), self.tracked, self.label)

    def read(self, register: Register) -> V:
        found = self.written.get(register)
        return self.arriving(register) if found is None else found

    def arriving(self, register: Register) -> V:
        """What the register held when this packet arrived."""
        if self.label:
            register = Register(f"{self.label} {register.name}", register.bits, register.choice)
        return self.world.algebra.arriving(register)

    def choose(self, name: str, description: str) -> P:
        """A condition that nothing in the packet decides."""
        return self.world.algebra.choose(f"{self.label} {name}" if self.label else name, description)

    def set(self, register: Register, value: V) -> None:
        self.written[register] = value

    def write(self, where: P, register: Register, value: V) -> None:
        """The new value for the packets of `where`, the old one for the others."""
        algebra = self.world.algebra
        self.written[register] = algebra.select(where, value, self.read(register), register.bits)

    def read_slices(self, slices: tuple[Slice, ...]) -> V:
        algebra = self.world.algebra
        parts = []
        for piece in slices:
            value = self.read(piece.register)
            if piece.width != piece.register.bits:
                value = algebra.slice(value, piece.register.bits, piece.shift, piece.width)
            parts.append((value, piece.width))
        return parts[0][0] if len(parts) == 1 else algebra.join(parts)

    def write_slices(self, where: P, slices: tuple[Slice, ...], value: V) -> None:
        algebra = self.world.algebra
        left = sum(piece.width for piece in slices)
        total = left
        for piece in slices:
            left -= piece.width
            part = algebra.slice(value, total, left, piece.width)
            if piece.width == piece.register.bits:
                self.write(where, piece.register, part)
                continue
            old = self.read(piece.register)
            bits = piece.register.bits
            parts = []
            if above := bits - piece.shift - piece.width:
                parts.append((algebra.slice(old, bits, piece.shift + piece.width, above), above))
            parts.append((part, piece.width))
            if piece.shift:
                parts.append((algebra.slice(old, bits, 0, piece.shift), piece.shift))
            self.write(where, piece.register, algebra.join(parts))

    # ---- conditions on the packet as a whole -----------------------------------------------------------------------
    def is_family(self, family: int) -> P:
        """`family` as in Register FAMILY: 0 for IPv4, 1 for IPv6."""
        found = self.world.algebra.member(self.read(reg.FAMILY), 1, Intervals.of(family))
        return self.world.algebra.both(found, self.is_ip()) if self.world.frames else found

    def is_ip(self) -> P:
        algebra = self.world.algebra
        return algebra.member(self.read(reg.OTHER_FRAME), 1, Intervals.of(0)) if self.world.frames else algebra.true

    def has_entry(self) -> P:
        """Where `ct` keys other than the state can be read."""
        return self.world.algebra.false if self.tracked is None else self.tracked

    def state(self) -> V:
        """The value of `ct state`: invalid before connection tracking looked at the packet."""
        algebra = self.world.algebra
        if self.tracked is None or not self.world.conntrack:
            return algebra.constant(reg.INVALID, reg.CT_STATE.bits)
        return self.read(reg.CT_STATE)


# ---- reading selectors ---------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Site:
    """Where an expression stands: its table, and a name that tells this place from all others."""

    table: Table
    name: str


def read(flight: Flight[P, V], expression: Expression, site: Site) -> tuple[V, P]:
    """The value of an expression that is no concatenation."""
    algebra = flight.world.algebra
    if isinstance(expression, Payload):
        return _payload(flight, expression)
    if isinstance(expression, Meta):
        if expression.key == "random":
            # Each reading is a new number.
            register = reg.choice_register(f"meta random at {site.name}", expression.bits, "chance")
            return flight.arriving(register), algebra.true
        return _meta(flight, expression)
    if isinstance(expression, Ct):
        return _ct(flight, expression)
    if isinstance(expression, Constant):
        if isinstance(expression.value, str):
            from fireproof.model.expression import Name

            part = Name(expression.value.removesuffix("*"), expression.value.endswith("*"))
            numbers = flight.world.interfaces.matching(part)
            return algebra.constant(numbers.pairs[0][0] if numbers else 0, reg.IIF.bits), algebra.true
        return algebra.constant(expression.value, expression.bits), algebra.true
    if isinstance(expression, Binary):
        return _binary(flight, expression, site)
    if isinstance(expression, MapLookup):
        return _map(flight, expression, site)
    if isinstance(expression, Fib):
        from fireproof.semantics.routing import fib

        return fib(flight, expression)
    if isinstance(expression, Numgen):
        return _numgen(flight, expression, site)
    if isinstance(expression, Hash):
        if flight.world.runtime is not None:
            return flight.world.runtime.number(flight, expression, site), algebra.true
        # Without a seed the kernel picks one for each rule.
        where = f" at {site.name}" if expression.operand is not None and expression.seed is None else ""
        register = reg.choice_register(f"hash {expression!r}{where}", 32, "the hash that spreads flows")
        return _below(flight, register, expression.modulus, expression.offset)
    if isinstance(expression, HeaderOption):
        return _option(flight, expression)
    if isinstance(expression, Concat):
        raise TypeError("a concatenation is read part by part")
    register = reg.choice_register(
        f"{type(expression).__name__} {expression!r}", expression.bits or 128, _what(expression)
    )
    return flight.arriving(register), flight.choose(f"{register.name} is there", register.choice)


def read_parts(flight: Flight[P, V], expression: Expression, site: Site) -> tuple[list[tuple[V, int]], P]:
    """The values of the parts of a concatenation (one for anything else) with their widths."""
    algebra = flight.world.algebra
    parts = expression.parts if isinstance(expression, Concat) else (expression,)
    values: list[tuple[V, int]] = []
    there = algebra.true
    for part in parts:
        value, present = read(flight, part, site)
        values.append((value, width(part)))
        there = algebra.both(there, present)
    return values, there


def width(expression: Expression) -> int:
    """The width that `read` gives an expression: interfaces are numbers, states are seven bits."""
    if isinstance(expression, Meta) and expression.key in _REGISTERS:
        return _REGISTERS[expression.key].bits
    if isinstance(expression, Ct) and expression.key in ("state", "status"):
        return reg.CT_STATE.bits if expression.key == "state" else reg.CT_STATUS.bits
    if isinstance(expression, Binary):
        return width(expression.left)
    if isinstance(expression, Fib) and expression.result != "type":
        return reg.OIF.bits
    if expression.datatype in ("ifname", "iface_index"):
        return reg.IIF.bits
    return expression.bits or 128


def _what(expression: Expression) -> str:
    key = getattr(expression, "key", "")
    return {
        "SocketKey": f"`socket {key}`", "Routing": f"`rt {key}`", "OsFingerprint": f"`osf {key}`",
        "Ipsec": f"`ipsec {key}`",
    }.get(type(expression).__name__, type(expression).__name__)  # fmt: skip


def requirement(flight: Flight[P, V], requires: tuple[tuple[str, int], ...]) -> P:
    """The dependencies that nft puts in front of a header match."""
    algebra = flight.world.algebra
    found = algebra.true
    for key, value in requires:
        if key == "nfproto":
            found = algebra.both(found, flight.is_family(0 if value == 2 else 1))
        elif key == "l4proto":
            found = algebra.both(found, algebra.member(flight.read(reg.L4PROTO), 8, Intervals.of(value)))
            if flight.world.frames:
                found = algebra.both(found, flight.is_ip())
        elif key == "ethertype":
            family = {0x0800: 0, 0x86DD: 1}.get(value)
            if family is not None:
                found = algebra.both(found, flight.is_family(family))
            elif flight.world.frames:
                other = algebra.member(flight.read(_ETHER_TYPE), 16, Intervals.of(value))
                found = algebra.both(found, algebra.both(other, algebra.negate(flight.is_ip())))
            else:
                # The packets here are IP: nothing else is there.
                found = algebra.false
        elif key == "iiftype":
            found = algebra.both(found, _bit(flight, reg.LINK))
    return found


def _bit(flight: Flight[P, V], register: Register) -> P:
    return flight.world.algebra.member(flight.read(register), 1, Intervals.of(1))


def _payload(flight: Flight[P, V], expression: Payload) -> tuple[V, P]:
    algebra = flight.world.algebra
    header = HEADERS.get(expression.protocol) if expression.protocol else None
    there = requirement(flight, header.requires) if header else algebra.true
    if header and expression.name and (types := header.fields[expression.name].types):
        kind = flight.read_slices(header_slices("th", 0, 8))
        there = algebra.both(there, algebra.member(kind, 8, Intervals((t, t) for t in types)))
    base, offset, bits = expression.base, expression.offset, expression.bits
    if base == "nh":
        if expression.protocol in _LITERAL_FAMILY:
            return flight.read_slices(header_slices(expression.protocol, offset, bits)), there
        if expression.protocol == "arp":
            return algebra.constant(0, bits), algebra.false
        four = flight.read_slices(header_slices("ip", offset, bits))
        six = flight.read_slices(header_slices("ip6", offset, bits))
        return algebra.select(flight.is_family(0), four, six, bits), there
    if flight.world.runtime is not None and base in ("th", "ih"):
        there = algebra.both(there, flight.world.runtime.holds(flight, expression))
    value = flight.read_slices(header_slices(base, offset, bits))
    if base == "ll":
        return value, algebra.both(there, _bit(flight, reg.LINK))
    present = _reaching(offset, bits) if flight.world.cut and base == "th" else reg.TRANSPORT
    there = algebra.both(there, _bit(flight, present))
    if base == "ih":
        present = reg.choice_register(f"payload reaches byte {(offset + bits + 7) // 8}", 1, "")
        there = algebra.both(there, _bit(flight, present))
    return value, there


_ETHER_TYPE = Register("meta protocol", 16)


REACHING = "transport header reaches byte "


def reach_of(register: Register) -> tuple[int, bool] | None:
    """The byte that a register of `_reaching` is about, and whether fragments count; None for other registers."""
    if not register.name.startswith(REACHING):
        return None
    byte, _, rest = register.name.removeprefix(REACHING).partition(" ")
    return int(byte), not rest


@cache
def _reaching(offset: int, bits: int) -> Register:
    """Whether a load of the transport header succeeds. A later fragment gives aligned loads of 1, 2 or 4 bytes only."""
    first, end = offset // 8, (offset + bits + 7) // 8
    size = end - first
    fast = size in (1, 2, 4) and first % size == 0
    return Register(f"{REACHING}{end}{'' if fast else ' of no fragment'}", 1)


_REGISTERS: dict[str, Register] = {
    "l4proto": reg.L4PROTO, "mark": reg.MARK, "length": reg.LENGTH, "priority": reg.PRIORITY, "iif": reg.IIF,
    "iifname": reg.IIF, "oif": reg.OIF, "oifname": reg.OIF,
}  # fmt: skip
_CLOCKS = {
    "time": "the clock",
    "hour": "the time of day",
    "day": "the day of the week",
    "random": "chance",
    "cpu": "the processor",
}


def _meta(flight: Flight[P, V], expression: Meta) -> tuple[V, P]:
    algebra = flight.world.algebra
    key = expression.key
    known = _REGISTERS.get(key)
    if known is not None:
        return flight.read(known), flight.is_ip() if known is reg.L4PROTO else algebra.true
    if flight.world.frames and key in ("nfproto", "protocol"):
        if key == "nfproto":
            return flight.read(Register("meta nfproto", 8)), algebra.true
        value = flight.read(_ETHER_TYPE)
        for family, number in ((0, 0x0800), (1, 0x86DD)):
            value = algebra.select(flight.is_family(family), algebra.constant(number, 16), value, 16)
        return value, algebra.true
    if key == "nfproto":
        return algebra.select(flight.is_family(0), algebra.constant(2, 8), algebra.constant(10, 8), 8), algebra.true
    if key == "protocol":
        four, six = algebra.constant(0x0800, 16), algebra.constant(0x86DD, 16)
        return algebra.select(flight.is_family(0), four, six, 16), algebra.true
    bits = reg.IIF.bits if expression.datatype in ("ifname", "iface_index") else expression.bits
    register = Register(f"meta {key}", bits, _CLOCKS.get(key, ""))
    there = (
        algebra.true
        if key in ("random", "cpu", "time", "hour", "day", "pkttype")
        else _bit(flight, Register(f"meta {key} is there", 1))
    )
    return flight.read(register), there


def _ct(flight: Flight[P, V], expression: Ct) -> tuple[V, P]:
    algebra = flight.world.algebra
    key = expression.key
    if key == "state":
        return flight.state(), algebra.true
    there = flight.has_entry()
    plain = {"status": reg.CT_STATUS, "mark": reg.CT_MARK, "direction": reg.CT_DIRECTION, "zone": reg.CT_ZONE}.get(key)
    if plain is not None and expression.direction is None:
        return flight.read(plain), there
    if expression.direction and key in ("saddr", "daddr", "proto-src", "proto-dst", "protocol", "l3proto"):
        return _tuple_key(flight, expression, there)
    name = f"ct {expression.direction + ' ' if expression.direction else ''}{key}"
    if key == "protocol":
        return flight.read(reg.L4PROTO), there
    if key == "l3proto":
        return algebra.select(flight.is_family(0), algebra.constant(2, 8), algebra.constant(10, 8), 8), there
    if key == "helper":
        # The name of the helper, or none: what a helper does to a flow is a free choice.
        there = algebra.both(there, flight.choose("ct helper is there", "the helper of the connection"))
    return flight.read(Register(name, expression.bits or 128, f"`{name}`")), there


TUPLE_KEYS = {
    direction: {
        "ip saddr": Register(f"ct {direction} ip saddr", 32), "ip daddr": Register(f"ct {direction} ip daddr", 32),
        "ip6 saddr": Register(f"ct {direction} ip6 saddr", 128),
        "ip6 daddr": Register(f"ct {direction} ip6 daddr", 128),
        "proto-src": Register(f"ct {direction} proto-src", 16), "proto-dst": Register(f"ct {direction} proto-dst", 16),
    }
    for direction in ("original", "reply")
}  # fmt: skip
"""The registers in which connection tracking leaves the tuples of the flow."""


def _tuple_key(flight: Flight[P, V], expression: Ct, there: P) -> tuple[V, P]:
    algebra = flight.world.algebra
    assert expression.direction is not None
    registers = TUPLE_KEYS[expression.direction]
    if expression.key in ("proto-src", "proto-dst"):
        return flight.read(registers[expression.key]), there
    if expression.key in ("saddr", "daddr"):
        family = expression.family or ("ip" if expression.datatype == "ipv4_addr" else "ip6")
        there = algebra.both(there, flight.is_family(_LITERAL_FAMILY[family]))
        return flight.read(registers[f"{family} {expression.key}"]), there
    if expression.key == "protocol":
        return flight.read(reg.L4PROTO), there
    return algebra.select(flight.is_family(0), algebra.constant(2, 8), algebra.constant(10, 8), 8), there


def _binary(flight: Flight[P, V], expression: Binary, site: Site) -> tuple[V, P]:
    algebra = flight.world.algebra
    left, there = read(flight, expression.left, site)
    bits = width(expression.left)
    if expression.operator in ("<<", ">>"):
        if not isinstance(expression.right, Constant) or not isinstance(expression.right.value, int):
            raise TypeError("a shift goes by a constant")
        distance = expression.right.value
        return algebra.shift(left, bits, distance if expression.operator == "<<" else -distance), there
    right, right_there = read(flight, expression.right, site)
    right_bits = width(expression.right)
    if right_bits != bits:
        right = _resize(algebra, right, right_bits, bits)
    return algebra.operate(expression.operator, left, right, bits), algebra.both(there, right_there)


def _resize(algebra: Algebra[P, V], value: V, bits: int, needed: int) -> V:
    if bits > needed:
        return algebra.slice(value, bits, 0, needed)
    return algebra.join([(algebra.constant(0, needed - bits), needed - bits), (value, bits)])


def resize(flight: Flight[P, V], value: V, bits: int, needed: int) -> V:
    """`value` cut to, or zero-extended to, `needed` bits."""
    return value if bits == needed else _resize(flight.world.algebra, value, bits, needed)


def _numgen(flight: Flight[P, V], expression: Numgen, site: Site) -> tuple[V, P]:
    if flight.world.runtime is not None:
        return flight.world.runtime.number(flight, expression, site), flight.world.algebra.true
    what = "a die" if expression.mode == "random" else "a round-robin counter"
    register = reg.choice_register(f"numgen {expression.mode} at {site.name}", 32, what)
    return _below(flight, register, expression.modulus, expression.offset)


def _below(flight: Flight[P, V], register: Register, modulus: int, offset: int) -> tuple[V, P]:
    """A free value from `offset` up to `offset + modulus - 1`."""
    algebra = flight.world.algebra
    value = flight.arriving(register)
    allowed = Intervals.of(offset, offset + modulus - 1)
    # Values outside stand for the first one, so that every packet has some value.
    inside = algebra.member(value, 32, allowed)
    return algebra.select(inside, value, algebra.constant(offset, 32), 32), algebra.true


def _option(flight: Flight[P, V], expression: HeaderOption) -> tuple[V, P]:
    algebra = flight.world.algebra
    name = f"{expression.protocol} option {expression.option}"
    there = _bit(flight, Register(f"{name} is there", 1))
    there = algebra.both(there, _option_requirement(flight, expression))
    if expression.name is None:
        return algebra.select(there, algebra.constant(1, 1), algebra.constant(0, 1), 1), algebra.true
    return flight.read(Register(f"{name} {expression.name}", expression.bits)), there


def _option_requirement(flight: Flight[P, V], expression: HeaderOption) -> P:
    from fireproof.netfilter.headers import EXTENSION_HEADERS

    if expression.protocol == "tcp":
        # The kernel refuses to look for TCP options in anything else.
        return requirement(flight, (("l4proto", 6),))
    if expression.protocol == "ip":
        return flight.is_family(0)
    if expression.protocol == "sctp":
        return requirement(flight, (("l4proto", 132),))
    return requirement(flight, EXTENSION_HEADERS[expression.option].requires)


# ---- maps ----------------------------------------------------------------------------------------------------------
def find_set(site: Site, reference: SetReference | SetLiteral) -> NamedSet | SetLiteral:
    if isinstance(reference, SetLiteral):
        return reference
    return site.table.sets[reference.name]


def _map(flight: Flight[P, V], expression: MapLookup, site: Site) -> tuple[V, P]:
    from fireproof.semantics.match import element_matches, index_positions

    algebra = flight.world.algebra
    source = find_set(site, expression.map)
    indices = index_positions(expression.key)
    values, there = read_parts(flight, expression.key, site)
    bits = reg.IIF.bits if expression.datatype in ("ifname", "iface_index") else expression.bits
    if flight.world.opaque is not None and isinstance(source, NamedSet):
        name = flight.world.opaque(source.name, values)
        register = reg.choice_register(f"value of {name}", bits, f"the contents of map `{source.name}`")
        known = flight.choose(f"answer of {name}", f"the contents of map `{source.name}`")
        return flight.arriving(register), algebra.both(there, known)
    if flight.world.runtime is not None and isinstance(source, NamedSet) and is_dynamic(source):
        held = flight.world.runtime.find(flight, source, values)
        if held is None:
            return algebra.constant(0, bits), algebra.false
        return _datum(flight, held.data, expression, site), there
    result = algebra.constant(0, bits)
    found = algebra.false
    for element in sorted(source.elements, key=lambda e: e.key is None):
        hit = element_matches(flight, values, element, indices)
        if element.key is None:
            hit = algebra.negate(found)
        if algebra.is_false(hit):
            continue
        result = algebra.select(hit, _datum(flight, element.data, expression, site), result, bits)
        found = algebra.either(found, hit)
    if isinstance(source, NamedSet) and is_dynamic(source):
        # Elements may have come and gone: any value is possible where the map can answer at all.
        unknown = flight.choose(f"map {source.name} changed", f"the contents of map `{source.name}`")
        other = flight.arriving(
            reg.choice_register(f"map {source.name} at {site.name}", bits, f"the contents of map `{source.name}`")
        )
        result = algebra.select(unknown, other, result, bits)
        present = flight.choose(f"map {source.name} answers", f"the contents of map `{source.name}`")
        found = algebra.either(algebra.both(found, algebra.negate(unknown)), algebra.both(unknown, present))
    return result, algebra.both(there, found)


def _datum(flight: Flight[P, V], data: object, expression: MapLookup, site: Site) -> V:
    """The value of a map element: one number; parts of a concatenation joined; a range is a free value within it."""
    from fireproof.model.expression import Interval, Name

    algebra = flight.world.algebra
    assert isinstance(data, tuple)
    names = expression.datatype.split(" . ")
    parts: list[tuple[V, int]] = []
    from fireproof.netfilter.datatypes import DATATYPES

    for index, part in enumerate(data):
        bits = DATATYPES[names[index]].bits if len(data) > 1 else expression.bits
        if isinstance(part, Name) or names[index] in ("ifname", "iface_index"):
            numbers = flight.world.interfaces.matching(part)
            parts.append((algebra.constant(numbers.pairs[0][0] if numbers else 0, reg.IIF.bits), reg.IIF.bits))
            continue
        assert isinstance(part, Interval)
        parts.append((within(flight, part, bits, f"map value {part.low}-{part.high} at {site.name}"), bits))
    return parts[0][0] if len(parts) == 1 else algebra.join(parts)


def within(flight: Flight[P, V], interval: object, bits: int, name: str) -> V:
    """A single value, or a free choice in a range: what the kernel picks."""
    from fireproof.model.expression import Interval

    algebra = flight.world.algebra
    assert isinstance(interval, Interval)
    if interval.low == interval.high:
        return algebra.constant(interval.low, bits)
    register = reg.choice_register(name, bits, "the kernel's choice within a range")
    value = flight.arriving(register)
    inside = algebra.member(value, bits, Intervals.of(interval.low, interval.high))
    return algebra.select(inside, value, algebra.constant(interval.low, bits), bits)


def is_dynamic(named: NamedSet) -> bool:
    """Whether the packet path or time changes what the set holds, so that its text does not tell."""
    return named.updated or "dynamic" in named.flags or "timeout" in named.flags or named.timeout is not None
