"""Exec, once and live."""

from __future__ import annotations

import anyio
import pytest

from zlayer.runtime.contract import ExecRequest
from zlayer.testing.fake_machine import ExecAnswer, FakeContainer

from .conftest import StackFactory

pytestmark = pytest.mark.anyio
EXEC = "/api/v1/deployments/shop/services/web/exec"


async def test_exec_gives_code_and_both_outputs(stack: StackFactory) -> None:
    asked: list[ExecRequest] = []

    def answer(_container: FakeContainer, request: ExecRequest) -> ExecAnswer:
        asked.append(request)
        return ExecAnswer(code=7, output=(("stdout", b"out \xff"), ("stderr", b"err")))

    async with stack() as s:
        s.machine.on_exec = answer
        await s.deploy()
        body = {"command": ["id", "-u"], "env": {"A": "1"}, "user": "nobody", "workdir": "/tmp", "slot": 1}
        reply = await s.client.request("POST", EXEC, body)
        assert reply.json() == {"exit_code": 7, "stdout": "out \ufffd", "stderr": "err", "truncated": False}
        assert asked[-1] == ExecRequest(("id", "-u"), {"A": "1"}, "/tmp", "nobody")


async def test_exec_needs_a_command_a_service_and_a_replica(stack: StackFactory) -> None:
    async with stack() as s:
        await s.deploy()
        assert (await s.client.request("POST", EXEC, {"command": []})).status == 422
        assert (await s.client.request("POST", EXEC, {"command": ["x"], "slot": 9})).status == 404
        assert (await s.client.request("POST", EXEC.replace("web", "db"), {"command": ["x"]})).status == 404


async def test_hanging_up_ends_an_exec(stack: StackFactory) -> None:
    begun = anyio.Event()

    def answer(_container: FakeContainer, _request: ExecRequest) -> ExecAnswer:
        begun.set()
        return ExecAnswer(seconds=3600)

    async with stack() as s:
        s.machine.on_exec = answer
        await s.deploy()
        with anyio.fail_after(10):  # leaving waits until the application has returned
            async with s.client.sent("POST", EXEC, {"command": ["sleep"]}):
                await begun.wait()


async def test_live_exec_carries_stdin_and_ends_with_the_code(stack: StackFactory) -> None:
    async with stack() as s:
        s.machine.on_exec = lambda _container, _request: ExecAnswer(code=4, echo=True)
        await s.deploy()
        async with s.client.channel(EXEC) as channel:
            await channel.tell({"command": ["cat"], "stdin": True, "tty": True, "rows": 24, "columns": 80})
            await channel.send(b"\x00one")
            assert await channel.receive() == b"\x01one"
            await channel.tell({"resize": [30, 100]})
            await channel.tell({"close_stdin": True})
            assert await channel.receive() == {"exit_code": 4}
            assert await channel.receive() is None


@pytest.mark.parametrize(
    "frame", ["[" * 100_000, '{"resize": [0, 80]}', '{"resize": [70000, 80]}', '{"resize": "big"}']
)
async def test_a_frame_that_means_nothing_ends_the_session_with_a_reason(stack: StackFactory, frame: str) -> None:
    async with stack() as s:
        s.machine.on_exec = lambda _container, _request: ExecAnswer(echo=True)
        await s.deploy()
        async with s.client.channel(EXEC) as channel:
            await channel.tell({"command": ["cat"], "stdin": True, "tty": True})
            await channel.to_app.send({"type": "websocket.receive", "text": frame})
            assert (await channel.receive())["error"]["code"] == "invalid"


async def test_without_stdin_the_command_sees_its_end_at_once(stack: StackFactory) -> None:
    async with stack() as s:
        s.machine.on_exec = lambda _container, _request: ExecAnswer(echo=True)
        await s.deploy()
        async with s.client.channel(EXEC) as channel:
            await channel.tell({"command": ["cat"]})
            assert await channel.receive() == {"exit_code": 0}


async def test_an_exec_that_cannot_be_is_told_before_or_after_the_handshake(stack: StackFactory) -> None:
    async with stack() as s:
        await s.deploy()
        async with s.client.channel(EXEC.replace("web", "db")) as channel:
            refused = await channel.from_app.receive()
            assert (refused["type"], refused["status"]) == ("websocket.http.response.start", 404)
        async with s.client.channel(EXEC) as channel:
            await channel.tell({"command": ["x"], "slot": 9})
            assert (await channel.receive())["error"]["code"] == "not_found"
            assert await channel.receive() is None


async def test_a_stopping_daemon_says_so_on_live_channels(stack: StackFactory) -> None:
    async with stack() as s:
        s.machine.on_exec = lambda _container, _request: ExecAnswer(output=(("stdout", b"x"),), seconds=3600)
        await s.deploy()
        async with s.client.channel(EXEC) as channel:
            await channel.tell({"command": ["sleep"], "stdin": True})
            assert await channel.receive() == b"\x01x"
            s.services.stopping.set()
            assert (await channel.receive())["error"]["code"] == "unavailable"
