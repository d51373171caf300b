"""The network suite over the fake, and over a real bridge in a namespace that plays the host."""

from __future__ import annotations

import os
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from zlayer.network.bridge import BridgeNetwork
from zlayer.network.rules import Site
from zlayer.testing.contracts.network import POOL, POOL6, NetworkContract
from zlayer.testing.fake_network import FakeFabric, FakeNetwork
from zlayer.testing.netns import namespace, run_inside, short_directory

pytestmark = pytest.mark.anyio


class FakeBench:
    def __init__(self) -> None:
        self._network = FakeNetwork(FakeFabric())

    def network(self) -> FakeNetwork:
        return self._network

    async def restart(self) -> FakeNetwork:
        self._network = FakeNetwork(self._network.fabric)
        return self._network

    def occupy(self, port: int) -> None:
        self._network.fabric.taken.add(("tcp", port))


class BridgeBench:
    def __init__(self, run: Path, host: Path) -> None:
        self._run, self._host = run, host
        self.listening: list[socket.socket] = []
        self._network = self._make()

    def _make(self) -> BridgeNetwork:
        return BridgeNetwork(Site("c0ffee12", POOL, POOL6), self._run, host=self._host)

    def network(self) -> BridgeNetwork:
        return self._network

    async def restart(self) -> BridgeNetwork:
        self._network.close()
        self._network = self._make()
        return self._network

    def occupy(self, port: int) -> None:
        self.listening.append(run_inside(self._host, lambda: socket.create_server(("127.0.0.1", port))))


class TestFakeNetwork(NetworkContract):
    @pytest.fixture
    def bench(self) -> FakeBench:
        return FakeBench()


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: makes network namespaces")
class TestBridgeNetwork(NetworkContract):
    @pytest.fixture
    async def bench(self) -> AsyncIterator[BridgeBench]:
        with short_directory() as run, namespace() as host:
            made = BridgeBench(run, host)
            try:
                yield made
            finally:
                await made.network().destroy()
                made.network().close()
                for one in made.listening:
                    one.close()
