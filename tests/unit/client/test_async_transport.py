from __future__ import annotations

import pytest

from zlayer.client.async_transport import open_websocket, request
from zlayer.client.transport import Address
from zlayer.model import errors
from zlayer.testing.scripted_daemon import Answer, ScriptedDaemon

pytestmark = pytest.mark.anyio


async def test_lines_come_whole_whatever_the_chunks(daemon: ScriptedDaemon, address: Address) -> None:
    daemon.routes["GET /x"] = Answer(lines=(b"on", b"e\ntwo\nth", b"ree"))
    async with request(address, "GET", "/x") as response:
        assert [line async for line in response.lines()] == [b"one", b"two", b"three"]


async def test_a_body_without_length_ends_with_the_connection(daemon: ScriptedDaemon, address: Address) -> None:
    daemon.routes["GET /x"] = Answer(raw=b"HTTP/1.1 200 OK\r\n\r\nall of it")
    async with request(address, "GET", "/x") as response:
        assert await response.read() == b"all of it"


@pytest.mark.parametrize(
    "raw",
    [
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhel",
        b"HTTP/1.1 200 OK\r\n",
    ],
)
async def test_an_answer_cut_short_is_unavailable(daemon: ScriptedDaemon, address: Address, raw: bytes) -> None:
    daemon.routes["GET /x"] = Answer(raw=raw)
    with pytest.raises(errors.Unavailable):
        async with request(address, "GET", "/x") as response:
            await response.read()


async def test_hanging_up_without_a_close_is_unavailable(daemon: ScriptedDaemon, address: Address) -> None:
    daemon.sockets["/ws"] = lambda channel: None
    async with open_websocket(address, "/ws") as channel:
        with pytest.raises(errors.Unavailable, match="hung up"):
            assert [m async for m in channel.messages()] == []


async def test_nothing_is_sent_once_closed(daemon: ScriptedDaemon, address: Address) -> None:
    daemon.sockets["/ws"] = lambda channel: channel.close()
    async with open_websocket(address, "/ws") as channel:
        assert [m async for m in channel.messages()] == []
        await channel.send("too late")
        assert channel.closed
