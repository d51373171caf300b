from __future__ import annotations

import gzip
import hashlib
import io
import os

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from zlayer.image.inflate import Inflated
from zlayer.model.errors import Corrupt, Unsupported

SKIPPABLE = b"\x50\x2a\x4d\x18\x04\0\0\0abcd"


class Trickle:
    """Gives at most `step` bytes at a time, as a network does."""

    def __init__(self, content: bytes, step: int) -> None:
        self._content, self._step = io.BytesIO(content), step

    def readinto(self, buffer: memoryview, /) -> int:
        return self._content.readinto(buffer[: self._step])


def inflate(content: bytes, step: int = 1 << 20, size: int = 1 << 18) -> bytes:
    stream, out, buffer = Inflated(Trickle(content, step)), bytearray(), memoryview(bytearray(size))
    while count := stream.readinto(buffer):
        out += buffer[:count]
    assert stream.diff_id == f"sha256:{hashlib.sha256(out).hexdigest()}"
    return bytes(out)


parts = st.lists(
    st.one_of(st.binary(min_size=1, max_size=300), st.integers(1, 40_000).map(lambda n: b"a" * n)),
    min_size=1,
    max_size=3,
)
steps = st.sampled_from([1, 7, 500, 100_000])
sizes = st.sampled_from([50, 512, 1 << 18])


@given(parts, steps, sizes, st.sampled_from([0, 3, 512]))
def test_gzip_in_members_and_padding(texts: list[bytes], step: int, size: int, padding: int) -> None:
    packed = b"".join(gzip.compress(text, mtime=0) for text in texts) + bytes(padding)
    assert inflate(packed, step, size) == b"".join(texts)


@given(parts, steps, sizes, st.booleans())
def test_zstd_in_frames_and_skippable_ones(texts: list[bytes], step: int, size: int, skippable: bool) -> None:
    packed = SKIPPABLE * skippable + b"".join(zstandard.compress(text) for text in texts) + SKIPPABLE * skippable
    assert inflate(packed, step, size) == b"".join(texts)


@given(st.binary(max_size=2000), steps, sizes)
def test_anything_else_is_plain(text: bytes, step: int, size: int) -> None:
    assert inflate(b"plain" + text, step, size) == b"plain" + text


def test_an_empty_stream() -> None:
    assert inflate(b"") == b""


def test_read_gives_what_readinto_gives() -> None:
    stream = Inflated(Trickle(gzip.compress(b"x" * 1000), 10))
    out = b""
    while piece := stream.read(77):
        out += piece
    assert out == b"x" * 1000


@pytest.mark.parametrize("cut", [3, 9, 11, 100, -1, -9])
def test_a_cut_gzip_is_damaged(cut: int) -> None:
    with pytest.raises(Corrupt, match="decompressed"):
        inflate(gzip.compress(os.urandom(500))[:cut])


def test_garbage_after_gzip_is_damaged() -> None:
    with pytest.raises(Corrupt):
        inflate(gzip.compress(b"a") + b"garbage")


def test_flipped_bits_in_gzip_are_found() -> None:
    packed = gzip.compress(os.urandom(5000))
    for at in range(10, len(packed), 97):
        damaged = bytearray(packed)
        damaged[at] ^= 0x55
        with pytest.raises(Corrupt):
            inflate(bytes(damaged))


def test_damaged_zstd() -> None:
    with pytest.raises(Corrupt, match="zstd"):
        inflate(zstandard.compress(b"abc")[:4] + b"\xff" * 50)


@pytest.mark.parametrize(
    ("magic", "name"), [(b"BZh91AY", "bzip2"), (b"\xfd7zXZ\0\0\0", "xz"), (b"\x04\x22\x4d\x18xxxx", "lz4")]
)
def test_other_compressions_are_named(magic: bytes, name: str) -> None:
    with pytest.raises(Unsupported, match=name):
        inflate(magic + bytes(100))
