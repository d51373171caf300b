"""Exec and attach sessions of the fake runtime: a queue of output chunks and an exit code."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Awaitable, Callable

import anyio

from zlayer.runtime.contract import Session, Stream
from zlayer.testing.fake_machine import ExecAnswer, FakeContainer, FakeMachine


class FakeSession:
    """`feed` puts output in; the first of `finish` and end of stdin of an echo ends it."""

    def __init__(self, *, echo: bool, exit_code: Callable[[], Awaitable[int | None]]) -> None:
        self._put, self._take = anyio.create_memory_object_stream[tuple[Stream, bytes]](math.inf)
        self._echo = echo
        self._exit_code = exit_code
        self.sizes: list[tuple[int, int]] = []
        self.stdin_closed = anyio.Event()

    async def __aenter__(self) -> Session:
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._put.close()
        self._take.close()

    def feed(self, stream: Stream, data: bytes) -> None:
        self._put.send_nowait((stream, data))

    def finish(self) -> None:
        self._put.close()

    async def output(self) -> AsyncIterator[tuple[Stream, bytes]]:
        async for item in self._take:
            yield item

    async def send(self, data: bytes) -> None:
        if data and self._echo and not self.stdin_closed.is_set():
            self.feed("stdout", data)

    async def close_stdin(self) -> None:
        self.stdin_closed.set()
        if self._echo:
            self.finish()

    async def resize(self, rows: int, columns: int) -> None:
        self.sizes.append((rows, columns))

    async def wait(self) -> int | None:
        return await self._exit_code()


def exec_session(answer: ExecAnswer, container: FakeContainer) -> FakeSession:
    """A session that plays `answer`; the end of its container ends it with 137."""
    deadline = anyio.current_time() + answer.seconds

    async def code() -> int | None:
        if answer.echo:
            await session.stdin_closed.wait()
        with anyio.move_on_at(deadline):
            while container.phase() == "running":
                await container.changed.wait()
        return answer.code if container.phase() == "running" else 137

    session = FakeSession(echo=answer.echo, exit_code=code)
    for stream, data in answer.output:
        session.feed(stream, data)
    if not answer.echo:
        session.finish()
    return session


class FakeAttach:
    """Stdio of a container's first process, from now on. End of stdin ends a container that echoes."""

    def __init__(self, machine: FakeMachine, container: FakeContainer) -> None:
        self._machine, self._container = machine, container
        self._log = machine.logs.setdefault(container.handle.directory, [])
        self._shown = len(self._log)
        self.sizes: list[tuple[int, int]] = []

    async def __aenter__(self) -> Session:
        return self

    async def __aexit__(self, *exc: object) -> None:
        return None

    async def output(self) -> AsyncIterator[tuple[Stream, bytes]]:
        while True:
            ended = self._container.phase() == "exited"
            for line in self._log[self._shown :]:
                self._shown += 1
                yield line.stream, line.data + (b"" if line.partial else b"\n")
            if ended:
                return
            await self._change()

    async def _change(self) -> None:
        with anyio.move_on_at(self._container.ends_at):
            await self._container.changed.wait()

    async def send(self, data: bytes) -> None:
        if data and self._container.behaviour.echo:
            self._machine.write(self._container, "stdout", data)

    async def close_stdin(self) -> None:
        if self._container.behaviour.echo:
            self._container.end(0)

    async def resize(self, rows: int, columns: int) -> None:
        self.sizes.append((rows, columns))

    async def wait(self) -> int | None:
        while (ended := self._container.exit()) is None:
            await self._change()
        return ended.code
