"""The proxy suite over the fake, and over a real HAProxy in a directory and on ports of its own."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import anyio
import pytest
from anyio import CancelScope
from anyio.abc import TaskGroup

from zlayer.model.routes import Server
from zlayer.proxy.haproxy import process
from zlayer.proxy.haproxy.driver import HaproxyEngine
from zlayer.testing.contracts.proxy import ProxyContract
from zlayer.testing.fake_proxy import FakeEngine, FakeProxy, FakeRequest
from zlayer.testing.netns import short_directory
from zlayer.testing.origins import Origin, free_port, origin

pytestmark = pytest.mark.anyio


class FakePending:
    def __init__(self, request: FakeRequest) -> None:
        self._request = request

    async def finish(self) -> bool:
        self._request.finish()
        return self._request.ended == "done"


class FakeBench:
    port, other = 8001, 8002

    def __init__(self, tasks: TaskGroup) -> None:
        self._engine, self._tasks = FakeEngine(), tasks
        self._proxy = FakeProxy(self._engine)
        tasks.start_soon(self._proxy.run)

    def proxy(self) -> FakeProxy:
        return self._proxy

    async def restart(self) -> FakeProxy:
        self._proxy = FakeProxy(self._engine)
        return self._proxy

    async def replica(self, name: str) -> Server:
        return Server(name, "127.0.0.1", 9000)

    async def ask(self, host: str, path: str = "/", port: int | None = None) -> tuple[int, str]:
        answer = self._engine.open(port or self.port, host, path)
        if isinstance(answer, int):
            token = path.rpartition("/")[2]
            return answer, (self._engine.table.challenges[token] if self._engine.table and answer == 200 else "")
        answer.finish()
        return 200, "one" if answer.server.startswith("id-") else answer.server

    async def hold(self, host: str) -> FakePending:
        answer = self._engine.open(self.port, host, "/slow")
        assert isinstance(answer, FakeRequest)
        return FakePending(answer)

    async def kill(self) -> None:
        self._engine.kill()

    async def occupy(self, port: int) -> None:
        self._engine.taken.add(port)


class Held:
    """A request for /slow on a connection of its own."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, release: anyio.Event) -> None:
        self._reader, self._writer, self._release = reader, writer, release

    async def finish(self) -> bool:
        self._release.set()
        try:
            head = await self._reader.readuntil(b"\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            return False
        finally:
            self._writer.close()
        return head.startswith(b"HTTP/1.1 200 ")


class HaproxyBench:
    def __init__(self, directory: Path, tasks: TaskGroup, stack: AsyncExitStack) -> None:
        self._directory, self._tasks, self._stack = directory, tasks, stack
        self._origins: list[Origin] = []
        self.port, self.other = free_port(), free_port()
        self._scope: CancelScope = anyio.CancelScope()
        self._proxy = self._make()

    def _make(self) -> HaproxyEngine:
        made = HaproxyEngine(self._directory)
        self._scope = anyio.CancelScope()
        self._tasks.start_soon(self._watch, made, self._scope)
        return made

    @staticmethod
    async def _watch(proxy: HaproxyEngine, scope: CancelScope) -> None:
        with scope:
            await proxy.run()

    def proxy(self) -> HaproxyEngine:
        return self._proxy

    async def restart(self) -> HaproxyEngine:
        self._scope.cancel()
        self._proxy = self._make()
        return self._proxy

    async def replica(self, name: str) -> Server:
        made = await self._stack.enter_async_context(origin(name))
        self._origins.append(made)
        return Server(name, "127.0.0.1", made.port)

    async def ask(self, host: str, path: str = "/", port: int | None = None) -> tuple[int, str]:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port or self.port)
        except ConnectionRefusedError:
            return 0, ""
        with contextlib.closing(writer):
            writer.write(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
            try:
                answer = await reader.read()
            except ConnectionError:
                return -1, ""
        head, _, body = answer.partition(b"\r\n\r\n")
        if not head:
            return -1, ""
        return int(head.split()[1]), body.split()[0].decode() if body.strip() else ""

    async def hold(self, host: str) -> Held:
        release = anyio.Event()
        before = sum(len(made.seen) for made in self._origins)
        for made in self._origins:
            made.held["/slow"] = release
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(f"GET /slow HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        while sum(len(made.seen) for made in self._origins) == before:  # noqa: ASYNC110
            await anyio.sleep(0.005)
        return Held(reader, writer, release)

    async def kill(self) -> None:
        pid = process.living(self._directory)
        assert pid is not None
        process.kill(pid, self._directory, signal.SIGKILL)

    async def occupy(self, port: int) -> None:
        listener = self._stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", port))
        listener.listen()


class TestFakeProxy(ProxyContract):
    @pytest.fixture
    async def bench(self) -> AsyncIterator[FakeBench]:
        async with anyio.create_task_group() as tasks:
            yield FakeBench(tasks)
            tasks.cancel_scope.cancel()


@pytest.mark.skipif(shutil.which("haproxy") is None, reason="haproxy is not installed")
class TestHaproxyEngine(ProxyContract):
    @pytest.fixture
    async def bench(self) -> AsyncIterator[HaproxyBench]:
        with short_directory() as directory:
            async with AsyncExitStack() as stack, anyio.create_task_group() as tasks:
                made = HaproxyBench(directory / "proxy", tasks, stack)
                try:
                    yield made
                finally:
                    with anyio.CancelScope(shield=True):
                        await made.proxy().destroy()
                    tasks.cancel_scope.cancel()
