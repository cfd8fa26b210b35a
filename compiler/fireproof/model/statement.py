"""What a rule does, one immutable type for each kind of statement.

Statements whose whole story (syntax, meaning, output) is one file of `fireproof.extensions` are defined there and
derive from `ExtensionStatement`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fireproof.model.expression import (
    Expression,
    Key,
    Right,
    SetLiteral,
    SetReference,
    VerdictTarget,
)


@dataclass(frozen=True, slots=True)
class Match:
    """`operator`: == != < > <= >=, `in` (any bit of the value set) or `!` (none of the bits set)."""

    left: Expression
    operator: str
    right: Right


@dataclass(frozen=True, slots=True)
class Verdict:
    target: VerdictTarget


@dataclass(frozen=True, slots=True)
class VerdictMap:
    key: Expression
    map: SetReference | SetLiteral


@dataclass(frozen=True, slots=True)
class Mangle:
    """`target set value`: packet marks, header fields, conntrack marks, zones."""

    target: Expression
    value: Expression


@dataclass(frozen=True, slots=True)
class Nat:
    """snat, dnat, masquerade or redirect. Address and port are keys (single values or ranges) or computed.

    A concatenation of address and port coming out of a map has `pair` set and stands in `address`.
    """

    kind: str
    family: str | None = None
    address: Key | Expression | None = None
    port: Key | Expression | None = None
    flags: tuple[str, ...] = ()
    pair: bool = False
    prefix: bool = False


@dataclass(frozen=True, slots=True)
class Reject:
    """`kind` is tcp-reset, icmp, icmpv6 or icmpx; `code` its number (None for tcp-reset)."""

    kind: str
    code: int | None


@dataclass(frozen=True, slots=True)
class Log:
    prefix: str | None = None
    level: str | None = None
    group: int | None = None
    snaplen: int | None = None
    threshold: int | None = None
    flags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Notrack:
    pass


@dataclass(frozen=True, slots=True)
class Queue:
    """`number` is a key with one range, or computed; None is queue 0."""

    number: Key | Expression | None = None
    flags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ObjectReference:
    """Use of a named object.

    `kind`: counter, quota, limit, ct helper, ct timeout, ct expectation, synproxy or secmark.
    """

    kind: str
    name: str | Expression


@dataclass(frozen=True, slots=True)
class SetUpdate:
    """`add`, `update` or `delete` of an element from the packet path. Times in milliseconds."""

    operation: str
    set: str
    key: Expression
    data: Expression | None = None
    timeout: int | None = None
    stateful: tuple[Statement, ...] = ()


@dataclass(frozen=True, slots=True)
class Meter:
    """An anonymous dynamic set: `meter name { key statement }`."""

    name: str
    size: int | None
    key: Expression
    timeout: int | None
    stateful: tuple[Statement, ...]


@dataclass(frozen=True, slots=True)
class Tproxy:
    family: str | None
    address: Key | Expression | None
    port: Key | Expression | None


@dataclass(frozen=True, slots=True)
class Synproxy:
    mss: int | None = None
    wscale: int | None = None
    flags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Duplicate:
    """`dup to`: a copy of the packet goes elsewhere."""

    address: Expression
    device: Expression | None = None


@dataclass(frozen=True, slots=True)
class Forward:
    """`fwd to`: the packet leaves through another device (netdev family)."""

    device: Expression
    family: str | None = None
    address: Expression | None = None


@dataclass(frozen=True, slots=True)
class FlowOffload:
    flowtable: str


@dataclass(frozen=True, slots=True)
class ResetOption:
    """`reset tcp option NAME`: the option is overwritten with no-operations."""

    option: str


@dataclass(frozen=True, slots=True)
class ForeignMatch:
    """An x_tables extension that a listing shows only by name (`xt match "string"`): its meaning is unknown."""

    kind: str
    name: str


class ExtensionStatement:
    """Base of the statements that `fireproof.extensions` defines, one file each.

    Such a statement either always lets the rule go on (`sometimes` is None), or does so depending on a state of its
    own: then `sometimes` says in words what it hangs on, and proofs treat it as a free choice.
    """

    __slots__ = ()

    @property
    def sometimes(self) -> str | None:
        return None

    def nft(self) -> str:
        """The statement in nft's syntax."""
        raise NotImplementedError

    def json(self) -> object:
        """The statement in libnftables' JSON."""
        raise NotImplementedError

    def start(self) -> object:
        """The state before the first packet."""
        return None

    def passes(self, state: Any, moment: Moment) -> bool:
        """Whether the rule goes on for this packet; changes `state`."""
        return True


@dataclass(frozen=True, slots=True)
class Moment:
    """What a stateful statement may know of the packet: `now` in seconds, `length` in bytes from the IP header.

    `flow` identifies the connection (None without conntrack); `counted` tells whether a connection still counts for
    `ct count`.
    """

    now: float
    length: int
    flow: int | None
    counted: Callable[[int], bool]


Statement = (
    Match | Verdict | VerdictMap | Mangle | Nat | Reject | Log | Notrack | Queue | ObjectReference | SetUpdate | Meter
    | Tproxy | Synproxy | Duplicate | Forward | FlowOffload | ResetOption | ForeignMatch | ExtensionStatement
)  # fmt: skip
