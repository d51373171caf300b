"""Layers decompressed while they arrive: gzip with many members, zstd with many frames, or plain tar.

The format is told by the first bytes, as other engines do: media types lie, and the digest pins the bytes anyway.
"""

from __future__ import annotations

import hashlib
import importlib
from typing import IO, Any, Protocol, cast

import zstandard

from zlayer.model.errors import Corrupt, Unsupported

zlib: Any  # Any: the two have one interface and no common type
try:
    zlib = importlib.import_module("isal.isal_zlib")  # three times as fast as the standard library's
except ImportError:  # no wheel for this machine
    zlib = importlib.import_module("zlib")

CHUNK = 256 * 1024
_GZIP_CHUNK = 64 * 1024
"""Input per step: what a step leaves unused is copied, so it should be little."""
_ZSTD_WINDOW = 1 << 27
"""128 MiB, what `zstd --long` makes: more would let an archive choose our memory."""
_OTHER = {b"BZh": "bzip2", b"\xfd7zXZ\0": "xz", b"\x04\x22\x4d\x18": "lz4"}


class Bytestream(Protocol):
    """Fills some of the buffer; 0 is the end."""

    def readinto(self, buffer: memoryview, /) -> int: ...


class Inflating:
    """The decompressed stream of `source`.

    `readinto` and `read` give at least one byte, or none at the end. Errors: `Corrupt` for damaged data,
    `Unsupported` for another compression.
    """

    def __init__(self, source: Bytestream) -> None:
        head = bytearray(8)
        filled = 0
        while filled < len(head) and (got := source.readinto(memoryview(head)[filled:])):
            filled += got
        self._stream = _stream(_Rejoined(bytes(head[:filled]), source), bytes(head[:filled]))

    def readinto(self, buffer: memoryview) -> int:
        return self._stream.readinto(buffer)

    def read(self, size: int, /) -> bytes:
        buffer = bytearray(min(size, CHUNK))
        return bytes(buffer[: self.readinto(memoryview(buffer))])


class Inflated(Inflating):
    """The same with the digest of all it gave."""

    def __init__(self, source: Bytestream) -> None:
        super().__init__(source)
        self._hash = hashlib.sha256()

    @property
    def diff_id(self) -> str:
        """The digest of what was read so far: of the whole layer once the end was met."""
        return f"sha256:{self._hash.hexdigest()}"

    def readinto(self, buffer: memoryview) -> int:
        count = self._stream.readinto(buffer)
        self._hash.update(buffer[:count])
        return count


def _stream(source: Bytestream, head: bytes) -> Bytestream:
    if head.startswith(b"\x1f\x8b"):
        return _Gzip(source)
    # A zstd frame, or a skippable one before it (RFC 8878, 3.1.2).
    if head.startswith(b"\x28\xb5\x2f\xfd") or (head[1:4] == b"\x2a\x4d\x18" and head[0] >> 4 == 5):
        return _Zstd(source)
    for magic, name in _OTHER.items():
        if head.startswith(magic):
            raise Unsupported(f"a layer is compressed with {name}", hint="push it with gzip or zstd layers")
    return source


class _Rejoined:
    """The first bytes, put back before the rest."""

    def __init__(self, head: bytes, rest: Bytestream) -> None:
        self._head, self._rest = head, rest

    def readinto(self, buffer: memoryview, /) -> int:
        if not self._head:
            return self._rest.readinto(buffer)
        count = min(len(buffer), len(self._head))
        buffer[:count] = self._head[:count]
        self._head = self._head[count:]
        return count


class _Gzip:
    """RFC 1952: one member after another is one stream; zeros after the last are padding."""

    def __init__(self, source: Bytestream) -> None:
        self._source = source
        self._input = memoryview(bytearray(_GZIP_CHUNK))
        self._waiting = b""
        self._member = zlib.decompressobj(31)
        self._begun = False

    def readinto(self, buffer: memoryview, /) -> int:
        while True:
            ended = not self._waiting and not self._refill()
            if not self._begun and not self._next_member():
                if ended:
                    return 0
                continue
            try:
                data = self._member.decompress(self._waiting, len(buffer))
            except zlib.error as fault:
                raise _damaged(f"bad gzip data ({fault})") from fault
            self._waiting = self._member.unconsumed_tail
            if self._member.eof:
                self._waiting = self._member.unused_data
                self._begun = False
            elif ended and not data:
                raise _damaged("it ends in the middle of a gzip member")
            if data:
                buffer[: len(data)] = data
                return len(data)

    def _refill(self) -> bool:
        count = self._source.readinto(self._input)
        self._waiting = bytes(self._input[:count])
        return count > 0

    def _next_member(self) -> bool:
        """Start the member that begins in the waiting bytes, past padding; False when there are none but padding."""
        self._waiting = self._waiting.lstrip(b"\0")
        if self._waiting:
            self._member = zlib.decompressobj(31)
            self._begun = True
        return self._begun


class _Zstd:
    def __init__(self, source: Bytestream) -> None:
        decompressor = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW)
        self._reader = decompressor.stream_reader(
            cast(IO[bytes], _Reading(source)),  # it calls `read` alone
            read_size=CHUNK,
            read_across_frames=True,
        )

    def readinto(self, buffer: memoryview, /) -> int:
        try:
            return self._reader.readinto(buffer)
        except zstandard.ZstdError as fault:
            raise _damaged(f"bad zstd data ({fault})") from fault


class _Reading:
    """A source as the zstandard library wants it."""

    def __init__(self, source: Bytestream) -> None:
        self._source = source
        self._buffer = memoryview(bytearray(CHUNK))

    def read(self, size: int, /) -> bytes:
        return bytes(self._buffer[: self._source.readinto(self._buffer[:size])])


def _damaged(fault: str) -> Corrupt:
    return Corrupt(f"a layer cannot be decompressed: {fault}", hint="pull again; if it stays, push the image again")
