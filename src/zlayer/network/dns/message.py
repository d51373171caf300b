"""DNS messages as bytes (RFC 1035, 4): a question read out of a packet, and answers put together. Pure.

Only what a name server for addresses needs: one question per message, as everybody sends it. Nothing here follows a
compression pointer: a question has none, and answers point at offset 12, where the question is.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from ipaddress import ip_address

A, SOA, AAAA, OPT, ANY, IN = 1, 6, 28, 41, 255, 1
TRANSFERS = frozenset(range(249, 255))
"""TKEY, TSIG, IXFR, AXFR, MAILB, MAILA: types that are no question about a name (RFC 6895, 3.1)."""
NOERROR, FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED = 0, 1, 2, 3, 4, 5
QR, OPCODE, AA, TC, RD, RA, CD = 0x8000, 0x7800, 0x0400, 0x0200, 0x0100, 0x0080, 0x0010
HEADER = struct.Struct(">HHHHHH")
SMALLEST, LARGEST = 512, 1232
"""UDP payloads: without EDNS, and the most we send with it (no fragments: the DNS flag day 2020 figure)."""
MAX_NAME = 255
_TAIL = struct.Struct(">HH")
_RECORD = struct.Struct(">HHIH")
_USUAL = struct.pack(">HHHHH", RD, 1, 0, 0, 0)
_AT_QUESTION = b"\xc0\x0c"
_EDNS = b"\0" + _RECORD.pack(OPT, LARGEST, 0, 0)
_BAD_VERSION = b"\0" + _RECORD.pack(OPT, LARGEST, 1 << 24, 0)
"""BADVERS, 16: its upper bits are here, and the header has the lower four."""


@dataclass(frozen=True, slots=True)
class Question:
    """`raw` is the question as it was sent, name, type and class; `name` its lower-case wire form.

    `room` is the largest answer the asker takes by UDP. `edns`: it sent an OPT record, of `version`, and gets one back.
    """

    id: int
    flags: int
    raw: bytes
    name: bytes
    kind: int
    kind_class: int
    room: int
    edns: bool
    version: int = 0


class Malformed(Exception):
    """`id` and `flags` are of a header that could be read; without one nobody is answered."""

    def __init__(self, header: tuple[int, int] | None = None) -> None:
        self.header = header


def read(data: bytes) -> Question:
    """The question of a query. `Malformed` for a response, more or fewer questions than one, or a broken name."""
    if len(data) < HEADER.size:
        raise Malformed
    number, flags, questions, answers, authority, additional = HEADER.unpack_from(data)
    if flags & QR:
        raise Malformed
    if questions != 1 or answers or authority:
        raise Malformed((number, flags))
    end = _end_of_name(data, HEADER.size)
    if end is None or end + 4 > len(data):
        raise Malformed((number, flags))
    kind, kind_class = _TAIL.unpack_from(data, end)
    extended = _extended(data, end + 4) if additional else _PLAIN
    return Question(
        number, flags, data[HEADER.size : end + 4], data[HEADER.size : end].lower(), kind, kind_class, *extended
    )


def _end_of_name(data: bytes, at: int) -> int | None:
    """The offset behind the name's root label; None when it is cut off, too long, or points elsewhere."""
    first, size = at, len(data)
    while at < size:
        length = data[at]
        if length == 0:
            return at + 1
        if length > 63 or at + length - first > MAX_NAME:
            return None
        at += length + 1
    return None


_PLAIN = (SMALLEST, False, 0)


def _extended(data: bytes, at: int) -> tuple[int, bool, int]:
    """The asker's UDP room and version by its OPT record (RFC 6891, 6.1.2), when that comes first, as it does."""
    if len(data) < at + 11 or data[at] != 0:
        return _PLAIN
    kind, room = _TAIL.unpack_from(data, at + 1)
    if kind != OPT:
        return _PLAIN
    return max(SMALLEST, min(room, LARGEST)), True, data[at + 6]


def wire_name(name: str) -> bytes:
    """`web.service.local` as labels. ValueError when a label or the whole is too long, or not ASCII."""
    labels = [label.encode("ascii") for label in name.lower().strip(".").split(".")]
    if any(not 0 < len(label) <= 63 for label in labels):
        raise ValueError(f"not a DNS name: {name!r}")
    made = b"".join(bytes([len(label)]) + label for label in labels) + b"\0"
    if len(made) > MAX_NAME:
        raise ValueError(f"not a DNS name: {name!r}")
    return made


def usual(asked: Question) -> bytes:
    """The question's packet without its id, if it is one as the C libraries send it; empty for any other."""
    if asked.flags != RD or asked.edns or asked.raw[:-4] != asked.name or asked.kind_class != IN:
        return b""
    return _USUAL + asked.raw


def is_plain(wire: bytes) -> bool:
    """One label: a host's short name, which means nothing to anybody else's server."""
    return len(wire) == wire[0] + 2


def dotted(wire: bytes) -> str:
    """A lower-case wire name as text without a final dot; what no name of ours can be becomes one that is not there."""
    labels, at = [], 0
    while at < len(wire) and wire[at]:
        labels.append(wire[at + 1 : at + 1 + wire[at]])
        at += wire[at] + 1
    return b".".join(labels).decode("latin-1")


def address_record(address: str, ttl: int) -> bytes:
    """An A or AAAA record of the name in question."""
    packed = ip_address(address).packed
    return _AT_QUESTION + _RECORD.pack(A if len(packed) == 4 else AAAA, IN, ttl, len(packed)) + packed


def authority_record(domain: bytes, ttl: int) -> bytes:
    """The SOA that says how long a "no" may be kept (RFC 2308, 5): its own TTL and its last field."""
    data = b"\2ns" + domain + b"\4root" + domain + struct.pack(">IIIII", 1, 3600, 600, 86400, ttl)
    return domain + _RECORD.pack(SOA, IN, ttl, len(data)) + data


def answer(asked: Question, code: int, records: list[bytes], authority: bytes = b"", *, own: bool = True) -> bytes:
    """The reply; for UDP cut to the asker's room by `fit`."""
    flags = QR | RA | code | (AA if own else 0) | (asked.flags & (RD | CD | OPCODE))
    head = HEADER.pack(asked.id, flags, 1, len(records), 1 if authority else 0, 1 if asked.edns else 0)
    return b"".join([head, asked.raw, *records, authority, _EDNS if asked.edns else b""])


def bad_version(asked: Question) -> bytes:
    """The reply to EDNS of a version that is not ours, 0 (RFC 6891, 6.1.3)."""
    return HEADER.pack(asked.id, QR | RA | (asked.flags & (RD | CD)), 1, 0, 0, 1) + asked.raw + _BAD_VERSION


def fit(asked: Question, records: list[bytes], room: int) -> tuple[bytes, bool]:
    """A positive reply of at most `room` bytes; True when records had to be left out, and TC says so."""
    whole = answer(asked, NOERROR, records)
    if len(whole) <= room:
        return whole, False
    spare = room - (len(whole) - sum(map(len, records)))
    kept: list[bytes] = []
    for record in records:
        if len(record) > spare:
            break
        spare -= len(record)
        kept.append(record)
    cut = bytearray(answer(asked, NOERROR, kept))
    cut[2] |= TC >> 8
    return bytes(cut), True


def refusal(data: bytes) -> bytes | None:
    """To somebody who has no business here: a header alone, and nothing at all to what is no query."""
    if len(data) < HEADER.size or data[2] & 0x80:
        return None
    number, flags = _TAIL.unpack_from(data)
    return failure((number, flags), REFUSED)


def failure(header: tuple[int, int], code: int) -> bytes:
    """A reply to what could not be read: a header alone."""
    number, flags = header
    return HEADER.pack(number, QR | RA | code | (flags & (OPCODE | RD)), 0, 0, 0, 0)
