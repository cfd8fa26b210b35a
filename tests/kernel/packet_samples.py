"""Random packets, good and damaged, for asking the kernel what it makes of them. Seeded: every run asks the same."""

from random import Random
from typing import Any

from fireproof.packet import build
from fireproof.packet.parse import parse
from fireproof.packet.rewrite import write_bits

LAN, WAN, LAN6, WAN6 = "10.0.1.2", "10.0.2.2", "fd00:1::2", "fd00:2::2"
_EXTENSIONS = (
    (60, b"\0\1\4\0\0\0\0"),
    (0, b"\0\1\4\0\0\0\0"),
    (51, b"\4" + bytes(22)),
    (51, b"\1" + bytes(10)),
    (43, bytes(7)),
    (44, bytes(6) + b"\1"),
    (135, bytes(7)),
)
_TCP_OPTIONS = (b"\1", b"\0", b"\2\4\5\xb4", b"\3\3\7", b"\4\2", b"\x08\x0a" + bytes(8), b"\2\0", b"\2\3\1")
_GRE = (0x0000, 0x8000, 0x2000, 0xB000, 0x0001, 0x4000, 0x6000)


def sample(random: Random) -> bytes:
    """A packet from the LAN to the WAN side, in one of four damaged."""
    src, dst = random.choice(((LAN, WAN), (LAN6, WAN6)))
    ip: Any = {"dscp": random.randrange(64), "ecn": random.randrange(4)}
    if src == LAN6:
        ip["extensions"] = [random.choice(_EXTENSIONS) for _ in range(random.choice((0, 0, 0, 1, 1, 2)))]
        if random.random() < 0.1:
            ip["extensions"] = [_hop_by_hop(random)]
    if random.random() < 0.15:
        ip["frag_offset"] = random.randrange(8192)
    ip["more_fragments"] = random.random() < 0.15
    return _damaged(_transport(random, src, dst, ip), random)


def _transport(random: Random, src: str, dst: str, ip: Any) -> bytes:
    payload = random.randbytes(random.choice((0, 1, 2, 3, 8, 20, 100, 600, 1200)))
    kind = random.randrange(8)
    if kind < 2:
        flags = random.choice((2, 18, 16, 4, 20, 1, 17, 0, random.randrange(256)))
        options = b"".join(random.choice(_TCP_OPTIONS) for _ in range(random.randrange(6)))[:40]
        seq, ack = random.getrandbits(32), random.getrandbits(32)
        return build.tcp(src, 4000, dst, 80, flags, seq=seq, ack=ack, tcp_options=options, payload=payload, **ip)
    if kind == 2:
        return build.udp(src, 4000, dst, 53, payload, **ip)
    if kind == 3:
        make = build.icmp if src == LAN else build.icmpv6
        return make(
            src, dst, random.choice((random.randrange(20), 128, 135, 137, random.randrange(256))), payload=payload, **ip
        )
    if kind == 4:
        gre = random.choice(_GRE).to_bytes(2, "big")
        return build.ip_packet(src, dst, 47, gre + b"\x08\0" + payload, **ip)
    if kind == 5:
        return build.sctp(src, 1, dst, 2, payload, **ip)
    if kind == 6:
        return build.udplite(src, 1, dst, 2, payload, **ip)
    return build.ip_packet(
        src, dst, random.choice((33, 50, 51, 59, 4, 41, 6, 17, random.randrange(256))), payload, **ip
    )


def _hop_by_hop(random: Random) -> tuple[int, bytes]:
    body = b""
    while len(body) < random.choice((3, 6, 10, 14)):
        kind = random.choice((0, 0, 1, 1, 5, 4, 7, 0x31, 0x0F, 0x44, 0x84, 0xC2, random.randrange(256)))
        size = random.choice((0, 1, 2, 2, 4, 5))
        body += b"\0" if kind == 0 else bytes((kind, size)) + bytes(size)
    gap = -(len(body) + 2) % 8
    body += b"" if not gap else b"\0" if gap == 1 else bytes((1, gap - 2)) + bytes(gap - 2)
    return 0, bytes(((len(body) + 2) // 8 - 1,)) + body


def _damaged(raw: bytes, random: Random) -> bytes:
    """Change bytes, cut, now and then leave lengths and header checksum wrong. Where the packet goes stays as it is."""
    four = raw[0] >> 4 == 4
    changed = bytearray(raw)
    for _ in range(random.choice((0, 0, 1, 1, 2))):
        at = random.randrange(len(raw))
        routed = at in (0, 8) or 10 <= at < 20 if four else at == 0 or 7 <= at < 40
        if not routed:
            changed[at] = random.randrange(256)
    if random.random() < 0.1:
        del changed[random.randrange(20 if four else 40, len(changed) + 1) :]
    raw = bytes(changed)
    if random.random() < 0.5:
        at, length = (16, len(raw)) if four else (32, len(raw) - 40)
        raw = write_bits(raw, at, 16, length, fix_checksums=False)
    if four and random.random() < 0.97:
        raw = write_bits(raw, 80, 16, 0, fix_checksums=False)
        raw = write_bits(raw, 80, 16, -int.from_bytes(raw[:20], "big") % 65535, fix_checksums=False)
    return raw


def hop(raw: bytes) -> bytes:
    """The packet as the forward hook sees it, trimmed and one hop older."""
    headers = parse(raw)
    if not headers.valid:
        return raw
    at = 8 if headers.family == 4 else 7
    return write_bits(headers.raw, at * 8, 8, raw[at] - 1) if raw[at] else headers.raw
