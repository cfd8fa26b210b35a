"""What lint says the kernel refuses, the kernel refuses; what the kernel loads, lint does not call refused.

Every statement in every kind of base chain, directly and in a chain that is called; loops and nesting of calls.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from itertools import product

import pytest

from fireproof.kernel.namespace import KernelUnavailable, Namespace
from fireproof.kernel.nft import nft_path
from fireproof.lint import refusals
from fireproof.netfilter.hooks import CHAIN_TYPES
from fireproof.syntax.build import load_text

Loads = Callable[[str], str]

PRIORITIES = {"nat": 50, "route": -150}
PLACES = [
    (family, kind, hook)
    for (family, kind), hooks in CHAIN_TYPES.items()
    if family in ("ip", "ip6", "inet", "netdev")
    for hook in hooks
]
DECLARED = """
    counter cnt { }
    ct helper ftp { type "ftp" protocol tcp; }
    ct timeout slow { protocol tcp; policy = { established : 100 }; }
"""
STATEMENTS = {
    "any": [
        "accept", "drop", "counter", "limit rate 1/second", "quota 1 mbytes", "log", "notrack", "meta mark set 1",
        "meta priority set 1:2", "meta pkttype set host", "ct mark set 1", "ct zone set 1", "ct state new accept",
        "meta l4proto tcp reject with tcp reset", "meta l4proto tcp tcp dport set 80",
        "tcp option maxseg size set 1400", 'ct helper set "ftp"', 'ct timeout set "slow"', "ct count over 3 drop",
        "fib daddr type local", "fib saddr . iif oif 0", "socket transparent 1", "rt classid 1",
        "tcp option maxseg size 5",
        "meta ipsec exists", "ipsec in reqid 1", "ipsec out reqid 1", "meta sdif 1", "counter name cnt",
        "meta l4proto tcp synproxy mss 1460", "meta l4proto tcp osf name Linux",
        "rt mtu 1400", "ct mark set meta mark", "update @seen { ip saddr ct count over 3 } drop",
    ],
    "ip": ["dnat to 10.0.0.1", "snat to 10.0.0.1", "masquerade", "redirect", "reject", "reject with icmp 3",
           "meta l4proto tcp tproxy to :80", "dup to 10.0.0.1"],
    "ip6": ["dnat to ::1", "snat to ::1", "masquerade", "redirect", "reject", "dup to ::1", "reject with icmpv6 1",
            "meta l4proto tcp tproxy to :80"],
    "inet": ["dnat ip to 10.0.0.1", "snat ip6 to ::1", "masquerade", "redirect", "reject", "reject with icmpx 1",
             "meta l4proto tcp tproxy ip to :80"],
    "netdev": ["dup to lo", "fwd to lo", "reject", "reject with icmp 3"],
}  # fmt: skip


@pytest.fixture(scope="module")
def loads() -> Iterator[Loads]:
    """Loads a ruleset into an empty namespace; the first line of what is said against it, or nothing."""
    try:
        nft = nft_path()
        namespace = Namespace()
    except (KernelUnavailable, OSError) as problem:
        pytest.skip(f"no namespace to load a ruleset in: {problem}")

    def load(text: str) -> str:
        with tempfile.NamedTemporaryFile("w", suffix=".nft") as file:
            file.write(f"flush ruleset\n{text}")
            file.flush()
            result = namespace.run([nft, "-f", file.name])
        return "" if result.returncode == 0 else (result.stderr.splitlines() or ["?"])[0]

    with namespace:
        yield load


def ruleset(family: str, kind: str, hook: str, rule: str, called: bool) -> str:
    device = "device lo " if hook in ("ingress", "egress") else ""
    sets = "set seen { type ipv4_addr; flags dynamic; size 9; }" if "@seen" in rule else ""
    declared = DECLARED if family != "netdev" else "counter cnt { }"
    body = f"chain c {{ {rule}\n}}\n" if called else ""
    return (
        f"table {family} t {{\n{declared}{sets}\n{body}chain base {{\n"
        f"type {kind} hook {hook} {device}priority {PRIORITIES.get(kind, 0)};\n{'jump c' if called else rule}\n}}\n}}\n"
    )


def said(text: str) -> list[str] | None:
    """What lint calls refused; None where the reader refuses the text itself."""
    loaded = load_text(text, "case.nft")
    if loaded.diagnostics.found:
        return None
    return [finding.message for finding in refusals(loaded.require())]


@pytest.mark.parametrize(("family", "kind", "hook"), PLACES)
def test_every_statement_in_every_chain(loads: Loads, family: str, kind: str, hook: str) -> None:
    wrong = []
    for rule, called in [*product([*STATEMENTS["any"], *STATEMENTS[family]], (False,)),
                         *product(STATEMENTS[family], (True,))]:  # fmt: skip
        text = ruleset(family, kind, hook, rule, called)
        found, refused = said(text), loads(text)
        # What nft itself cannot read is the reader's business, not that of this check.
        if "Could not process" not in refused and refused:
            continue
        if found is not None and bool(found) is not bool(refused):
            wrong.append(f"{rule}{' (called)' if called else ''}: kernel {refused!r}, lint {found}")
        if found is None and not refused:
            wrong.append(f"{rule}: the reader refuses what loads")
    assert not wrong


def calls(count: int, kind: Callable[[int], str]) -> str:
    """A base chain and `count` calls below it."""
    chains = "".join(f"chain c{n} {{ {kind(n).format(n - 1)}\n}}\n" for n in range(1, count))
    base = f"chain b {{ type filter hook forward priority 0; {kind(count).format(count - 1)}\n}}\n"
    return f"table inet t {{\nchain c0 {{ accept\n}}\n{chains}{base}}}\n"


CALLS = {
    "jump": lambda n: "jump c{}",
    "goto": lambda n: "goto c{}",
    "both": lambda n: "jump c{}" if n % 2 else "goto c{}",
    "map": lambda n: "tcp dport vmap {{ 1 : jump c{} }}",
}


@pytest.mark.parametrize("kind", CALLS)
@pytest.mark.parametrize("count", [15, 16, 30])
def test_nesting(loads: Loads, kind: str, count: int) -> None:
    text = calls(count, CALLS[kind])
    assert bool(said(text)) is bool(loads(text)) is (count > 15)


CHAINS = {
    "unreached loop": "chain a { jump b\n}\nchain b { jump a\n}",
    "reached loop": "chain a { jump b\n}\nchain b { jump a\n}\nchain f { type filter hook input priority 0; jump a\n}",
    "one loop of two reached": (
        "chain a { jump a\n}\nchain c { goto d\n}\nchain d { goto c\n}\n"
        "chain f { type filter hook input priority 0; tcp dport vmap { 5 : goto c }\n}"
    ),
    "a loop beside": "chain a { jump a\n}\nchain c { accept\n}\nchain f { type filter hook input priority 0; jump c\n}",
    "loop through a named map": (
        "map m { type inet_service : verdict; elements = { 1 : jump a } }\nchain a { tcp dport vmap @m\n}\n"
        "chain f { type filter hook input priority 0; jump a\n}"
    ),
    "wrong statement that nothing reaches": (
        "chain a { dnat ip to 10.0.0.1\n}\nchain f { type filter hook input priority 0; accept\n}"
    ),
    "wrong statement behind a named map": (
        "map m { type inet_service : verdict; elements = { 1 : jump a } }\nchain a { dnat ip to 10.0.0.1\n}\n"
        "chain f { type filter hook input priority 0; tcp dport vmap @m\n}"
    ),
    "right in one hook, wrong in another": (
        "chain a { dnat ip to 10.0.0.1\n}\nchain f { type nat hook prerouting priority 0; jump a\n}\n"
        "chain g { type nat hook postrouting priority 0; jump a\n}"
    ),
}


@pytest.mark.parametrize("name", CHAINS)
def test_chains(loads: Loads, name: str) -> None:
    text = f"table inet t {{\n{CHAINS[name]}\n}}\n"
    refused = loads(text)
    found = said(text)
    assert bool(found) is bool(refused), (found, refused)
