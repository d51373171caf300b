"""Reading a container's log: the CRI format conmon writes, over two files, from either end.

A line is `TIME STREAM F|P DATA` (kubernetes, CRI logging): P is a piece whose line goes on. Pieces are joined up to
16 KiB; what is longer, or not ended yet, comes as several `LogLine`s with `partial`.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncGenerator, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

import anyio
import anyio.lowlevel

from zlayer.model.units import Timestamp
from zlayer.runtime.contract import LogLine, Stream
from zlayer.runtime.oci.inotify import DELETE, MODIFY, MOVED_FROM, MOVED_TO, Inotify
from zlayer.runtime.oci.layout import Layout
from zlayer.runtime.oci.rotation import segments

_LONGEST = 16 << 10
_BLOCK = 64 << 10


@lru_cache(maxsize=256)
def _second(text: bytes, zone: bytes) -> float:
    return datetime.fromisoformat((text + (b"+00:00" if zone == b"Z" else zone)).decode()).timestamp()


def parse_time(stamp: bytes) -> float:
    """RFC 3339 with any number of decimals, as seconds since the epoch. ValueError when it is none."""
    rest = stamp[19:]
    digits = len(rest) - len(rest[1:].lstrip(b"0123456789")) if rest[:1] == b"." else 0
    return _second(stamp[:19], rest[digits:]) + (float(rest[:digits]) if digits > 1 else 0.0)


@dataclass(slots=True)
class Joiner:
    """Turns raw lines into `LogLine`s. One per reader: it holds the open piece of each stream."""

    _open: dict[Stream, tuple[float, list[bytes], int]] = field(default_factory=dict)

    def feed(self, raw: bytes) -> Iterator[LogLine]:
        """Lines that are now complete. A raw line that is no log line is passed over (conmon was killed in it)."""
        parts = raw.split(b" ", 3)
        if len(parts) != 4 or parts[1] not in (b"stdout", b"stderr"):
            return
        try:
            at = parse_time(parts[0])
        except ValueError:
            return
        stream: Stream = "stdout" if parts[1] == b"stdout" else "stderr"
        begun, pieces, size = self._open.pop(stream, (at, [], 0))
        pieces.append(parts[3])
        size += len(parts[3])
        if parts[2] == b"F":
            yield LogLine(Timestamp(begun), stream, b"".join(pieces))
        elif size >= _LONGEST:
            yield LogLine(Timestamp(begun), stream, b"".join(pieces), partial=True)
        else:
            self._open[stream] = (begun, pieces, size)

    def rest(self) -> Iterator[LogLine]:
        """What is not ended yet, as partial lines; forgotten here."""
        for stream, (at, pieces, _) in sorted(self._open.items(), key=lambda item: item[1][0]):
            yield LogLine(Timestamp(at), stream, b"".join(pieces), partial=True)
        self._open.clear()


def lines_backward(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """(offset, line) from the last to the first, reading no more than is asked for."""
    end = file.seek(0, os.SEEK_END)
    carry = b""
    while end > 0:
        begin = max(0, end - _BLOCK)
        file.seek(begin)
        data = file.read(end - begin) + carry
        # The first line of a block may begin in the block before: it waits for that one.
        cut = data.find(b"\n") + 1 if begin else 0
        if begin and cut == 0:
            carry, end = data, begin
            continue
        carry, position = data[:cut], begin + len(data)
        for line in reversed(data[cut:].splitlines(keepends=True)):
            position -= len(line)
            yield position, line
        end = begin


def tail_offsets(files: list[BinaryIO], count: int) -> list[int]:
    """Where in each file (oldest first) the last `count` lines begin. A line of several pieces counts once."""
    offsets = [file.seek(0, os.SEEK_END) for file in files]
    found, ended = 0, set[bytes]()
    for index in range(len(files) - 1, -1, -1):
        for offset, line in lines_backward(files[index]):
            _, stream, flag, *_ = [*line.split(b" ", 3), b"", b""]
            if flag == b"F" or stream not in ended:
                if found == count:
                    return offsets
                found += 1
            ended.add(stream)
            offsets[index] = offset
    return offsets


def since_offset(file: BinaryIO, since: float) -> int:
    """Where the first line not older than `since` may begin: bisection over bytes, as times only grow."""
    low, high = 0, file.seek(0, os.SEEK_END)
    while high - low > _BLOCK:
        middle = (low + high) // 2
        file.seek(middle)
        file.readline()
        position, line = file.tell(), file.readline()
        try:
            early = parse_time(line.split(b" ", 1)[0]) < since
        except ValueError:
            return low
        low, high = (position, high) if early else (low, middle)
    return low


class LogReader:
    """The open files of one log. Follows the current one across rotations, to its end before the next is begun."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._files: list[BinaryIO] = []
        self._joiner = Joiner()
        self._carry = b""
        for path in segments(log):
            with contextlib.suppress(FileNotFoundError):
                self._files.append(path.open("rb"))

    def close(self) -> None:
        for file in self._files:
            file.close()

    def seek(self, tail: int | None, since: float | None) -> None:
        starts = [0] * len(self._files)
        if tail is not None:
            starts = tail_offsets(self._files, tail)
        if since is not None:
            starts = [max(s, since_offset(f, since)) for s, f in zip(starts, self._files, strict=True)]
        for file, offset in zip(self._files, starts, strict=True):
            file.seek(offset)

    def block(self) -> list[LogLine] | None:
        """The next lines; None when there is nothing more now."""
        while self._files:
            if data := self._files[0].read(_BLOCK):
                *raw, self._carry = (self._carry + data).split(b"\n")
                return [line for each in raw for line in self._joiner.feed(each)]
            if len(self._files) == 1 and not self._next():
                return None
            if len(self._files) > 1:
                self._files.pop(0).close()
        return None

    def _next(self) -> bool:
        """Open the file that took the place of the current one, if it was rotated."""
        try:
            file = self._log.open("rb")
        except FileNotFoundError:
            return False
        if os.path.samestat(os.fstat(file.fileno()), os.fstat(self._files[0].fileno())):
            file.close()
            return False
        # It may have been written to between our last read and the rotation: one more look decides.
        if data := self._files[0].read(_BLOCK):
            self._files[0].seek(-len(data), os.SEEK_CUR)
        self._files.append(file)
        return not data

    def rest(self) -> list[LogLine]:
        return list(self._joiner.rest())


async def read_logs(
    inotify: Inotify, layout: Layout, *, tail: int | None, since: float | None, follow: bool
) -> AsyncGenerator[LogLine, None]:
    """`Runtime.logs` for one container. Blocks are read in the loop: they come from the page cache."""
    try:
        with inotify.watch((layout.log_dir, MODIFY | MOVED_TO), (layout.directory, MOVED_FROM | DELETE)) as changed:
            reader = LogReader(layout.log)
            try:
                reader.seek(tail, since)
                while True:
                    over = not follow or not layout.bundle.exists()
                    changed.clear()
                    while (lines := reader.block()) is not None:
                        for line in lines:
                            if since is None or line.at >= since:
                                yield line
                        await anyio.lowlevel.checkpoint()
                    for line in reader.rest():
                        yield line
                    if over:
                        return
                    await changed.wait()
            finally:
                reader.close()
    except FileNotFoundError:
        return
