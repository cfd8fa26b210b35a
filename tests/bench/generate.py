"""Five-tuple rulesets in nft syntax for the benchmarks, the same text for the same seed.

`python -m tests.bench.generate STYLE RULES [SEED]` writes one to standard output. Some rules are planted: each lies
inside one earlier rule of its chain, so that it never matches. Their line numbers are the least a linter has to find;
the styles bring others of their own, as real policies do.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from random import Random

Prefix = tuple[int, int]
"""Value and length."""
Ports = tuple[int, int]
"""First and last."""
ANY: tuple[Prefix, ...] = ((0, 0),)
PLANTED_IN = 50
"""One rule in so many is planted."""


@dataclass(frozen=True, slots=True)
class FiveTuple:
    """A rule: alternatives of each field. No ports means any port; no protocol means any, without ports."""

    sources: tuple[Prefix, ...]
    destinations: tuple[Prefix, ...]
    protocol: str
    source_ports: tuple[Ports, ...]
    ports: tuple[Ports, ...]
    verdict: str

    def __str__(self) -> str:
        words = []
        for key, prefixes in (("ip saddr", self.sources), ("ip daddr", self.destinations)):
            if prefixes != ANY:
                words.append(f"{key} {_one_or_set([_prefix(p) for p in prefixes])}")
        for key, ports in (("sport", self.source_ports), ("dport", self.ports)):
            if ports:
                words.append(f"{self.protocol} {key} {_one_or_set([_ports(p) for p in ports])}")
        if self.protocol and not self.ports and not self.source_ports:
            words.append(f"meta l4proto {self.protocol}")
        return " ".join([*words, self.verdict])


@dataclass(frozen=True, slots=True)
class Generated:
    text: str
    rules: int
    planted: tuple[int, ...]
    """Line numbers, from 1, of rules that an earlier rule covers."""


def _one_or_set(items: list[str]) -> str:
    return items[0] if len(items) == 1 else "{ " + ", ".join(items) + " }"


def _prefix(prefix: Prefix) -> str:
    value, length = prefix
    text = ".".join(str(value >> shift & 255) for shift in (24, 16, 8, 0))
    return text if length == 32 else f"{text}/{length}"


def _ports(ports: Ports) -> str:
    low, high = ports
    return str(low) if low == high else f"{low}-{high}"


# ---- what a style draws its rules from -----------------------------------------------------------------------------
def _networks(random: Random) -> list[Prefix]:
    """600 nested networks as an organisation has them: sites, buildings, floors, hosts, all within 10.0.0.0/8."""
    found: list[Prefix] = []
    for site in random.sample(range(256), 20):
        found.append((10 << 24 | site << 16, 16))
        for _ in range(29):
            length = random.choice((20, 24, 24, 28, 32, 32))
            host = random.getrandbits(16) >> 32 - length << 32 - length
            found.append((10 << 24 | site << 16 | host, length))
    return found


def _services(random: Random) -> list[tuple[str, Ports]]:
    found: list[tuple[str, Ports]] = []
    for _ in range(120):
        low = random.choice((random.randint(1, 1023), random.randint(1024, 65000)))
        high = low if random.random() < 0.8 else min(65535, low + random.choice((1, 9, 99, 499)))
        found.append((random.choice(("tcp", "tcp", "udp")), (low, high)))
    return found


def _verdict(random: Random) -> str:
    return "accept" if random.random() < 0.7 else "drop"


def _object_rules(random: Random) -> Callable[[], FiveTuple]:
    """Networks of an organisation, services by name: what people write. Three in a hundred say "any"."""
    networks, services = _networks(random), _services(random)

    def draw() -> FiveTuple:
        source = ANY if random.random() < 0.03 else (random.choice(networks),)
        destination = ANY if random.random() < 0.03 else (random.choice(networks),)
        protocol, ports = random.choice(services)
        return FiveTuple(source, destination, protocol, (), (ports,), _verdict(random))

    return draw


def _random_rules(random: Random) -> Callable[[], FiveTuple]:
    """Prefixes and port ranges without any structure: the worst case for decision diagrams."""

    def prefix() -> tuple[Prefix, ...]:
        length = random.choice((8, 12, 16, 16, 20, 24, 24, 24, 28, 32, 32))
        return ((random.getrandbits(32) >> 32 - length << 32 - length, length),)

    def ports() -> tuple[Ports, ...]:
        low = random.randint(1, 65535)
        return ((low, random.randint(low, 65535)),)

    def draw() -> FiveTuple:
        protocol = random.choice(("tcp", "udp"))
        return FiveTuple(
            prefix(), prefix(), protocol, ports() if random.random() < 0.2 else (), ports(), _verdict(random)
        )

    return draw


def _set_rules(random: Random) -> Callable[[], FiveTuple]:
    """Anonymous sets of addresses and ports in every rule."""

    def networks() -> tuple[Prefix, ...]:
        chosen = random.sample(range(1 << 14), random.randint(2, 8))
        return tuple((10 << 24 | net << 8, 24) for net in sorted(chosen))

    def draw() -> FiveTuple:
        ports = sorted(random.sample(range(1, 65535), random.randint(2, 6)))
        protocol = random.choice(("tcp", "udp"))
        return FiveTuple(networks(), networks(), protocol, (), tuple((p, p) for p in ports), _verdict(random))

    return draw


def _narrowed(random: Random, rule: FiveTuple) -> FiveTuple:
    """A rule for a part of the packets of another, so that it never matches after it."""

    def prefix(prefixes: tuple[Prefix, ...]) -> tuple[Prefix, ...]:
        value, length = random.choice(prefixes)
        longer = random.randint(length, 32)
        free = random.getrandbits(32 - length) >> 32 - longer << 32 - longer if length < 32 else 0
        return ((value | free, longer),)

    def ports(ranges: tuple[Ports, ...]) -> tuple[Ports, ...]:
        if not ranges:
            return ()
        low, high = random.choice(ranges)
        first = random.randint(low, high)
        return ((first, random.randint(first, high)),)

    return replace(
        rule,
        sources=prefix(rule.sources),
        destinations=prefix(rule.destinations),
        source_ports=ports(rule.source_ports),
        ports=ports(rule.ports),
        verdict=_verdict(random),
    )


STYLES: dict[str, Callable[[Random], Callable[[], FiveTuple]]] = {
    "objects": _object_rules,
    "random": _random_rules,
    "sets": _set_rules,
    "chains": _object_rules,
}


# ---- the file ------------------------------------------------------------------------------------------------------
def generate(style: str, rules: int, seed: int = 1) -> Generated:
    """A ruleset of that many rules, jumps included."""
    random = Random(f"{style} {rules} {seed}")
    draw = STYLES[style](random)
    names = [f"site_{site}" for site in range(64)] if style == "chains" else []
    lines = ["table ip bench {"]
    planted: list[int] = []
    numbers = count(1)
    share, extra = divmod(rules - len(names), len(names) or 1)
    for position, name in enumerate(names):
        inside = partial(_within_site, draw, position)
        _chain(lines, planted, random, numbers, inside, [f"chain {name} {{"], share + (position < extra))
    head = ["chain forward {", "    type filter hook forward priority filter; policy drop;"]
    head += [f"    ip daddr 10.{site * 4}.0.0/14 jump {name}" for site, name in enumerate(names)]
    _chain(lines, planted, random, numbers, draw, head, 0 if names else rules)
    lines.append("}")
    return Generated("\n".join(lines) + "\n", rules, tuple(planted))


def _within_site(draw: Callable[[], FiveTuple], site: int) -> FiveTuple:
    """A rule for destinations in 10.(4 * site).0.0/14, which is what the site's chain gets to see."""
    rule = draw()
    if rule.destinations == ANY:
        return rule
    moved = tuple((10 << 24 | site << 18 | value & 0x3FFFF, length) for value, length in rule.destinations)
    return replace(rule, destinations=moved)


def _chain(
    lines: list[str], planted: list[int], random: Random, numbers: Iterator[int], draw: Callable[[], FiveTuple],
    head: list[str], rules: int,
) -> None:  # fmt: skip
    lines += [f"    {line}" for line in head]
    above: list[FiveTuple] = []
    for _ in range(rules):
        if next(numbers) % PLANTED_IN == 0 and above:
            rule = _narrowed(random, random.choice(above))
            planted.append(len(lines) + 1)
        else:
            rule = draw()
            above.append(rule)
        lines.append(f"        {rule}")
    lines.append("    }")


if __name__ == "__main__":
    sys.stdout.write(generate(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else 1).text)
