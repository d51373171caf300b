"""Talk to an ASGI application in-process, as a server would: no sockets, real streaming, real hanging up."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, MutableMapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

Message = MutableMapping[str, Any]  # Any: ASGI's own messages
App = Callable[[Any, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[None]]
QUEUE = 4096


@dataclass(slots=True)
class Reply:
    """A whole answer, headers with lower case names."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:  # Any: a JSON document
        return json.loads(self.body)

    def lines(self) -> list[Any]:
        """The documents of an NDJSON body."""
        return [json.loads(line) for line in self.body.splitlines()]


@dataclass(slots=True)
class Exchange:
    """A request under way. `hang_up` is what a server tells the application when the client is gone."""

    to_app: MemoryObjectSendStream[Message]
    from_app: MemoryObjectReceiveStream[Message]
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    _rest: bytes = b""

    async def begun(self) -> None:
        start = await self.from_app.receive()
        self.status = start["status"]
        self.headers = {name.decode().lower(): value.decode() for name, value in start["headers"]}

    async def chunks(self) -> AsyncIterator[bytes]:
        while True:
            message = await self.from_app.receive()
            if message.get("body"):
                yield message["body"]
            if not message.get("more_body"):
                return

    async def line(self) -> Any:  # Any: a JSON document
        """The next document of an NDJSON stream."""
        while b"\n" not in self._rest:
            self._rest += (await self.from_app.receive())["body"]
        line, _, self._rest = self._rest.partition(b"\n")
        return json.loads(line)

    async def hang_up(self) -> None:
        await self.to_app.send({"type": "http.disconnect"})


@dataclass(slots=True)
class Channel:
    """A WebSocket under way. `receive` gives text as a JSON document, bytes as they are, and None once closed."""

    to_app: MemoryObjectSendStream[Message]
    from_app: MemoryObjectReceiveStream[Message]
    code: int = 0

    async def tell(self, value: Any) -> None:  # Any: a JSON document
        await self.to_app.send({"type": "websocket.receive", "text": json.dumps(value)})

    async def send(self, data: bytes) -> None:
        await self.to_app.send({"type": "websocket.receive", "bytes": data})

    async def receive(self) -> Any:
        message = await self.from_app.receive()
        if message["type"] == "websocket.accept":
            return await self.receive()
        if message["type"] == "websocket.close":
            self.code = message.get("code", 1000)
            return None
        data = message.get("bytes")
        return data if data is not None else json.loads(message["text"])

    async def hang_up(self) -> None:
        await self.to_app.send({"type": "websocket.disconnect", "code": 1006})


class AsgiClient:
    """One application. `headers` go with every request; `client` is the address it sees."""

    def __init__(self, app: App, *, headers: Mapping[str, str] | None = None, client: str = "127.0.0.1") -> None:
        self._app = app
        self._headers = dict(headers or {})
        self._client = client

    async def request(
        self, method: str, target: str, body: Any = None, *, headers: Mapping[str, str] | None = None
    ) -> Reply:
        """`body` is sent as JSON, bytes as they are."""
        async with self.open(method, target, body, headers=headers) as exchange:
            content = b"".join([chunk async for chunk in exchange.chunks()])
            return Reply(exchange.status, exchange.headers, content)

    @asynccontextmanager
    async def open(
        self, method: str, target: str, body: Any = None, *, headers: Mapping[str, str] | None = None
    ) -> AsyncIterator[Exchange]:
        """An answer read as it comes. Leaving hangs up, and waits until the application has returned."""
        async with self.sent(method, target, body, headers=headers) as exchange:
            await exchange.begun()
            yield exchange

    @asynccontextmanager
    async def sent(
        self, method: str, target: str, body: Any = None, *, headers: Mapping[str, str] | None = None
    ) -> AsyncIterator[Exchange]:
        """As `open`, before the answer has begun."""
        content = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        kind = {"content-type": "application/json"} if content else {}
        scope = self._scope("http", target, {**kind, **(headers or {})}) | {"method": method, "scheme": "http"}
        async with self._run(scope) as (to_app, from_app):
            await to_app.send({"type": "http.request", "body": content, "more_body": False})
            exchange = Exchange(to_app, from_app)
            yield exchange
            await exchange.hang_up()

    @asynccontextmanager
    async def channel(self, target: str, *, headers: Mapping[str, str] | None = None) -> AsyncIterator[Channel]:
        scope = self._scope("websocket", target, headers or {}) | {"subprotocols": [], "scheme": "ws"}
        async with self._run(scope) as (to_app, from_app):
            await to_app.send({"type": "websocket.connect"})
            channel = Channel(to_app, from_app)
            yield channel
            await channel.hang_up()

    @asynccontextmanager
    async def _run(
        self, scope: dict[str, Any]
    ) -> AsyncIterator[tuple[MemoryObjectSendStream[Message], MemoryObjectReceiveStream[Message]]]:
        to_app, app_receives = anyio.create_memory_object_stream[Message](QUEUE)
        app_sends, from_app = anyio.create_memory_object_stream[Message](QUEUE)

        async def run() -> None:
            async with app_sends:
                await self._app(scope, app_receives.receive, app_sends.send)

        async with to_app, app_receives, from_app, anyio.create_task_group() as tasks:
            tasks.start_soon(run)
            yield to_app, from_app

    def _scope(self, kind: str, target: str, headers: Mapping[str, str]) -> dict[str, Any]:
        path, _, query = target.partition("?")
        given = {"host": "zlayer", **self._headers, **headers}
        return {
            "type": kind,
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "path": path,
            "raw_path": path.encode(),
            "root_path": "",
            "query_string": query.encode(),
            "headers": [(name.lower().encode(), value.encode()) for name, value in given.items()],
            "client": (self._client, 40000),
            "server": ("zlayer", 80),
            "extensions": {"websocket.http.response": {}},
        }
