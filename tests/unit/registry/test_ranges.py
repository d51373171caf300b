"""Ranges: against Python's own slices, and what is none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zlayer.registry.faults import Refusal
from zlayer.registry.ranges import asked, chunk


@given(st.integers(0, 30), st.integers(0, 30), st.integers(1, 25))
def test_a_range_is_a_slice(first: int, last: int, size: int) -> None:
    whole = bytes(range(size))
    if first >= size and last >= first:
        with pytest.raises(Refusal) as told:
            asked(f"bytes={first}-{last}", size)
        assert (told.value.status, told.value.headers["Content-Range"]) == (416, f"bytes */{size}")
        return
    found = asked(f"bytes={first}-{last}", size)
    assert (found is None) == (last < first)
    if found:
        assert whole[slice(*found)] == whole[first : last + 1]


@given(st.integers(1, 30), st.integers(1, 25))
def test_a_range_from_the_end(count: int, size: int) -> None:
    found = asked(f"bytes=-{count}", size)
    assert found == (max(0, size - count), size)


@pytest.mark.parametrize(
    "header", ["", "bytes", "bytes=", "bytes=-", "bytes=1-2,4-5", "items=0-1", "bytes=1.5-2", "bytes=-1-2"]
)
def test_what_is_no_range_is_ignored(header: str) -> None:
    assert asked(header, 10) is None


def test_nothing_of_the_end_of_an_empty_blob() -> None:
    with pytest.raises(Refusal):
        asked("bytes=-0", 10)
    with pytest.raises(Refusal):
        asked("bytes=0-", 0)


@pytest.mark.parametrize(
    ("header", "wanted"),
    [("0-9", (0, 10)), ("bytes 5-5/*", (5, 6)), ("bytes=1-2", (1, 3)), (" 0-0 ", (0, 1)), ("0-1/2", (0, 2))],
)
def test_where_a_chunk_belongs(header: str, wanted: tuple[int, int]) -> None:
    assert chunk(header) == wanted


@pytest.mark.parametrize("header", ["", "x", "5-4", "-5", "5-", "0-1,2-3", "0-" + "9" * 20])
def test_what_is_no_place_of_a_chunk(header: str) -> None:
    with pytest.raises(Refusal) as told:
        chunk(header)
    assert told.value.status == 400
