"""The fact tables against nft and the kernel: offsets, byte orders, names, chains, statements, reject codes.

Every test works in a network namespace of its own module; without the right to make one they are skipped.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from itertools import product

import pytest

from fireproof.netfilter import hooks, reject
from fireproof.netfilter.datatypes import DATATYPES, NOT_SET_TYPES
from fireproof.netfilter.headers import EXTENSION_HEADERS, HEADERS, IP_OPTIONS, SCTP_CHUNKS, TCP_OPTIONS, HeaderField
from fireproof.netfilter.keys import CT_KEYS, IPSEC_KEYS, META_KEYS, RT_KEYS, SOCKET_KEYS, Key
from fireproof.netfilter.protocols import PROTOCOLS
from fireproof.netfilter.services import SERVICES

pytestmark = pytest.mark.kernel

VALUES = {"ipv4_addr": "1.2.3.4", "ipv6_addr": "2001:db8::1", "ether_addr": "0:1:2:3:4:5"}
BASES = {"ll": "link", "nh": "network", "th": "transport"}


class Namespace:
    """A network namespace kept open by an idle child, with a pair of devices d0 and d1."""

    def __init__(self) -> None:
        user = [] if os.geteuid() == 0 else ["-r"]
        self.holder = subprocess.Popen(
            ["unshare", *user, "-n", "sh", "-c", "echo ready; exec cat"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.holder.stdout is not None
        if self.holder.stdout.readline() != "ready\n":
            _, error = self.holder.communicate()
            pytest.skip(f"cannot make a network namespace: {error.strip()}")
        self.enter = ["nsenter", "-t", str(self.holder.pid), "-n"]
        if user:
            self.enter += ["-U", "--preserve-credentials"]
        made = self.run("ip", "link", "add", "d0", "type", "veth", "peer", "name", "d1")
        if made.returncode:
            self.close()
            pytest.skip(f"cannot make a veth pair: {made.stderr.strip()}")
        self.run("ip", "link", "set", "lo", "up")

    def run(self, *command: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run([*self.enter, *command], input=stdin, capture_output=True, text=True, check=False)

    def load(self, text: str) -> str:
        """Loads a ruleset and takes it away again; the first line of the error, or nothing.

        `nft -c` would be quicker and wrong: the kernel leaves out the check of hooks and of nesting.
        """
        loaded = self.run("nft", "-f", "-", stdin=text)
        if loaded.returncode == 0:
            self.run("nft", "flush", "ruleset")
            return ""
        return (loaded.stderr.splitlines() or [f"exit {loaded.returncode}"])[0]

    def bytecode(self, rules: list[str], family: str = "inet") -> list[str]:
        """What nft makes of each rule, checked by the kernel but not kept."""
        body = "\n".join(rules)
        run = self.run(
            "nft", "--debug=netlink", "-c", "-f", "-", stdin=f"table {family} t {{\nchain c {{\n{body}\n}}\n}}\n"
        )
        assert run.returncode == 0, run.stderr
        made = re.split(rf"^{family} t c\n", run.stdout, flags=re.MULTILINE)[1:]
        assert len(made) == len(rules)
        return made

    def close(self) -> None:
        if self.holder.poll() is None:
            self.holder.communicate()


@pytest.fixture(scope="module")
def namespace() -> Iterator[Namespace]:
    for tool in ("nft", "unshare", "nsenter", "ip"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")
    made = Namespace()
    yield made
    made.close()


def loaded_bits(code: str, pattern: str) -> tuple[int, int]:
    """First bit and width of what the last load of a rule leaves after its mask."""
    loads = list(re.finditer(pattern, code))
    assert loads, code
    size, start = int(loads[-1]["size"]), int(loads[-1]["start"])
    mask = re.match(r".*\n  \[ bitwise reg 1 = \( reg 1 & ([0-9a-fx ]+) \)", code[loads[-1].start() :])
    if mask is None:
        return start * 8, size * 8
    bits = "".join(f"{byte:08b}" for word in mask[1].split() for byte in int(word, 16).to_bytes(4, "little"))[
        : size * 8
    ]
    assert re.fullmatch("0*1+0*", bits), bits
    return start * 8 + bits.index("1"), bits.count("1")


def rule(expression: str, field: HeaderField) -> str:
    # `!=` and not `==`: `comp nexthdr tcp` kills nft 1.0.6, and flags would be tested by bit.
    return f"{expression} != {VALUES.get(field.datatype, '1')}"


def test_header_fields_lie_where_nft_loads_them(namespace: Namespace) -> None:
    for family, names in (("inet", set(HEADERS) - {"arp"}), ("bridge", set(HEADERS))):
        places = [(HEADERS[name], field) for name in sorted(names) for field in HEADERS[name].fields.values()]
        made = namespace.bytecode([rule(f"{h.name} {f.name}", f) for h, f in places], family)
        for (header, field), code in zip(places, made, strict=True):
            load = rf"payload load (?P<size>\d+)b @ {BASES[header.base]} header \+ (?P<start>\d+)"
            expected = (header.start + field.offset, field.bits)
            assert loaded_bits(code, load) == expected, f"{header.name} {field.name}\n{code}"


def test_header_dependencies_are_those_nft_adds(namespace: Namespace) -> None:
    made_by = {
        "nfproto": "meta load nfproto => reg 1 ]\n  [ cmp eq reg 1 0x{:08x} ]",
        "l4proto": "meta load l4proto => reg 1 ]\n  [ cmp eq reg 1 0x{:08x} ]",
        "iiftype": "meta load iiftype => reg 1 ]\n  [ cmp eq reg 1 0x{:08x} ]",
        "ethertype": "payload load 2b @ link header + 12 => reg 1 ]\n  [ cmp eq reg 1 0x{:08x} ]",
    }
    for header in HEADERS.values():
        family = "bridge" if header.name == "arp" else "inet"
        field = min(header.fields.values(), key=lambda f: len(f.types))
        (code,) = namespace.bytecode([rule(f"{header.name} {field.name}", field)], family)
        for key, value in header.requires:
            number = int.from_bytes(value.to_bytes(2, "big"), sys.byteorder) if key == "ethertype" else value
            assert made_by[key].format(number) in code, header.name
        assert code.count("cmp eq") == len(header.requires), f"{header.name}\n{code}"


def test_icmp_fields_depend_on_their_types(namespace: Namespace) -> None:
    for name in ("icmp", "icmpv6"):
        for field in HEADERS[name].fields.values():
            (code,) = namespace.bytecode([rule(f"{name} {field.name}", field)])
            tested = re.search(r"payload load 1b @ transport header \+ 0 => reg 1 \]\n  \[ (cmp eq|lookup)(.*)", code)
            if len(field.types) == 1:
                assert tested, code
                assert int(tested[2].split()[2], 16) == field.types[0], code
            elif field.types:
                # The set's elements are not part of the bytecode: the listing shows them.
                assert tested, code
                assert tested[1] == "lookup"
                run = namespace.run(
                    "nft",
                    *("--debug=netlink", "-c", "-f", "-"),
                    stdin=f"table inet t {{\nchain c {{\n{name} {field.name} 1\n}}\n}}\n",
                )
                elements = re.findall(r"element ([0-9a-f]{8})  : 0", run.stdout)
                assert sorted(int(e, 16) for e in elements) == sorted(field.types), run.stdout
            else:
                assert tested is None or field.name == "type", code


def options() -> list[tuple[str, int, HeaderField, int]]:
    """Expression, number, field, offset in bits."""
    found = []
    for prefix, table in (
        ("", EXTENSION_HEADERS),
        ("tcp option ", TCP_OPTIONS),
        ("ip option ", IP_OPTIONS),
        ("sctp chunk ", SCTP_CHUNKS),
    ):
        for option in table.values():
            for field in option.fields.values():
                for index in range(field.count) if field.count else (None,):
                    suffix = "" if index is None else f"[{index + 1}]"
                    offset = field.offset + (index or 0) * field.bits
                    found.append((f"{prefix}{option.name} {field.name}{suffix}", option.number, field, offset))
    return found


def test_option_fields_lie_where_nft_loads_them(namespace: Namespace) -> None:
    places = options()
    made = namespace.bytecode([rule(expression, field) for expression, _, field, _ in places])
    for (expression, number, field, offset), code in zip(places, made, strict=True):
        load = rf"exthdr load (?:\w+ )?(?P<size>\d+)b @ {number} \+ (?P<start>\d+)"
        assert loaded_bits(code, load) == (offset, field.bits), f"{expression}\n{code}"


def test_the_presence_of_options_can_be_tested(namespace: Namespace) -> None:
    for prefix, table in (
        ("exthdr ", EXTENSION_HEADERS),
        ("tcp option ", TCP_OPTIONS),
        ("ip option ", IP_OPTIONS),
        ("sctp chunk ", SCTP_CHUNKS),
    ):
        testable = [o for o in table.values() if o.testable]
        made = namespace.bytecode([f"{prefix}{o.name} exists" for o in testable])
        for option, code in zip(testable, made, strict=True):
            assert re.search(rf"exthdr load (\w+ )?1b @ {option.number} \+ 0 present", code), option.name
            assert code.count("cmp eq") == 1 + len(option.requires), option.name
        for option in table.values():
            if not option.testable:
                assert namespace.load(f"table ip6 t {{\nchain c {{\n{prefix}{option.name} exists\n}}\n}}\n")


def keyed() -> list[tuple[str, Key]]:
    tables: list[tuple[str, Key]] = [("meta", key) for key in META_KEYS.values()]
    tables += [("ct original" if k.direction == "required" else "ct", k) for k in CT_KEYS.values()]
    tables += [("rt", k) for k in RT_KEYS.values()]
    tables += [("socket", k) for k in SOCKET_KEYS.values()]
    tables += [("ipsec in", k) for k in IPSEC_KEYS.values()]
    return [
        (f"{'meta l4proto tcp ' if k.name.startswith('proto-') else ''}{table} {k.name}", k)
        for table, k in tables
        if k.readable and k.bits in (16, 32, 64) and k.datatype in NUMERIC
    ]


NUMERIC = {
    *("integer", "mark", "classid", "uid", "gid", "realm", "iface_index", "devgroup", "fib_addrtype", "hour"),
    *("iface_type", "ether_type", "inet_service"),
}
# The kernel used for the rest has no nft_meta_bridge; secmark takes no number.
NO_NUMBER = {"ibrpvid", "ibrvproto", "secmark"}


def test_byte_order_of_keys(namespace: Namespace) -> None:
    if sys.byteorder != "little":
        pytest.skip("the two byte orders look alike on a big-endian machine")
    places = [(e, k) for e, k in keyed() if k.name not in NO_NUMBER]
    assert len(places) > 20
    made = namespace.bytecode([f"{expression} != 1" for expression, _ in places])
    for (expression, key), code in zip(places, made, strict=True):
        compared = re.findall(r"cmp neq reg 1 0x([0-9a-f]{8})", code)
        number = {"00000001": True, {16: "00000100"}.get(key.bits, "01000000"): False}
        assert number[compared[-1]] == key.host_order, f"{expression}\n{code}"


def test_settable_meta_keys(namespace: Namespace) -> None:
    for key in META_KEYS.values():
        if key.name == "secmark":  # takes an object
            continue
        value = '"x"' if key.datatype == "ifname" else "1"
        error = namespace.load(
            f"table ip t {{\nchain c {{\ntype filter hook prerouting priority 0;\nmeta {key.name} set {value}\n}}\n}}\n"
        )
        assert (error == "") == key.settable, f"{key.name} {error}"


def test_settable_ct_keys(namespace: Namespace) -> None:
    for key in CT_KEYS.values():
        if key.name in ("secmark", "helper") or key.direction == "required":
            continue
        value = "new" if key.name == "event" else "1"
        error = namespace.load(f"table inet t {{\nchain c {{\nct {key.name} set {value}\n}}\n}}\n")
        assert (error == "") == key.settable, f"{key.name} {error}"


def test_directions_of_ct_keys(namespace: Namespace) -> None:
    values = {"state": "new", "status": "dnat", "direction": "reply", "helper": '"ftp"', "label": "1", "event": "new"}
    for key in CT_KEYS.values():
        if not key.readable or key.name == "secmark":
            continue
        value = values.get(key.name, VALUES.get(key.datatype, "1.2.3.4" if key.name.endswith("addr") else "1"))
        for direction in ("", "original "):
            match = f"meta l4proto tcp ct {direction}{key.name} {value}"
            family = "ip6" if key.name.startswith("ip6") else "ip"
            error = namespace.load(f"table {family} t {{\nchain c {{\n{match}\n}}\n}}\n")
            legal = key.direction != "required" if direction == "" else key.direction != "no"
            assert (error == "") == legal, f"{match}: {error}"


def test_names_mean_their_numbers(namespace: Namespace) -> None:
    """Every name of a type, of a service and of a protocol, through nft into the number that it compares with."""
    through = {
        "ether_type": "meta protocol",
        "nf_proto": "ct l3proto",
        "icmp_type": "icmp type",
        "icmpv6_type": "icmpv6 type",
        "igmp_type": "igmp type",
        "dscp": "ip dscp",
        "ecn": "ip ecn",
        "iface_type": "meta iiftype",
        "pkt_type": "meta pkttype",
        "devgroup": "meta iifgroup",
        "classid": "meta priority",
        "day": "meta day",
        "ct_dir": "ct direction",
        "ct_state": "ct state",
        "ct_status": "ct status",
        "tcp_flag": "tcp flags",
        "fib_addrtype": "fib daddr type",
        "dccp_pkttype": "dccp type",
        "mh_type": "mh type",
    }
    shift = {"dscp": 2, "dccp_pkttype": 1}
    names = [
        (f"{through[t]} != {name}", number << shift.get(t, 0))
        for t in through
        for name, number in DATATYPES[t].symbols.items()
    ]
    names = [
        (text, int.from_bytes(number.to_bytes(2, "big"), "little") if text.startswith("meta protocol") else number)
        for text, number in names
    ]
    names += [(f"ct protocol != {name}", number) for name, number in PROTOCOLS.items()]
    names += [
        (f'tcp dport != "{name}"', int.from_bytes(number.to_bytes(2, "big"), "little"))
        for name, number in SERVICES.items()
    ]
    made = namespace.bytecode([text for text, _ in names])
    for (text, number), code in zip(names, made, strict=True):
        assert f"cmp neq reg 1 0x{number:08x} ]" in code, f"{text}\n{code}"


def test_set_types(namespace: Namespace) -> None:
    for name in DATATYPES:
        error = namespace.load(f"table ip t {{\nset s {{\ntype {name}\n}}\n}}\n")
        assert (error == "") == (name not in NOT_SET_TYPES), f"{name} {error}"


def chain(family: str, kind: str, hook: str, priority: str = "10", rule: str = "") -> str:
    device = ' device "d0"' if hook in hooks.DEVICE_HOOKS else ""
    return f"table {family} t {{\nchain c {{\ntype {kind} hook {hook}{device} priority {priority};\n{rule}\n}}\n}}\n"


@pytest.mark.parametrize("family", hooks.FAMILIES)
def test_chains_load_where_the_table_says(namespace: Namespace, family: str) -> None:
    every_hook = ("ingress", "egress", "prerouting", "input", "forward", "output", "postrouting")
    for kind, hook in product(("filter", "nat", "route"), every_hook):
        error = namespace.load(chain(family, kind, hook))
        legal = hook in hooks.CHAIN_TYPES.get((family, kind), ())
        assert (error == "") == legal, f"{family} {kind} {hook} {error}"


@pytest.mark.parametrize("family", hooks.FAMILIES)
def test_named_priorities(namespace: Namespace, family: str) -> None:
    for hook, name in product(hooks.HOOKS[family], ("raw", "mangle", "dstnat", "filter", "security", "srcnat", "out")):
        run = namespace.run("nft", "-f", "-", stdin=chain(family, "filter", hook, name))
        number = hooks.NAMED_PRIORITIES[family, hook].get(name)
        assert (run.returncode == 0) == (number is not None), f"{hook} {name} {run.stderr}"
        if number is not None:
            listed = namespace.run("nft", "-j", "list", "ruleset").stdout
            namespace.run("nft", "flush", "ruleset")
            assert f'"prio": {number},' in listed


def test_lowest_priority_of_nat(namespace: Namespace) -> None:
    for family in ("ip", "ip6", "inet"):
        assert not namespace.load(chain(family, "nat", "prerouting", str(hooks.NAT_PRIORITY_MIN)))
        assert namespace.load(chain(family, "nat", "prerouting", str(hooks.NAT_PRIORITY_MIN - 1)))


def test_nesting_of_jumps(namespace: Namespace) -> None:
    def nested(jumps: int) -> str:
        chains = [f"chain c{jumps} {{\naccept\n}}"]
        chains += [f"chain c{n} {{\njump c{n + 1}\n}}" for n in range(jumps - 1, 0, -1)]
        chains.append("chain base {\ntype filter hook input priority 0;\njump c1\n}")
        return "table ip t {\n" + "\n".join(chains) + "\n}\n"

    assert not namespace.load(nested(hooks.MAX_JUMPS - 1))
    assert "Too many links" in namespace.load(nested(hooks.MAX_JUMPS))


def statement_text(statement: str, family: str) -> str | None:
    address = "2001:db8::1" if family == "ip6" else "192.0.2.1"
    protocol = "" if family in ("ip", "ip6") else "ip "
    texts = {
        "dnat": f"dnat {protocol}to {address}",
        "snat": f"snat {protocol}to {address}",
        "jump": None,
        "goto": None,
        "last": None,  # newer than nft 1.0.6
        "limit": "limit rate 5/second",
        "quota": "quota over 5 bytes",
        "set": None,  # needs a set
        "map": None,
        "flow": None,  # needs a flow table
        "payload set": "ether saddr set 0:1:2:3:4:5",
        "tcp option set": "tcp option maxseg size set 1000",
        "tcp option reset": "reset tcp option timestamp",
        "meta mark set": "meta mark set 1",
        "meta priority set": "meta priority set 1:2",
        "meta nftrace set": "meta nftrace set 1",
        "meta pkttype set": "meta pkttype set host",
        "meta secmark set": None,
        "tproxy": f"meta l4proto tcp tproxy {protocol}to :50080",
        "queue": "queue num 1",
        "synproxy": "tcp dport 80 synproxy mss 1460 wscale 7 timestamp sack-perm",
        "dup": f"dup to {address}" if family in ("ip", "ip6") else 'dup to "d1"',
        "fwd": 'fwd to "d1"',
        "ct mark set": "ct mark set 1",
        "ct zone set": "ct zone set 1",
        "ct event set": "ct event set new",
        "ct label set": "ct label set 1",
        "ct secmark set": "ct secmark set meta secmark",
        "ct count": "ct count over 3",
        "ct helper set": None,
        "ct timeout set": None,
        "ct expectation set": None,
    }
    return texts.get(statement, statement)


# Without these modules the kernel refuses everything: what the table says of them is the manual's word.
OPTIONAL = {
    "queue": ("queue",),
    "bridge": ("reject", "ct mark set", "ct zone set", "ct event set", "ct label set", "ct secmark set", "ct count"),
}
TESTABLE = sorted(s for s in hooks.statements() if statement_text(s, "ip") is not None)


def base_chains(family: str) -> list[tuple[str, str]]:
    return [(kind, hook) for (f, kind), at in hooks.CHAIN_TYPES.items() if f == family for hook in at]


@pytest.mark.parametrize("family", hooks.FAMILIES)
@pytest.mark.parametrize("statement", TESTABLE)
def test_statements_load_where_the_table_says(namespace: Namespace, statement: str, family: str) -> None:
    text = statement_text(statement, family)
    assert text is not None
    errors = {at: namespace.load(chain(family, *at, rule=text)) for at in base_chains(family)}
    said = {at: hooks.statement_allowed(statement, family, *at) for at in errors}
    optional = statement in OPTIONAL["queue"] or (family == "bridge" and statement in OPTIONAL["bridge"])
    if optional and all(errors.values()) and any(said.values()):
        pytest.skip(f"this kernel has no {statement} in family {family}: {next(iter(errors.values()))}")
    assert {at: error == "" for at, error in errors.items()} == said, errors


EXPRESSIONS = {
    "ct": "ct state new",
    "rt": "rt classid 1",
    "rt mtu": "rt mtu 1000",
    "socket": "socket transparent 1",
    "osf": 'osf name "Linux"',
    "fib type": "fib daddr type local",
    "fib oif": "fib saddr . iif oif missing",
    "ipsec in": "ipsec in reqid 1",
    "ipsec out": "ipsec out reqid 1",
    "meta ipsec": "meta ipsec exists",
    "meta sdif": "meta sdif 1",
    "meta cgroup": "meta cgroup 1",
}


@pytest.mark.parametrize("family", hooks.FAMILIES)
@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_expressions_load_where_the_table_says(namespace: Namespace, expression: str, family: str) -> None:
    errors = {at: namespace.load(chain(family, *at, rule=EXPRESSIONS[expression])) for at in base_chains(family)}
    said = {at: hooks.expression_allowed(expression, family, *at) for at in errors}
    if (expression, family) == ("ct", "bridge") and all(errors.values()):
        pytest.skip(f"this kernel has no conntrack for bridges: {next(iter(errors.values()))}")
    assert {at: error == "" for at, error in errors.items()} == said, errors


# Sends one datagram to a port of the loopback address and prints the type and code of the ICMP error that answers it.
ASK = """
import socket, struct, sys
v6 = sys.argv[1] == "6"
s = socket.socket(socket.AF_INET6 if v6 else socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(41 if v6 else 0, 25 if v6 else 11, 1)
s.settimeout(2)
s.connect(("::1" if v6 else "127.0.0.1", 9))
s.send(b"x")
import select
p = select.poll(); p.register(s, 0); p.poll(2000)
_, anc, _, _ = s.recvmsg(512, 512, socket.MSG_ERRQUEUE)
for level, kind, data in anc:
    if (level, kind) in ((0, 11), (41, 25)):
        print(*struct.unpack_from("=IBBBB", data)[2:4])
"""


@pytest.mark.parametrize("version", ["4", "6"])
@pytest.mark.parametrize("name", sorted(reject.ICMPX_CODES))
def test_what_icmpx_sends(namespace: Namespace, name: str, version: str) -> None:
    code = reject.ICMPX_CODES[name]
    table = chain("inet", "filter", "input", rule=f"udp dport 9 reject with icmpx {name}")
    assert namespace.run("nft", "-f", "-", stdin=table).returncode == 0
    answer = namespace.run(sys.executable, "-c", ASK, version)
    namespace.run("nft", "flush", "ruleset")
    expected = (
        (reject.ICMP_UNREACHABLE, reject.ICMPX_TO_ICMP[code])
        if version == "4"
        else (reject.ICMPV6_UNREACHABLE, reject.ICMPX_TO_ICMPV6[code])
    )
    assert answer.stdout.split() == [str(n) for n in expected], answer.stderr


@pytest.mark.parametrize("family", reject.REJECT_KINDS)
def test_reject_defaults_and_kinds(namespace: Namespace, family: str) -> None:
    texts = {
        "icmp": "reject with icmp host-unreachable",
        "icmpv6": "reject with icmpv6 no-route",
        "icmpx": "reject with icmpx host-unreachable",
        "tcp reset": "reject with tcp reset",
    }
    for kind, text in texts.items():
        run = namespace.run("nft", "-c", "-f", "-", stdin=f"table {family} t {{\nchain c {{\n{text}\n}}\n}}\n")
        # The kernel may have no reject for bridges, which is another matter than nft's refusal.
        taken = run.returncode == 0 or "No such file" in run.stderr
        assert taken == (kind in reject.REJECT_KINDS[family]), f"{kind} {run.stderr}"
    if family in reject.DEFAULT_REJECT:
        kind, code = reject.DEFAULT_REJECT[family]
        number = {"icmp": 0, "icmpv6": 0, "icmpx": 2}[kind]
        run = namespace.run(
            "nft", "--debug=netlink", "-c", "-f", "-", stdin=f"table {family} t {{\nchain c {{\nreject\n}}\n}}\n"
        )
        assert f"[ reject type {number} code {code} ]" in run.stdout
