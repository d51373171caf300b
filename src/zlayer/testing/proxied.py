"""A real HAProxy for a test: its own directory, its driver running, ports of loopback, everything gone at the end."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import anyio
from anyio.abc import TaskGroup

from zlayer.model.routes import Backend, Certificate, Listener, Mode, Route, RouteTable, Server
from zlayer.proxy.haproxy.driver import HaproxyEngine
from zlayer.proxy.haproxy.settings import Settings
from zlayer.testing.netns import short_directory
from zlayer.testing.origins import Origin, free_port, origin


@dataclass(slots=True)
class Proxied:
    """`port` is free, for the first listener; `told` is what the engine's driver said of it."""

    directory: Path
    engine: HaproxyEngine
    tasks: TaskGroup
    stack: AsyncExitStack
    settings: Settings | None = None
    port: int = field(default_factory=free_port)
    told: list[str] = field(default_factory=list)
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)

    async def origin(self, name: str, *, tcp: bool = False) -> tuple[Origin, Server]:
        made = await self.stack.enter_async_context(origin(name, tcp=tcp))
        return made, Server(name, "127.0.0.1", made.port)

    def restart(self) -> None:
        """A new driver over the same engine, as after `kill -9` of the daemon."""
        self.scope.cancel()
        self.engine = HaproxyEngine(self.directory, self.settings, tell=self.told.append)
        self.scope = anyio.CancelScope()
        self.tasks.start_soon(_watch, self.engine, self.scope)

    def table(
        self,
        *backends: Backend,
        routes: Sequence[Route] | None = None,
        mode: Mode = "http",
        certificates: Sequence[Certificate] = (),
    ) -> RouteTable:
        """One listener; without routes, the first backend gets everything."""
        found = tuple(routes) if routes is not None else (Route(backends[0].name),)
        names = tuple(certificate.name for certificate in certificates)
        listener = Listener("web", ("127.0.0.1",), self.port, mode, found, names)
        return RouteTable(1, (listener,), backends, {one.name: one for one in certificates})

    async def say(self, raw: bytes, *, tls: ssl.SSLContext | None = None, name: str = "") -> bytes:
        """Send bytes on a new connection and read until it is closed; what was read when it is reset."""
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", self.port, ssl=tls, server_hostname=name if tls else None
        )
        answer = b""
        with contextlib.closing(writer), contextlib.suppress(ConnectionError):
            writer.write(raw)
            while piece := await reader.read(65536):
                answer += piece
        return answer

    async def get(self, host: str = "x", path: str = "/", *headers: str) -> tuple[int, str]:
        """Status and body of a GET."""
        lines = "".join(f"{header}\r\n" for header in headers)
        raw = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{lines}\r\n"
        head, _, body = (await self.say(raw.encode())).partition(b"\r\n\r\n")
        return (int(head.split()[1]) if head else 0), body.decode(errors="replace")


async def _watch(engine: HaproxyEngine, scope: anyio.CancelScope) -> None:
    with scope:
        await engine.run()


@asynccontextmanager
async def proxied(settings: Settings | None = None) -> AsyncIterator[Proxied]:
    """A driver over a directory of its own, with nothing applied; the engine is destroyed at the end."""
    with short_directory() as directory:
        async with AsyncExitStack() as stack, anyio.create_task_group() as tasks:
            made = Proxied(directory / "proxy", HaproxyEngine(directory / "proxy"), tasks, stack, settings)
            made.restart()
            try:
                yield made
            finally:
                with anyio.CancelScope(shield=True):
                    await made.engine.destroy()
                tasks.cancel_scope.cancel()
