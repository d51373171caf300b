"""One 512-byte tar header block: v7, ustar and GNU (POSIX.1-1988, GNU tar manual "Basic Tar Format").

Names stay bytes from the archive to the file system: a layer may hold any.
"""

from __future__ import annotations

import functools
import struct
import zlib
from typing import NamedTuple

from zlayer.model.errors import Corrupt

BLOCK = 512
ZERO = bytes(BLOCK)

REGULAR, HARDLINK, SYMLINK, CHAR, BLOCKDEV, DIRECTORY, FIFO = b"0", b"1", b"2", b"3", b"4", b"5", b"6"
GNU_LONG_NAME, GNU_LONG_LINK, GNU_SPARSE = b"L", b"K", b"S"
PAX, PAX_GLOBAL, PAX_SOLARIS = b"x", b"g", b"X"

_FIELDS = struct.Struct("100s8s8s8s12s12s8sc100s8s64x8s8s155s12x")
_LARGEST = 1 << 62


class Header(NamedTuple):
    """A member as its header says it. `size` counts the data that follows; `mtime` is in seconds."""

    kind: bytes
    name: bytes
    link: bytes
    mode: int
    uid: int
    gid: int
    size: int
    mtime: int
    major: int
    minor: int
    gnu: bool


def parse_header(block: bytes) -> Header:
    """The header in `block` (not the all-zero one). `Corrupt` when its checksum or a number is wrong."""
    (
        name, mode, uid, gid, size, mtime, checksum, kind, link, magic, major, minor, prefix,
    ) = _FIELDS.unpack(block)  # fmt: skip
    _check_sum(block, checksum)
    gnu = magic == b"ustar  \0"
    name = _text(name)
    if magic[:6] == b"ustar\0" and prefix[0]:
        name = _text(prefix) + b"/" + name
    if kind in (b"\0", b"7"):
        kind = DIRECTORY if kind == b"\0" and name.endswith(b"/") else REGULAR
    devices = kind in (CHAR, BLOCKDEV)
    return Header(
        kind,
        name,
        _text(link) if link[0] else b"",
        _often(mode, "mode") & 0o7777,
        _often(uid, "uid"),
        _often(gid, "gid"),
        _often(size, "size"),
        _often(mtime, "mtime", True),  # by position, the cache finds it in half the time
        parse_number(major, "major") if devices else 0,
        parse_number(minor, "minor") if devices else 0,
        gnu,
    )


def parse_number(field: bytes, what: str, signed: bool = False) -> int:  # as `_often` calls it
    """A numeric field: octal digits, or base-256 when its first bit is set. `Corrupt` when it is neither."""
    first = field[0]
    if first & 0x80:
        value = int.from_bytes(field, "big", signed=False)
        bits = len(field) * 8
        value = value - (1 << bits) if first == 0xFF else value - (0x80 << (bits - 8))
    else:
        digits = field.strip(b" \0")
        if digits.strip(b"01234567"):
            raise _bad(what, field)
        value = int(digits, 8) if digits else 0
    if not (-_LARGEST if signed else 0) <= value <= _LARGEST:
        raise _bad(what, field)
    return value


_often = functools.lru_cache(maxsize=4096)(parse_number)
"""Modes, owners, times and small sizes: members of one archive have few different ones."""


def _bad(what: str, field: bytes) -> Corrupt:
    return Corrupt(f"tar header has no valid {what}: {field!r}", hint="The layer is damaged: build it anew.")


def _text(field: bytes) -> bytes:
    end = field.find(b"\0")
    return field if end < 0 else field[:end]


def _check_sum(block: bytes, field: bytes) -> None:
    # Adler-32 (RFC 1950, 8.2) has the plain sum in its lower half, whole as long as that stays below 65,521.
    there = (zlib.adler32(block[:256], 0) & 0xFFFF) + (zlib.adler32(block[256:], 0) & 0xFFFF)
    actual = there - sum(field) + 8 * 32
    if field == b"%06o\0 " % actual:  # as nearly all write it
        return
    expected = parse_number(field, "checksum")
    if actual != expected and actual - 256 * _high_bytes(block, field) != expected:
        raise Corrupt(
            f"tar header checksum is {actual:o}, the header says {expected:o}",
            hint="The layer is damaged or is no tar archive: pull it again, or build it anew.",
        )


def _high_bytes(block: bytes, field: bytes) -> int:
    """Bytes over 127: some old tars summed signed chars, so each of these counted 256 less."""
    return sum(byte > 127 for byte in block) - sum(byte > 127 for byte in field)
