"""TCP connections: as many as may, and room for who has few."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from zlayer.network.dns import streams
from zlayer.network.dns.streams import Streams

pytestmark = pytest.mark.anyio
Pair = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def echo(data: bytes) -> bytes | None:
    return data or None


@asynccontextmanager
async def served(held: Streams, clients: list[str]) -> AsyncIterator[int]:
    """The port of a server; the n-th connection is of the n-th client."""
    names = iter(clients)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await held.serve(reader, writer, next(names), echo)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def say(pair: Pair, data: bytes) -> bytes:
    reader, writer = pair
    writer.write(struct.pack(">H", len(data)) + data)
    return await reader.readexactly(struct.unpack(">H", await reader.readexactly(2))[0])


async def gone(pair: Pair) -> bool:
    try:
        return await pair[0].read(1) == b""
    except ConnectionError:
        return True


async def test_questions_one_after_another_and_an_end() -> None:
    held = Streams()
    async with served(held, ["a"]) as port:
        pair = await asyncio.open_connection("127.0.0.1", port)
        assert [await say(pair, b"one"), await say(pair, b"two")] == [b"one", b"two"]
        assert len(held) == 1
        pair[1].write(b"\0\0")
        assert await gone(pair), "what deserves no answer ends it"
        pair[1].close()
    assert len(held) == 0


async def test_one_too_many_costs_the_greedy_their_quietest() -> None:
    held = Streams(most=4)
    async with served(held, ["few", "many", "many", "many", "other"]) as port:
        few, first, second, third = [await asyncio.open_connection("127.0.0.1", port) for _ in range(4)]
        for pair in (few, first, second, third):
            await say(pair, b"x")
        await say(first, b"x")  # so the second is the quietest of many's
        other = await asyncio.open_connection("127.0.0.1", port)
        assert await say(other, b"here") == b"here"
        assert await gone(second)
        for pair in (few, first, third, other):
            assert await say(pair, b"still") == b"still"
        for pair in (few, first, second, third, other):
            pair[1].close()


async def test_the_slow_are_hung_up_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "IDLE", 0.05)
    async with served(Streams(), ["a", "b"]) as port:
        silent, half = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2)]
        half[1].write(b"\0\x20just the beginning")
        assert await gone(silent)
        assert await gone(half)
        for pair in (silent, half):
            pair[1].close()
