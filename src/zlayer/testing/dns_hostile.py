"""Packets nobody should send a name server, from a seed: the same seed sends the same packets.

`mutants` changes good questions here and there; `crafted` builds what mutation hardly finds: pointer loops, counts
that lie, names at the limits, EDNS of every kind, answers sent as questions.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator

OPT = 41
KINDS = (0, 2, 12, 41, 249, 250, 251, 252, 253, 254, 255, 65535)


def question(name: str, kind: int = 1, klass: int = 1) -> bytes:
    labels = b"".join(bytes([len(one)]) + one.encode() for one in name.split(".") if one)
    return labels + b"\0" + struct.pack(">HH", kind, klass)


def header(number: int = 7, flags: int = 0x0100, *counts: int) -> bytes:
    return struct.pack(">HHHHHH", number, flags, *(counts or (1, 0, 0, 0)))


def opt(
    *, room: int = 1232, version: int = 0, data: bytes = b"", size: int | None = None, name: bytes = b"\0"
) -> bytes:
    told = len(data) if size is None else size
    return name + struct.pack(">HHBBHH", OPT, room, 0, version, 0, told) + data


def crafted(name: str = "web.service.local") -> list[bytes]:
    """Every one of them once."""
    good, edns = question(name), header(7, 0x0100, 1, 0, 0, 1)
    long = b"".join(b"\x3f" + b"a" * 63 for _ in range(4))
    loops = [
        b"\xc0\x0c",
        b"\xc0\x0e\xc0\x0c",
        b"\x03web\xc0\x0c",
        b"\x01a\xc0\xff",
        b"\xff\xff",
        b"\x40a\0",
        b"\x80a\0",
    ]
    return [
        b"",
        b"\0",
        header()[:11],
        header(),
        *(header() + loop + struct.pack(">HH", 1, 1) for loop in loops),
        *(header() + good[:cut] for cut in range(len(good))),
        header(7, 0x8180, 1, 0, 0, 0) + good,
        header(7, 0x8180, 1, 1, 0, 0) + good + b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, 5, 4) + b"\1\2\3\4",
        header(7, 0x0100, 0, 0, 0, 0),
        header(7, 0x0100, 2, 0, 0, 0) + good + good,
        header(7, 0x0100, 65535, 65535, 65535, 65535) + good,
        header(7, 0x0100, 1000, 0, 0, 0) + good * 100,
        header(7, 0x0100, 1, 1, 0, 0) + good + good,
        header(7, 0x0100, 1, 0, 0, 65535) + good,
        *(header(7, opcode << 11) + good for opcode in range(16)),
        *(header(7, flags) + good for flags in (0, 0xFFFF, 0x0010, 0x0020, 0x0040, 0x7FFF, 0x0200)),
        header() + long + b"\0" + struct.pack(">HH", 1, 1),
        header() + long[:-64] + b"\x3d" + b"a" * 61 + b"\0" + struct.pack(">HH", 1, 1),
        header() + b"\1a" * 126 + b"\0" + struct.pack(">HH", 1, 1),
        header() + b"\1a" * 127 + b"\0" + struct.pack(">HH", 1, 1),
        header() + b"\1." * 100 + b"\0" + struct.pack(">HH", 1, 1),
        header() + b"\x03\0\0\0\x07service\x05local\0" + struct.pack(">HH", 1, 1),
        header() + b"\x08we\xff\xfe\xc3\x28ab\x07service\x05local\0" + struct.pack(">HH", 1, 1),
        header() + b"\x03web\x0dservice.local\0" + struct.pack(">HH", 1, 1),
        *(header() + question(name, kind, klass) for kind in KINDS for klass in (1, 255)),
        *(header() + question(name, 1, klass) for klass in (0, 2, 3, 4, 254, 255, 65535)),
        *(edns + good + opt(room=room) for room in (0, 1, 11, 511, 512, 65535)),
        *(edns + good + opt(version=version) for version in (1, 2, 255)),
        *(edns + good + opt(size=size) for size in (1, 100, 65535)),
        edns + good + opt(data=struct.pack(">HH", 10, 8) + b"c" * 8),
        edns + good + opt(data=struct.pack(">HH", 10, 65535)),
        edns + good + opt(name=b"\x03web\0"),
        edns + good + opt(name=b"\xc0\x0c"),
        header(7, 0x0100, 1, 0, 0, 2) + good + opt() + opt(),
        *(edns + good + opt()[:cut] for cut in range(11)),
        header() + good + b"x" * 3000,
        header() + good + b"x" * 60_000,
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 100,
        b"\xff" * 512,
    ]  # fmt: skip


def mutants(seed: int, count: int, name: str = "web.service.local") -> Iterator[bytes]:
    """Good questions and crafted ones with bytes changed, cut out, doubled and swapped."""
    chance = random.Random(seed)
    sources = [*crafted(name), *(header() + question(name, kind) for kind in (1, 28, 255))] * 2
    for _ in range(count):
        packet = bytearray(chance.choice(sources))
        for _ in range(chance.randint(1, 8)):
            _mutate(packet, chance)
        yield bytes(packet[: chance.choice((len(packet), 65507, chance.randint(0, 600)))])


def _mutate(packet: bytearray, chance: random.Random) -> None:
    at = chance.randrange(len(packet) + 1)
    match chance.randrange(5):
        case 0 if at < len(packet):
            packet[at] = chance.choice((0, 0xC0, 0xFF, 0x3F, 0x40, chance.randrange(256)))
        case 1 if at < len(packet):
            packet[at] ^= 1 << chance.randrange(8)
        case 2:
            del packet[at : at + chance.randint(1, 20)]
        case 3:
            packet[at:at] = packet[max(0, at - chance.randint(1, 40)) : at]
        case _:
            packet[at:at] = chance.randbytes(chance.randint(1, 6))
