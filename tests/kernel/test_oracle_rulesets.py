"""Loading, listing, checking, and what is left behind: rulesets in the kernel fixture."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from fireproof import kernel
from fireproof.kernel import Namespace, NftRefused, Oracle, Port, check, check_json, observer, version
from fireproof.kernel.namespace import CHILD_ENVIRONMENT
from fireproof.packet.build import tcp

PORTS = [Port("lan", ("10.0.1.1/24",)), Port("wan", ("10.0.2.1/24",))]
SYN = tcp("10.0.1.2", 1000, "10.0.2.2", 80)
DROP = "table ip t {\nchain c { type filter hook forward priority 0; policy drop;\n}\n}\n"
JSON_DROP = json.dumps(
    {
        "nftables": [
            {"add": {"table": {"family": "ip", "name": "t"}}},
            {
                "add": {
                    "chain": {
                        "family": "ip",
                        "table": "t",
                        "name": "c",
                        "type": "filter",
                        "hook": "forward",
                        "prio": 0,
                        "policy": "drop",
                    }
                }
            },
        ]
    }
)


@pytest.fixture(scope="module", autouse=True)
def machine() -> None:
    reason = kernel.unavailable()
    if reason is not None:
        pytest.skip(f"no kernel oracle: {reason}")


@pytest.fixture
def oracle() -> Iterator[Oracle]:
    with Oracle(PORTS) as made:
        yield made


def namespaces_in_use() -> set[int]:
    """The network namespaces of all threads, and those that this process holds open."""
    paths = [*Path("/proc").glob("[0-9]*/task/[0-9]*/ns/net"), *Path("/proc/self/fd").iterdir()]
    found = set()
    for path in paths:
        try:
            found.add(path.stat().st_ino)
        except OSError:
            continue
    return found


def here() -> int:
    return Path("/proc/thread-self/ns/net").stat().st_ino


def descriptors_open() -> set[str]:
    return {path.name for path in Path("/proc/self/fd").iterdir()}


def test_load_replaces_everything(oracle: Oracle) -> None:
    oracle.load(DROP)
    assert oracle.send(SYN, "lan").verdict == "drop"
    oracle.load("table ip other {\n}")
    assert oracle.send(SYN, "lan").verdict == "forward"
    assert oracle.list_text() == "table ip other {\n}\n"


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ("table ip t {\nchain c { type filter hook forward priority 0;\n  tcp dport http80 drop\n}\n}", "ruleset:3:"),
        ("table ip t {", "unexpected end of file"),
        ("table ip t {\nchain c { type nat hook forward priority 0;\n}\n}", "not supported"),
        ("table ip t {\nchain c { jump nowhere\n}\n}", "No such file"),
    ],
)
def test_refusal_keeps_the_old_rules(oracle: Oracle, bad: str, message: str) -> None:
    oracle.load(DROP)
    with pytest.raises(NftRefused, match=message) as refused:
        oracle.load(bad)
    assert "/tmp" not in str(refused.value)
    assert oracle.send(SYN, "lan").verdict == "drop"
    assert "policy drop" in oracle.list_text()


def test_jump_chains_too_deep_for_the_kernel_are_refused(oracle: Oracle) -> None:
    """`nft -c` takes them, and so does the kernel until the commit."""
    inner = "".join(f"chain c{n} {{ jump c{n + 1}\n}}\n" for n in range(16, 0, -1))
    text = f"table ip t {{\nchain c17 {{\n}}\n{inner}chain base {{ type filter hook input priority 0; jump c1\n}}\n}}\n"
    with pytest.raises(NftRefused, match="Too many links"):
        oracle.load(text)
    assert "Too many links" in (check(text) or "")


def test_a_crash_of_nft_is_a_refusal(oracle: Oracle) -> None:
    text = "table ip t {\nchain c { @ih,0,1024 0 accept\n}\n}\n"
    if version() != (1, 0, 6):
        pytest.skip(f"nft {version()} is not known to crash on this; 1.0.6 is")
    with pytest.raises(NftRefused, match="nft crashed"):
        oracle.load(text)
    assert "nft crashed (SIGABRT)" in (check(text) or "")
    assert oracle.send(SYN, "lan").verdict == "forward"


def test_a_file_may_flush_first(oracle: Oracle) -> None:
    oracle.load("#!/usr/sbin/nft -f\nflush ruleset\n" + DROP)
    assert oracle.send(SYN, "lan").verdict == "drop"
    assert oracle.send(tcp("10.0.1.2", 1000, "10.0.1.1", 80), "lan").verdict == "local"


def test_load_forgets_flows_unless_told(oracle: Oracle) -> None:
    text = "table ip t {\nchain c { type filter hook forward priority 0; ct state new accept\n}\n}\n"
    oracle.load(text)
    oracle.send(SYN, "lan")
    oracle.load(text, keep_flows=True)
    assert len(oracle.conntrack()) == 1
    oracle.load(text)
    assert oracle.conntrack() == []


def test_json(oracle: Oracle) -> None:
    oracle.load_json(JSON_DROP)
    outcome = oracle.send(SYN, "lan")
    assert (outcome.verdict, [step.verdict for step in outcome.path]) == ("drop", ["drop"])
    assert oracle.send(tcp("10.0.1.2", 1000, "10.0.1.1", 80), "lan").verdict == "local"
    with pytest.raises(NftRefused, match="No such file"):
        oracle.load_json('{"nftables": [{"add": {"rule": {"family":"ip","table":"x","chain":"y","expr":[]}}}]}')
    with pytest.raises(NftRefused, match="not libnftables JSON"):
        oracle.load_json(JSON_DROP[:-1])
    assert oracle.send(SYN, "lan").verdict == "drop"
    kinds = [next(iter(item)) for item in oracle.list_json()["nftables"]]
    assert kinds == ["metainfo", "table", "chain"]
    assert observer.TABLE not in oracle.list_text()


def test_what_is_listed_loads_again(oracle: Oracle) -> None:
    text = 'table inet t {\n\tchain c {\n\t\ttcp dport 80 accept comment "x } y"\n\t}\n}\n'
    oracle.load(text)
    assert oracle.list_text() == text
    listed = oracle.list_json()
    oracle.load_json(json.dumps(listed))
    assert oracle.list_text() == text


def test_clock_rules_are_in_utc(oracle: Oracle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "America/New_York")
    oracle.load('table ip t {\nchain c { meta hour "08:00"-"18:00" drop\n}\n}\n')
    [rule] = [item["rule"] for item in oracle.list_json()["nftables"] if "rule" in item]
    assert rule["expr"][0]["match"]["right"] == {"range": ["08:00", "18:00"]}
    shown = oracle.run(["/usr/bin/env", "TZ=UTC", "/usr/sbin/nft", "list", "ruleset"]).stdout
    assert '"08:00"-"18:00"' in shown


def test_two_at_once_do_not_meet() -> None:
    with Oracle(PORTS) as one, Oracle(PORTS, trace=False) as two:
        one.load(DROP)
        for _ in range(3):
            assert one.send(SYN, "lan").verdict == "drop"
            assert two.send(SYN, "lan").verdict == "forward"
        assert two.list_text() == ""


def test_nothing_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A folder of its own: other tests make files in the common one at the same time.
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with Oracle(PORTS) as warm:
        warm.load(DROP)
    home = here()
    descriptors = descriptors_open()
    with Oracle(PORTS) as oracle:
        oracle.load(DROP)
        oracle.send(SYN, "lan")
        inode = oracle.namespace.inode
        assert inode in namespaces_in_use()
    assert inode != home
    assert inode not in namespaces_in_use()
    assert descriptors_open() == descriptors
    assert list(tmp_path.iterdir()) == []
    assert here() == home


def test_a_router_that_cannot_be_made_leaves_nothing_behind() -> None:
    descriptors = descriptors_open()
    home = here()
    for ports in ([Port("a", ("10.0.0.1/24",)), Port("a")], [Port("x y")], [Port("sixteen-letters-")], [Port("lo")]):
        with pytest.raises((OSError, ValueError)):
            Oracle(ports)
    with pytest.raises(FileNotFoundError):
        Oracle(PORTS, sysctls={"net.ipv4.no_such_setting": "1"})
    with pytest.raises(ValueError, match="not a setting of a network namespace"):
        Oracle(PORTS, sysctls={"kernel.hostname": "x"})
    assert descriptors_open() == descriptors
    assert here() == home


def test_the_caller_stays_where_it_is() -> None:
    home = here()

    def fail_inside(namespace: Namespace) -> None:
        with namespace.entered():
            assert here() == namespace.inode
            raise RuntimeError("inside")

    with Namespace() as namespace:
        with pytest.raises(RuntimeError, match="inside"):
            fail_inside(namespace)
        assert here() == home
        assert namespace.run(["/usr/bin/readlink", "/proc/self/ns/net"]).stdout == f"net:[{namespace.inode}]\n"
    assert here() == home


def test_children_get_none_of_the_environment(oracle: Oracle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LD_PRELOAD", "/nonexistent.so")
    lines = oracle.run(["/usr/bin/env"]).stdout.splitlines()
    assert sorted(line.split("=")[0] for line in lines) == sorted(CHILD_ENVIRONMENT)


def test_rules_of_iptables_are_traced_and_known_to_track(oracle: Oracle) -> None:
    if not Path("/usr/sbin/iptables-nft").exists():
        pytest.skip("no /usr/sbin/iptables-nft")
    add = ["/usr/sbin/iptables-nft", "-A", "FORWARD"]
    assert oracle.send(SYN, "lan").state is None
    assert oracle.run([*add, "-m", "conntrack", "--ctstate", "ESTABLISHED", "-j", "ACCEPT"]).returncode == 0
    assert oracle.run([*add, "-p", "tcp", "-j", "REJECT", "--reject-with", "tcp-reset"]).returncode == 0
    outcome = oracle.send(SYN, "lan")
    assert (outcome.verdict, outcome.state) == ("reject", "new")
    assert [(step.hook, step.table, step.chain, step.verdict) for step in outcome.path] == [
        ("forward", "filter", "FORWARD", "drop")
    ]
    assert oracle.send(tcp("10.0.1.2", 1, "10.0.2.2", 80, "SA"), "lan").state == "invalid"


@pytest.mark.parametrize("name", ["eth0.100", "a-b_c", 'q"#$`', "-rf", "fünf", "fifteen-letters"])
def test_any_legal_interface_name(name: str) -> None:
    with Oracle([Port(name, ("10.0.1.1/24",)), Port("wan", ("10.0.2.1/24",))]) as oracle:
        assert oracle.send(SYN, name).verdict == "forward"
        back = oracle.send(tcp("10.0.2.2", 80, "10.0.1.2", 1000, "SA"), "wan")
        assert [port for port, _ in back.packets] == [name]


def test_settings_reach_the_kernel() -> None:
    loose = {"net.netfilter.nf_conntrack_tcp_loose": "0", "net.ipv4.conf.lan.rp_filter": "1"}
    text = "table ip t {\nchain c { type filter hook forward priority 0; ct state new accept\n}\n}\n"
    spoofed = tcp("10.0.2.3", 1000, "10.0.2.2", 80)
    with Oracle(PORTS, sysctls=loose) as strict, Oracle(PORTS) as lax:
        for oracle, state, verdict in ((strict, "invalid", "drop"), (lax, "new", "forward")):
            oracle.load(text)
            assert oracle.send(tcp("10.0.1.2", 1000, "10.0.2.2", 80, "A"), "lan").state == state
            assert oracle.send(spoofed, "lan").verdict == verdict


NETDEV = "table netdev t {\nchain c { type filter hook ingress device eth7 priority 0;\n}\n}\n"


def test_check() -> None:
    assert check(DROP) is None
    assert (check("table ip t {\nchain c { tcp dport 99999 accept\n}\n}\n") or "").startswith("ruleset:2:")
    assert check_json(JSON_DROP) is None
    assert check_json(JSON_DROP[:-1]) is not None
    assert check(NETDEV, ["eth7"]) is None
    assert "Too many links" in (
        check(
            "table ip t {\nchain c { type filter hook input priority 0; jump d\n}\n"
            "chain d { jump e\n}\nchain e { jump d\n}\n}\n"
        )
        or ""
    )


def test_check_by_an_ordinary_user() -> None:
    program = (
        "from fireproof.kernel import check, unavailable\n"
        f"print(check({DROP!r}), check({NETDEV!r}, ['eth7']), check('table ip t {{ nonsense }}') is not None)\n"
        "print('root' in unavailable())\n"
    )
    package = Path(kernel.__file__).parents[2]
    # The interpreter that runs the tests may lie where only root can read.
    able = (
        subprocess.run(["/usr/bin/python3", "-c", "import tomllib"], check=False, capture_output=True).returncode == 0
    )
    if not able:
        pytest.skip("no /usr/bin/python3 of at least 3.11 for an ordinary user")
    result = subprocess.run(
        ["/usr/bin/python3", "-c", program],
        user=65534,
        group=65534,
        extra_groups=[],
        cwd="/",
        env={"PYTHONPATH": str(package), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    if "KernelUnavailable" in result.stderr and "user namespaces" in result.stderr:
        pytest.skip("users may not make user namespaces here: " + result.stderr.splitlines()[-1])
    assert result.stdout == "None None True\nTrue\n", result.stderr
