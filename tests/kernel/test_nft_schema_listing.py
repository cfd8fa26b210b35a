"""What `nft -j list ruleset` prints for real rulesets is valid by our schema of it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from fireproof.resources import schema

EVERY_KIND_OF_OBJECT = """
table inet edge {
  counter c { packets 1 bytes 2; }
  quota q { over 25 mbytes; }
  limit l { rate over 10 kbytes/second burst 3 kbytes; }
  ct helper h { type "ftp" protocol tcp; l3proto ip; }
  ct timeout ti { protocol tcp; l3proto ip; policy = { established : 123, close : 4 }; }
  ct expectation e { protocol tcp; dport 5432; timeout 1h; size 12; l3proto ip; }
  synproxy sp { mss 1460; wscale 7; timestamp sack-perm; }
  set s1 { typeof ip saddr . tcp dport; flags interval,timeout; timeout 1h; size 100;
           elements = { 10.1.1.0/24 . 22 timeout 30s comment "x" } }
  set s2 { type ipv4_addr; size 100; counter; flags dynamic; }
  set s3 { type ipv4_addr; counter; elements = { 10.0.0.1 counter packets 1 bytes 2, 10.0.0.2 } }
  map m1 { type ipv4_addr : ipv4_addr . inet_service; elements = { 10.0.0.1 : 10.0.0.2 . 80 } }
  map m2 { type ipv4_addr : verdict; elements = { 10.0.0.1 : accept, 10.0.0.2 : jump sub } }
  map m3 { type ipv4_addr : counter; elements = { 10.0.0.1 : "c" } }
  map m4 { type ipv4_addr : mark; flags dynamic,timeout; timeout 1m; size 10; }
  chain sub {
    counter name "c" quota name "q" limit name "l" ct helper set "h"
    counter name ip saddr map @m3
    ip saddr vmap @m2
    update @m4 { ip saddr timeout 3s : 0x4 }
    meter hits size 100 { ip saddr timeout 3s limit rate over 3 kbytes/second }
    tcp flags ! fin,rst log prefix "x" group 3 snaplen 3
    ip saddr 10.0.0.1 numgen random mod 3 offset 4 2 reject with icmp type host-unreachable
  }
  chain input { type filter hook input priority -10; policy drop; }
}
table netdev wire { chain in { type filter hook ingress device "lo" priority 0; fwd to "lo"; }
}
"""


def listing(unshared_network: list[str], ruleset: str, folder: Path) -> tuple[str, str]:
    """The ruleset as the kernel gives it back, in JSON, and what nft complained of (then the first is empty)."""
    load_and_list = ["sh", "-c", "nft -f - && nft -j list ruleset"]
    done = subprocess.run(
        [*unshared_network, *load_and_list], input=ruleset, capture_output=True, text=True, timeout=60, cwd=folder
    )
    return (done.stdout, "") if done.returncode == 0 else ("", done.stderr)


def errors(printed: str) -> list[str]:
    return [f"{e.json_path}: {e.message}" for e in Draft202012Validator(schema("nft")).iter_errors(json.loads(printed))]


def test_every_kind_of_object(unshared_network: list[str], tmp_path: Path) -> None:
    printed, complaint = listing(unshared_network, EVERY_KIND_OF_OBJECT, tmp_path)
    if "Could not process rule" in complaint:
        pytest.skip(f"this kernel lacks one of the objects: {complaint.splitlines()[0]}")
    assert complaint == ""
    assert errors(printed) == []


@pytest.mark.corpus
def test_real_rulesets(unshared_network: list[str], corpus_dir: Path) -> None:
    refused, loaded = {}, 0
    for file in sorted((corpus_dir / "nft").glob("*.nft")):
        printed, complaint = listing(unshared_network, file.read_text(encoding="utf-8", errors="replace"), file.parent)
        if complaint or not printed:
            continue
        loaded += 1
        if found := errors(printed):
            refused[file.name] = found[:3]
    assert refused == {}
    if not loaded:
        pytest.skip(f"none of the rulesets under {corpus_dir / 'nft'} loads here")
