"""Descriptors in the event loop, without threads: reading several to their ends, writing all of something.

Each descriptor has one owner here, and closing it wakes whoever waits for it: one that is closed while the loop still
watches it would make the next descriptor with its number deaf.
"""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import AsyncIterator, Sequence

from zlayer.runtime.contract import Stream

_BLOCK = 64 << 10
_LEFT = frozenset({errno.EPIPE, errno.EIO, errno.EBADF, errno.ECONNRESET, errno.ENOTCONN})


class Descriptor:
    """A non-blocking descriptor that is ours. At most one task reads it and one writes it at a time."""

    def __init__(self, fd: int) -> None:
        os.set_blocking(fd, False)
        self.fd = fd
        """-1 once closed."""
        self._reading: asyncio.Future[None] | None = None
        self._writing: asyncio.Future[None] | None = None

    @property
    def closed(self) -> bool:
        return self.fd < 0

    def close(self) -> None:
        """Idempotent. Who waits is woken and finds it closed."""
        if self.fd < 0:
            return
        self._forget()
        os.close(self.fd)
        self.fd = -1

    def _forget(self) -> None:
        loop = asyncio.get_running_loop()
        loop.remove_reader(self.fd)
        loop.remove_writer(self.fd)
        for future in (self._reading, self._writing):
            if future is not None and not future.done():
                future.set_result(None)

    async def readable(self) -> None:
        """Return once it can be read, or was closed."""
        loop = asyncio.get_running_loop()
        self._reading = future = loop.create_future()
        loop.add_reader(self.fd, _wake, future)
        try:
            await future
        finally:
            if self.fd >= 0:
                loop.remove_reader(self.fd)

    async def writable(self) -> None:
        """Return once it takes data, or was closed."""
        loop = asyncio.get_running_loop()
        self._writing = future = loop.create_future()
        loop.add_writer(self.fd, _wake, future)
        try:
            await future
        finally:
            if self.fd >= 0:
                loop.remove_writer(self.fd)

    async def write(self, data: bytes) -> None:
        """Write it all. A reader that went away is no error: what it did not want is dropped."""
        view = memoryview(data)
        while view and not self.closed:
            try:
                view = view[os.write(self.fd, view) :]
            except BlockingIOError:
                await self.writable()
            except OSError as error:
                if error.errno not in _LEFT:
                    raise
                return


class Reader:
    """Chunks of several descriptors as they come. Owns them: closed at their end or by `close`."""

    def __init__(self, sources: Sequence[tuple[Stream, int]]) -> None:
        self._open: dict[int, Stream] = {fd: stream for stream, fd in sources}
        self._woken: asyncio.Future[None] | None = None
        for fd in self._open:
            os.set_blocking(fd, False)

    @property
    def closed(self) -> bool:
        return not self._open

    def close(self) -> None:
        """Idempotent. Who iterates over `chunks` comes to its end."""
        for fd in list(self._open):
            self._drop(fd)
        if self._woken is not None:
            _wake(self._woken)

    def _drop(self, fd: int) -> None:
        if self._open.pop(fd, None) is not None:
            asyncio.get_running_loop().remove_reader(fd)
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
        self._woken = woken = loop.create_future()
        found: list[int] = []

        def ready(fd: int) -> None:
            found.append(fd)
            _wake(woken)

        for fd in self._open:
            loop.add_reader(fd, ready, fd)
        try:
            await woken
        finally:
            for fd in self._open:
                loop.remove_reader(fd)
        return found


def _wake(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
