"""Health checks: verdicts in virtual time, and answers from real sockets."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import anyio
import pytest

from zlayer.agent import probes
from zlayer.agent.probes import Target
from zlayer.model.container import CommandCheck, Health, HttpCheck, TcpCheck
from zlayer.model.units import Seconds
from zlayer.runtime.contract import CreateRequest, Handle
from zlayer.testing.clock import run
from zlayer.testing.fake_machine import ExecAnswer, FakeMachine
from zlayer.testing.fake_runtime import FakeRuntime

COMMAND = Health(check=CommandCheck(command="true"), interval=Seconds(10), retries=3, start_grace=Seconds(30))


async def started(machine: FakeMachine) -> Handle:
    from pathlib import Path

    runtime = FakeRuntime(machine)
    handle = await runtime.create(CreateRequest("a", Path("/c/a"), Path("/c/a/r"), ("serve",)))
    await runtime.start(handle)
    return handle


def verdicts(codes: dict[float, int], until: float, health: Health = COMMAND) -> list[tuple[float, bool]]:
    """What `watch` says when the check answers `codes[t]` from time t on."""

    async def story() -> list[tuple[float, bool]]:
        machine = FakeMachine()
        handle = await started(machine)
        machine.on_exec = lambda _c, _r: ExecAnswer(
            code=[code for at, code in sorted(codes.items()) if at <= anyio.current_time()][-1]
        )
        found: list[tuple[float, bool]] = []
        with anyio.move_on_after(until):
            async for healthy, _ in probes.watch(health, Target(handle, None), FakeRuntime(machine)):
                found.append((round(anyio.current_time(), 1), healthy))
        return found

    return run(story)


def test_ready_after_the_first_success() -> None:
    assert verdicts({0: 0}, 100) == [(0.0, True)]


def test_failures_within_the_grace_do_not_count() -> None:
    [(at, healthy)] = verdicts({0: 1, 20: 0}, 100)
    assert healthy
    assert 20 <= at <= 31


def test_unhealthy_only_after_retries_in_a_row_and_back_at_the_next_success() -> None:
    found = verdicts({0: 0, 35: 1, 55: 0, 75: 1, 135: 0}, 200)
    assert [healthy for _, healthy in found] == [True, False, True]
    assert 95 <= found[1][0] <= 101, "three failures ten seconds apart, the first after 75"
    assert 135 <= found[2][0] <= 141, "the interval does not grow while it fails"


def test_a_container_that_never_comes_up_is_unhealthy_after_its_grace() -> None:
    [(at, healthy)] = verdicts({0: 1}, 300)
    assert not healthy
    assert 30 <= at <= 65


@contextmanager
def server(answer: bytes) -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                connection.recv(1000)
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(5)


NOBODY = Handle("fake", "a", "/c/a", 1)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("answer", "ok", "reason"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", True, ""),
        (b"HTTP/1.0 503 Busy\r\n\r\n", False, "status 503, expected 200"),
        (b"SSH-2.0-OpenSSH\r\n", False, "not an HTTP answer: 'SSH-2.0-OpenSSH'"),
        (b"", False, "connection closed"),
    ],
)
async def test_http(answer: bytes, ok: bool, reason: str) -> None:
    with server(answer) as port:
        health = Health(check=HttpCheck(port=port, path="/health"))
        found = await probes.check(health, Target(NOBODY, "127.0.0.1"), FakeRuntime())
    assert found.ok is ok
    assert reason in found.reason


@pytest.mark.anyio
async def test_tcp_and_its_refusal() -> None:
    with server(b"") as port:
        health = Health(check=TcpCheck(port=port))
        assert (await probes.check(health, Target(NOBODY, "127.0.0.1"), FakeRuntime())).ok
    refused = await probes.check(health, Target(NOBODY, "127.0.0.1"), FakeRuntime())
    assert refused.reason == f"tcp port {port}: connection refused: nothing listens there"


@pytest.mark.anyio
async def test_silence_is_a_failure_that_names_the_timeout() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        health = Health(check=HttpCheck(port=port), timeout=Seconds(0.05))
        found = await probes.check(health, Target(NOBODY, "127.0.0.1"), FakeRuntime())
    assert found.reason == f"GET / on port {port}: no answer within 0.05 s"


@pytest.mark.anyio
async def test_a_command_tells_its_exit_code_and_last_words() -> None:
    machine = FakeMachine()
    handle = await started(machine)
    machine.on_exec = lambda _c, _r: ExecAnswer(code=2, output=(("stderr", b"no\nserver running\n"),))
    found = await probes.check(COMMAND, Target(handle, None), FakeRuntime(machine))
    assert found.reason == "command 'true': exit code 2: server running"
