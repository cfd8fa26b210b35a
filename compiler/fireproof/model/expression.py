"""What a rule looks at and compares with: selectors over the packet, constants, ranges, set references.

All expressions are immutable and compare by content, so that equal rules are equal objects. Datatypes are named as nft
names them (`fireproof.netfilter.datatypes`). Offsets and widths are in bits.
"""

from __future__ import annotations

from dataclasses import dataclass


# ---- selectors -----------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Payload:
    """Bits of the packet: `base` is ll, nh, th or ih. `protocol` and `name` are None for a raw `@base,offset,bits`."""

    base: str
    offset: int
    bits: int
    datatype: str
    protocol: str | None = None
    name: str | None = None


@dataclass(frozen=True, slots=True)
class Meta:
    key: str
    datatype: str
    bits: int


@dataclass(frozen=True, slots=True)
class Ct:
    key: str
    datatype: str
    bits: int
    direction: str | None = None
    family: str | None = None


@dataclass(frozen=True, slots=True)
class HeaderOption:
    """A TCP or IP option, SCTP chunk or IPv6 extension header; `name` None asks whether it is there."""

    protocol: str
    option: str
    name: str | None
    datatype: str
    bits: int
    offset: int = 0


@dataclass(frozen=True, slots=True)
class Fib:
    keys: tuple[str, ...]
    result: str
    datatype: str
    bits: int


@dataclass(frozen=True, slots=True)
class Routing:
    """`rt classid`, `rt nexthop`, `rt mtu`, `rt ipsec`."""

    key: str
    datatype: str
    bits: int
    family: str | None = None


@dataclass(frozen=True, slots=True)
class SocketKey:
    key: str
    datatype: str
    bits: int
    level: int | None = None


@dataclass(frozen=True, slots=True)
class OsFingerprint:
    key: str
    ttl: str | None
    datatype: str = "string"
    bits: int = 0


@dataclass(frozen=True, slots=True)
class Ipsec:
    direction: str
    key: str
    spnum: int
    family: str | None
    datatype: str
    bits: int


@dataclass(frozen=True, slots=True)
class Numgen:
    """A counter (`inc`) or die (`random`) with `modulus` faces, plus `offset`."""

    mode: str
    modulus: int
    offset: int = 0
    datatype: str = "integer"
    bits: int = 32


@dataclass(frozen=True, slots=True)
class Hash:
    """`jhash` of a selector, or `symhash` of the flow (operand None)."""

    operand: Expression | None
    modulus: int
    seed: int | None
    offset: int = 0
    datatype: str = "integer"
    bits: int = 32


@dataclass(frozen=True, slots=True)
class Binary:
    """`operator` is one of & | ^ << >>."""

    operator: str
    left: Expression
    right: Expression

    @property
    def datatype(self) -> str:
        return self.left.datatype

    @property
    def bits(self) -> int:
        return self.left.bits


@dataclass(frozen=True, slots=True)
class Concat:
    parts: tuple[Expression, ...]

    @property
    def datatype(self) -> str:
        return " . ".join(part.datatype for part in self.parts)

    @property
    def bits(self) -> int:
        return sum(part.bits for part in self.parts)


@dataclass(frozen=True, slots=True)
class MapLookup:
    key: Expression
    map: SetReference | SetLiteral
    datatype: str
    bits: int


@dataclass(frozen=True, slots=True)
class Constant:
    """A single value of a datatype; text for strings (interface names end in `*` when they are a prefix)."""

    value: int | str
    datatype: str
    bits: int


# ---- what selectors are compared with ------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Interval:
    """Every value from `low` to `high`, both included."""

    low: int
    high: int


@dataclass(frozen=True, slots=True)
class Name:
    """A text value; `prefix` when written with a trailing `*`, which is not part of `text`."""

    text: str
    prefix: bool = False


Part = Interval | Name
Key = tuple[Part, ...]
"""One part for each component of a concatenation."""


@dataclass(frozen=True, slots=True)
class SetReference:
    name: str


@dataclass(frozen=True, slots=True)
class SetLiteral:
    """An anonymous set or map."""

    elements: tuple[Element, ...]


@dataclass(frozen=True, slots=True)
class VerdictTarget:
    """A verdict: accept, drop, continue, return, or jump/goto with a chain."""

    kind: str
    chain: str | None = None


@dataclass(frozen=True, slots=True)
class Element:
    """An element of a set or map. `key` None is the catch-all `*`; times are in milliseconds.

    `stateful` holds the counters and limits that come with the element (statements of `fireproof.model.statement`).
    """

    key: Key | None
    data: Key | VerdictTarget | str | None = None
    timeout: int | None = None
    expires: int | None = None
    comment: str | None = None
    stateful: tuple[object, ...] = ()


Expression = (
    Payload | Meta | Ct | HeaderOption | Fib | Routing | SocketKey | OsFingerprint | Ipsec | Numgen | Hash | Binary
    | Concat | MapLookup | Constant
)  # fmt: skip
Right = Key | SetReference | SetLiteral
"""The right-hand side of a match."""
