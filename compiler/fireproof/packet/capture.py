"""Classic pcap files: written with raw IP packets (link type 101), read with raw IP, Ethernet or Linux cooked frames.

Frames that carry no IP are left out; VLAN tags are skipped. Not pcapng. Source of the format: the libpcap file format
page of tcpdump.org. Nothing is believed about lengths in the file beyond 256 KiB, the largest snapshot tcpdump takes.
"""

import struct
from collections.abc import Iterable, Iterator
from typing import BinaryIO, NamedTuple

_MICRO, _NANO = 0xA1B2C3D4, 0xA1B23C4D
_PCAPNG = b"\x0a\x0d\x0d\x0a"
_MAX_FRAME = 262144
_RAW_LINKS = frozenset((12, 14, 101, 228, 229))  # RAW on three systems, IPV4, IPV6
_ETHERNET, _COOKED, _COOKED2 = 1, 113, 276
_IP = frozenset((0x0800, 0x86DD))
_VLAN = frozenset((0x8100, 0x88A8))


class CaptureError(ValueError):
    """The file is not a capture this can read; the message says why."""


class Captured(NamedTuple):
    """A packet from the IP header on, and when it was seen (nanoseconds since 1970)."""

    time: int
    raw: bytes


def write_capture(file: BinaryIO, packets: Iterable[Captured]) -> None:
    """Write packets with nanosecond times."""
    file.write(struct.pack("<IHHiIII", _NANO, 2, 4, 0, 0, _MAX_FRAME, 101))
    for packet in packets:
        seconds, nanoseconds = divmod(packet.time, 1_000_000_000)
        file.write(struct.pack("<IIII", seconds, nanoseconds, len(packet.raw), len(packet.raw)) + packet.raw)


def read_capture(file: BinaryIO) -> Iterator[Captured]:
    """The IP packets of a capture, in order. Raises CaptureError, also part-way for a file that is cut off."""
    head = file.read(24)
    if head[:4] == _PCAPNG:
        raise CaptureError("this is a pcapng file; convert it with `editcap -F pcap IN OUT` or `tcpdump -r IN -w OUT`")
    order = next((o for o in "<>" if len(head) == 24 and struct.unpack(o + "I", head[:4])[0] in (_MICRO, _NANO)), None)
    if order is None:
        raise CaptureError("this is not a pcap file")
    scale = 1 if struct.unpack(order + "I", head[:4])[0] == _NANO else 1000
    link = struct.unpack(order + "I", head[20:24])[0] & 0xFFFF
    if link not in _RAW_LINKS and link not in (_ETHERNET, _COOKED, _COOKED2):
        raise CaptureError(f"link type {link} is not supported: raw IP, Ethernet and Linux cooked captures are")
    return _frames(file, order, scale, link)


def _frames(file: BinaryIO, order: str, scale: int, link: int) -> Iterator[Captured]:
    number = 0
    while record := file.read(16):
        number += 1
        if len(record) < 16:
            raise CaptureError(f"the capture is cut off in packet {number}")
        seconds, fraction, size, _ = struct.unpack(order + "IIII", record)
        if size > _MAX_FRAME:
            raise CaptureError(f"packet {number} claims {size} bytes: the capture is damaged")
        frame = file.read(size)
        if len(frame) < size:
            raise CaptureError(f"the capture is cut off in packet {number}")
        start = _start_of_ip(frame, link)
        if start is not None:
            yield Captured(seconds * 1_000_000_000 + fraction * scale, frame[start:])


def _start_of_ip(frame: bytes, link: int) -> int | None:
    if link in _RAW_LINKS:
        return 0
    if link == _ETHERNET:
        at, start = 12, 14
        while len(frame) >= start and frame[at] << 8 | frame[at + 1] in _VLAN:
            at, start = at + 4, start + 4
    else:
        at, start = (14, 16) if link == _COOKED else (0, 20)
    if len(frame) < start or frame[at] << 8 | frame[at + 1] not in _IP:
        return None
    return start
