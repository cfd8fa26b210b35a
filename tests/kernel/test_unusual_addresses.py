"""Martians and their neighbours: routing in the evaluator is that of the kernel, address by address."""

from __future__ import annotations

from itertools import product

import pytest

from fireproof.evaluate.evaluator import Evaluator
from fireproof.kernel import Oracle, Port, Route, unavailable
from fireproof.packet import build
from fireproof.syntax.build import load_text
from tests.kernel.generate import HOST, PORTS, ROUTES

RULES = """table inet t {
    chain f { type filter hook forward priority 0; policy accept; ct state new counter; }
}
"""
SOURCES4 = (
    "10.0.1.2", "0.0.0.0", "0.0.0.7", "127.0.0.1", "10.0.1.255", "10.0.1.0", "10.0.2.1", "10.0.2.255", "224.0.0.9",
    "255.255.255.255", "240.0.0.1", "169.254.1.1",
)  # fmt: skip
TARGETS4 = (
    "198.51.100.7", "10.0.3.5", "10.0.1.1", "10.0.3.1", "0.0.0.0", "0.0.0.7", "127.0.0.1", "10.0.3.255", "10.0.3.0",
    "255.255.255.255", "240.0.0.1",
)  # fmt: skip
SOURCES6 = (
    "2001:db8:1::2", "::", "::1", "fe80::1", "feaa::1", "ff02::1", "2001:db8:2::1", "2001:db8:1::", "::ffff:1.2.3.4",
)  # fmt: skip
TARGETS6 = ("2001:db8:9::7", "2001:db8:3::5", "2001:db8:1::1", "2001:db8:3::", "::", "::1")


@pytest.mark.skipif(unavailable() is not None, reason=f"no kernel: {unavailable()}")
def test_unusual_addresses_fare_as_in_the_kernel() -> None:
    ruleset = load_text(HOST + RULES).require()
    pairs = [*product(SOURCES4, TARGETS4), *product(SOURCES6, TARGETS6)]
    different = []
    ports = [Port(name, addresses) for name, addresses in PORTS.items()]
    with Oracle(ports, [Route(*route) for route in ROUTES]) as oracle:
        oracle.load(RULES)
        for source, target in pairs:
            raw = build.udp(source, 4000, target, 4001)
            oracle.flush_conntrack()
            kernel = oracle.send(raw, "lan").verdict
            evaluator = Evaluator(ruleset).send(raw, "lan").verdict
            if kernel != evaluator:
                different.append(f"{source} > {target}: kernel {kernel}, evaluator {evaluator}")
    assert not different, "\n".join(different)
