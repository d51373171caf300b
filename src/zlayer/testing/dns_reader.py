"""A DNS message read as a client would, by code that shares nothing with the server's (RFC 1035, 4.1). Strict."""

from __future__ import annotations

import struct
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Record:
    name: str
    kind: int
    klass: int
    ttl: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Message:
    id: int
    flags: int
    questions: tuple[tuple[str, int, int], ...]
    answers: tuple[Record, ...]
    authority: tuple[Record, ...]
    additional: tuple[Record, ...]

    @property
    def code(self) -> int:
        return self.flags & 15

    @property
    def cut(self) -> bool:
        return bool(self.flags & 0x0200)


def parse(data: bytes) -> Message:
    """ValueError for anything that is not exactly one whole message."""
    if len(data) < 12:
        raise ValueError("no header")
    number, flags, *counts = struct.unpack_from(">HHHHHH", data)
    at = 12
    questions = []
    for _ in range(counts[0]):
        name, at = _name(data, at)
        if at + 4 > len(data):
            raise ValueError("a question is cut off")
        kind, klass = struct.unpack_from(">HH", data, at)
        questions.append((name, kind, klass))
        at += 4
    sections = []
    for count in counts[1:]:
        found = []
        for _ in range(count):
            record, at = _record(data, at)
            found.append(record)
        sections.append(tuple(found))
    if at != len(data):
        raise ValueError(f"{len(data) - at} bytes too many")
    return Message(number, flags, tuple(questions), *sections)


def question_of(data: bytes) -> bytes:
    """The bytes of the first question."""
    return data[12 : _name(data, 12)[1] + 4]


def _record(data: bytes, at: int) -> tuple[Record, int]:
    name, at = _name(data, at)
    if at + 10 > len(data):
        raise ValueError("a record is cut off")
    kind, klass, ttl, size = struct.unpack_from(">HHIH", data, at)
    at += 10
    if at + size > len(data):
        raise ValueError("a record is cut off")
    return Record(name, kind, klass, ttl, data[at : at + size]), at + size


def _name(data: bytes, at: int) -> tuple[str, int]:
    """Text and the offset behind it. Pointers go backwards only."""
    labels: list[str] = []
    end = -1
    while True:
        if at >= len(data):
            raise ValueError("a name is cut off")
        length = data[at]
        if length >= 0xC0:
            target = int.from_bytes(data[at : at + 2].ljust(2, b"\xff"), "big") & 0x3FFF
            end = at + 2 if end < 0 else end
            if target >= at:
                raise ValueError("a pointer that goes forward")
            at = target
        elif length > 63:
            raise ValueError("a label too long")
        elif length == 0:
            return ".".join(labels), at + 1 if end < 0 else end
        else:
            labels.append(data[at + 1 : at + 1 + length].decode("latin-1"))
            at += 1 + length
