"""Seeded rulesets for running the evaluator beside the kernel.

A router with three ports and both IP versions. Every rule has a comment, by which its step in a trace is known.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

HOST = """host {
    interface "lan" { address 10.0.1.1/24; address 2001:db8:1::1/64; }
    interface "wan" { address 10.0.2.1/24; address 2001:db8:2::1/64; }
    interface "dmz" { address 10.0.3.1/24; address 2001:db8:3::1/64; }
    route default via 10.0.2.2 dev "wan";
    route default via 2001:db8:2::2 dev "wan";
}
"""
PORTS = {
    "lan": ("10.0.1.1/24", "2001:db8:1::1/64"),
    "wan": ("10.0.2.1/24", "2001:db8:2::1/64"),
    "dmz": ("10.0.3.1/24", "2001:db8:3::1/64"),
}
ROUTES = (("default", "wan", "10.0.2.2"), ("default", "wan", "2001:db8:2::2"))

HOSTS4 = {"lan": ("10.0.1.2", "10.0.1.3"), "wan": ("198.51.100.7", "10.0.2.2"), "dmz": ("10.0.3.5",)}
HOSTS6 = {
    "lan": ("2001:db8:1::2", "2001:db8:1::3"),
    "wan": ("2001:db8:9::7", "2001:db8:2::2"),
    "dmz": ("2001:db8:3::5",),
}
OWN4 = ("10.0.1.1", "10.0.2.1", "10.0.3.1")
OWN6 = ("2001:db8:1::1", "2001:db8:2::1", "2001:db8:3::1")
DPORTS = (22, 53, 80, 443, 8080)
SPORTS = (400, 700, 4000, 4001, 5000)
# Only these have rules written for them, so that most rules meet a packet.
_HOOKS = ("prerouting", "input", "forward", "output", "postrouting")
_PRIORITIES = (-450, -300, -250, -150, -101, -50, 0, 0, 0, 10, 50, 99, 101, 150, 300)


# ---- rulesets ------------------------------------------------------------------------------------------------------
@dataclass
class Ruleset:
    """Text for nft and fireproof alike; `draws` when NAT picks among several ports or addresses."""

    text: str
    draws: bool


class RulesetMaker:
    def __init__(self, seed: int) -> None:
        self.random = Random(f"rules {seed}")
        self.rules = 0
        self.draws = False

    def make(self) -> Ruleset:
        pick = self.random
        tables = [self._filter_table(pick.choice(("inet", "inet", "ip", "ip6")), "f")]
        if pick.random() < 0.4:
            tables.append(self._filter_table(pick.choice(("inet", "ip")), "g"))
        if pick.random() < 0.7:
            tables.append(self._nat_table(pick.choice(("inet", "ip", "ip6", "inet")), "n"))
        pick.shuffle(tables)
        return Ruleset("".join(tables), self.draws)

    def _rule(self, *words: str) -> str:
        self.rules += 1
        return "        " + " ".join(word for word in words if word) + f' comment "r{self.rules}"\n'

    # ---- matches ---------------------------------------------------------------------------------------------------
    def _matches(self, family: str, hook: str) -> str:
        count = self.random.choice((0, 1, 1, 1, 2, 2))
        found = [self._match(family, hook) for _ in range(count)]
        # Contradictory dependencies (tcp and udp) are refused by nft in one rule only when written out; keep one each.
        protocols = [m for m in found if m.split()[0] in ("tcp", "udp", "icmp", "icmpv6", "th", "meta")]
        return " ".join(m for m in found if m not in protocols[1:])

    def _match(self, family: str, hook: str) -> str:
        pick = self.random
        kinds = ["ct", "ct", "port", "port", "address", "interface", "protocol", "mark", "misc"]
        kind = pick.choice(kinds)
        version = {"ip": 4, "ip6": 6}.get(family) or pick.choice((4, 6))
        if kind == "ct":
            states = ("new", "established", "related", "invalid", "untracked", "new,established", "established,related")
            return pick.choice(
                (
                    f"ct state {pick.choice(states)}",
                    f"ct state != {pick.choice(states[:5])}",
                    "ct status dnat",
                    "ct status snat",
                    "ct status confirmed",
                    "ct status assured",
                    "ct direction reply",
                    "ct direction original",
                    f"ct mark {pick.randrange(3)}",
                    f"ct mark != {pick.randrange(3)}",
                    "ct status seen-reply",
                )
            )
        if kind == "port":
            protocol, side = pick.choice(("tcp", "udp", "th")), pick.choice(("dport", "dport", "sport"))
            ports = DPORTS if side == "dport" else SPORTS
            value = pick.choice(
                (
                    str(pick.choice(ports)),
                    f"!= {pick.choice(ports)}",
                    f"{{ {pick.choice(ports)}, {pick.choice(ports)} }}",
                    "1-1023",
                    "{ 1-79, 4000-5000 }",
                )
            )
            return f"{protocol} {side} {value}"
        if kind == "address":
            return self._address_match(version, pick.choice(("saddr", "daddr")))
        if kind == "interface":
            names = [
                n
                for n, hooks in (
                    ("iifname", ("prerouting", "input", "forward", "postrouting")),
                    ("oifname", ("forward", "output", "postrouting")),
                )
                if hook in hooks
            ]
            name = pick.choice(names or ["iifname"])
            return f"{name} " + pick.choice(('"lan"', '"wan"', '!= "lan"', '{ "lan", "dmz" }', '"d*"', '"lo"'))
        if kind == "protocol":
            return (
                pick.choice(
                    (
                        "meta l4proto tcp",
                        "meta l4proto { tcp, udp }",
                        "meta l4proto != udp",
                        "tcp flags syn",
                        "tcp flags & (fin|syn|rst|ack) == syn",
                        "tcp flags ! ack",
                        "tcp flags { syn, ack }",
                        "icmp type echo-request" if version == 4 else "icmpv6 type echo-request",
                        "icmp type { echo-reply, destination-unreachable }"
                        if version == 4
                        else "icmpv6 type destination-unreachable",
                        "meta nfproto ipv4",
                        "meta nfproto ipv6",
                    )
                )
                if family == "inet"
                else pick.choice(("meta l4proto tcp", "meta l4proto != udp", "tcp flags syn"))
            )
        if kind == "mark":
            return pick.choice(
                (f"meta mark {pick.randrange(3)}", "meta mark & 1 == 1", f"meta mark != {pick.randrange(3)}")
            )
        return (
            pick.choice(
                (
                    "meta length < 60",
                    "meta length 40-100",
                    "ip ttl 63" if version == 4 else "ip6 hoplimit 63",
                    "ip ttl > 1" if version == 4 else "ip6 hoplimit > 1",
                    "th dport . meta l4proto { 80 . 6, 53 . 17 }",
                    "limit rate 3/week burst 4 packets",
                    "limit rate over 2/week burst 3 packets",
                    "numgen inc mod 3 1",
                    "quota over 200 bytes",
                    "quota until 300 bytes",
                    "numgen inc mod 2 offset 4 == 5",
                    "@th,0,16 > 1024",
                    "meta length > 20",
                )
            )
            if family != "ip6" or version == 6
            else "meta length > 20"
        )

    def _address_match(self, version: int, side: str) -> str:
        pick = self.random
        hosts = HOSTS4 if version == 4 else HOSTS6
        own = OWN4 if version == 4 else OWN6
        every = [a for group in hosts.values() for a in group] + list(own)
        net = "10.0.1.0/24" if version == 4 else "2001:db8:1::/64"
        value = pick.choice(
            (
                pick.choice(every),
                f"!= {pick.choice(every)}",
                net,
                f"!= {net}",
                "{ " + ", ".join(sorted(set(pick.sample(every, 3)))) + " }",
                "@hosts4" if version == 4 else "@hosts6",
            )
        )
        return f"{'ip' if version == 4 else 'ip6'} {side} {value}"

    # ---- filter ----------------------------------------------------------------------------------------------------
    def _sets(self, family: str) -> str:
        text = ""
        if family != "ip6":
            elements = "10.0.1.2, 198.51.100.0/24, 10.0.3.0-10.0.3.9"
            text += f"    set hosts4 {{ type ipv4_addr; flags interval; elements = {{ {elements} }} }}\n"
            text += "    set seen4 { type ipv4_addr; flags dynamic,timeout; timeout 1h; size 3; }\n"
        if family != "ip":
            text += "    set hosts6 { type ipv6_addr; flags interval; elements = { 2001:db8:1::2, 2001:db8:9::/64 } }\n"
            text += "    set seen6 { type ipv6_addr; flags dynamic,timeout; timeout 1h; size 2; }\n"
        return text

    def _filter_table(self, family: str, name: str) -> str:
        pick = self.random
        subs = [
            "".join(self._filter_rule(family, "forward", number, False) for _ in range(pick.randrange(1, 4)))
            for number in range(3)
        ]
        text = f"table {family} {name} {{\n{self._sets(family)}"
        for number, rules in enumerate(subs):
            text += f"    chain sub{number} {{\n{rules}    }}\n"
        for number in range(pick.randrange(1, 5)):
            hook = pick.choice(_HOOKS)
            priority = pick.choice(_PRIORITIES)
            kind = "filter"
            policy = pick.choice(("accept", "accept", "accept", "drop"))
            text += f"    chain c{number} {{\n        type {kind} hook {hook} priority {priority}; policy {policy};\n"
            if pick.random() < 0.4 and priority > -200:
                text += self._rule(
                    "ct state vmap { established : accept, related : accept, invalid :",
                    pick.choice(("drop", "continue", "jump sub1")),
                    "}",
                )
            text += "".join(self._filter_rule(family, hook, -1, True, priority) for _ in range(pick.randrange(1, 6)))
            text += "    }\n"
        return text + "}\n"

    def _filter_rule(self, family: str, hook: str, level: int, base: bool, priority: int = 0) -> str:
        pick = self.random
        match = self._matches(family, hook if base else "prerouting")
        extra = ""
        if pick.random() < 0.25:
            extra = self._statement(family)
        verdicts = ["accept", "accept", "drop", "return", "", "counter", "accept"]
        if level < 2:
            verdicts += [f"{pick.choice(('jump', 'goto'))} sub{pick.randrange(level + 1, 3)}"] * 2
        if base and hook in ("input", "forward", "output"):
            verdicts += [self._reject(family)] * 2
        if base and hook in ("prerouting", "output") and priority < -200:
            verdicts += ["notrack"] * 2
        if pick.random() < 0.12:
            return self._rule(match, extra, self._vmap(level))
        verdict = pick.choice(verdicts)
        if verdict == "drop" and not match:
            verdict = "counter"
        if not (match or extra or verdict):
            verdict = "counter"
        return self._rule(match, extra, verdict)

    def _vmap(self, level: int) -> str:
        pick = self.random
        targets = ["accept", "drop", "return", "continue"] + ([f"jump sub{level + 1}"] if level < 2 else [])
        return pick.choice(
            (
                f"tcp dport vmap {{ 22 : {pick.choice(targets)}, 80-443 : {pick.choice(targets)} }}",
                "meta l4proto vmap { "
                + ", ".join(f"{p} : {pick.choice(targets)}" for p in ("tcp", "udp", "icmp"))
                + " }",
                f"iifname vmap {{ lan : {pick.choice(targets)}, wan : {pick.choice(targets)} }}",
                f"ct state vmap {{ new : {pick.choice(targets)}, established : {pick.choice(targets)} }}",
            )
        )

    def _statement(self, family: str) -> str:
        pick = self.random
        own = {
            "ip": ["add @seen4 { ip saddr }", "update @seen4 { ip daddr }"],
            "ip6": ["add @seen6 { ip6 saddr }"],
            "inet": ["add @seen4 { ip saddr }", "add @seen6 { ip6 daddr }", "ip saddr @seen4", "ip6 saddr != @seen6"],
        }[family]
        return pick.choice(
            (
                f"meta mark set {pick.randrange(3)}",
                f"ct mark set {pick.randrange(3)}",
                "ct mark set meta mark",
                "meta mark set ct mark",
                "counter",
                "meta mark set meta mark | 1",
                *own,
            )
        )

    def _reject(self, family: str) -> str:
        kinds = ["reject with tcp reset", "reject"]
        if family == "inet":
            kinds += [
                "reject with icmpx admin-prohibited",
                "reject with icmpx port-unreachable",
                "reject with icmpx no-route",
            ]
        if family == "ip":
            kinds += ["reject with icmp host-unreachable"]
        if family == "ip6":
            kinds += ["reject with icmpv6 addr-unreachable"]
        return self.random.choice(kinds)

    # ---- nat -------------------------------------------------------------------------------------------------------
    def _nat_table(self, family: str, name: str) -> str:
        pick = self.random
        text = f"table {family} {name} {{\n{self._sets(family)}"
        for number in range(pick.randrange(1, 5)):
            hook = pick.choice(("prerouting", "postrouting", "prerouting", "postrouting", "output", "input"))
            priority = pick.choice((-150, -100, 0, 100, 50))
            text += f"    chain c{number} {{\n        type nat hook {hook} priority {priority}; policy accept;\n"
            text += "".join(self._nat_rule(family, hook) for _ in range(pick.randrange(1, 4)))
            text += "    }\n"
        return text + "}\n"

    def _nat_rule(self, family: str, hook: str) -> str:
        pick = self.random
        version = {"ip": 4, "ip6": 6}.get(family) or pick.choice((4, 4, 6))
        word = "ip" if version == 4 else "ip6"
        match = pick.choice(
            (
                "",
                self._address_match(version, "daddr"),
                self._address_match(version, "saddr"),
                'iifname "lan"',
                'iifname "wan"' if hook != "output" else 'oifname "wan"',
            )
        )
        if match.startswith("iifname") and hook in ("output",):
            match = ""
        protocol = pick.choice(
            ("tcp dport 80", "udp dport 53", "meta l4proto tcp", "meta l4proto { tcp, udp }", "tcp dport { 80, 443 }")
        )
        if pick.random() < 0.1:
            return self._rule(match, pick.choice(("accept", "counter", "return")))
        if hook in ("prerouting", "output"):
            target = pick.choice(
                ("10.0.3.5", "10.0.1.3", "198.51.100.7") if version == 4 else ("2001:db8:3::5", "2001:db8:1::3")
            )
            port = f":{pick.choice((8080, 22, 80))}"
            bracketed = target if version == 4 else f"[{target}]"
            return self._rule(
                *pick.choice(
                    (
                        (match, f"dnat {word} to {target}"),
                        (match, protocol, f"dnat {word} to {bracketed}{port}"),
                        (match, protocol, f"redirect to {port}"),
                        (match, "redirect"),
                        (match, protocol, f"dnat {word} to {bracketed}:8000-8002"),
                    )
                )
            )
        target = pick.choice(("192.0.2.1", "10.0.2.1") if version == 4 else ("2001:db8:2::99", "2001:db8:2::1"))
        bracketed = target if version == 4 else f"[{target}]"
        kinds = [
            (match, f"snat {word} to {target}"),
            (match, protocol, f"snat {word} to {bracketed}:6000-6003"),
            (match, protocol, f"snat {word} to {bracketed}:7000"),
        ]
        if hook == "postrouting":
            kinds += [
                (match, "masquerade"),
                ('oifname "wan"', "masquerade"),
                (match, protocol, "masquerade to :6000-6100"),
            ]
        chosen = pick.choice(kinds)
        self.draws = self.draws or "-" in chosen[-1]
        return self._rule(*chosen)
