"""Sparse members: GNU's old header form and the pax forms 0.0, 0.1, 1.0 (GNU tar manual, "Sparse Formats")."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from zlayer.image.tar_header import BLOCK, parse_number
from zlayer.model.errors import Corrupt

_PREFIX = b"GNU.sparse."
_SEGMENTS = 1 << 17
"""More pieces than this are no file anyone made: each may cost a few bytes here and a write on disk."""

Take = Callable[[int], bytes]


@dataclass(frozen=True, slots=True)
class Sparse:
    """Where the stored data belongs: `segments` of (offset, length), rising; `size` is the file's own."""

    size: int
    segments: tuple[tuple[int, int], ...]

    def checked(self, stored: int) -> Sparse:
        """Itself. `Corrupt` when pieces overlap, leave the file, or do not add up to the `stored` bytes."""
        end = 0
        for offset, length in self.segments:
            if offset < end or length < 0:
                raise _bad("its pieces overlap")
            end = offset + length
        if end > self.size:
            raise _bad("a piece lies behind its end")
        if sum(length for _, length in self.segments) != stored:
            raise _bad("its pieces do not add up to the data stored")
        return self


def from_old_header(block: bytes, take: Take) -> Sparse:
    """The map in a GNU `S` header and in the extension blocks that follow it, read with `take`."""
    pairs = _binary_pairs(block[386:482])
    extended = block[482]
    while extended:
        more = take(BLOCK)
        pairs += _binary_pairs(more[:504])
        extended = more[504]
        _bounded(len(pairs))
    return Sparse(parse_number(block[483:495], "sparse size"), tuple(pairs))


def from_records(records: Sequence[tuple[bytes, bytes]]) -> Sparse | None:
    """The map in pax records of the forms 0.0 and 0.1, or None when they hold none."""
    values = dict(records)
    size = values.get(_PREFIX + b"size") or values.get(_PREFIX + b"realsize")
    if size is None or is_inline(values):
        return None
    if (joined := values.get(_PREFIX + b"map")) is not None:
        numbers = joined.split(b",") if joined else []
    else:
        keys = (_PREFIX + b"offset", _PREFIX + b"numbytes")
        found = [(key, value) for key, value in records if key in keys]
        if [key for key, _ in found] != list(keys) * (len(found) // 2):
            raise _bad("offsets and lengths do not alternate")
        numbers = [value for _, value in found]
    return Sparse(_decimal(size), _pairs([_decimal(number) for number in numbers]))


def is_inline(records: Mapping[bytes, bytes]) -> bool:
    """Form 1.0: the map stands in front of the data."""
    return records.get(_PREFIX + b"major") == b"1" and records.get(_PREFIX + b"minor") == b"0"


def from_data(records: Mapping[bytes, bytes], take: Take) -> Sparse:
    """The map of form 1.0: lines of numbers, the first their count, padded to whole blocks; read with `take`."""
    lines: list[bytes] = []
    rest = b""
    wanted = 1
    while len(lines) < wanted:
        *whole, rest = (rest + take(BLOCK)).split(b"\n")
        lines += whole
        if len(rest) > BLOCK:
            raise _bad("its map is no list of numbers")
        if lines:
            count = _decimal(lines[0])
            _bounded(count)
            wanted = 1 + 2 * count
    size = _decimal(records.get(_PREFIX + b"realsize", b""))
    return Sparse(size, _pairs([_decimal(line) for line in lines[1:wanted]]))


def real_name(records: Mapping[bytes, bytes]) -> bytes | None:
    """The member's own name: in these forms `path` holds one made up for readers that know no sparse files."""
    return records.get(_PREFIX + b"name")


def _binary_pairs(data: bytes) -> list[tuple[int, int]]:
    pairs = []
    for at in range(0, len(data) - 23, 24):
        if not data[at]:
            break
        offset, length = data[at : at + 12], data[at + 12 : at + 24]
        pairs.append((parse_number(offset, "sparse offset"), parse_number(length, "sparse length")))
    return pairs


def _pairs(numbers: Sequence[int]) -> tuple[tuple[int, int], ...]:
    if len(numbers) % 2:
        raise _bad("an offset has no length")
    _bounded(len(numbers) // 2)
    return tuple(zip(numbers[::2], numbers[1::2], strict=True))


def _decimal(value: bytes) -> int:
    if not value.isdigit() or len(value) > 18:
        raise _bad(f"{value[:40]!r} is no number")
    return int(value)


def _bounded(count: int) -> None:
    if count > _SEGMENTS:
        raise _bad(f"it has more than {_SEGMENTS} pieces")


def _bad(why: str) -> Corrupt:
    return Corrupt(f"bad sparse file: {why}", hint="The layer is damaged: build it anew.")
