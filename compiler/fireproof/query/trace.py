"""Packets through a ruleset, hook by hook: on the evaluator, or in the real kernel."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING, Any

from fireproof.packet.description import describe
from fireproof.packet.notation import Notated, NotationError, parse_packet
from fireproof.source.diagnostic import InputError, input_error
from fireproof.source.text import SourceFile, Span

if TYPE_CHECKING:
    from fireproof.kernel import Port, Route
    from fireproof.model.host import Host
    from fireproof.model.ruleset import Ruleset


@dataclass(frozen=True, slots=True)
class PathStep:
    """One rule that matched, or a chain's policy. `file` and `line` are those of the rule, or of the chain's hook."""

    hook: str
    table: str
    chain: str
    file: str | None
    line: int | None
    text: str
    verdict: str


@dataclass(slots=True)
class Traced:
    """What became of one packet. `out` holds what left: interface (or None for a local socket) and bytes."""

    packet: Notated
    verdict: str
    delivered: str
    state: str | None
    out: list[tuple[str | None, bytes]] = field(default_factory=list)
    path: list[PathStep] = field(default_factory=list)


def read_packets(texts: Sequence[str]) -> list[Notated]:
    """Packets in fireproof's notation. Raises InputError with the place of a mistake."""
    found = []
    for number, text in enumerate(texts, 1):
        try:
            packet = parse_packet(text)
        except NotationError as problem:
            file = SourceFile(f"<packet {number}>", text)
            at = max(problem.column - 1, 0)
            raise input_error("syntax", problem.message, Span(file, at, at + 1)) from None
        if packet.iif is None and not packet.local:
            file = SourceFile(f"<packet {number}>", text)
            raise input_error(
                "syntax", "the packet does not say where it comes from", Span(file, 0, len(text)),
                help="begin with `on INTERFACE` where it arrives, or `local` if this host makes it",
            )  # fmt: skip
        found.append(packet)
    return found


def evaluate(ruleset: Ruleset, packets: Sequence[Notated], wait: float = 0.0) -> Iterator[Traced]:
    """Runs packets through the embedded evaluator, `wait` seconds apart, with one conntrack table."""
    from fireproof.evaluate.evaluator import Evaluator
    from fireproof.lint import refusals

    refused = refusals(ruleset)
    if refused:
        raise InputError(refused)
    evaluator = Evaluator(ruleset)
    known = ruleset.host.interfaces if ruleset.host else {}
    for number, packet in enumerate(packets):
        if number:
            evaluator.advance(wait)
        _known_interface(packet, known)
        if packet.local:
            outcome = evaluator.send_local(packet.raw, mark=packet.mark)
        else:
            assert packet.iif is not None
            outcome = evaluator.send(packet.raw, packet.iif, mark=packet.mark)
        path = [
            PathStep(
                step.hook, step.table, step.chain, *_place(ruleset, step.table, step.chain, step.span), step.verdict
            )
            for step in outcome.path
        ]
        yield _traced(packet, outcome.verdict, outcome.state, outcome.packets, outcome.delivered, path)


def _known_interface(packet: Notated, known: Any) -> None:
    if packet.iif is None or not known or packet.iif == "lo":
        return
    if packet.iif not in known and not any(n.endswith("*") and packet.iif.startswith(n[:-1]) for n in known):
        raise input_error("reference", f"the host has no interface `{packet.iif}`", help="it has " + ", ".join(known))


def _place(ruleset: Ruleset, table: str, chain: str, span: Span | None) -> tuple[str | None, int | None, str]:
    if span is not None:
        return span.file.name, span.line, " ".join(span.text.split())
    family, _, name = table.partition(" ")
    found = ruleset.tables.get((family, name))
    base = found.chains[chain].base if found and chain in found.chains else None
    if base is None or base.span is None:
        return None, None, "policy"
    return base.span.file.name, base.span.line, f"policy {base.policy}"


def _traced(
    packet: Notated, verdict: str, state: str | None, packets: list[tuple[str, bytes]], delivered: bytes | None,
    path: list[PathStep],
) -> Traced:  # fmt: skip
    out: list[tuple[str | None, bytes]] = list(packets)
    if verdict == "local" and delivered is not None:
        out = [(None, delivered)]
    word = {"forward": "accept", "local": "accept"}.get(verdict, verdict)
    where = verdict if verdict in ("forward", "local") else "none"
    return Traced(packet, word, where, state, out, path)


# ---- the real kernel -----------------------------------------------------------------------------------------------
def ports_and_routes(host: Host) -> tuple[list[Port], list[Route]]:
    """The host facts as ports and routes of a namespace. Interfaces known only by a pattern are left out."""
    from fireproof.kernel import Port, Route

    def text(version: int, value: int) -> str:
        return str(IPv4Address(value) if version == 4 else IPv6Address(value))

    ports = [
        Port(i.name, tuple(f"{text(a.version, a.value)}/{a.prefix}" for a in i.addresses))
        for i in host.interfaces.values()
        if not i.name.endswith("*") and i.name != "lo"
    ]
    names = {port.name for port in ports}
    versions = {a.version for i in host.interfaces.values() for a in i.addresses}
    routes = [
        Route(f"{text(r.version, r.value)}/{r.prefix}", r.device, text(r.version, r.via) if r.via is not None else None)
        for r in host.routes
        if r.device in names and r.version in versions
    ]
    return ports, routes


def in_kernel(ruleset: Ruleset, packets: Sequence[Notated]) -> Iterator[Traced]:
    """Runs packets through the real kernel, in a throw-away namespace. Raises InputError where that cannot be."""
    from fireproof.emit.compile import compile_ruleset
    from fireproof.emit.place import place_of
    from fireproof.kernel import KernelUnavailable, NftRefused, Oracle

    if ruleset.host is None:
        raise input_error(
            "host-facts", "the kernel needs interfaces, addresses and routes to run this",
            help="add a `host { … }` block, or name a file with one by --host",
        )  # fmt: skip
    text = compile_ruleset(ruleset, "nft", kernel=False).text
    ports, routes = ports_and_routes(ruleset.host)
    loose = ruleset.host.conntrack.tcp_loose
    settings = {
        "net.netfilter.nf_conntrack_tcp_loose": str(int(loose)),
        "net.netfilter.nf_conntrack_tcp_be_liberal": str(int(ruleset.host.conntrack.be_liberal)),
    }
    lines = {(s.span.file.name.rsplit("/", 1)[-1], s.span.line): s.span for c in _chains(ruleset) for s in c.rules}
    try:
        with Oracle(ports, routes, sysctls=settings) as oracle:
            oracle.load(text)
            comments = oracle.rules()
            for packet in packets:
                _known_interface(packet, {port.name: port for port in ports})
                outcome = oracle.send_local(packet.raw) if packet.local else oracle.send(packet.raw, packet.iif or "")
                path = []
                for step in outcome.path:
                    tag = place_of(comments.get((step.family, step.table, step.chain, step.handle or 0)))
                    span = lines.get((tag.file, tag.line)) if tag else None
                    name = f"{step.family} {step.table}"
                    if step.kind == "rule":
                        file, line = (span.file.name, span.line) if span else (None, None)
                        words = " ".join(span.text.split()) if span else ""
                        verdict = f"{step.verdict} {step.target}" if step.target else step.verdict
                        path.append(PathStep(step.hook, name, step.chain, file, line, words, verdict))
                    elif step.kind == "policy":
                        place = _place(ruleset, name, step.chain, None)
                        path.append(PathStep(step.hook, name, step.chain, *place, f"policy {step.verdict}"))
                yield _traced(packet, outcome.verdict, outcome.state, outcome.packets, outcome.delivered, path)
    except KernelUnavailable as problem:
        raise input_error(
            "no-kernel", f"the kernel cannot be asked: {problem}", help="leave out --kernel to use the evaluator"
        ) from None
    except NftRefused as problem:
        raise input_error("refused", f"nft refuses the ruleset: {problem}") from None


def _chains(ruleset: Ruleset) -> Iterator[Any]:
    for table in ruleset.tables.values():
        yield from table.chains.values()


# ---- as JSON and text ----------------------------------------------------------------------------------------------
def trace_document(found: Sequence[Traced]) -> dict[str, Any]:
    return {
        "packets": [
            {
                "verdict": one.verdict,
                "delivered": one.delivered,
                "state": one.state,
                "out": [
                    {"iif": one.packet.iif or "lo", "packet": describe(raw)} if oif is None
                    else {"oif": oif, "packet": describe(raw)}
                    for oif, raw in one.out
                ],
                "path": [
                    {
                        "hook": step.hook, "table": step.table, "chain": step.chain, "file": step.file,
                        "line": step.line, "verdict": step.verdict,
                    }
                    for step in one.path
                ],
            }
            for one in found
        ]
    }  # fmt: skip


def trace_lines(number: int, one: Traced) -> list[str]:
    """One packet's journey as text."""
    packet = one.packet
    came = "made by this host" if packet.local else f"arrives on {packet.iif}"
    lines = [f"packet {number}: {describe(packet.raw)}", f"  {came}{f', ct state {one.state}' if one.state else ''}"]
    hook = ""
    for step in one.path:
        if step.hook != hook:
            hook = step.hook
            lines.append(f"  {hook}")
        place = f"{step.file}:{step.line}" if step.file else ""
        lines.append(f"    {step.table} {step.chain}: {step.text or 'policy'} → {step.verdict}  {place}".rstrip())
    for oif, raw in one.out:
        where = "delivered to this host" if oif is None else f"leaves by {oif}"
        lines.append(f"  {where}: {describe(raw)}")
    lines.append(f"  {one.verdict}" + (f" ({one.delivered})" if one.delivered != "none" else ""))
    return lines
