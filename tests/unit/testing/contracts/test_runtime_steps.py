"""The runtime suite fails on a runtime that is wrong: a suite that cannot fail proves nothing."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from zlayer.model.errors import Invalid, NotFound
from zlayer.model.units import Timestamp
from zlayer.runtime.contract import CreateRequest, Exit, Handle, LogLine
from zlayer.testing.contracts.runtime import LifecycleContract, RestartContract
from zlayer.testing.contracts.runtime_programs import Program, answer_to, behaviour_of
from zlayer.testing.contracts.runtime_sessions import LogContract
from zlayer.testing.contracts.runtime_steps import refused
from zlayer.testing.fake_machine import FakeMachine
from zlayer.testing.fake_runtime import FakeRuntime

pytestmark = pytest.mark.anyio


class Bench:
    def __init__(self, runtime: FakeRuntime) -> None:
        runtime.machine.script, runtime.machine.on_exec = behaviour_of, answer_to
        self._runtime = runtime
        self._numbers = itertools.count()

    def runtime(self) -> FakeRuntime:
        return self._runtime

    async def restart(self) -> FakeRuntime:
        return self._runtime

    def directory(self, handle: Handle) -> Path:
        return Path(handle.directory)

    def request(self, program: Program) -> CreateRequest:
        name = f"x{next(self._numbers)}"
        return CreateRequest(id=name, directory=Path("/f", name), rootfs=Path("/f"), argv=program.argv)


class Forgetful(FakeRuntime):
    """Loses the last line of every log."""

    async def logs(
        self,
        directory: Path,
        *,
        tail: int | None = None,
        since: Timestamp | None = None,
        follow: bool = False,
    ) -> AsyncIterator[LogLine]:
        lines = [line async for line in super().logs(directory, tail=tail, since=since)]
        for line in lines[:-1]:
            yield line


class Doubling(FakeRuntime):
    """Makes a second container when asked again."""

    async def create(self, request: CreateRequest) -> Handle:
        self.machine.containers.pop(request.id, None)
        return await super().create(request)


class Absentminded(FakeRuntime):
    """Never knows an exit code."""

    async def wait(self, handle: Handle, doubt: object = None) -> Exit:
        ended = await super().wait(handle)
        return Exit(None, ended.oom, ended.at)


async def test_lost_lines_are_seen() -> None:
    with pytest.raises(AssertionError):
        await LogContract().test_lines_in_order_with_their_stream(Bench(Forgetful(FakeMachine())))


async def test_a_second_container_is_seen() -> None:
    with pytest.raises(AssertionError):
        await LifecycleContract().test_create_again_returns_the_same_handle(Bench(Doubling(FakeMachine())))


async def test_a_lost_code_is_seen() -> None:
    with pytest.raises(AssertionError):
        await RestartContract().test_what_ended_meanwhile_tells_its_code(Bench(Absentminded(FakeMachine())))


async def test_refused_wants_that_very_kind() -> None:
    async def invalid() -> None:
        raise Invalid("no")

    assert (await refused(Invalid, invalid())).message == "no"
    with pytest.raises(Invalid):
        await refused(NotFound, invalid())
    with pytest.raises(AssertionError):
        await refused(NotFound, anyio.lowlevel.checkpoint())
