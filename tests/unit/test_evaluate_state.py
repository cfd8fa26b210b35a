"""Limits, quotas, connection counts, round robin and dynamic sets, packet after packet."""

from __future__ import annotations

from fireproof.evaluate.evaluator import Evaluator
from fireproof.packet import build
from tests.unit.test_evaluate_conntrack import chain, firewall, table


def verdicts(fw: Evaluator, count: int, source: str = "10.0.1.2", length: int = 0) -> str:
    """One letter for each packet sent: f(orward) or d(rop)."""
    return "".join(
        fw.send(build.udp(source, 1, "198.51.100.7", 2, bytes(length)), "lan").verdict[0] for _ in range(count)
    )  # fmt: skip


def test_limit_refills_with_time() -> None:
    fw = firewall(table(chain("forward", "limit rate 1/second burst 2 packets accept", policy="drop")))
    assert verdicts(fw, 3) == "ffd"
    fw.advance(1)
    assert verdicts(fw, 2) == "fd"


def test_limit_over_is_the_complement() -> None:
    assert verdicts(firewall(table(chain("forward", "limit rate over 1/second burst 2 packets drop"))), 3) == "ffd"


def test_bytes_limit_holds_rate_and_burst() -> None:
    rules = table(chain("forward", "limit rate 100 bytes/second burst 200 bytes accept", policy="drop"))
    assert verdicts(firewall(rules), 4, length=72) == "fffd"


def test_quota() -> None:
    assert verdicts(firewall(table(chain("forward", "quota over 200 bytes drop"))), 3, length=72) == "ffd"
    until = table(chain("forward", "quota until 199 bytes accept", policy="drop"))
    assert verdicts(firewall(until), 2, length=72) == "fd"


def test_named_quota_is_shared() -> None:
    rules = table(
        "    quota q { over 150 bytes }\n", chain("forward", 'udp dport 2 quota name "q" drop', 'quota name "q" drop')
    )
    # Each packet is counted by both rules.
    assert verdicts(firewall(rules), 2, length=32) == "fd"


def test_round_robin() -> None:
    fw = firewall(table(chain("forward", "numgen inc mod 3 1 drop")))
    assert verdicts(fw, 6) == "fdffdf"


def test_random_is_seeded() -> None:
    rules = table(chain("forward", "numgen random mod 2 0 drop"))
    first, again, other = (verdicts(firewall(rules, seed=seed), 40) for seed in (1, 1, 2))
    assert first == again != other
    assert 8 < first.count("d") < 32


def test_connection_count() -> None:
    fw = firewall(table(chain("forward", "ct state new ct count over 2 drop")))
    sent = [fw.send(build.udp("10.0.1.2", port, "198.51.100.7", 9), "lan").verdict for port in (1, 2, 3)]
    assert sent == ["forward", "forward", "drop"]
    fw.advance(31)
    assert fw.send(build.udp("10.0.1.2", 4, "198.51.100.7", 9), "lan").verdict == "forward"


DYNAMIC = "    set seen { type ipv4_addr; flags dynamic,timeout; timeout 10s; size 2; }\n"


def test_dynamic_set_remembers_and_forgets() -> None:
    fw = firewall(table(DYNAMIC, chain("forward", "ip saddr @seen drop", "add @seen { ip saddr }")))
    assert verdicts(fw, 2) == "fd"
    fw.advance(11)
    assert verdicts(fw, 1) == "f"


def test_update_renews_and_add_does_not() -> None:
    for word, after in (("add", "f"), ("update", "d")):
        fw = firewall(
            table(
                DYNAMIC, chain("forward", f"udp length > 20 {word} @seen {{ ip saddr }} accept", "ip saddr @seen drop")
            )
        )
        assert verdicts(fw, 1, length=30) == "f"
        fw.advance(6)
        assert verdicts(fw, 1, length=30) == "f"
        fw.advance(6)
        assert verdicts(fw, 1) == after


def test_full_set_ends_the_rule() -> None:
    fw = firewall(table(DYNAMIC, chain("forward", "add @seen { ip saddr } accept", policy="drop")))
    sent = [verdicts(fw, 1, f"10.0.1.{n}") for n in (2, 3, 4, 2)]
    assert sent == ["f", "f", "d", "f"]


def test_delete() -> None:
    rules = table(
        DYNAMIC,
        chain(
            "forward",
            "udp length > 20 delete @seen { ip saddr } accept",
            "ip saddr @seen drop",
            "add @seen { ip saddr }",
        ),
    )
    fw = firewall(rules)
    assert verdicts(fw, 2) + verdicts(fw, 1, length=30) + verdicts(fw, 1) == "fdff"


def test_meter_limits_each_source() -> None:
    fw = firewall(
        table(chain("forward", "meter m { ip saddr limit rate 1/second burst 1 packets } accept", policy="drop"))
    )
    assert verdicts(fw, 2) + verdicts(fw, 2, "10.0.1.3") == "fdfd"


def test_dynamic_map_decides() -> None:
    rules = table(
        "    map verdicts { type ipv4_addr : verdict; flags timeout; elements = { 10.0.1.2 timeout 5s : drop } }\n",
        chain("forward", "ip saddr vmap @verdicts"),
    )
    fw = firewall(rules)
    assert verdicts(fw, 1) + verdicts(fw, 1, "10.0.1.3") == "df"
    fw.advance(6)
    assert verdicts(fw, 1) == "f"


def test_clock() -> None:
    rules = table(chain("forward", 'meta hour "08:00"-"18:00" drop'))
    fw = firewall(rules)
    assert verdicts(fw, 1) == "f"
    fw.advance(9 * 3600)
    assert verdicts(fw, 1) == "d"
