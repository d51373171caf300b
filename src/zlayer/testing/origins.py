"""Origin servers for tests of the proxy: small HTTP/1.1, WebSocket and TCP servers that say who they are.

They run in the test's own loop, listen on loopback with a port of the kernel's choice, and answer `NAME` first of all,
so that a test sees which replica answered it.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import random
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import anyio

Handle = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[Any, Any, None]]


GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
"""What a WebSocket's key is answered with (RFC 6455, 1.3)."""


@dataclass(slots=True)
class Origin:
    """`seen` are the raw heads of the requests that reached it, in order. `hold` is awaited before each answer."""

    name: str
    port: int = 0
    seen: list[bytes] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    connections: int = 0
    held: dict[str, anyio.Event] = field(default_factory=dict)
    """Path -> event: a request of this path is answered when it is set."""

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while await self._one(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.LimitOverrunError, ValueError):
            pass
        finally:
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = await reader.readuntil(b"\r\n\r\n")
        self.seen.append(head)
        path = head.split(b" ", 2)[1].decode()
        headers = _headers(head)
        self.bodies.append(await _body(reader, headers))
        if waiting := self.held.get(path.partition("?")[0]):
            await waiting.wait()
        if headers.get("upgrade", "").lower() == "websocket":
            await self._echo(reader, writer, headers.get("sec-websocket-key", ""))
            return False
        text = f"{self.name} {path}\n".encode() + head
        if head.startswith(b"HEAD "):
            text = b""
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\nx-origin: %s\r\n\r\n" % (len(text), self.name.encode()))
        writer.write(text)
        await writer.drain()
        return headers.get("connection", "").lower() != "close"

    async def _echo(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, key: str) -> None:
        """Upgraded: bytes come back as they are, after the name."""
        head = b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n"
        accept = base64.b64encode(hashlib.sha1(key.encode() + GUID, usedforsecurity=False).digest())
        writer.write(head + b"sec-websocket-accept: " + accept + b"\r\n\r\n" + self.name.encode())
        while data := await reader.read(4096):
            writer.write(data)
            await writer.drain()

    async def stream(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """As a TCP service: says its name at once, then echoes."""
        self.connections += 1
        with contextlib.suppress(ConnectionError):
            writer.write(self.name.encode() + b"\n")
            while data := await reader.read(4096):
                self.bodies.append(data)
                writer.write(data)
                await writer.drain()
        writer.close()


@asynccontextmanager
async def origin(name: str, *, tcp: bool = False) -> AsyncIterator[Origin]:
    """An origin that listens as long as the block; then its connections are cut."""
    made = Origin(name)
    handler = made.stream if tcp else made.handle
    tasks: set[asyncio.Task[None]] = set()
    server = await asyncio.start_server(_tracked(handler, tasks), "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def _tracked(handler: Handler, tasks: set[asyncio.Task[None]]) -> Handler:
    async def run(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            with contextlib.suppress(asyncio.CancelledError):
                await handler(reader, writer)
        finally:
            tasks.discard(task)
            writer.close()

    return run


def free_port() -> int:
    """A port of loopback nobody has now, and that no outgoing connection will be given (ip_local_port_range)."""
    while True:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def _headers(head: bytes) -> dict[str, str]:
    lines = head.decode("latin-1").split("\r\n")[1:]
    return {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines) if name}


async def _body(reader: asyncio.StreamReader, headers: dict[str, str]) -> bytes:
    if "chunked" in headers.get("transfer-encoding", "").lower():
        body = b""
        while size := int((await reader.readline()).strip() or b"0", 16):
            body += await reader.readexactly(size)
            await reader.readexactly(2)
        await reader.readuntil(b"\r\n")
        return body
    return await reader.readexactly(int(headers.get("content-length", "0")))
