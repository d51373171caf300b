"""Live stdio over a WebSocket, for exec and run.

Binary frames: the first byte is the channel (0 stdin, 1 stdout, 2 stderr), the rest data. Text frames are JSON: from
the client `{"resize": [rows, columns]}`, `{"close_stdin": true}` and `{"signal": "SIGINT"}`; from the server steps
such as `{"event": "created", "id": …}`, and last `{"exit_code": n}` or `{"error": problem}` before it closes.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any, Literal, TypeVar

import anyio
from pydantic import ValidationError
from starlette.types import Message
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from zlayer.api.problems import from_pydantic
from zlayer.api.streams import dumps, first_of
from zlayer.model.base import Document
from zlayer.model.errors import Deadline, Invalid, Unavailable, ZlayerError
from zlayer.runtime.contract import Session

HELLO = 30.0
"""Seconds a client has for its first message."""
SIDE = 2**16
"""Rows and columns of a terminal are 16 bits each (struct winsize, ioctl_tty(2))."""
EARLY = 64
"""Messages kept for a session that does not exist yet (its image is being pulled)."""
_CODES = {"stdout": b"\x01", "stderr": b"\x02"}
T = TypeVar("T")
D = TypeVar("D", bound=Document)
OnSignal = Callable[[str], Awaitable[None]]
End = Literal["done", "gone", "stopping"]


async def first_message(websocket: WebSocket, model: type[D]) -> D:
    """Accept the connection and read what is asked. Raises `Invalid` on a message that is no `model`."""
    await websocket.accept()
    with anyio.move_on_after(HELLO):
        message = await websocket.receive()
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message.get("code", 1006))
        text = message.get("text") or (message.get("bytes") or b"").decode("utf-8", "replace")
        try:
            return model.model_validate_json(text)
        except ValidationError as error:
            raise from_pydantic(error) from None
    raise Deadline(f"no request within {HELLO:.0f} seconds", hint="send the request as the first text message")


class Channel:
    """One accepted WebSocket. `pump` joins it with a session until either side ends."""

    def __init__(self, websocket: WebSocket, stopping: anyio.Event) -> None:
        self._websocket = websocket
        self._stopping = stopping
        self.ended: End = "done"
        self._early: list[Message] = []

    async def tell(self, value: dict[str, Any]) -> None:  # Any: a JSON value
        await self._websocket.send_text(dumps(value).decode())

    async def end(self, value: dict[str, Any]) -> None:
        """The last word; nothing when the client is gone."""
        if self._websocket.client_state is WebSocketState.CONNECTED and self.ended != "gone":
            await self.tell(value)
            await self._websocket.close(1000)

    async def pump(self, session: Session, on_signal: OnSignal | None = None) -> int | None:
        """Carry bytes both ways until the session ends; its exit code.

        Raises `WebSocketDisconnect` when the client hangs up and `Unavailable` when the daemon stops.
        """
        code: int | None = None
        failure: ZlayerError | None = None
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._inwards, session, on_signal, tasks.cancel_scope)
                tasks.start_soon(self._until_stopping, tasks.cancel_scope)
                async for stream, chunk in session.output():
                    await self._websocket.send_bytes(_CODES[stream] + chunk)
                code = await session.wait()
                tasks.cancel_scope.cancel()
        except* ZlayerError as group:
            failure = first_of(group)
        except* (WebSocketDisconnect, OSError):
            self.ended = "gone"
        if failure is not None:
            raise failure
        self._raise_ended()
        return code

    async def unless_gone(self, work: Callable[[], Awaitable[T]]) -> T:
        """The result of `work`, given up when the client hangs up or the daemon stops meanwhile.

        What the client sends before the session exists is kept for it, up to `EARLY` messages.
        """
        result: list[T] = []
        failure: ZlayerError | None = None
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._listen_early, tasks.cancel_scope)
            tasks.start_soon(self._until_stopping, tasks.cancel_scope)
            try:
                result.append(await work())
            except ZlayerError as error:  # raised below: a task group would wrap it
                failure = error
            tasks.cancel_scope.cancel()
        if failure is not None:
            raise failure
        if not result:
            self._raise_ended()
        return result[0]

    def _raise_ended(self) -> None:
        if self.ended == "gone":
            raise WebSocketDisconnect(1006)
        if self.ended == "stopping":
            raise Unavailable("the daemon is stopping; the container goes on", retry_after=1)

    async def _listen_early(self, scope: anyio.CancelScope) -> None:
        while len(self._early) < EARLY:
            message = await self._websocket.receive()
            if message["type"] == "websocket.disconnect":
                self.ended = "gone"
                scope.cancel()
                return
            self._early.append(message)

    async def _receive(self) -> Message:
        return self._early.pop(0) if self._early else await self._websocket.receive()

    async def _until_stopping(self, scope: anyio.CancelScope) -> None:
        await self._stopping.wait()
        self.ended = "stopping"
        scope.cancel()

    async def _inwards(self, session: Session, on_signal: OnSignal | None, scope: anyio.CancelScope) -> None:
        while True:
            message = await self._receive()
            if message["type"] == "websocket.disconnect":
                self.ended = "gone"
                scope.cancel()
                return
            if data := message.get("bytes"):
                if data[0] == 0 and len(data) > 1:
                    await session.send(data[1:])
            elif text := message.get("text"):
                await _control(session, text, on_signal)


async def _control(session: Session, text: str, on_signal: OnSignal | None) -> None:
    """Unknown words are refused: a client that thinks it was obeyed is worse off than one told no."""
    try:
        asked = json.loads(text)
    except (ValueError, RecursionError):
        raise Invalid("a text frame that is not JSON", hint="stdin goes in binary frames, first byte 0") from None
    match asked:
        case {"resize": [int() as rows, int() as columns]} if 0 < rows < SIDE and 0 < columns < SIDE:
            await session.resize(rows, columns)
        case {"close_stdin": True}:
            await session.close_stdin()
        case {"signal": str() as name} if on_signal is not None:
            await on_signal(name)
        case _:
            raise Invalid(f"a text frame that means nothing: {text[:80]}", hint="resize, close_stdin or signal")
