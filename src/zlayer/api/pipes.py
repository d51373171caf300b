"""Bodies that are too long for memory: from a request into a pipe, and from a pipe into an answer."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TypeVar

import anyio
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from zlayer.api.streams import first_of
from zlayer.model.errors import ZlayerError

T = TypeVar("T")
SIZE = 1 << 20
CHUNK = 1 << 18


class End:
    """One end of a pipe; closed once, however often it is told to."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self._open = True

    def close(self) -> None:
        if self._open:
            self._open = False
            os.close(self.descriptor)


@contextmanager
def pipe() -> Iterator[tuple[End, End]]:
    """Two ends, for reading and for writing, as large as the kernel gives; closed at the end, if not before."""
    read, write = map(End, os.pipe2(os.O_CLOEXEC))
    with suppress(OSError):
        fcntl.fcntl(write.descriptor, fcntl.F_SETPIPE_SZ, SIZE)
    try:
        yield read, write
    finally:
        read.close()
        write.close()


async def fed(request: Request, work: Callable[[int], Awaitable[T]]) -> T:
    """The outcome of `work`, which reads the request's body from the descriptor it is given.

    All of the body is taken, wanted or not: who still sends does not hear an answer.
    """
    done: list[T] = []
    failure: ZlayerError | None = None
    gone = False
    with pipe() as (read, write):
        os.set_blocking(write.descriptor, False)

        async def feed() -> None:
            wanted = True
            async for chunk in request.stream():
                wanted = wanted and await _into(write.descriptor, chunk)
            write.close()

        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(feed)
                try:
                    done.append(await work(read.descriptor))
                finally:
                    read.close()  # what is still to come is thrown away
        except* ZlayerError as group:
            failure = first_of(group)
        except* ClientDisconnect:
            gone = True
    if gone:
        raise ClientDisconnect
    if failure is not None:
        raise failure
    return done[0]


async def _into(write: int, chunk: bytes) -> bool:
    """False when nobody reads any more."""
    left = memoryview(chunk)
    while left:
        try:
            left = left[os.write(write, left) :]
        except BlockingIOError:
            await anyio.wait_writable(write)
        except BrokenPipeError:
            return False
    return True


class Piped(Response):
    """Sends what `work` writes to the descriptor it is given.

    What it raises before its first byte is a proper error; after that the answer breaks off before its end.
    """

    def __init__(self, work: Callable[[int], Awaitable[None]], media_type: str) -> None:
        super().__init__(media_type=media_type, headers={"Cache-Control": "no-store"})
        del self.headers["content-length"]
        self._work = work

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        failure: ZlayerError | None = None
        with pipe() as (read, write):
            os.set_blocking(read.descriptor, False)

            async def work() -> None:
                await self._work(write.descriptor)
                write.close()

            try:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(_until_gone, receive, tasks.cancel_scope)
                    tasks.start_soon(work)
                    await self._send(read.descriptor, send)
                    tasks.cancel_scope.cancel()
            except* ZlayerError as group:
                failure = first_of(group)
        if failure is not None:
            raise failure

    async def _send(self, read: int, send: Send) -> None:
        begun = False
        while True:
            await anyio.wait_readable(read)
            data = os.read(read, CHUNK)
            if not begun:
                await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
                begun = True
            await send({"type": "http.response.body", "body": data, "more_body": bool(data)})
            if not data:
                return


async def _until_gone(receive: Receive, scope: anyio.CancelScope) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    scope.cancel()
