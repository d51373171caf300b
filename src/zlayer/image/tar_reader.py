"""Read a tar archive once through: members in order, each with its body, extended headers already applied."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from zlayer.image import tar_header as tar
from zlayer.image import tar_sparse
from zlayer.image.tar_header import BLOCK, Header
from zlayer.image.tar_pax import NANO, NO_XATTRS, apply_records, check_global, checked_name, parse_records
from zlayer.image.tar_source import Source, Stream
from zlayer.model.errors import Corrupt, Exhausted

_HINT = "The layer is damaged: build it anew."
_BODILESS = frozenset({tar.HARDLINK, tar.SYMLINK, tar.CHAR, tar.BLOCKDEV, tar.DIRECTORY, tar.FIFO})
_KINDS = frozenset({tar.REGULAR, tar.GNU_SPARSE, *_BODILESS})
_EXTENSIONS = frozenset({tar.PAX, tar.PAX_SOLARIS, tar.PAX_GLOBAL, tar.GNU_LONG_NAME, tar.GNU_LONG_LINK})
_GNU_VOLUME_LABEL = b"V"


@dataclass(frozen=True, slots=True)
class Limits:
    """What one layer may ask for before it is taken for a bomb. Sizes in bytes."""

    entries: int = 2_000_000
    size: int = 128 << 30
    """All file content together, holes of sparse files included."""
    header: int = 1 << 20
    """One extended header: long names and xattrs."""


class Member(NamedTuple):
    """`header` as it counts in the end; `mtime` in nanoseconds; `size` what the file measures once written."""

    header: Header
    mtime: int
    xattrs: tuple[tuple[bytes, bytes], ...]
    size: int
    sparse: tar_sparse.Sparse | None = None


@dataclass(slots=True)
class _Extended:
    """What the headers before a member said about it."""

    records: list[tuple[bytes, bytes]] = field(default_factory=list)
    name: bytes | None = None
    link: bytes | None = None
    seen: bool = False


class Archive:
    """The members of `stream`. `Corrupt` for damage of any kind, `Exhausted` when a limit is passed."""

    def __init__(self, stream: Stream, limits: Limits) -> None:
        self._source = Source(stream)
        self._limits = limits
        self._globals: dict[bytes, bytes] = {}
        self._left = 0
        self.entries = 0
        self.size = 0

    def members(self) -> Iterator[Member]:
        """Each member once; its body can be copied until the next is asked for. Reads the stream to its end."""
        extended = _Extended()
        while (block := self._block()) is not None:
            header = tar.parse_header(block)
            self._count()
            if header.kind in _EXTENSIONS:
                self._extend(header, extended)
                continue
            member = self._member(block, header, extended)
            padding = -self._left % BLOCK
            if member is not None:
                yield member
            self._source.skip(self._left + padding)
            if extended.seen:
                extended = _Extended()
        if extended.seen:
            raise Corrupt("the archive ends after an extended header", hint=_HINT)
        self._source.drain(self._limits.size - self.size)

    def copy_body(self, member: Member, descriptor: int) -> None:
        """Write the body of the current member to a fresh file; holes stay holes."""
        if member.sparse is None:
            self._copy(self._left, descriptor)
            return
        for offset, length in member.sparse.segments:
            os.lseek(descriptor, offset, os.SEEK_SET)
            self._copy(length, descriptor)
        os.ftruncate(descriptor, member.size)

    def _copy(self, count: int, descriptor: int) -> None:
        self._left -= count
        while count:
            piece = self._source.piece(count)
            count -= len(piece)
            while piece:
                piece = piece[os.write(descriptor, piece) :]

    def _block(self) -> bytes | None:
        """The next header block; None at the end: two zero blocks, or the end of the stream."""
        block = self._source.block()
        if block != tar.ZERO:
            return block
        if self._source.block() not in (tar.ZERO, None):
            raise Corrupt("a lone zero block stands between two members", hint=_HINT)
        return None

    def _count(self) -> None:
        self.entries += 1
        if self.entries > self._limits.entries:
            raise Exhausted(
                f"the layer has more than {self._limits.entries} entries",
                hint="Split it into several layers, if it is no archive bomb.",
            )

    def _extend(self, header: Header, extended: _Extended) -> None:
        """Take in a header that only describes the next member, or all the following ones."""
        if header.size > self._limits.header:
            raise Corrupt(f"an extended header of {header.size} bytes is longer than allowed", hint=_HINT)
        data = self._source.take(header.size)
        self._source.skip(-header.size % BLOCK)
        if header.kind == tar.PAX_GLOBAL:
            self._globals.update(parse_records(data))
            check_global(self._globals)
            return
        extended.seen = True
        if header.kind == tar.GNU_LONG_NAME:
            extended.name = data.partition(b"\0")[0]
        elif header.kind == tar.GNU_LONG_LINK:
            extended.link = data.partition(b"\0")[0]
        else:
            extended.records += parse_records(data)

    def _member(self, block: bytes, header: Header, extended: _Extended) -> Member | None:
        """The member the headers describe, or None for one that holds no file (a volume label)."""
        if extended.name is not None or extended.link is not None:
            header = header._replace(name=extended.name or header.name, link=extended.link or header.link)
        records: dict[bytes, bytes] = {}
        mtime, xattrs = header.mtime * NANO, NO_XATTRS
        if extended.records or self._globals:
            records = {**self._globals, **dict(extended.records)}
            header, mtime, xattrs = apply_records(header, records)
        if header.kind not in _KINDS and header.kind != _GNU_VOLUME_LABEL:
            raise Corrupt(f"{shown(header.name)} has the unknown type {shown(header.kind)}", hint=_HINT)
        self._left = 0 if header.kind in _BODILESS else header.size
        if header.kind == _GNU_VOLUME_LABEL:
            return None
        sparse = None
        if extended.records or header.kind == tar.GNU_SPARSE:
            sparse = self._sparse(block, header, extended.records)
        size = self._left if sparse is None else sparse.size
        self.size += size
        if self.size > self._limits.size:
            raise Exhausted(
                f"the layer unpacks to more than {self._limits.size} bytes",
                hint="Split it into several layers, if it is no archive bomb.",
            )
        if sparse is not None:
            name = checked_name(tar_sparse.real_name(records) or header.name, "sparse name")
            header = header._replace(kind=tar.REGULAR, name=name)
        return Member(header, mtime, xattrs, size, sparse)

    def _sparse(self, block: bytes, header: Header, records: list[tuple[bytes, bytes]]) -> tar_sparse.Sparse | None:
        if header.kind == tar.GNU_SPARSE:
            return tar_sparse.from_old_header(block, self._source.take).checked(self._left)
        if header.kind != tar.REGULAR:
            return None
        if tar_sparse.is_inline(values := dict(records)):
            return tar_sparse.from_data(values, self._take_body).checked(self._left)
        found = tar_sparse.from_records(records)
        return found.checked(self._left) if found else None

    def _take_body(self, count: int) -> bytes:
        if count > self._left:
            raise Corrupt("a sparse file ends within its map", hint=_HINT)
        self._left -= count
        return self._source.take(count)


def shown(name: bytes) -> str:
    """A name from the archive, fit for a message."""
    text = name.decode(errors="backslashreplace")
    return repr(text if len(text) <= 120 else text[:117] + "...")
