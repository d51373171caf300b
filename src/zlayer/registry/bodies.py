"""Bodies in and out, block by block: no blob is ever in memory whole, and nobody may be slow for ever."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from functools import partial

import anyio
from anyio import to_thread
from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive, Send

from zlayer.registry.faults import Refusal
from zlayer.registry.upstream import Arrival

BLOCK = 1024 * 1024
"""Bytes written or read at once; one thread call each."""
STALL = 60.0
"""Seconds a client may take for the next bytes of its body, or to take the next block of ours."""
DRAIN = 64 * 1024 * 1024
"""Bytes of a refused body that are read and thrown away, so that the client is there to read the refusal."""


class Wire:
    """One request's channel with deadlines. `sent` counts bytes of the answer's body."""

    def __init__(self, receive: Receive, send: Send, *, stall: float = STALL) -> None:
        self._receive, self._send, self._stall = receive, send, stall
        self._whole = False
        self.sent = 0
        self.status = 0

    async def receive(self) -> Message:
        """The next message. Raises `Refusal` 408 when the client stops in the middle of its body."""
        if self._whole:
            return await self._receive()
        with anyio.move_on_after(self._stall) as late:
            message = await self._receive()
        if late.cancelled_caught:
            raise Refusal(408, "SIZE_INVALID", f"no byte came for {self._stall:g} s", headers={"Connection": "close"})
        self._whole = message["type"] == "http.disconnect" or not message.get("more_body", False)
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
        with anyio.move_on_after(self._stall) as late:
            await self._send(message)
        if late.cancelled_caught:
            raise ClientDisconnect
        self.sent += len(message.get("body", b""))

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body as it comes. Raises `ClientDisconnect` when it ends before it is whole."""
        while not self._whole:
            message = await self.receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            if message.get("body"):
                yield message["body"]

    async def drain(self) -> None:
        """Read on what a refused client still sends, up to `DRAIN` bytes."""
        left = DRAIN
        async for data in self.chunks():
            left -= len(data)
            if left < 0:
                return


async def gathered(chunks: AsyncIterator[bytes], take: Callable[[list[bytes]], None]) -> None:
    """Give `take` the body in blocks of some parts, in a thread; what came before a broken connection is given too.

    The parts are not joined: fresh memory for each block costs more than the writes it would save.
    """
    parts: list[bytes] = []
    size = 0
    try:
        async for data in chunks:
            parts.append(data)
            size += len(data)
            if size >= BLOCK:
                full, parts, size = parts, [], 0
                await to_thread.run_sync(take, full)
    except (ClientDisconnect, Refusal):
        if parts:
            await to_thread.run_sync(take, parts)
        raise
    if parts:
        await to_thread.run_sync(take, parts)


async def whole(chunks: AsyncIterator[bytes], limit: int, refusal: Callable[[], Refusal]) -> bytes:
    """A small body. Raises `refusal()` past `limit` bytes."""
    body = bytearray()
    async for data in chunks:
        body += data
        if len(body) > limit:
            raise refusal()
    return bytes(body)


async def slices(descriptor: int, start: int, end: int) -> AsyncIterator[bytes]:
    """Bytes of an open file, which is closed at the end."""
    try:
        while start < end:
            data = await to_thread.run_sync(os.pread, descriptor, min(BLOCK, end - start), start)
            if not data:
                raise ClientDisconnect  # shorter than it was: the client must not take it for whole
            start += len(data)
            yield data
    finally:
        os.close(descriptor)


async def following(descriptor: int, arrival: Arrival, start: int, end: int) -> AsyncIterator[bytes]:
    """Bytes of a blob while it arrives, no further than is sure; ends early when it fails."""
    try:
        while start < end:
            moved = arrival.moved
            sure = min(arrival.sure, end)
            if start < sure:
                read = partial(os.pread, descriptor, min(BLOCK, sure - start), start)
                data = await to_thread.run_sync(read)
                if not data:
                    raise ClientDisconnect
                start += len(data)
                yield data
            elif arrival.ended:
                raise ClientDisconnect  # the download failed: end the connection, not the body
            else:
                await moved.wait()
    finally:
        os.close(descriptor)
