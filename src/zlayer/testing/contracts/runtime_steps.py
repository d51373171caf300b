"""Steps the runtime suite is made of: make a container, read a session, expect a refusal."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager

import anyio

from zlayer.model.errors import ZlayerError
from zlayer.runtime.contract import Handle, LogLine, Session
from zlayer.testing.contracts.runtime_programs import Program, RuntimeBench

TIME = 60.0
"""Only a hang fails by it: nothing here asserts speed."""


async def refused(kind: type[ZlayerError], call: Awaitable[object]) -> ZlayerError:
    """The error of `kind` the call raises; anything else fails the test."""
    try:
        await call
    except kind as error:
        if error.message:
            return error
    raise AssertionError(f"nothing was refused, {kind.__name__} expected")


async def lines(bench: RuntimeBench, handle: Handle, tail: int | None = None) -> list[LogLine]:
    """The log of a container as it stands."""
    return [line async for line in bench.runtime().logs(bench.directory(handle), tail=tail)]


async def drained(session: Session) -> tuple[bytes, bytes, int | None]:
    """(stdout, stderr, exit code) of a session."""
    output = {"stdout": b"", "stderr": b""}
    async for stream, chunk in session.output():
        output[stream] += chunk
    return output["stdout"], output["stderr"], await session.wait()


async def saw(session: Session, wanted: bytes) -> None:
    """Return once the output holds `wanted`."""
    got = b""
    async for _, chunk in session.output():
        got += chunk
        if wanted in got:
            return
    raise AssertionError(f"{wanted!r} never came, only {got!r}")


async def has_printed(bench: RuntimeBench, handle: Handle, count: int = 1) -> list[LogLine]:
    """The first `count` log lines, as soon as they are there."""
    seen: list[LogLine] = []
    async for line in bench.runtime().logs(bench.directory(handle), follow=True):
        seen.append(line)
        if len(seen) == count:
            break
    return seen


@asynccontextmanager
async def made(bench: RuntimeBench, program: Program, *, start: bool = True) -> AsyncIterator[Handle]:
    """A container of `program`, removed afterwards come what may."""
    request = bench.request(program)
    with anyio.fail_after(TIME):
        handle = await bench.runtime().create(request)
        try:
            if start:
                await bench.runtime().start(handle)
            yield handle
        finally:
            with anyio.CancelScope(shield=True):
                await bench.runtime().remove(handle)
