"""What the rules of a table change on the way, so that a later test of it says nothing about the packet as it came.

By the names of registers. Changes by other tables do not count: between two rules of one chain no other table runs.
"""

from __future__ import annotations

from dataclasses import dataclass

from fireproof.model.expression import Ct, Expression, HeaderOption, Meta, Payload
from fireproof.model.ruleset import Table
from fireproof.model.statement import Mangle, Notrack, ObjectReference, ResetOption, Statement
from fireproof.semantics import register as reg
from fireproof.semantics.register import Register

_CHECKSUMS = frozenset(("tcp checksum", reg.TH_WORD.name, reg.DPORT.name))
"""Where the transport checksum stands: in TCP, UDP and ICMP."""
_END_OF_HEADER = {"ip": 160, "ip6": 320, "th": 160}
_SET_BY_OBJECT = {
    "ct helper": "ct helper", "ct timeout": "ct expiration", "secmark": "meta secmark", "ct expectation": "ct helper",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Volatile:
    """Registers, by their whole names and by how these begin."""

    names: frozenset[str] = frozenset()
    prefixes: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.names or self.prefixes)

    def __contains__(self, register: object) -> bool:
        return isinstance(register, Register) and (
            register.name in self.names or register.name.startswith(self.prefixes)
        )


def volatile_of(table: Table) -> Volatile:
    names: set[str] = set()
    prefixes: set[str] = set()
    for chain in table.chains.values():
        if chain.base is not None and chain.base.hook in ("ingress", "egress"):
            # Frames may be padded there: the length of the packet is not the one in its header.
            names.add(reg.LENGTH.name)
        for rule in chain.rules:
            for statement in rule.statements:
                _add(statement, names, prefixes)
    if names or prefixes:
        # Computed from header fields and the mark.
        prefixes |= {"fib ", "hash "}
    return Volatile(frozenset(names), tuple(sorted(prefixes)))


def _add(statement: Statement, names: set[str], prefixes: set[str]) -> None:
    if isinstance(statement, Mangle):
        _add_target(statement.target, names, prefixes)
    elif isinstance(statement, Notrack):
        names.add(reg.CT_STATE.name)
    elif isinstance(statement, ResetOption):
        _add_options("tcp", statement.option, names, prefixes)
    elif isinstance(statement, ObjectReference) and statement.kind in _SET_BY_OBJECT:
        names.add(_SET_BY_OBJECT[statement.kind])


def _add_target(target: Expression, names: set[str], prefixes: set[str]) -> None:
    if isinstance(target, Meta):
        names.add(f"meta {target.key}")
    elif isinstance(target, Ct):
        names |= {f"ct {target.key}", f"ct original {target.key}", f"ct reply {target.key}"}
        if target.key == "zone":
            # Before tracking, a template with the zone is attached: the packet then counts as new.
            names.add(reg.CT_STATE.name)
    elif isinstance(target, HeaderOption):
        _add_options(target.protocol, target.option, names, prefixes)
    elif isinstance(target, Payload):
        headers = [target.protocol] if target.protocol in ("ip", "ip6") else ["ip", "ip6"]
        for header in headers if target.base == "nh" else [target.base]:
            names |= {piece.register.name for piece in reg.header_slices(header, target.offset, target.bits)}
            if target.offset + target.bits > _END_OF_HEADER.get(header, 1 << 30):
                prefixes |= {"tcp option "} if header == "th" else {"ip option ", "exthdr option "}
        if target.base == "nh":
            names.add("ip checksum")
        if (
            target.base == "th"
            or {reg.IP_SADDR.name, reg.IP_DADDR.name, reg.IP6_SADDR.name, reg.IP6_DADDR.name} & names
        ):
            names |= _CHECKSUMS


def _add_options(protocol: str, option: str, names: set[str], prefixes: set[str]) -> None:
    """Options are also bytes of the header that they stand in."""
    prefixes.add(f"{protocol} option {option} ")
    prefixes |= {"@th byte ", "@ip byte ", "@ip6 byte "}
    names |= _CHECKSUMS
