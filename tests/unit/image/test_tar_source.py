"""Buffered reading from streams of every manner."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zlayer.image.tar_source import Source, Stream
from zlayer.model.errors import Corrupt, Exhausted


class Dribble:
    """Gives at most `step` bytes a time, by `read` alone."""

    def __init__(self, data: bytes, step: int) -> None:
        self._data, self._step = io.BytesIO(data), step

    def read(self, size: int, /) -> bytes:
        return self._data.read(min(size, self._step))


class DribbleInto(Dribble):
    """The same by `readinto`."""

    def readinto(self, buffer: memoryview) -> int:
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


def streams(data: bytes, step: int) -> list[Stream]:
    return [Dribble(data, step), DribbleInto(data, step), io.BytesIO(data)]


@given(st.binary(max_size=3000), st.integers(1, 700), st.lists(st.integers(0, 900)))
def test_any_way_of_reading_gives_the_same_bytes(data: bytes, step: int, counts: list[int]) -> None:
    for stream in streams(data, step):
        source, at = Source(stream), 0
        for number, count in enumerate(counts):
            wanted = data[at : at + count]
            if len(wanted) < count:
                with pytest.raises(Corrupt, match="cut short"):
                    source.take(count)
                break
            if number % 2:
                source.skip(count)
            else:
                assert source.take(count) == wanted
            at += count


def test_a_block_is_none_at_the_end_only() -> None:
    for stream in streams(bytes(512), 100):
        source = Source(stream)
        assert source.block() == bytes(512)
        assert source.block() is None
    for stream in streams(bytes(511), 100):
        with pytest.raises(Corrupt):
            Source(stream).block()


def test_draining_reads_to_the_end_within_a_limit() -> None:
    for stream in streams(bytes(5000), 600):
        source = Source(stream)
        source.take(10)
        source.drain(5000)
        assert stream.read(1) == b""
    for stream in streams(bytes(5000), 600):
        with pytest.raises(Exhausted):
            Source(stream).drain(4000)
