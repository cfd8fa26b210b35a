"""The proof of equality notices every change that matters, and accepts what is only written differently.

One thing of a ruleset is changed at a time. Where the proof still finds both equal, random packets must not find a
difference either.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

import pytest

from fireproof.emit.validate import differences
from fireproof.extensions.counter import Counter
from fireproof.model.expression import Element, Interval, Name, VerdictTarget
from fireproof.model.ruleset import Chain, Rule, Ruleset
from fireproof.model.statement import Match
from fireproof.semantics import register as reg
from fireproof.semantics.register import Register
from fireproof.syntax.build import load_text
from tests.kernel.generate import HOST, RulesetMaker
from tests.property.abstract_packets import rules_hit

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = sorted([*(ROOT / "rulesets").glob("*.fw"), *(ROOT / "tests/golden/emit").glob("*/rules.nft")])
MUTATIONS = 12
"""Per kind of place and ruleset seed."""

MANY_KINDS = """
table inet all {
    flags dormant
    counter hits { }
    quota gone { over 5 mbytes }
    limit slow { rate 5/second }
    ct helper ftp { type "ftp" protocol tcp; l3proto ip; }
    set plain { type ipv4_addr; flags interval; elements = { 10.0.0.0/8, 192.0.2.1 } }
    set twin { type ipv4_addr; flags interval; elements = { 10.0.0.0/8, 192.0.2.1 } }
    set pairs { type ipv4_addr . inet_service; elements = { 10.0.0.1 . 22, 10.0.0.2 . 80 } }
    set seen { type ipv4_addr; flags dynamic,timeout; timeout 5m; size 100; }
    map ports { type inet_service : mark; elements = { 22 : 1, 80 : 2 } }
    map where { type inet_service : verdict; elements = { 22 : jump sub, 80 : drop } }
    chain sub {
        ip saddr @plain accept
        ip saddr @seen drop
        ip daddr . tcp dport @pairs accept
        meta mark set tcp dport map @ports
        tcp dport vmap @where2
    }
    map where2 { type inet_service : verdict; elements = { 443 : accept } }
    chain other { drop; }
    chain base {
        type filter hook forward priority filter; policy drop;
        ct state vmap { established : accept, related : accept, invalid : drop }
        meta mark 1 meta mark set 2 meta mark 1 accept
        numgen random mod 4 0 numgen random mod 4 1 accept
        add @seen { ip saddr timeout 1m limit rate 3/second burst 4 packets } accept
        limit rate 10/minute burst 3 packets log prefix "x " level info accept
        quota over 25 mbytes drop
        ct count over 5 reject with tcp reset
        ct helper set "ftp"
        counter name "hits" limit name "slow" quota name "gone" accept
        iifname "lan*" oifname { "wan", "dmz" } tcp flags & (syn | ack) == syn jump sub
        ip saddr 10.0.0.1-10.0.0.9 udp sport != { 53, 123 } goto other
        icmp type echo-request icmp code 0 accept
        tcp option maxseg size set 1400
        ip dscp set cs1 ip ttl > 5 return
        fib saddr . iif oif 0 drop
        ct original ip daddr 10.0.0.1 ct status dnat accept
        meta l4proto { tcp, udp } th dport vmap { 22 : accept, 80 : jump sub, * : drop }
        meta day "Monday" meta hour "08:00"-"18:00" reject with icmpx admin-prohibited
    }
    chain nat { type nat hook prerouting priority dstnat; policy accept;
        iifname "wan" tcp dport 443 dnat ip to 10.0.0.5:8443 persistent
        udp dport 53 redirect to :5353
        dnat ip to tcp dport map { 80 : 10.0.0.7, 81 : 10.0.0.8 }
    }
    chain second { type nat hook prerouting priority dstnat; policy accept; tcp dport 25 redirect to :2525; }
    chain post { type nat hook postrouting priority srcnat; policy accept;
        oifname "wan" masquerade random
        meta l4proto tcp snat ip to 192.0.2.5-192.0.2.9:1000-2000
    }
}
"""


def sources() -> list[tuple[str, str]]:
    found = [(path.parent.name + "/" + path.name, path.read_text(encoding="utf-8")) for path in EXAMPLES]
    found.append(("many kinds", MANY_KINDS))
    for seed in range(40):
        text = HOST + RulesetMaker(seed).make().text
        if not load_text(text).diagnostics.found:
            found.append((f"generated {seed}", text))
    return found


def read(text: str) -> Ruleset:
    return load_text(text, "source.nft").require()


# ---- changing one thing --------------------------------------------------------------------------------------------
IGNORED = {
    "datatype", "bits", "name", "packets", "bytes", "used", "comment", "expires", "span", "handle",
    # What a listing may say differently.
    "snaplen", "threshold", "mode", "unit",
}  # fmt: skip
WORDS = {
    "accept": "drop", "drop": "accept", "return": "accept", "continue": "drop", "jump": "goto", "goto": "jump",
    "saddr": "daddr", "daddr": "saddr", "==": "!=", "!=": "==", "in": "!", "!": "in", "<": ">=", ">=": "<", ">": "<=",
    "<=": ">", "&": "|", "|": "&", "^": "&", "<<": ">>", ">>": "<<", "iifname": "oifname", "oifname": "iifname",
    "iif": "oif", "oif": "iif", "tcp": "udp", "udp": "tcp", "ip": "ip6", "ip6": "ip", "original": "reply",
    "reply": "original", "snat": "dnat", "dnat": "snat", "masquerade": "redirect", "redirect": "masquerade",
    "state": "status", "mark": "priority", "inc": "random", "add": "update", "update": "add", "icmp": "icmpv6",
    "icmpv6": "icmp", "th": "ih", "random": "persistent", "persistent": "random",
}  # fmt: skip
"""A word in place of another."""

Path_ = tuple[str | int, ...]


def leaves(value: Any, path: Path_ = ()) -> Iterator[tuple[Path_, Any]]:
    """The places of a statement that can be changed."""
    if is_dataclass(value):
        for field in fields(value):
            if field.name not in IGNORED or isinstance(value, VerdictTarget):
                yield from leaves(getattr(value, field.name), (*path, field.name))
    elif isinstance(value, tuple):
        for index, inner in enumerate(value):
            yield from leaves(inner, (*path, index))
        if len(value) > 1 and not isinstance(value[0], Interval | Name):
            yield (*path, -1), value
    elif isinstance(value, bool | int) or (isinstance(value, str) and value in WORDS):
        yield path, value


def changed(value: Any, path: Path_, random: Random) -> Any:
    """The value with the leaf at a path made different."""
    if not path:
        if isinstance(value, bool):
            return not value
        if isinstance(value, int):
            return value + 1 if value == 0 or random.random() < 0.5 else value - 1
        return WORDS[value]
    step, rest = path[0], path[1:]
    if isinstance(step, str):
        return replace(value, **{step: changed(getattr(value, step), rest, random)})
    if step == -1:
        return value[:-1]
    return (*value[:step], changed(value[step], rest, random), *value[step + 1 :])


Changed = tuple[str, Chain | None]
"""What was done, and the chain in which a rule was changed (None for anything else)."""


def in_a_rule(ruleset: Ruleset, random: Random) -> Changed | None:
    chain = random.choice([c for t in ruleset.tables.values() for c in t.chains.values() if c.rules])
    rule = random.choice(chain.rules)
    index = random.randrange(len(rule.statements))
    places = list(leaves(rule.statements[index]))
    if not places:
        return None
    path, _ = random.choice(places)
    statement = changed(rule.statements[index], path, random)
    for part in (statement,):
        if any(interval.low > interval.high for interval in intervals(part)):
            return None
    before = rule.statements[index]
    rule.statements = (*rule.statements[:index], statement, *rule.statements[index + 1 :])
    return f"{path} of {before}", chain


def intervals(value: Any) -> Iterator[Interval]:
    if isinstance(value, Interval):
        yield value
    elif is_dataclass(value):
        for field in fields(value):
            yield from intervals(getattr(value, field.name))
    elif isinstance(value, tuple):
        for inner in value:
            yield from intervals(inner)


def a_statement_less(ruleset: Ruleset, random: Random) -> Changed | None:
    chain = random.choice([c for t in ruleset.tables.values() for c in t.chains.values() if c.rules])
    rule = random.choice(chain.rules)
    index = random.randrange(len(rule.statements))
    if len(rule.statements) == 1:
        return None
    gone = rule.statements[index]
    rule.statements = rule.statements[:index] + rule.statements[index + 1 :]
    return f"without {gone}", chain if isinstance(gone, Match) else None


def among_rules(ruleset: Ruleset, random: Random) -> Changed | None:
    chain = random.choice([c for t in ruleset.tables.values() for c in t.chains.values() if c.rules])
    at = random.randrange(len(chain.rules))
    what = random.choice(("drop", "double", "swap"))
    if what == "drop":
        del chain.rules[at]
    elif what == "double":
        chain.rules.insert(at, chain.rules[at])
    else:
        if at == 0 or chain.rules[at - 1].statements == chain.rules[at].statements:
            return None
        chain.rules[at - 1], chain.rules[at] = chain.rules[at], chain.rules[at - 1]
    return f"{what} rule {at} of {chain.name}", None


def of_a_base_chain(ruleset: Ruleset, random: Random) -> Changed | None:
    if not ruleset.registration:
        return None
    chain = random.choice(ruleset.registration)
    base = chain.base
    assert base is not None
    what = random.choice(("policy", "priority", "hook", "type", "order", "regular"))
    if what == "policy":
        base.policy = "drop" if base.policy == "accept" else "accept"
    elif what == "priority":
        base.priority += random.choice((-1, 1))
    elif what == "hook":
        base.hook = "input" if base.hook != "input" else "forward"
    elif what == "type":
        base.type = "route" if base.type != "route" else "filter"
    elif what == "regular":
        chain.base = None
        ruleset.registration.remove(chain)
    else:
        place = (base.hook, base.priority, base.type == "nat")
        ties = [c for c in ruleset.registration
                if c.base and (c.base.hook, c.base.priority, c.base.type == "nat") == place]  # fmt: skip
        if len(ties) < 2:
            return None
        one, other = (ruleset.registration.index(c) for c in ties[:2])
        order = ruleset.registration
        order[one], order[other] = order[other], order[one]
    return f"{what} of {chain.name}", None


def of_a_set(ruleset: Ruleset, random: Random) -> Changed | None:
    sets = [named for table in ruleset.tables.values() for named in table.sets.values()]
    if not sets:
        return None
    named = random.choice(sets)
    what = random.choice(("less", "more", "key", "data", "timeout", "size", "gone", "type"))
    if what in ("less", "more", "key", "data") and not named.elements:
        return None
    if what == "less":
        named.elements.pop(random.randrange(len(named.elements)))
    elif what == "more":
        first = named.elements[0]
        if first.key is None or not all(isinstance(part, Interval) for part in first.key):
            return None
        bits = named.key_bits[-1]
        taken = [p.high for e in named.elements for p in (e.key or ())[-1:] if isinstance(p, Interval)]
        new = max(taken) + 2
        if new >= 1 << bits:
            return None
        named.elements.append(replace(first, key=(*first.key[:-1], Interval(new, new))))
    elif what in ("key", "data"):
        index = random.randrange(len(named.elements))
        element = named.elements[index]
        places = [path for path, _ in leaves(getattr(element, what), ()) if path and path[-1] != -1]
        if not places:
            return None
        value = changed(getattr(element, what), random.choice(places), random)
        if any(part.low > part.high for part in intervals(value)):
            return None
        others = [e for e in named.elements if e is not element]
        if what == "key" and _overlap(value, others):
            return None
        named.elements[index] = replace(element, **{what: value})
    elif what == "timeout":
        named.timeout = (named.timeout or 0) + 1000
    elif what == "size":
        named.size = (named.size or 0) + 1
    elif what == "type":
        if named.key[-1] == "integer":
            return None
        named.key = (*named.key[:-1], "mark" if named.key[-1] != "mark" else "ipv4_addr")
    else:
        del named.table.sets[named.name]
    return f"{what} of set {named.name}", None


def _overlap(key: Any, others: list[Element]) -> bool:
    """Whether a changed interval runs into others, and might so be the same set again."""
    return any(
        other.key is not None
        and all(
            isinstance(a, Interval) and isinstance(b, Interval) and a.low <= b.high + 1 and b.low <= a.high + 1
            for a, b in zip(key, other.key, strict=True)
        )
        for other in others
    )


def of_a_table(ruleset: Ruleset, random: Random) -> Changed | None:
    table = random.choice(list(ruleset.tables.values()))
    what = random.choice(("dormant", "gone", "chain", "object"))
    if what == "dormant":
        table.flags = () if "dormant" in table.flags else ("dormant",)
    elif what == "gone":
        del ruleset.tables[table.family, table.name]
    elif what == "chain":
        del table.chains[random.choice(list(table.chains))]
    else:
        objects = [found for found in table.objects.values() if found.settings or found.statement]
        if not objects:
            return None
        found = random.choice(objects)
        if found.statement is not None and not isinstance(found.statement, Counter):
            path, _ = random.choice(list(leaves(found.statement)))
            found.statement = changed(found.statement, path, random)
        elif found.kind == "ct helper":
            found.settings["l3proto"] = "ip6"
        else:
            del table.objects[found.kind, found.name]
    return f"{what} of table {table.name}", None


CHANGES: list[Callable[[Ruleset, Random], Changed | None]] = [
    in_a_rule, a_statement_less, among_rules, of_a_base_chain, of_a_set, of_a_table,
]  # fmt: skip


# ---- packets near the constants ------------------------------------------------------------------------------------
def packets(rulesets: tuple[Ruleset, ...], random: Random, count: int) -> list[dict[Register, int]]:
    constants = {0, 1, 2, 255}
    for ruleset in rulesets:
        for table in ruleset.tables.values():
            for chain in table.chains.values():
                for rule in chain.rules:
                    for statement in rule.statements:
                        for part in intervals(statement):
                            constants |= {part.low, part.high, part.low + 1, part.high + 1, max(part.low - 1, 0)}
    values = sorted(constants)
    registers = [
        reg.IP_SADDR, reg.IP_DADDR, reg.IP6_SADDR, reg.IP6_DADDR, reg.SPORT, reg.DPORT, reg.MARK, reg.TCP_FLAGS,
        reg.TTL, reg.CT_MARK, reg.CT_STATUS, reg.LENGTH,
    ]  # fmt: skip
    found = []
    for _ in range(count):
        packet = {r: random.choice([v for v in values if v < 1 << r.bits]) for r in registers}
        packet[reg.FAMILY] = random.randrange(2)
        packet[reg.L4PROTO] = random.choice((6, 17, 1, 58))
        packet[reg.CT_STATE] = random.choice(list(reg.STATES.values()))
        packet[reg.IIF], packet[reg.OIF] = random.randrange(1, 6), random.randrange(1, 6)
        for end in (1, 2, 4, 8, 14):
            packet[Register(f"transport header reaches byte {end}", 1)] = 1
        found.append(packet)
    return found


def behaves_alike(one: Chain, other: Chain, source: Ruleset, output: Ruleset, random: Random) -> bool:
    """Whether sampled packets meet the same rules: both chains as base chains of their own."""
    for packet in packets((source, output), random, 150):
        seeds = random.randrange(1 << 30)
        met = [
            {chain.rules.index(rule) for rule in hit(ruleset, chain, packet, seeds) if rule in chain.rules}
            for ruleset, chain in ((source, one), (output, other))
        ]
        if met[0] != met[1]:
            return False
    return True


def hit(ruleset: Ruleset, chain: Chain, packet: dict[Register, int], seed: int) -> set[Rule]:
    from fireproof.model.ruleset import BaseHook

    base = chain.base
    chain.base = base or BaseHook("filter", "forward", 0)
    try:
        return rules_hit(ruleset, chain, [packet], seed)
    finally:
        chain.base = base


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: str(change.__name__))
@pytest.mark.parametrize(("name", "text"), sources(), ids=[name for name, _ in sources()])
def test_every_change_is_noticed(name: str, text: str, change: Callable[[Ruleset, Random], Changed | None]) -> None:
    random = Random(f"{name} {change.__name__}")
    source = read(text)
    assert differences(source, read(text)) == []
    rounds = MUTATIONS * (5 if name == "many kinds" else 1) if name != "office-edge" else MUTATIONS // 2
    for _ in range(rounds):
        output = read(text)
        done = change(output, random)
        if done is None:
            continue
        try:
            found = differences(source, output)
        except KeyError:
            # A changed name that is declared nowhere: such a ruleset does not come out of the reader.
            continue
        if found:
            continue
        what, chain = done
        assert chain is not None, f"not noticed: {what}"
        original = source.tables[chain.table.family, chain.table.name].chains[chain.name]
        assert behaves_alike(original, chain, source, output, random), f"not noticed: {what}"
