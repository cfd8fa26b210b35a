"""Which connections or packets a question is about."""

from __future__ import annotations

from typing import Generic

from fireproof.model.assertion import Clause, Place, Question
from fireproof.model.expression import Interval
from fireproof.model.ruleset import Ruleset, Table
from fireproof.semantics import register as reg
from fireproof.semantics import routing
from fireproof.semantics.algebra import Algebra, P, V
from fireproof.semantics.flight import Flight, Site
from fireproof.semantics.interval import Intervals
from fireproof.semantics.match import matches
from fireproof.source.text import SourceFile, Span
from fireproof.verify.journey import ICMP_REPLIES, LEAST_LENGTHS, SYN, routed_back

_ICMP, _TCP, _ICMPV6 = 1, 6, 58
_EXTENSION_HEADERS = (0, 43, 44, 51, 60, 135)


class Membership(Generic[P, V]):
    """Builds the conditions of a question over an arriving packet."""

    def __init__(self, ruleset: Ruleset, flight: Flight[P, V]) -> None:
        self.ruleset = ruleset
        self.flight = flight
        self.algebra: Algebra[P, V] = flight.world.algebra
        # A question belongs to no table: sets are found in all of them.
        span = Span(SourceFile("<question>", ""), 0, 0)
        everywhere = Table("inet", "question", span)
        for found in ruleset.tables.values():
            everywhere.sets |= {name: s for name, s in found.sets.items() if name not in everywhere.sets}
        self.site = Site(everywhere, "question")

    # ---- conditions ------------------------------------------------------------------------------------------------
    def all(self, *conditions: P) -> P:
        found = self.algebra.true
        for condition in conditions:
            found = self.algebra.both(found, condition)
        return found

    def any(self, *conditions: P) -> P:
        found = self.algebra.false
        for condition in conditions:
            found = self.algebra.either(found, condition)
        return found

    def no(self, condition: P) -> P:
        return self.algebra.negate(condition)

    def is_in(self, register: reg.Register, values: Intervals) -> P:
        return self.algebra.member(self.flight.read(register), register.bits, values)

    # ---- well-formed packets ---------------------------------------------------------------------------------------
    def sound(self) -> P:
        """What every IP packet obeys: the next header of IPv6 leads to the transport protocol."""
        flight, algebra = self.flight, self.algebra
        four, six = flight.is_family(0), flight.is_family(1)
        nexthdr = reg.header_slices("ip6", 48, 8)[0].register
        plain = algebra.equal(flight.read(nexthdr), flight.read(reg.L4PROTO), 8)
        extension = self.is_in(nexthdr, Intervals((n, n) for n in _EXTENSION_HEADERS))
        version4 = self.is_in(reg.header_slices("ip", 0, 4)[0].register, Intervals.of(4))
        version6 = self.is_in(reg.header_slices("ip6", 0, 4)[0].register, Intervals.of(6))
        return self.all(
            self.any(self.all(four, version4), self.all(six, version6, self.any(plain, extension))), self._long_enough()
        )

    def _long_enough(self) -> P:
        """The packet holds its headers, and no more than 65535 bytes."""
        found = self.algebra.false
        for family in (0, 1):
            for protocols, least in LEAST_LENGTHS[family]:
                long = self.is_in(reg.LENGTH, Intervals.of(least, 0xFFFF))
                found = self.any(
                    found, self.all(self.flight.is_family(family), self.is_in(reg.L4PROTO, protocols), long)
                )
        return found

    def _whole(self) -> P:
        """No fragment: the more-fragments bit and the offset are zero."""
        fragment = reg.header_slices("ip", 48, 16)[0].register
        offset = self.algebra.slice(self.flight.read(fragment), 16, 0, 14)
        return self.any(self.flight.is_family(1), self.algebra.member(offset, 14, Intervals.of(0)))

    def opening(self) -> P:
        """A proper first packet: SYN alone for TCP, a request for ICMP, no fragment, a whole transport header."""
        flight = self.flight
        tcp = self.is_in(reg.L4PROTO, Intervals.of(_TCP))
        icmp4 = self.is_in(reg.L4PROTO, Intervals.of(_ICMP))
        icmp6 = self.is_in(reg.L4PROTO, Intervals.of(_ICMPV6))
        requests4 = Intervals((kind << 8, kind << 8) for (number, kind) in ICMP_REPLIES if number == _ICMP)
        requests6 = Intervals((kind << 8, kind << 8) for (number, kind) in ICMP_REPLIES if number == _ICMPV6)
        return self.all(
            self.sound(),
            self.is_in(reg.TRANSPORT, Intervals.of(1)),
            self.any(self.no(tcp), self.is_in(reg.TCP_FLAGS, Intervals.of(SYN))),
            self.any(self.no(icmp4), self.all(flight.is_family(0), self.is_in(reg.SPORT, requests4))),
            self.any(self.no(icmp6), self.all(flight.is_family(1), self.is_in(reg.SPORT, requests6))),
            self._whole(),
            self.is_in(reg.TTL, Intervals.of(2, 255)),
            self.is_in(reg.HOPLIMIT, Intervals.of(2, 255)),
        )

    # ---- places ----------------------------------------------------------------------------------------------------
    def address(self, place: Place, source: bool) -> P:
        four, six = (reg.IP_SADDR, reg.IP6_SADDR) if source else (reg.IP_DADDR, reg.IP6_DADDR)
        values = Intervals((part.low, part.high) for part in place.key if isinstance(part, Interval))
        register = four if place.version == 4 else six
        return self.all(self.flight.is_family(0 if place.version == 4 else 1), self.is_in(register, values))

    def interfaces(self, place: Place) -> Intervals:
        found = Intervals()
        for name in place.interfaces:
            found = found | self.flight.world.interfaces.matching_device(name)
        return found

    def own(self, source: bool) -> P:
        """An address of this machine."""
        host = self.ruleset.host
        if host is None:
            return self.flight.choose("own address", "routing: whether the address is this host's")
        return self.any(
            *[
                self.all(
                    self.flight.is_family(family),
                    self.is_in(register, routing.local_addresses(host, version)),
                )
                for family, version, register in (
                    (0, 4, reg.IP_SADDR if source else reg.IP_DADDR),
                    (1, 6, reg.IP6_SADDR if source else reg.IP6_DADDR),
                )
            ]
        )

    def from_place(self, place: Place) -> P:
        if place.kind == "address":
            return self.address(place, source=True)
        if place.kind == "host":
            return self.own(source=True)
        return self.is_in(reg.IIF, self.interfaces(place))

    def to_place(self, place: Place) -> P:
        """Before any NAT: an address, or where routing would take the destination as it arrived."""
        if place.kind == "address":
            return self.address(place, source=False)
        if place.kind == "host":
            return self.own(source=False)
        host = self.ruleset.host
        if host is None:
            return self.is_in(reg.OIF, self.interfaces(place))
        oif, routable = routing.way_out(self.flight, host)
        leaves = self.algebra.member(oif, reg.OIF.bits, self.interfaces(place))
        return self.all(routable, leaves, self.no(self.own(source=False)), self.no(self._not_unicast(source=False)))

    def _not_unicast(self, source: bool) -> P:
        """Multicast, broadcast, link-local and unspecified addresses, and the router's anycast of each network."""
        host = self.ruleset.host
        special4 = Intervals([routing.MULTICAST4, routing.BROADCAST4, routing.LOOPBACK4, routing.ZERO4])
        special6 = Intervals([routing.MULTICAST6, routing.LOOPBACK6, routing.UNSPECIFIED6, routing.LINK_LOCAL6])
        if host is not None:
            special4 = special4 | routing.broadcast_addresses(host) | routing.network_addresses(host, 4)
            special6 = special6 | routing.network_addresses(host, 6)
        return self.any(
            self.all(self.flight.is_family(0), self.is_in(reg.IP_SADDR if source else reg.IP_DADDR, special4)),
            self.all(self.flight.is_family(1), self.is_in(reg.IP6_SADDR if source else reg.IP6_DADDR, special6)),
        )

    # ---- the question ----------------------------------------------------------------------------------------------
    def clause(self, clause: Clause) -> P:
        if clause.match is not None:
            return matches(self.flight, clause.match, self.site)
        assert clause.place is not None
        return self.from_place(clause.place) if clause.kind == "from" else self.to_place(clause.place)

    def described(self, question: Question) -> P:
        """What the words of the question describe, exceptions taken away."""
        found = self.all(*(self.clause(clause) for clause in question.clauses))
        for exception in question.exceptions:
            found = self.all(found, self.no(self.all(*(self.clause(clause) for clause in exception))))
        return found

    def exists(self, from_here: bool) -> P:
        """The packet comes in by an interface that there is, or by none when this host makes it."""
        if from_here:
            return self.is_in(reg.IIF, Intervals.of(0))
        universe = self.flight.world.interfaces
        real = universe.existing or Intervals.of(1, len(universe.names) - 1)
        loopback = universe.matching_device("lo")
        return self.is_in(reg.IIF, real & loopback.complement(reg.IIF.bits))

    def connection(self, question: Question) -> P:
        """The connections a question is about: proper first packets from ends that live where they should."""
        from_here = opens_here(question)
        ends = self.no(self._not_unicast(source=False))
        if from_here:
            source = self.all(self.own(source=True), self.no(self._not_unicast(source=True)))
        else:
            source = self.all(
                self.no(self.own(source=True)), self.no(self._not_unicast(source=True)), routed_back(self.flight)
            )
        return self.all(self.opening(), self.exists(from_here), source, ends, self.described(question))

    def packet(self, question: Question) -> P:
        """Anything may arrive, as long as it is IP."""
        # Connection tracking puts fragments together before any chain of the usual priorities sees them.
        whole = self._whole() if self.flight.world.conntrack else self.algebra.true
        return self.all(self.sound(), whole, self.exists(opens_here(question)), self.described(question))


def opens_here(question: Question) -> bool:
    """Whether the traffic starts at this machine."""
    return any(c.place is not None and c.kind == "from" and c.place.kind == "host" for c in question.clauses)


def mentioned_interfaces(question: Question) -> tuple[str, ...]:
    clauses = [*question.clauses, *(clause for exception in question.exceptions for clause in exception)]
    names = [name for c in clauses if c.place for name in c.place.interfaces]
    names += [claim.interface for claim in question.claims if claim.interface]
    return tuple(names)
