"""Buffered reading of an archive's bytes: whole blocks, exact lengths, pieces without a copy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from zlayer.image.tar_header import BLOCK
from zlayer.model.errors import Corrupt, Exhausted

_CHUNK = 1 << 18


class Stream(Protocol):
    """An uncompressed byte stream: `read(n)` gives 1 to n bytes, none at the end. `readinto` is used if there."""

    def read(self, size: int, /) -> bytes: ...


class Source:
    """A position in `stream`. `Corrupt` when it ends before what was asked for."""

    def __init__(self, stream: Stream) -> None:
        self._read = stream.read
        self._readinto: Callable[[Any], int | None] | None = getattr(stream, "readinto", None)
        self._buffer = memoryview(bytearray(_CHUNK) if self._readinto else b"")
        self._at = self._end = 0

    def block(self) -> bytes | None:
        """The next 512 bytes, or None when the stream ends right here."""
        if self._at == self._end and not self._fill():
            return None
        return self.take(BLOCK)

    def take(self, count: int) -> bytes:
        """Exactly `count` bytes, in memory: for headers."""
        end = self._at + count
        if end <= self._end:
            data = bytes(self._buffer[self._at : end])
            self._at = end
            return data
        pieces = []
        while count:
            piece = bytes(self.piece(count))
            pieces.append(piece)
            count -= len(piece)
        return b"".join(pieces)

    def piece(self, count: int) -> memoryview:
        """The next 1 to `count` bytes; good until the next call."""
        if self._at == self._end and not self._fill():
            raise Corrupt("the archive is cut short", hint="The layer is damaged: pull or build it again.")
        end = min(self._at + count, self._end)
        piece = self._buffer[self._at : end]
        self._at = end
        return piece

    def skip(self, count: int) -> None:
        if self._at + count <= self._end:
            self._at += count
            return
        while count:
            count -= len(self.piece(count))

    def drain(self, limit: int) -> None:
        """Read what follows the archive, so that whoever hashes the stream sees all of it."""
        left = limit + self._at - self._end
        while self._fill():
            left -= self._end
            if left < 0:
                raise Exhausted("data without end follows the archive", hint="This is an archive bomb.")
        self._at = self._end

    def _fill(self) -> bool:
        if self._readinto is not None:
            self._end = self._readinto(self._buffer) or 0
        else:
            data = self._read(_CHUNK)
            self._buffer, self._end = memoryview(data), len(data)
        self._at = 0
        return self._end > 0
