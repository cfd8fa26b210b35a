"""A member of an answer as packets that anyone can replay, tried on the evaluator before it is shown."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING

from fireproof.evaluate.evaluator import Evaluator, Outcome, Step
from fireproof.model.assertion import Claim
from fireproof.packet import build
from fireproof.packet.description import describe
from fireproof.packet.parse import Headers, parse
from fireproof.packet.rewrite import write_bits
from fireproof.semantics import register as reg
from fireproof.semantics.register import Register
from fireproof.verify.answer import Answer, Member
from fireproof.verify.history import KINDS
from fireproof.verify.journey import ACK, ICMP_REPLIES, SYN_ACK

if TYPE_CHECKING:
    from fireproof.model.ruleset import Ruleset

_PORTED = {17: build.udp, 136: build.udplite}


class Disagreement(Exception):
    """The evaluator does not do what the proof promised: one of the two is wrong, so nothing is claimed."""


@dataclass(frozen=True, slots=True)
class WitnessPacket:
    """`iif` is where it arrives, None when this host makes it. `direction`: original or reply."""

    iif: str | None
    direction: str
    raw: bytes

    @property
    def text(self) -> str:
        return describe(self.raw)


@dataclass(frozen=True, slots=True)
class Decision:
    """A rule (or policy) that decided about a packet."""

    step: Step

    @property
    def text(self) -> str:
        if self.step.span is None:
            return self.step.verdict
        return " ".join(self.step.span.text.split())


@dataclass(slots=True)
class Witness:
    packets: list[WitnessPacket] = field(default_factory=list)
    story: list[str] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)


# ---- packets from registers ----------------------------------------------------------------------------------------
def packet_of(registers: dict[Register, int], label: str = "", damaged: bool = False) -> bytes:
    """The bytes of a packet with these register values; `damaged` spoils its checksum."""

    def value(register: Register, default: int = 0) -> int:
        if label:
            register = Register(f"{label} {register.name}", register.bits, register.choice)
        return registers.get(register, default)

    six = bool(value(reg.FAMILY))
    source: IPv4Address | IPv6Address
    target: IPv4Address | IPv6Address
    if six:
        source, target = IPv6Address(value(reg.IP6_SADDR)), IPv6Address(value(reg.IP6_DADDR))
    else:
        source, target = IPv4Address(value(reg.IP_SADDR)), IPv4Address(value(reg.IP_DADDR))
    header = "ip6" if six else "ip"
    dscp = value(Register(f"{header} dscp", 6))
    ttl = value(reg.HOPLIMIT if six else reg.TTL, 64)
    protocol = value(reg.L4PROTO)
    sport, dport = value(reg.SPORT), value(reg.DPORT)
    fields = build.IpFields(ttl=ttl, dscp=dscp)
    if protocol == 6:
        raw = build.tcp(
            str(source), sport, str(target), dport, value(reg.TCP_FLAGS), seq=value(reg.TH_WORD) or 1000, **fields
        )
    elif protocol in _PORTED:
        raw = _PORTED[protocol](str(source), sport, str(target), dport, **fields)
    elif protocol == 1 and not six:
        raw = build.icmp(
            str(source), str(target), sport >> 8, sport & 255, rest=value(reg.TH_WORD) or 0x00070001, **fields
        )
    elif protocol == 58 and six:
        raw = build.icmpv6(
            str(source), str(target), sport >> 8, sport & 255, rest=value(reg.TH_WORD) or 0x00070001, **fields
        )
    else:
        payload = (
            sport.to_bytes(2, "big") + dport.to_bytes(2, "big") + value(reg.TH_WORD).to_bytes(4, "big") + bytes(12)
        )
        raw = build.ip_packet(str(source), str(target), protocol, payload, **fields)
    missing = value(reg.LENGTH) - len(raw)
    if missing > 0:
        raw = _padded(raw, missing, protocol, source, target, fields)
    if damaged:
        raw = raw[:-1] + bytes([raw[-1] ^ 0x55]) if protocol not in (6, 17) else _spoiled(raw, protocol, six)
    return raw


def _padded(
    raw: bytes, missing: int, protocol: int, source: IPv4Address | IPv6Address, target: IPv4Address | IPv6Address,
    fields: build.IpFields,
) -> bytes:  # fmt: skip
    """The packet with so many bytes of data behind it."""
    data = bytes(missing)
    headers = parse(raw)
    th = headers.th or 0
    if protocol == 6:
        sport, dport, seq = _ports(headers)
        return build.tcp(str(source), sport, str(target), dport, raw[th + 13], seq=seq, payload=data, **fields)
    if protocol in _PORTED:
        sport, dport, _ = _ports(headers)
        return _PORTED[protocol](str(source), sport, str(target), dport, data, **fields)
    if protocol in (1, 58):
        make = build.icmp if protocol == 1 else build.icmpv6
        return make(str(source), str(target), raw[th], raw[th + 1], rest=_ports(headers)[2], payload=data, **fields)
    return build.ip_packet(str(source), str(target), protocol, raw[th:] + data, **fields)


def _spoiled(raw: bytes, protocol: int, six: bool) -> bytes:
    at = (40 if six else 20) + (16 if protocol == 6 else 6)
    broken = bytearray(raw)
    broken[at] ^= 0x55
    return bytes(broken)


def answer_to(raw: bytes) -> bytes:
    """What the other end sends back: SYN/ACK, the ICMP reply, a datagram."""
    headers = parse(raw)
    source, target = _ends(headers)
    if headers.l4proto == 6 and headers.th is not None:
        sport, dport, seq = _ports(headers)
        return build.tcp(target, dport, source, sport, SYN_ACK, seq=5000, ack=(seq + 1) % (1 << 32))
    if headers.l4proto in _PORTED and headers.th is not None:
        sport, dport, _ = _ports(headers)
        return _PORTED[headers.l4proto](target, dport, source, sport)
    if headers.l4proto in (1, 58) and headers.th is not None:
        kind = ICMP_REPLIES.get((headers.l4proto, headers.raw[headers.th]), headers.raw[headers.th])
        make = build.icmp if headers.l4proto == 1 else build.icmpv6
        return make(target, source, kind, 0, rest=_ports(headers)[2])
    return build.ip_packet(target, source, headers.l4proto or 0, bytes(20))


def next_of(raw: bytes) -> bytes:
    """The next packet of whoever sent this one."""
    headers = parse(raw)
    source, target = _ends(headers)
    if headers.l4proto == 6 and headers.th is not None:
        sport, dport, seq = _ports(headers)
        return build.tcp(source, sport, target, dport, ACK, seq=(seq + 1) % (1 << 32), ack=5001)
    return raw


def _ends(headers: Headers) -> tuple[str, str]:
    raw = headers.raw
    if headers.family == 4:
        return str(IPv4Address(raw[12:16])), str(IPv4Address(raw[16:20]))
    return str(IPv6Address(raw[8:24])), str(IPv6Address(raw[24:40]))


def _ports(headers: Headers) -> tuple[int, int, int]:
    th = headers.th
    assert th is not None
    raw = headers.raw
    return (
        int.from_bytes(raw[th : th + 2], "big"),
        int.from_bytes(raw[th + 2 : th + 4], "big"),
        int.from_bytes(raw[th + 4 : th + 8], "big"),
    )


# ---- replay --------------------------------------------------------------------------------------------------------
class _Replay:
    """Runs the packets of a member in order and tells the story."""

    def __init__(self, ruleset: Ruleset, answer: Answer, member: Member) -> None:
        self.ruleset = ruleset
        self.answer = answer
        self.member = member
        self.evaluator = Evaluator(ruleset, clock=1_700_000_000.0)
        self.witness = Witness()

    def interface(self, label: str = "") -> str:
        name = f"{label} iif" if label else "iif"
        number = next((v for r, v in self.member.registers.items() if r.name == name), 0)
        text = self.answer.interfaces[number] if number < len(self.answer.interfaces) else ""
        # A pattern stands for an interface that matches it.
        return text.removesuffix("*") + "0" if text.endswith("*") else text

    def choices(self, label: str) -> tuple[dict[str, bool], dict[str, int]]:
        """How the choices fall for one packet, under the names they have there."""
        known = ("reply ", "third ", "first ")
        flags, numbers = {}, {}
        for name, value in self.member.choices.items():
            if label and name.startswith(f"{label} "):
                flags[name.removeprefix(f"{label} ")] = value
            elif not label and not name.startswith(known):
                flags[name] = value
        for register, number in self.member.registers.items():
            if not register.choice:
                continue
            if label and register.name.startswith(f"{label} "):
                numbers[register.name.removeprefix(f"{label} ")] = number
            elif not label and not register.name.startswith(known):
                numbers[register.name] = number
        return flags, numbers

    def send(self, raw: bytes, iif: str | None, direction: str, label: str) -> Outcome:
        flags, numbers = self.choices(label)
        self.evaluator.follow(flags, numbers)
        self.witness.packets.append(WitnessPacket(iif, direction, raw))
        evaluator = self.evaluator
        oif = None
        if self.ruleset.host is None:
            number = next((v for r, v in self.member.registers.items() if r is reg.OIF or r.name == "oif"), 0)
            oif = self.answer.interfaces[number] if 0 < number < len(self.answer.interfaces) else "another interface"
        local = flags.get("delivered locally") if self.ruleset.host is None else None
        outcome = evaluator.send_local(raw, oif) if iif is None else evaluator.send(raw, iif, oif, local)
        self._tell(raw, iif, outcome)
        return outcome

    def _tell(self, raw: bytes, iif: str | None, outcome: Outcome) -> None:
        came = f"arrives on {iif}" if iif is not None else "is made by this host"
        state = f" ({outcome.state})" if outcome.state else ""
        story = self.witness.story
        if outcome.verdict == "forward":
            oif, left = outcome.packets[0]
            changed = "" if _same_packet(raw, left) else f" as {describe(left)}"
            story.append(f"{describe(raw)} {came}{state} and leaves by {oif}{changed}")
        elif outcome.verdict == "local":
            assert outcome.delivered is not None
            changed = "" if _same_packet(raw, outcome.delivered) else f" as {describe(outcome.delivered)}"
            story.append(f"{describe(raw)} {came}{state} and is delivered to this host{changed}")
        else:
            story.append(
                f"{describe(raw)} {came}{state} and is {'rejected' if outcome.verdict == 'reject' else 'dropped'}"
            )
        last = outcome.path[-1] if outcome.path else None
        if outcome.verdict in ("drop", "reject"):
            if last is not None and last.verdict.startswith(("drop", "policy drop", "reject")):
                self.witness.decisions.append(Decision(last))
                where = (
                    f"line {last.span.line} of {last.span.file.name}"
                    if last.span
                    else f"the policy of chain {last.chain}"
                )
                story[-1] += f" by {where}"
            else:
                story[-1] += " by routing"
        else:
            self.witness.decisions += [
                Decision(step)
                for step in outcome.path
                if step.verdict.split(" ")[0] in ("accept", "dnat", "snat", "masquerade", "redirect")
            ]

    # ---- the kinds of member ---------------------------------------------------------------------------------------
    def connection(self) -> bool:
        """Whether the connection gets through, as its question claims it."""
        member = self.member
        raw = packet_of(member.registers)
        iif = None if member.from_here else self.interface()
        first = self.send(raw, iif, "original", "")
        claims = self.answer.question.claims
        if any(claim.kind == "rejected" for claim in claims):
            return first.verdict == "reject"
        if not _through(first) or not all(_meets(claim, raw, first) for claim in claims):
            return False
        answer = self._answer(first)
        if answer is None or not _through(answer):
            return False
        third = self.send(next_of(raw), iif, "original", "third")
        return _through(third)

    def _answer(self, first: Outcome) -> Outcome | None:
        if first.verdict == "local":
            assert first.delivered is not None
            return self.send(answer_to(first.delivered), None, "reply", "reply")
        if not first.packets:
            return None
        oif, left = first.packets[0]
        return self.send(answer_to(left), oif, "reply", "reply")

    def packet(self) -> bool:
        member = self.member
        raw = packet_of(member.registers, damaged=member.state == reg.INVALID)
        iif = None if member.from_here else self.interface()
        if member.subject in KINDS:
            opened = packet_of(member.registers, "first")
            first = self.send(opened, self.interface("first") or None, "original", "first")
            if not _through(first):
                raise Disagreement(f"the first packet of the flow does not get through: {self.witness.story[-1]}")
            if member.subject == "again":
                self._answer(first)
                raw = _within_flow(raw, seq=_ports(parse(next_of(opened)))[2], ack=5001)
            elif member.subject == "reply":
                if _is_syn(opened) and raw[parse(raw).th or 0 :][13:14] != bytes([SYN_ACK]):
                    # Only after the handshake may the other side send anything but SYN/ACK.
                    self._answer(first)
                    self.send(next_of(opened), self.interface("first") or None, "original", "third")
                    raw = _within_flow(raw, seq=5001, ack=1001)
                else:
                    raw = _within_flow(raw, seq=5000, ack=1001)
            elif member.subject.startswith("related"):
                raw = self._error(raw, opened, first)
            outcome = self.send(raw, iif, "reply" if member.subject != "again" else "original", "")
        else:
            outcome = self.send(raw, iif, "original", "")
        claims = self.answer.question.claims
        if any(claim.kind == "rejected" for claim in claims):
            return outcome.verdict == "reject"
        return _through(outcome) and all(_meets(claim, raw, outcome) for claim in claims)

    def _error(self, raw: bytes, opened: bytes, first: Outcome) -> bytes:
        """The ICMP error of the solver, with the packet of the flow that its receiver sent in it."""
        headers = parse(raw)
        assert headers.th is not None
        source, target = _ends(headers)
        about = opened
        inside = first.packets[0][1] if first.packets else first.delivered
        assert inside is not None
        # What its receiver sent: the packet as it left, or the reply as it would reach the opener.
        for candidate in (inside, answer_to(opened)):
            if _ends(parse(candidate))[0] == target:
                about = candidate
                break
        kind, code = raw[headers.th], raw[headers.th + 1]
        return build.icmp_error(about, source, kind, code)


def _is_syn(raw: bytes) -> bool:
    headers = parse(raw)
    return headers.l4proto == 6 and headers.th is not None and raw[headers.th + 13] & 0x12 == 0x02


def _within_flow(raw: bytes, seq: int, ack: int) -> bytes:
    """A TCP packet with sequence numbers that fit its flow; others as they are."""
    headers = parse(raw)
    if headers.l4proto != 6 or headers.th is None:
        return raw
    at = headers.th * 8
    return write_bits(write_bits(raw, at + 32, 32, seq), at + 64, 32, ack)


def _same_packet(one: bytes, other: bytes) -> bool:
    first, second = parse(one), parse(other)
    if first.family != second.family or _ends(first) != _ends(second):
        return False
    if first.th is None or second.th is None:
        return True
    return first.raw[first.th : first.th + 4] == second.raw[second.th : second.th + 4]


def _through(outcome: Outcome) -> bool:
    return outcome.verdict in ("forward", "local")


def _meets(claim: Claim, raw: bytes, outcome: Outcome) -> bool:
    """Whether the packet that left fulfils a claim about it."""
    left = outcome.packets[0][1] if outcome.packets else outcome.delivered
    if left is None:
        return False
    if claim.kind == "via":
        return bool(outcome.packets) and outcome.packets[0][0] == claim.interface
    now, before = parse(left), parse(raw)
    ends_now, ends_before = _ends(now), _ends(before)
    wanted = None
    if claim.address is not None:
        wanted = str(IPv4Address(claim.address) if claim.version == 4 else IPv6Address(claim.address))

    def side(ends: tuple[str, str], headers: Headers, index: int) -> bool:
        if wanted is not None and ends[index] != wanted:
            return False
        return claim.port is None or (headers.th is not None and _ports(headers)[index] == claim.port)

    if claim.kind == "reaches":
        return side(ends_now, now, 1)
    return any(side(ends_now, now, index) and not side(ends_before, before, index) for index in (0, 1))


def witness_of(ruleset: Ruleset, answer: Answer, member: Member) -> Witness:
    """The member as packets with their story. Raises Disagreement when the evaluator does not confirm it."""
    replay = _Replay(ruleset, answer, member)
    passed = replay.connection() if member.subject == "connection" else replay.packet()
    promised = member is answer.passing
    if passed is not promised:
        story = "; ".join(replay.witness.story)
        raise Disagreement(
            f"the proof says that this {'gets' if promised else 'does not get'} through, "
            f"the evaluator says otherwise: {story}"
        )
    return replay.witness
