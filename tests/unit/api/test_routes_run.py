"""One-offs (zlayer.api.routes.run, zlayer.api.oneoff): events, output, end, and what is left when someone goes away."""

from __future__ import annotations

import base64
from typing import Any

import anyio
import pytest

from zlayer.model.errors import Failed, NotFound
from zlayer.runtime.contract import CreateRequest
from zlayer.testing.fake_machine import Behaviour

from .conftest import Stack, StackFactory

pytestmark = pytest.mark.anyio
RUN = "/api/v1/run"
IMAGE = {"image": "example.test/app:1"}


def says(text: bytes, code: int = 0) -> Any:
    return lambda _request: Behaviour(exit_after=0.02, exit_code=code, output=(("stdout", text), ("stderr", b"e\n")))


def forever(_request: CreateRequest) -> Behaviour:
    return Behaviour(output=(("stdout", b"on\n"),))


async def empty(s: Stack) -> None:
    """Nothing of any one-off is left, in the store or on the machine."""
    await s.until(lambda: not s.views.instances())
    assert s.machine.containers == {}


async def test_a_run_to_its_end_with_output_and_code(stack: StackFactory) -> None:
    async with stack(says(b"hello\n", code=3)) as s:
        events = (await s.client.request("POST", RUN, {**IMAGE, "command": ["say"]})).lines()
        assert [event["event"] for event in events] == ["created", "output", "output", "exited"]
        said = {event["stream"]: base64.b64decode(event["data"]) for event in events if event["event"] == "output"}
        assert said == {"stdout": b"hello\n", "stderr": b"e\n"}
        assert (events[-1]["code"], events[-1]["oom"]) == (3, False)
        assert len(s.views.instances("_run")) == 1  # without rm it is kept, with its log


async def test_rm_leaves_nothing(stack: StackFactory) -> None:
    async with stack(says(b"x")) as s:
        events = (await s.client.request("POST", RUN, {**IMAGE, "rm": True})).lines()
        assert [event["event"] for event in events][-2:] == ["exited", "removed"]
        await empty(s)


async def test_what_was_asked_reaches_the_container(stack: StackFactory) -> None:
    seen: list[CreateRequest] = []

    def script(request: CreateRequest) -> Behaviour:
        seen.append(request)
        return Behaviour(exit_after=0.0)

    body = {
        **IMAGE, "command": ["sh", "-c", "id"], "env": {"A": "1"}, "memory": 1 << 25, "cpu": 0.5, "workdir": "/w",
        "user": "1000", "mounts": [{"type": "tmpfs", "target": "/t"}], "read_only": True, "name": "job",
    }  # fmt: skip
    async with stack(script) as s:
        assert (await s.client.request("POST", RUN, body)).status == 200
        [request] = seen
        assert request.argv[-3:] == ("sh", "-c", "id")
        assert (request.env["A"], request.cwd, request.user, request.read_only_root) == ("1", "/w", "1000", True)
        assert (request.resources.memory, request.resources.cpu) == (1 << 25, 0.5)
        assert [mount.target for mount in request.mounts if mount.type == "tmpfs"] == ["/t"]
        assert s.views.instances("_run")[0]["service"] == "job"


async def test_out_of_memory_is_said_so(stack: StackFactory) -> None:
    async with stack(lambda _request: Behaviour(exit_after=0.01, exit_code=137, oom=True)) as s:
        exited = (await s.client.request("POST", RUN, IMAGE)).lines()[-1]
        assert (exited["code"], exited["oom"]) == (137, True)


async def test_an_image_that_is_not_there_leaves_nothing(stack: StackFactory) -> None:
    async with stack() as s:

        def absent(reference: str) -> None:
            raise NotFound(f"no image {reference}", hint="spell it right")

        s.images.fault = absent
        [event] = (await s.client.request("POST", RUN, {**IMAGE, "rm": True})).lines()
        assert (event["error"]["code"], event["error"]["hint"]) == ("not_found", "spell it right")
        await empty(s)


async def test_a_container_that_cannot_be_made_ends_with_the_reason(stack: StackFactory) -> None:
    error = Failed("exec: no such file or directory: nope")
    async with stack(lambda _request: Behaviour(create_error=error)) as s:
        events = (await s.client.request("POST", RUN, {**IMAGE, "rm": True, "command": ["nope"]})).lines()
        exited = next(event for event in events if event["event"] == "exited")
        assert exited["code"] == 127
        assert "nope" in exited["reason"]
        await empty(s)


async def test_hanging_up_removes_what_was_to_be_removed(stack: StackFactory) -> None:
    async with stack(forever) as s:
        async with s.client.open("POST", RUN, {**IMAGE, "rm": True}) as run:
            assert (await run.line())["event"] == "created"
            assert (await run.line())["event"] == "output"
        with anyio.fail_after(15):
            await empty(s)


async def test_hanging_up_leaves_what_was_not(stack: StackFactory) -> None:
    async with stack(forever) as s:
        async with s.client.open("POST", RUN, IMAGE) as run:
            assert (await run.line())["event"] == "created"
            assert (await run.line())["event"] == "output"
        await s.until(lambda: [row["state"] for row in s.views.instances("_run")] == ["running"])


async def test_hanging_up_before_it_started_removes_it_in_any_case(stack: StackFactory) -> None:
    async with stack(lambda _request: Behaviour(create_seconds=0.3)) as s:
        async with s.client.open("POST", RUN, IMAGE) as run:
            assert (await run.line())["event"] == "created"
        with anyio.fail_after(15):
            await empty(s)


async def test_a_stopping_daemon_ends_the_stream_and_leaves_the_container(stack: StackFactory) -> None:
    async with stack(forever) as s:
        async with s.client.open("POST", RUN, {**IMAGE, "rm": True}) as run:
            assert (await run.line())["event"] == "created"
            assert (await run.line())["event"] == "output"
            s.services.stopping.set()
            assert (await run.line())["error"]["code"] == "unavailable"
        await s.until(lambda: [row["state"] for row in s.views.instances("_run")] == ["running"])


async def test_detached_it_ends_once_it_runs(stack: StackFactory) -> None:
    async with stack(forever) as s:
        events = (await s.client.request("POST", RUN, {**IMAGE, "detach": True, "rm": True})).lines()
        assert [event["event"] for event in events] == ["created"]
        assert s.views.instance(events[0]["id"])["state"] == "running"
        assert (await s.client.request("DELETE", f"/api/v1/instances/{events[0]['id']}")).status == 202
        with anyio.fail_after(15):
            await empty(s)


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"tty": True}, "/tty"),
        ({"stdin": True}, "/stdin"),
        ({"mounts": [{"type": "bind", "source": "rel", "target": "/x"}]}, "/mounts/0/source"),
        ({"mounts": [{"source": "data", "target": "rel"}]}, "/mounts/0/target"),
    ],
)
async def test_what_cannot_be_is_refused(stack: StackFactory, body: dict[str, Any], pointer: str) -> None:
    async with stack() as s:
        reply = await s.client.request("POST", RUN, {**IMAGE, **body})
        assert reply.status == 422
        assert [error["pointer"] for error in reply.json()["errors"]] == [pointer]
        assert s.views.instances() == []


async def test_live_stdio_and_the_exit_code(stack: StackFactory) -> None:
    async with stack(lambda _request: Behaviour(echo=True)) as s, s.client.channel(RUN) as channel:
        await channel.tell({**IMAGE, "stdin": True, "rm": True})
        assert (await channel.receive())["event"] == "created"
        await channel.send(b"\x00hello")
        assert await channel.receive() == b"\x01hello"
        await channel.tell({"close_stdin": True})
        rest = [await channel.receive() for _ in range(3)]
        assert [next(iter(message)) for message in rest] == ["event", "event", "exit_code"]
        assert rest[-1] == {"exit_code": 0}
        assert await channel.receive() is None
        assert channel.code == 1000
        await empty(s)


async def test_signals_go_through(stack: StackFactory) -> None:
    async with stack(forever) as s, s.client.channel(RUN) as channel:
        await channel.tell({**IMAGE, "tty": True, "rows": 24, "columns": 80})
        assert (await channel.receive())["event"] == "created"
        assert await channel.receive() == b"\x01on\n"
        await channel.tell({"signal": "SIGINT"})
        assert (await channel.receive())["event"] == "exited"
        assert await channel.receive() == {"exit_code": 130}


async def test_hanging_up_a_live_run_removes_it(stack: StackFactory) -> None:
    async with stack(forever) as s:
        async with s.client.channel(RUN) as channel:
            await channel.tell({**IMAGE, "rm": True})
            assert (await channel.receive())["event"] == "created"
            assert await channel.receive() == b"\x01on\n"
        with anyio.fail_after(15):
            await empty(s)


async def test_a_channel_that_makes_no_sense_is_told_so(stack: StackFactory) -> None:
    async with stack(forever) as s:
        async with s.client.channel(RUN) as channel:
            await channel.tell({"imag": "x"})
            assert {error["pointer"] for error in (await channel.receive())["error"]["errors"]} == {"/image", "/imag"}
            assert await channel.receive() is None
            assert channel.code == 1011
        async with s.client.channel(RUN) as channel:
            await channel.tell({**IMAGE, "rm": True})
            assert (await channel.receive())["event"] == "created"
            assert await channel.receive() == b"\x01on\n"
            await channel.tell({"dance": True})
            assert (await channel.receive())["error"]["code"] == "invalid"
        with anyio.fail_after(15):
            await empty(s)
