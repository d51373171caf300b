"""The one list of drivers: which implementation stands behind each contract on this machine."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import structlog

from zlayer.agent.perform import Machine
from zlayer.daemon.config import Config
from zlayer.daemon.identity import forget_others, identify
from zlayer.daemon.runtimes import probe_runtimes
from zlayer.image.layers import LayerStore
from zlayer.image.local import LocalImages
from zlayer.image.platform import own
from zlayer.image.snapshots import OverlaySnapshots
from zlayer.model.base import Timestamp
from zlayer.model.instance import Node
from zlayer.model.paths import Paths
from zlayer.network.bridge import BridgeNetwork, host_routes
from zlayer.network.names import bridge_name
from zlayer.network.subnet import choose_subnet, preferred_subnet
from zlayer.runtime.oci.driver import OciRuntime
from zlayer.runtime.oci.probe import find_tools
from zlayer.store.contract import Store
from zlayer.store.sqlite import SqliteStore

log = structlog.get_logger()

ProbeRuntimes = Callable[[], Awaitable[Sequence[Mapping[str, Any]]]]  # Any: JSON values


@dataclass(frozen=True, slots=True)
class Drivers:
    """What a daemon is made of. `node` is not stored yet: the agent registers it."""

    store: Store
    machine: Machine
    node: Node
    probe_runtimes: ProbeRuntimes


@asynccontextmanager
async def drivers(paths: Paths, config: Config) -> AsyncIterator[Drivers]:
    """Everything open and the network in place; leaving closes what we hold and changes nothing outside.

    Raises `Unavailable` when no runtime works here (the hint says how to get one), `Conflict`, `Corrupt` or `Denied`
    from the store, and what `Network.ensure` raises.
    """
    short = paths.id
    parent = f"zlayer-{short}"
    tools = await find_tools(paths.run, parent, config.runtime)
    runtime = OciRuntime(paths.containers, paths.run, parent, config.runtime)

    def free_subnet(kept: str | None) -> str:
        wanted = kept or preferred_subnet(short)
        return choose_subnet(wanted, host_routes(besides=bridge_name(short)))

    async with SqliteStore(paths.state) as store:
        node = await identify(
            store,
            config,
            choose=free_subnet,
            runtime=f"oci:{tools.engine}",
            platform=str(own()),
            now=Timestamp(time.time()),
        )
        await forget_others(store, node)
        network = BridgeNetwork(short, paths.run, node.subnet)
        try:
            await network.ensure()
            images = LocalImages(paths.root, config.registries)
            snapshots = OverlaySnapshots(LayerStore(paths.layers), paths.containers)
            machine = Machine(runtime, images, snapshots, network, paths, time.time)
            probe = partial(probe_runtimes, paths.run, parent, tools.engine.name)
            yield Drivers(store, machine, node, probe)
        finally:
            network.close()
