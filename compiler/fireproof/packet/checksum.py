"""The Internet checksum (RFC 1071), its incremental update (RFC 1624), and the CRC32c of SCTP (RFC 9260 appendix A).

A ones' complement sum of 16-bit words is a number modulo 65535, so Python's big integers do the adding: the words of a
packet read as one integer leave the same remainder as their sum.
"""

CHECKSUM_OFFSET = {1: 2, 6: 16, 17: 6, 33: 6, 58: 2, 136: 6}
"""Where a transport header keeps its Internet checksum: ICMP, TCP, UDP, DCCP, ICMPv6, UDP-Lite."""

COVERS_ADDRESSES = frozenset((6, 17, 33, 58, 136))
"""The protocols whose checksum includes a pseudo header with the addresses."""


def word_sum(data: bytes) -> int:
    """The 16-bit words of `data` added up modulo 65535; an odd last byte is padded with zero."""
    total = int.from_bytes(data, "big")
    if len(data) & 1:
        total <<= 8
    return total % 65535


def checksum_of(data: bytes, addend: int = 0) -> int:
    """The checksum to write for `data` (its checksum field zero); `addend` is the sum of a pseudo header.

    Sums are taken as non-zero: a header that is all zero has no checksum anyone asks for.
    """
    return -(word_sum(data) + addend) % 65535


def sums_to_zero(data: bytes, addend: int = 0) -> bool:
    """Whether `data`, checksum included, verifies."""
    return (word_sum(data) + addend) % 65535 == 0


def pseudo_header_sum(addresses: bytes, protocol: int, length: int) -> int:
    """The sum of the pseudo header: `addresses` is source and destination, 8 or 32 bytes."""
    return (int.from_bytes(addresses, "big") + protocol + length) % 65535


def adjusted(checksum: int, difference: int) -> int:
    """`checksum` after the covered words changed by `difference` (new minus old). A wrong checksum stays wrong."""
    return (checksum - difference) % 65535


def _crc32c_table() -> tuple[int, ...]:
    table = []
    for byte in range(256):
        value = byte
        for _ in range(8):
            value = (value >> 1) ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    return tuple(table)


_CRC32C = _crc32c_table()


def crc32c(data: bytes) -> int:
    """CRC32c; SCTP writes it in little-endian order."""
    table = _CRC32C
    value = 0xFFFFFFFF
    for byte in data:
        value = table[(value ^ byte) & 0xFF] ^ (value >> 8)
    return value ^ 0xFFFFFFFF


def sctp_checksum(segment: bytes) -> bytes:
    """The checksum field of an SCTP packet, taken as zero while it is computed."""
    return crc32c(segment[:8] + b"\0\0\0\0" + segment[12:]).to_bytes(4, "little")
