"""The runtime suite over the fake."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from zlayer.runtime.contract import CreateRequest, Handle
from zlayer.testing.contracts.runtime import RuntimeContract
from zlayer.testing.contracts.runtime_programs import Program, answer_to, behaviour_of
from zlayer.testing.fake_machine import FakeMachine
from zlayer.testing.fake_runtime import FakeRuntime

pytestmark = pytest.mark.anyio


class FakeBench:
    def __init__(self) -> None:
        self._runtime = FakeRuntime(FakeMachine(script=behaviour_of, on_exec=answer_to))
        self._number = itertools.count(1)

    def runtime(self) -> FakeRuntime:
        return self._runtime

    async def restart(self) -> FakeRuntime:
        self._runtime = FakeRuntime(self._runtime.machine)
        return self._runtime

    def directory(self, handle: Handle) -> Path:
        return Path(handle.directory)

    def request(self, program: Program) -> CreateRequest:
        name = f"c{next(self._number)}"
        directory = Path("/fake") / name
        return CreateRequest(id=name, directory=directory, rootfs=directory / "rootfs", argv=program.argv)


class TestFakeRuntime(RuntimeContract):
    @pytest.fixture
    def bench(self) -> FakeBench:
        return FakeBench()
