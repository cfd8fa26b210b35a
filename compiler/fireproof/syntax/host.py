"""The `host { … }` block: interfaces with addresses and zones, routes, conntrack settings."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from fireproof.model.expression import Interval, Name
from fireproof.model.host import Address, Host, Interface, Route
from fireproof.source.diagnostic import input_error
from fireproof.source.text import SourceFile, Span
from fireproof.syntax import values
from fireproof.syntax.blocks import Line
from fireproof.syntax.directives import directive
from fireproof.syntax.grammar import Tree
from fireproof.syntax.scope import Context, MeaningError, leaves, suggest, unquote

if TYPE_CHECKING:
    from fireproof.syntax.build import Builder

_BITS = {4: 32, 6: 128}
_TYPES = {4: values.type_of("ipv4_addr", 32), 6: values.type_of("ipv6_addr", 128)}


def read_host(builder: Builder, file: SourceFile, line: Line, host: Host) -> None:
    for inner in line.body or []:
        builder.guard(file, inner, partial(_line, builder, host, file, inner))
    _check(host)


def _line(builder: Builder, host: Host, file: SourceFile, line: Line) -> None:
    if directive(builder, file, line, partial(_line, builder, host)):
        return
    span = Span(file, line.start, line.end)
    context = Context(builder.scope)
    if line.kind == "interface":
        name = _interface_name(builder, file, line)
        interface = host.interfaces.setdefault(name, Interface(name, span))
        for inner in line.body or []:
            tree = builder.parse(file, inner.start, inner.end, "host_line")
            if tree is not None:
                _guarded(builder, file, inner, partial(_interface_line, context, interface, tree))
        return
    if line.kind == "conntrack":
        for inner in line.body or []:
            tree = builder.parse(file, inner.start, inner.end, "host_line")
            if tree is not None:
                _guarded(builder, file, inner, partial(_conntrack_line, host, tree))
        return
    tree = builder.parse(file, line.start, line.end, "host_line")
    if tree is None:
        return
    if tree.data != "host_route":
        raise input_error("syntax", "this belongs inside an `interface` block", span)
    _guarded(builder, file, line, partial(_route_line, context, host, tree))


def _guarded(builder: Builder, file: SourceFile, line: Line, action: Any) -> None:
    try:
        action()
    except MeaningError as problem:
        builder.meaning_problem(file, line.start, line.end, problem)


def _interface_name(builder: Builder, file: SourceFile, line: Line) -> str:
    text = file.text[line.start : line.end].removeprefix("interface").strip()
    if text.startswith("$"):
        variable = builder.scope.find(text[1:])
        found = leaves(variable.tree) if variable else []
        if variable is None or len(found) != 1:
            raise input_error(
                "undefined", f"`{text[:40]}` is not defined as a single name", Span(file, line.start, line.end)
            )
        variable.definition.used += 1
        text = str(found[0])
    name = unquote(text)
    if not name or len(name.removesuffix("*").encode()) > 15 or any(c.isspace() or c in '/"' for c in name):
        raise input_error("value", f"`{name[:40]}` is not the name of an interface", Span(file, line.start, line.end))
    return name


def _address(context: Context, node: Any) -> tuple[int, int, int | None]:
    """Version, value and prefix length of an address literal, or of the prefix that a variable holds."""
    inner = values.sole(context, node if isinstance(node, Tree) else Tree("literal", [node]))
    length = None
    if isinstance(inner, Tree) and inner.data == "prefix":
        length = values.constant(context, inner.children[1], values.type_of("integer", 8))
        inner = values.sole(context, inner.children[0])
    found = leaves(inner)
    if len(found) != 1 or found[0].type not in ("IPV4", "IPV6"):
        raise MeaningError("an address is needed here", node, code="value")
    version = 4 if found[0].type == "IPV4" else 6
    part = values.literal(context, found[0], _TYPES[version])
    assert isinstance(part, Interval)
    return version, part.low, length


def _interface_line(context: Context, interface: Interface, tree: Any) -> None:
    if tree.data == "host_zone":
        if interface.zone is not None and interface.zone != str(tree.children[0]):
            raise MeaningError("an interface belongs to one zone", tree, code="duplicate")
        interface.zone = str(tree.children[0])
    elif tree.data == "host_address":
        version, value, length = _address(context, tree.children[0])
        if tree.children[1] is not None:
            length = values.integer(str(tree.children[1]))
        if length is None:
            length = _BITS[version]
        if length > _BITS[version]:
            raise MeaningError(f"/{length} is longer than the {_BITS[version]} bits of an address", tree, code="value")
        interface.addresses.append(Address(version, value, length))
    else:
        raise MeaningError("an interface has addresses and a zone", tree, code="syntax")


def _conntrack_line(host: Host, tree: Any) -> None:
    word = str(tree.children[0])
    if tree.data == "host_max":
        host.conntrack.max = values.integer(word)
        return
    if tree.data not in ("host_tcp_loose", "host_be_liberal"):
        raise MeaningError("conntrack has tcp_loose, be_liberal and max", tree, code="syntax")
    if word not in ("yes", "no"):
        raise MeaningError("write yes or no", tree, code="value")
    setattr(host.conntrack, tree.data.removeprefix("host_"), word == "yes")


def _route_line(context: Context, host: Host, tree: Any) -> None:
    target, length_leaf, via_node, device_node = tree.children
    via = _address(context, via_node) if via_node is not None else None
    device = ""
    if device_node is not None:
        part = values.part_values(context, Tree("operand", [device_node]), values.type_of("ifname", 128))[0]
        device = part.text if isinstance(part, Name) else ""
    found = leaves(target)
    if len(found) == 1 and str(found[0]) == "default":
        # Without a gateway the route is for both versions.
        versions = (via[0],) if via else (4, 6)
        entries = [(version, 0, 0) for version in versions]
    else:
        version, value, length = _address(context, target)
        if length_leaf is not None:
            length = values.integer(str(length_leaf))
        if length is None:
            length = _BITS[version]
        if length > _BITS[version]:
            raise MeaningError(f"/{length} is longer than the {_BITS[version]} bits of an address", tree, code="value")
        rest = _BITS[version] - length
        entries = [(version, value >> rest << rest, length)]
    if not device and via is not None:
        device = next((route.device for route in host.table() if _covers(route, via)), "")
    if not device:
        raise MeaningError("this route names no way out", tree, "add `dev INTERFACE`", "value")
    for version, value, length in entries:
        if via is not None and via[0] != version:
            raise MeaningError("the gateway is of the other IP version", via_node, code="value")
        host.routes.append(Route(version, value, length, device, via[1] if via else None))


def _covers(route: Route, via: tuple[int, int, int | None]) -> bool:
    rest = _BITS[route.version] - route.prefix
    return route.version == via[0] and route.value >> rest == via[1] >> rest


def _check(host: Host) -> None:
    for route in host.routes:
        if route.device not in host.interfaces:
            known = suggest(route.device, host.interfaces)
            span = next(iter(host.interfaces.values())).span if host.interfaces else None
            raise input_error(
                "reference",
                f"a route leaves through `{route.device}`, which the host block does not describe",
                span,
                help=known,
            )
