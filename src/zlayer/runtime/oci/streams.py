"""Descriptors in the event loop: reading several to their ends, and writing all of something, without threads."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import AsyncIterator, Sequence

from zlayer.runtime.contract import Stream
from zlayer.runtime.oci.processes import writable

_BLOCK = 64 << 10


class Reader:
    """Chunks of several descriptors as they come. Owns them: closed at their end or by `close`."""

    def __init__(self, sources: Sequence[tuple[Stream, int]]) -> None:
        self._open: dict[int, Stream] = {fd: stream for stream, fd in sources}
        for fd in self._open:
            os.set_blocking(fd, False)

    @property
    def closed(self) -> bool:
        return not self._open

    def close(self) -> None:
        for fd in list(self._open):
            self._drop(fd)

    def _drop(self, fd: int) -> None:
        if self._open.pop(fd, None) is not None:
            os.close(fd)

    async def chunks(self) -> AsyncIterator[tuple[Stream, bytes]]:
        """Until all are closed by the other side. One caller at a time; a later one goes on where it stopped."""
        while self._open:
            for fd in await self._ready():
                stream = self._open.get(fd)
                if stream is None:
                    continue
                if chunk := self._read(fd):
                    yield stream, chunk
                elif chunk is not None:
                    self._drop(fd)

    @staticmethod
    def _read(fd: int) -> bytes | None:
        """None when there is nothing yet. A pty whose other side is closed says EIO, which is its end of file."""
        try:
            return os.read(fd, _BLOCK)
        except BlockingIOError:
            return None
        except OSError as error:
            if error.errno == errno.EIO:
                return b""
            raise

    async def _ready(self) -> list[int]:
        loop = asyncio.get_running_loop()
        woken: asyncio.Future[None] = loop.create_future()
        found: list[int] = []

        def ready(fd: int) -> None:
            found.append(fd)
            if not woken.done():
                woken.set_result(None)

        watched = list(self._open)
        for fd in watched:
            loop.add_reader(fd, ready, fd)
        try:
            await woken
        finally:
            for fd in watched:
                loop.remove_reader(fd)
        return found


async def write_all(fd: int, data: bytes) -> None:
    """Write to a non-blocking descriptor. A reader that went away is no error: what it did not want is dropped."""
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(fd, view) :]
        except BlockingIOError:
            await writable(fd)
        except (BrokenPipeError, OSError) as error:
            if error.errno in (errno.EPIPE, errno.EIO, errno.EBADF):
                return
            raise
