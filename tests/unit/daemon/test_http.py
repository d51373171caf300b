"""uvicorn inside our task group."""

from __future__ import annotations

import signal
from typing import Any

import anyio
import pytest
from anyio.to_thread import run_sync

from zlayer.client import transport
from zlayer.client.transport import Address
from zlayer.daemon import http
from zlayer.daemon.http import Listener
from zlayer.daemon.listen import Bind, bound, open_tcp

pytestmark = pytest.mark.anyio


async def plain(scope: Any, _receive: Any, send: Any) -> None:
    body = str(scope["client"][0]).encode()
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def get(address: Address, headers: dict[str, str]) -> tuple[bytes, dict[str, str]]:
    with transport.request(address, "GET", "/", headers=headers) as response:
        return response.read(), response.headers


async def test_it_answers_until_it_is_stopped_and_leaves_signals_alone() -> None:
    socket = open_tcp(Bind("127.0.0.1", 0))
    where = bound(socket)
    address = Address(host=where.host, port=where.port)
    before = signal.getsignal(signal.SIGTERM)
    listener = Listener(plain, socket)
    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(listener.answer)
            body, headers = await run_sync(get, address, {"X-Forwarded-For": "192.0.2.9"})
            assert signal.getsignal(signal.SIGTERM) is before
            listener.stop()
    assert body == b"127.0.0.1"  # what a client says of itself is not believed
    assert "server" not in headers
    assert socket.fileno() == -1


async def test_who_never_ends_the_head_of_a_request_is_hung_up_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "HEAD", 0.2)
    socket = open_tcp(Bind("127.0.0.1", 0))
    where = bound(socket)
    listener = Listener(plain, socket)
    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(listener.answer)
            async with (
                await anyio.connect_tcp(where.host, where.port) as silent,
                await anyio.connect_tcp(where.host, where.port) as slow,
            ):
                await slow.send(b"GET / HTTP/1.1\r\nX: ")
                for client in (silent, slow):
                    with pytest.raises(anyio.EndOfStream):
                        await client.receive()
            listener.stop()


async def test_who_never_ends_a_body_that_was_answered_is_hung_up_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "HEAD", 0.2)
    socket = open_tcp(Bind("127.0.0.1", 0))
    where = bound(socket)
    listener = Listener(plain, socket)
    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(listener.answer)
            async with await anyio.connect_tcp(where.host, where.port) as client:
                await client.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\na")
                assert (await client.receive()).startswith(b"HTTP/1.1 200")
                await client.send(b"b")
                with pytest.raises(anyio.EndOfStream):
                    await client.receive()
            listener.stop()


async def test_a_connection_between_two_requests_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "HEAD", 0.2)
    socket = open_tcp(Bind("127.0.0.1", 0))
    where = bound(socket)
    listener = Listener(plain, socket)
    request = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(listener.answer)
            async with await anyio.connect_tcp(where.host, where.port) as client:
                for _ in range(2):
                    await client.send(request)
                    assert (await client.receive()).startswith(b"HTTP/1.1 200")
                    await anyio.sleep(0.3)
            listener.stop()
