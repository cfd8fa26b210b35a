"""The real kernel's answers: rulesets and packets in a throw-away network namespace, and checks that change nothing.

Needs Linux, nft, /dev/net/tun and root for an Oracle; a check can do without root. Only the standard library is used.
"""

from __future__ import annotations

from fireproof.kernel.conntrack import Conntrack, FlowEntry, FlowEvent, FlowTuple
from fireproof.kernel.namespace import KernelUnavailable, Namespace
from fireproof.kernel.nft import NftRefused, NftVersion, check, check_json, version
from fireproof.kernel.nftrace import TraceStep
from fireproof.kernel.oracle import Oracle, Outcome, unavailable
from fireproof.kernel.router import Port, Route

__all__ = [
    "Conntrack",
    "FlowEntry",
    "FlowEvent",
    "FlowTuple",
    "KernelUnavailable",
    "Namespace",
    "NftRefused",
    "NftVersion",
    "Oracle",
    "Outcome",
    "Port",
    "Route",
    "TraceStep",
    "check",
    "check_json",
    "unavailable",
    "version",
]
