"""The runtime suite over every driver."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from zlayer.runtime.contract import CreateRequest, Handle
from zlayer.runtime.oci.driver import OciRuntime
from zlayer.testing.contracts.runtime import RuntimeContract
from zlayer.testing.contracts.runtime_programs import Program, answer_to, behaviour_of
from zlayer.testing.fake_machine import FakeMachine
from zlayer.testing.fake_runtime import FakeRuntime
from zlayer.testing.sandbox import Sandbox, engines, sandbox

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


class OciBench:
    """The real thing in a sandbox of its own."""

    def __init__(self, box: Sandbox, engine: str) -> None:
        self._box, self._engine = box, engine
        self._runtime = self._make()
        self._all = [self._runtime]

    def _make(self) -> OciRuntime:
        return OciRuntime(self._box.containers, self._box.run, self._box.cgroup, self._engine)

    def runtime(self) -> OciRuntime:
        return self._runtime

    async def restart(self) -> OciRuntime:
        self._runtime = self._make()
        self._all.append(self._runtime)
        return self._runtime

    def directory(self, handle: Handle) -> Path:
        return Path(handle.directory)

    def request(self, program: Program) -> CreateRequest:
        return self._box.request(*program.argv)

    async def close(self) -> None:
        for runtime in self._all:
            await runtime.close()


@pytest.mark.root
class TestOciRuntime(RuntimeContract):
    @pytest.fixture(params=engines())
    async def bench(self, request: pytest.FixtureRequest) -> AsyncIterator[OciBench]:
        with sandbox() as box:
            bench = OciBench(box, request.param)
            yield bench
            await bench.close()
