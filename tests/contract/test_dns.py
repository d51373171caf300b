"""The suite of name servers over the fake and the real process."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from zlayer.network.dns.contract import NameServer
from zlayer.testing.contracts.dns import NameServerContract
from zlayer.testing.fake_names import FakeNames, FakeNameServer
from zlayer.testing.name_bench import ProcessBench

pytestmark = pytest.mark.anyio


class FakeBench:
    listen = ("10.0.0.1", "10.0.0.2")

    def __init__(self) -> None:
        self.names = FakeNames()

    def server(self) -> NameServer:
        return FakeNameServer(self.names)

    async def restart(self) -> NameServer:
        return FakeNameServer(self.names)

    async def lookup(self, listen: str, name: str) -> tuple[str, ...] | None:
        views = self.names.zone.views if self.names.zone is not None else ()
        network = next((view.network for view in views if listen in view.listen), "")
        return self.names.lookup(network, name)


class TestFake(NameServerContract):
    @pytest.fixture
    def bench(self) -> FakeBench:
        return FakeBench()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: the server gives its rights up")
class TestProcess(NameServerContract):
    @pytest.fixture
    async def bench(self, tmp_path: Path) -> AsyncIterator[ProcessBench]:
        bench = ProcessBench(tmp_path / "dns")
        try:
            yield bench
        finally:
            await bench.server().destroy()
