"""The CRI log format: parsing, joining, both ends, rotation under the reader."""

from __future__ import annotations

import io
from pathlib import Path

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zlayer.runtime.contract import LogLine
from zlayer.runtime.oci.inotify import Inotify
from zlayer.runtime.oci.layout import Layout
from zlayer.runtime.oci.logs import (
    Joiner,
    LogReader,
    lines_backward,
    parse_time,
    read_logs,
    since_offset,
    tail_offsets,
)
from zlayer.runtime.oci.rotation import begin_log

pytestmark = pytest.mark.anyio


def raw(number: int, *, stream: str = "stdout", flag: str = "F", data: str | None = None) -> bytes:
    stamp = f"2026-11-23T14:49:{number % 60:02d}.{number:09d}+00:00"
    return f"{stamp} {stream} {flag} {number if data is None else data}\n".encode()


def joined(data: bytes) -> list[LogLine]:
    joiner = Joiner()
    return [line for each in data.split(b"\n") for line in joiner.feed(each)] + list(joiner.rest())


def test_times() -> None:
    base = 1795445396.0
    assert parse_time(b"2026-11-23T14:49:56.777403054+00:00") == pytest.approx(base + 0.777403054)
    assert parse_time(b"2026-11-23T15:49:56.5+01:00") == base + 0.5
    assert parse_time(b"2026-11-23T14:49:56Z") == base
    for bad in (b"", b"yesterday", b"2026-13-41T14:49:56Z"):
        with pytest.raises(ValueError):
            parse_time(bad)


def test_pieces_are_joined_per_stream() -> None:
    data = (
        raw(1, flag="P", data="a") + raw(2, stream="stderr", data="e") + raw(3, flag="P", data="b") + raw(4, data="c")
    )
    assert [(line.stream, line.data, line.partial) for line in joined(data)] == [
        ("stderr", b"e", False),
        ("stdout", b"abc", False),
    ]


def test_what_is_open_or_too_long_is_partial() -> None:
    data = raw(1, flag="P", data="x" * 9000) + raw(2, flag="P", data="x" * 9000) + raw(3, flag="P", data="y")
    assert [(len(line.data), line.partial) for line in joined(data)] == [(18000, True), (1, True)]


def test_torn_lines_are_passed_over() -> None:
    data = b"half\n2026 stdout F x\n\n2026-11-23T14:49:56Z nowhere F x\n" + raw(1)
    assert [line.data for line in joined(data)] == [b"1"]


def test_empty_lines_and_spaces_are_kept() -> None:
    assert [line.data for line in joined(raw(1, data="") + raw(2, data="  a  b "))] == [b"", b"  a  b "]


@given(st.lists(st.integers(0, 200), max_size=60), st.integers(1, 300))
def test_backward_is_forward_reversed(lengths: list[int], block: int) -> None:
    from zlayer.runtime.oci import logs

    data = b"".join(b"%d" % n * n + b"\n" for n in lengths)
    before, logs._BLOCK = logs._BLOCK, block
    try:
        found = list(lines_backward(io.BytesIO(data)))
    finally:
        logs._BLOCK = before
    assert b"".join(line for _, line in reversed(found)) == data
    assert all(data[offset:].startswith(line) for offset, line in found)


@given(st.lists(st.sampled_from("FP"), max_size=30), st.integers(0, 30), st.integers(0, 30))
def test_tail_is_the_end_of_everything(flags: list[str], split: int, count: int) -> None:
    lines = [raw(n, flag=flag) for n, flag in enumerate(flags)]
    files = [io.BytesIO(b"".join(lines[:split])), io.BytesIO(b"".join(lines[split:]))]
    whole = joined(b"".join(lines))
    offsets = tail_offsets(files, count)  # type: ignore[arg-type]
    kept = b"".join(file.getvalue()[offset:] for file, offset in zip(files, offsets, strict=True))
    assert joined(kept) == (whole[-count:] if count else [])


def test_since_skips_most_of_a_big_file() -> None:
    lines = [f"2026-11-23T14:{n // 60 % 60:02d}:{n % 60:02d}Z stdout F {'x' * 500}\n".encode() for n in range(3000)]
    file = io.BytesIO(b"".join(lines))
    wanted = parse_time(lines[2000][:20])
    offset = since_offset(file, wanted)
    assert 0 < offset <= sum(len(line) for line in lines[:2000])
    assert since_offset(file, 0) == 0


def test_a_reader_goes_on_into_the_next_file(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    layout.prepare()
    begin_log(layout)
    with layout.log.open("ab") as first:
        first.write(raw(1))
        first.flush()
        reader = LogReader(layout.log)
        assert [line.data for line in reader.block() or []] == [b"1"]
        assert reader.block() is None
        (tmp_path / "log/new").write_bytes(raw(3))
        (tmp_path / "log/new").rename(layout.log)
        first.write(raw(2))
        first.flush()
        found = []
        while (lines := reader.block()) is not None:
            found += [line.data for line in lines]
        assert found == [b"2", b"3"]
        reader.close()


async def test_follow_waits_and_ends_with_the_bundle(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    layout.prepare()
    begin_log(layout)
    inotify, seen = Inotify(), list[bytes]()
    came = anyio.Event()

    async def follow() -> None:
        async for line in read_logs(inotify, layout, tail=None, since=None, follow=True):
            seen.append(line.data)
            came.set()

    with anyio.fail_after(20):
        async with anyio.create_task_group() as group:
            group.start_soon(follow)
            with layout.log.open("ab") as file:
                file.write(raw(1))
            await came.wait()
            layout.discard()
    inotify.close()
    assert seen == [b"1"]


async def test_since_and_tail_and_nothing(tmp_path: Path) -> None:
    layout, inotify = Layout(tmp_path), Inotify()

    async def read(tail: int | None = None, since: float | None = None) -> list[bytes]:
        return [line.data async for line in read_logs(inotify, layout, tail=tail, since=since, follow=False)]

    assert await read() == []
    layout.prepare()
    begin_log(layout)
    layout.log.write_bytes(b"".join(raw(n) for n in range(10)))
    assert await read(tail=2) == [b"8", b"9"]
    assert await read(since=parse_time(raw(7).split()[0])) == [b"7", b"8", b"9"]
    inotify.close()
