"""Streams: sent as they come, ended by the client's leaving, an error or the daemon's stop."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from starlette.types import Receive, Scope, Send

from zlayer.api import streams
from zlayer.api.streams import NDJSON, SSE, Emit, Produce, Stream, dumps, sse
from zlayer.model.errors import NotFound
from zlayer.testing.asgi import AsgiClient

pytestmark = pytest.mark.anyio


def app(produce: Produce, *, stopping: anyio.Event | None = None, **how: Any) -> AsgiClient:
    async def run(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()  # the request's body, which a route has always read by then
        await Stream(produce, stopping=stopping or anyio.Event(), **how)(scope, receive, send)

    return AsgiClient(run)


async def test_items_are_lines_and_the_end_is_the_end() -> None:
    async def produce(emit: Emit) -> None:
        await emit({"n": 1})
        await emit({"n": "ü"})

    reply = await app(produce).request("GET", "/")
    assert (reply.headers["content-type"], "content-length" in reply.headers) == (NDJSON, False)
    assert reply.body == '{"n":1}\n{"n":"ü"}\n'.encode()


async def test_each_item_goes_out_before_the_next_is_made() -> None:
    go_on = anyio.Event()

    async def produce(emit: Emit) -> None:
        await emit(1)
        await go_on.wait()
        await emit(2)

    async with app(produce).open("GET", "/") as stream:
        with anyio.fail_after(5):
            assert await stream.line() == 1
            go_on.set()
            assert await stream.line() == 2


async def test_an_error_is_the_last_item_even_out_of_a_task_group() -> None:
    async def produce(emit: Emit) -> None:
        await emit(1)

        async def fail() -> None:
            raise NotFound("it went away", hint="look elsewhere")

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(fail)
            await anyio.sleep_forever()

    lines = (await app(produce).request("GET", "/")).lines()
    assert lines[0] == 1
    assert (lines[1]["error"]["code"], lines[1]["error"]["hint"]) == ("not_found", "look elsewhere")


async def test_a_defect_is_not_hidden() -> None:
    async def produce(_emit: Emit) -> None:
        raise RuntimeError("a defect")

    with pytest.raises(ExceptionGroup):
        await app(produce).request("GET", "/")


async def test_hanging_up_cancels_and_lets_it_clean_up() -> None:
    cleaned = anyio.Event()

    async def produce(emit: Emit) -> None:
        try:
            await emit(1)
            await anyio.sleep_forever()
        finally:
            cleaned.set()

    with anyio.fail_after(5):
        async with app(produce).open("GET", "/") as stream:
            assert await stream.line() == 1
    assert cleaned.is_set()


async def test_a_client_that_is_gone_when_we_write_ends_it_too() -> None:
    async def produce(emit: Emit) -> None:
        while True:
            await emit(1)
            await anyio.lowlevel.checkpoint()

    async def send(message: Any) -> None:
        if message["type"] == "http.response.body":
            raise OSError("hung up")

    async def receive() -> Any:
        await anyio.sleep_forever()

    with anyio.fail_after(5):
        await Stream(produce, stopping=anyio.Event())({"type": "http", "path": "/"}, receive, send)


async def test_the_daemons_stop_ends_it_with_a_word() -> None:
    stopping = anyio.Event()

    async def produce(emit: Emit) -> None:
        await emit(1)
        await anyio.sleep_forever()

    async with app(produce, stopping=stopping).open("GET", "/") as stream:
        assert await stream.line() == 1
        stopping.set()
        assert (await stream.line())["error"]["code"] == "unavailable"


async def test_server_sent_events_and_their_pulse(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "KEEP_ALIVE", 0.01)
    heard = anyio.Event()

    async def produce(emit: Emit) -> None:
        await emit(("status", "7", {"a": 1}))
        await emit(("", "", [2]))
        await heard.wait()

    async with app(produce, encode=sse, media_type=SSE).open("GET", "/") as stream:
        text = b""
        with anyio.fail_after(5):
            async for chunk in stream.chunks():
                text += chunk
                if b": still here" in text:
                    heard.set()
    assert text.startswith(b'event: status\nid: 7\ndata: {"a":1}\n\ndata: [2]\n\n: still here\n\n')


def test_an_error_is_an_event_of_its_own() -> None:
    assert sse({"error": {"code": "x"}}) == b'event: error\ndata: {"code":"x"}\n\n'


def test_text_that_is_no_unicode_does_not_break_a_stream() -> None:
    assert dumps("\udce4") == b'"?"'
