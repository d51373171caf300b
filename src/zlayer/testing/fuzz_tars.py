"""Changing a tar archive at random so that a reader still looks at it: by members, and with right checksums."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence

from zlayer.testing.fuzz_targets import summed
from zlayer.testing.hostile_tars import END

Mutate = Callable[[bytes, int], bytes]
"""Bytes and the most there may be of them, to other bytes: the fuzzer's own."""
_BLOCK = 512
_WRONG_SUMS = 0.05
_FIELDS = ((0, 100), (100, 108), (108, 116), (116, 124), (124, 136), (136, 148), (156, 157), (157, 257), (257, 265),
           (329, 337), (337, 345), (345, 500), (0, 512))  # fmt: skip
"""Of a header: name, mode, owners, size, time, type, link, magic, device numbers, prefix; and all of it."""


def changed(data: bytes, longest: int, seed: int, mutate: Mutate, spare: Sequence[bytes] = ()) -> bytes:
    """Another archive like `data`. `spare` are archives whose members may come in."""
    chance = random.Random(seed)
    if data[:2] == b"\x1f\x8b" or data[:4] == b"\x28\xb5\x2f\xfd" or chance.random() < 0.1:
        return mutate(data, longest)
    members = list(split(data)) or [b""]
    at = chance.randrange(len(members))
    match chance.choice(("bytes", "bytes", "body", "field", "field", "drop", "double", "swap", "spare", "spare")):
        case "bytes":
            members[at] = mutate(members[at], longest)
        case "body":
            members[at] = members[at][:_BLOCK] + _padded(mutate(members[at][_BLOCK:], longest))
        case "field":
            start, end = chance.choice(_FIELDS)
            field = mutate(members[at][start:end], end - start)[: end - start].ljust(end - start, b"\0")
            members[at] = members[at][:start] + field + members[at][end:]
        case "drop":
            del members[at]
        case "double":
            members.insert(chance.randrange(len(members) + 1), members[at])
        case "swap":
            other = chance.randrange(len(members))
            members[at], members[other] = members[other], members[at]
        case "spare":
            pieces = list(split(chance.choice(spare))) if spare else []
            members[at:at] = pieces[:4]
    right = [one if chance.random() < _WRONG_SUMS else _summed(one) for one in members]
    return (b"".join(right) + END)[:longest]


def split(data: bytes) -> Iterator[bytes]:
    """The members, each its header and body, as far as sizes say so; zero blocks at the end left out."""
    at = 0
    while at < len(data) and (data[at : at + _BLOCK].strip(b"\0") or data[at:].strip(b"\0")):
        digits = data[at + 124 : at + 136].strip(b" \0")
        size = int(digits, 8) if digits and not digits.strip(b"01234567") else 0
        end = at + _BLOCK + -(-size // _BLOCK) * _BLOCK if data[at + 156 : at + 157] not in b"123456" else at + _BLOCK
        yield data[at:end]
        at = end


def _summed(member: bytes) -> bytes:
    return member if len(member) < _BLOCK else summed(member[:_BLOCK]) + member[_BLOCK:]


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % _BLOCK)
