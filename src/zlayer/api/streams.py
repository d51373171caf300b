"""Answers that go on: NDJSON, SSE and plain text, ended by the client's leaving or the daemon's."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import anyio
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from zlayer.api.problems import document
from zlayer.model.errors import Unavailable, ZlayerError

NDJSON = "application/x-ndjson"
SSE = "text/event-stream"
KEEP_ALIVE = 20.0
"""Seconds after which an SSE stream sends a comment, so that proxies keep a silent connection."""
T = TypeVar("T")
Emit = Callable[..., Awaitable[None]]
"""Sends any number of items at once, each whatever the stream's encoder takes."""
Produce = Callable[[Emit], Awaitable[None]]
Encode = Callable[[Any], bytes]


def dumps(value: Any) -> bytes:  # Any: a JSON value
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "replace")


def ndjson(value: Any) -> bytes:
    return dumps(value) + b"\n"


def sse(item: tuple[str, str, Any] | dict[str, Any]) -> bytes:
    """One server-sent event (WHATWG HTML, 9.2): (event name or "", id or "", data). A problem has the name `error`."""
    event, identity, data = ("error", "", item["error"]) if isinstance(item, dict) else item
    head = (f"event: {event}\n" if event else "") + (f"id: {identity}\n" if identity else "")
    return f"{head}data: ".encode() + dumps(data) + b"\n\n"


class Stream(Response):
    """Sends whatever `produce` emits, each item at once; `produce` is cancelled as soon as the client hangs up.

    An error of the tree in mid-stream becomes a last item `{"error": problem}`: the status line has gone out long
    ago. When the daemon stops, `produce` is cancelled and the last item is such a problem, `unavailable`.
    """

    def __init__(
        self, produce: Produce, *, stopping: anyio.Event, encode: Encode = ndjson, media_type: str = NDJSON
    ) -> None:
        super().__init__(media_type=media_type, headers={"Cache-Control": "no-store"})
        del self.headers["content-length"]
        self._produce = produce
        self._stopping = stopping
        self._encode = encode

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        failure: ZlayerError | None = None
        gone = anyio.Event()

        async def write(data: bytes) -> None:
            try:
                await send({"type": "http.response.body", "body": data, "more_body": True})
            except OSError:  # hung up while we wrote
                gone.set()
                tasks.cancel_scope.cancel()

        async def emit(*items: Any) -> None:
            await write(b"".join(map(self._encode, items)))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._until_gone, receive, gone, tasks.cancel_scope)
            tasks.start_soon(self._until_stopping, tasks.cancel_scope)
            if self.media_type == SSE:
                tasks.start_soon(self._keep_alive, write)
            try:
                await self._produce(emit)
            except* ZlayerError as group:
                failure = first_of(group)
            tasks.cancel_scope.cancel()
        if gone.is_set():
            return
        if self._stopping.is_set() and failure is None:
            failure = Unavailable("the daemon is stopping", retry_after=1)
        last = self._encode({"error": document(failure, scope)}) if failure else b""
        await send({"type": "http.response.body", "body": last, "more_body": False})

    @staticmethod
    async def _until_gone(receive: Receive, gone: anyio.Event, scope: anyio.CancelScope) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        gone.set()
        scope.cancel()

    async def _until_stopping(self, scope: anyio.CancelScope) -> None:
        await self._stopping.wait()
        scope.cancel()

    @staticmethod
    async def _keep_alive(write: Callable[[bytes], Awaitable[None]]) -> None:
        while True:
            await anyio.sleep(KEEP_ALIVE)
            await write(b": still here\n\n")


def first_of(group: BaseExceptionGroup[ZlayerError]) -> ZlayerError:
    """The first error of the tree inside a group: one is enough to tell a client."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, ZlayerError)
    return error


async def while_connected(request: Request, work: Callable[[], Awaitable[T]]) -> T:
    """The result of `work`, which is cancelled when the client hangs up. The body must have been read before."""
    result: list[T] = []
    failure: ZlayerError | None = None
    async with anyio.create_task_group() as tasks:

        async def watch() -> None:
            while (await request.receive())["type"] != "http.disconnect":
                pass
            tasks.cancel_scope.cancel()

        tasks.start_soon(watch)
        try:
            result.append(await work())
        except* ZlayerError as group:
            failure = first_of(group)
        tasks.cancel_scope.cancel()
    if failure is not None:
        raise failure
    if not result:
        raise ClientDisconnect
    return result[0]
