"""The network suite over the fake, and over a real bridge in a namespace that plays the host."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from zlayer.network.bridge import BridgeNetwork
from zlayer.testing.contracts.network import SUBNET, NetworkContract
from zlayer.testing.fake_network import FakeFabric, FakeNetwork
from zlayer.testing.netns import namespace, short_directory

pytestmark = pytest.mark.anyio


class FakeBench:
    def __init__(self) -> None:
        self._network = FakeNetwork(FakeFabric(subnet=SUBNET))

    def network(self) -> FakeNetwork:
        return self._network

    async def restart(self) -> FakeNetwork:
        self._network = FakeNetwork(self._network.fabric)
        return self._network


class BridgeBench:
    def __init__(self, run: Path, host: Path) -> None:
        self._run, self._host = run, host
        self._network = self._make()

    def _make(self) -> BridgeNetwork:
        return BridgeNetwork("c0ffee12", self._run, SUBNET, host=self._host)

    def network(self) -> BridgeNetwork:
        return self._network

    async def restart(self) -> BridgeNetwork:
        self._network.close()
        self._network = self._make()
        return self._network


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
