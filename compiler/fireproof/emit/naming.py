"""Names and quoted text in nft's syntax: checked so that nothing of a ruleset is ever read as more than a name.

The reserved words were found with nft 1.0.6: every word that `add chain` or `delete OBJECT` refuses as a name.
"""

from __future__ import annotations

import re
import unicodedata

from fireproof.emit.problem import Unprintable

_NAME = re.compile(r"[A-Za-z_.][A-Za-z0-9_./-]{0,254}\Z")
_RESERVED = """
    accept add ah all and arp auto-merge bridge cgroup chain comment comp constant continue counter cpu create ct
    daddr day dccp define delete describe device devices dnat drop dst dup dynamic ecn element elements eq esp ether
    exists expires export exthdr fib flags flow flowtable flush frag frag-off fwd gc-interval ge get goto gt handle hbh
    hdrlength hook hour ibriport ibrname icmp icmpv6 id igmp iif iifgroup iifname iiftype import include index inet
    insert interval ip ip6 ipsec jhash jump le limit list log lshift lt map mark masquerade meta meter mh missing
    monitor ne netdev nftrace not notrack numgen obriport obrname offload oif oifgroup oifname oiftype or osf pkttype
    policy position priority queue quota random redefine redirect reject rename replace reset return rshift rt rt0 rt2
    rtclassid rule ruleset sctp secmark set size skgid skuid snat socket srh symhash synproxy table tcp th time timeout
    tproxy type typeof udp udplite undefine update vlan vmap xor xt"""
RESERVED = frozenset(_RESERVED.split())
_OBJECT = frozenset(("bytes", "name", "packets"))
_CT_WORDS = """
    avgpkt bytes count direction dport event expectation expiration helper helpers l3proto label original over
    packets proto-dst proto-src protocol reply saddr state status zone"""
_CONNTRACK = frozenset(_CT_WORDS.split())
# Words that only the named kind of object can not be called. `@ll` and `@nh` are places in the packet.
_RESERVED_FOR = {
    "set": frozenset(("ll", "nh", "th", "ih")),
    "counter": _OBJECT,
    "quota": frozenset(("bytes", "name", "over", "until", "used")),
    "limit": _OBJECT | frozenset(("burst", "minute", "over", "rate", "second", "week")),
    "synproxy": frozenset(("maxseg", "mss", "name", "sack-perm", "sack-permitted", "timestamp", "wscale")),
    "ct helper": _CONNTRACK,
    "ct timeout": _CONNTRACK,
    "ct expectation": _CONNTRACK,
}


def name(text: str, kind: str = "") -> str:
    """A bare name as nft reads it. Raises Unprintable for anything else, reserved words included."""
    if not _NAME.match(text):
        raise Unprintable(f"{text!r} is not a name nft can read: letters, digits, `_`, `.`, `/` and `-` make one")
    if text in RESERVED or text in _RESERVED_FOR.get(kind, ()):
        raise Unprintable(f"`{text}` is a word of nft's own and can not be a name; rename it")
    return text


def _is_control(character: str) -> bool:
    return unicodedata.category(character) in ("Cc", "Zl", "Zp", "Cs")


def check_quotable(text: str) -> str:
    """The text itself. Raises Unprintable when nft has no way to quote it."""
    if '"' in text or any(map(_is_control, text)):
        raise Unprintable(f"{text!r} holds a quote or a control character, which nft can not write")
    return text


def quoted(text: str) -> str:
    return f'"{check_quotable(text)}"'


def pattern(text: str, prefix: bool) -> str:
    """A name to match, not quoted yet: `*` at the end makes it a prefix, a real star there is escaped."""
    check_quotable(text)
    if prefix:
        if not text:
            raise Unprintable("a pattern that fits every name can not be written")
        if text.endswith("\\"):
            raise Unprintable(f"a prefix that ends in a backslash can not be written: {text!r}")
        return text + "*"
    return f"{text[:-1]}\\*" if text.endswith("*") else text


def clean(text: str, size: int) -> str:
    """A comment without what would break out of it, shortened to `size` bytes between characters."""
    text = "".join(" " if _is_control(c) else c for c in text.replace('"', "'").replace("\\", "/")).strip()
    encoded = text.encode("utf-8", "replace")
    if len(encoded) <= size:
        return encoded.decode()
    ellipsis = "…"
    room = size - len(ellipsis.encode())
    if room <= 0:
        return ""
    return encoded[:room].decode("utf-8", "ignore").rstrip() + ellipsis
