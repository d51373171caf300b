"""The stdio of a container's first process, through conmon's attach socket.

Packets (SOCK_SEQPACKET): from conmon a byte that names the stream and then the data; to conmon plain stdin. The path
of the socket may be longer than sun_path: it is reached through /proc/self/fd of its directory.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable

from zlayer.model.errors import Failed, NotFound
from zlayer.runtime.contract import Session, Stream
from zlayer.runtime.oci.layout import Layout, Record
from zlayer.runtime.oci.streams import Descriptor

_PACKET = 8192
"""conmon reads stdin with a buffer of this size; the rest of a longer packet would be lost."""
_STREAMS: dict[int, Stream] = {2: "stdout", 3: "stderr"}


async def open_attach(layout: Layout, record: Record, exit_code: Callable[[], Awaitable[int | None]]) -> Session:
    """Connect. Output from now on; before `start` that is all of it."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
    try:
        directory = os.open(layout.bundle, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            connection.connect(f"/proc/self/fd/{directory}/attach")
        finally:
            os.close(directory)
    except OSError as error:
        connection.close()
        if error.errno in (errno.ENOENT, errno.ECONNREFUSED):
            raise NotFound(f"container {record.handle.id} has ended", hint="look at its logs") from error
        raise Failed(f"cannot attach to {record.handle.id}: {error.strerror}", hint="try again") from error
    return AttachSession(Descriptor(connection.detach()), layout, exit_code)


class AttachSession:
    """Leaving it disconnects; the container goes on."""

    def __init__(self, wire: Descriptor, layout: Layout, exit_code: Callable[[], Awaitable[int | None]]) -> None:
        self._wire, self._layout, self._exit_code = wire, layout, exit_code
        self._sending = asyncio.Lock()

    async def __aenter__(self) -> Session:
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._wire.close()

    async def output(self) -> AsyncIterator[tuple[Stream, bytes]]:
        while not self._wire.closed:
            try:
                packet = os.read(self._wire.fd, _PACKET * 2)
            except BlockingIOError:
                await self._wire.readable()
                continue
            except ConnectionResetError:
                return
            if not packet:
                return
            if (stream := _STREAMS.get(packet[0])) and len(packet) > 1:
                yield stream, packet[1:]

    async def send(self, data: bytes) -> None:
        async with self._sending:
            for begin in range(0, len(data), _PACKET):
                await self._wire.write(data[begin : begin + _PACKET])

    async def close_stdin(self) -> None:
        if self._wire.closed:
            return
        view = socket.socket(fileno=os.dup(self._wire.fd))
        with view, contextlib.suppress(OSError):
            view.shutdown(socket.SHUT_WR)

    async def resize(self, rows: int, columns: int) -> None:
        with contextlib.suppress(OSError):
            fd = os.open(self._layout.control, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                os.write(fd, b"1 %d %d\n" % (rows, columns))
            finally:
                os.close(fd)

    async def wait(self) -> int | None:
        return await self._exit_code()
