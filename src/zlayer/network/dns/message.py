"""DNS messages as bytes (RFC 1035, 4): a question read out of a packet, and answers put together. Pure.

Only what a name server for addresses needs: one question per message, as everybody sends it. Nothing here follows a
compression pointer: a question has none, and answers point at offset 12, where the question is.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from ipaddress import ip_address

A, SOA, AAAA, OPT, ANY, IN = 1, 6, 28, 41, 255, 1
NOERROR, FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED = 0, 1, 2, 3, 4, 5
QR, OPCODE, AA, TC, RD, RA, CD = 0x8000, 0x7800, 0x0400, 0x0200, 0x0100, 0x0080, 0x0010
HEADER = struct.Struct(">HHHHHH")
SMALLEST, LARGEST = 512, 1232
"""UDP payloads: without EDNS, and the most we send with it (no fragments: the DNS flag day 2020 figure)."""
MAX_NAME = 255
_TAIL = struct.Struct(">HH")
_RECORD = struct.Struct(">HHIH")
_AT_QUESTION = b"\xc0\x0c"
_EDNS = b"\0" + _RECORD.pack(OPT, LARGEST, 0, 0)


@dataclass(frozen=True, slots=True)
class Question:
    """`raw` is the question as it was sent, name, type and class; `name` its lower-case wire form.

    `room` is the largest answer the asker takes by UDP. `edns`: it sent an OPT record and gets one back.
    """

    id: int
    flags: int
    raw: bytes
    name: bytes
    kind: int
    kind_class: int
    room: int
    edns: bool


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
    room, edns = _extended(data, end + 4) if additional else (SMALLEST, False)
    return Question(
        number, flags, data[HEADER.size : end + 4], data[HEADER.size : end].lower(), kind, kind_class, room, edns
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


def _extended(data: bytes, at: int) -> tuple[int, bool]:
    """The asker's UDP room by its OPT record (RFC 6891, 6.1.2), when that comes first, as it does."""
    if len(data) < at + 11 or data[at] != 0:
        return SMALLEST, False
    kind, room = _TAIL.unpack_from(data, at + 1)
    if kind != OPT:
        return SMALLEST, False
    return max(SMALLEST, min(room, LARGEST)), True


def wire_name(name: str) -> bytes:
    """`web.service.local` as labels. ValueError when a label or the whole is too long, or not ASCII."""
    labels = [label.encode("ascii") for label in name.lower().strip(".").split(".")]
    if any(not 0 < len(label) <= 63 for label in labels):
        raise ValueError(f"not a DNS name: {name!r}")
    made = b"".join(bytes([len(label)]) + label for label in labels) + b"\0"
    if len(made) > MAX_NAME:
        raise ValueError(f"not a DNS name: {name!r}")
    return made


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


def failure(header: tuple[int, int], code: int) -> bytes:
    """A reply to what could not be read: a header alone."""
    number, flags = header
    return HEADER.pack(number, QR | RA | code | (flags & (OPCODE | RD)), 0, 0, 0, 0)
