"""The one list of drivers: which implementation stands behind each contract on this machine."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import anyio.to_thread
import structlog

from zlayer.agent.perform import Machine
from zlayer.daemon.config import Config
from zlayer.daemon.identity import Choose, forget_others, identify
from zlayer.daemon.runtimes import probe_runtimes
from zlayer.daemon.traffic import Carriers
from zlayer.image.layers import LayerStore
from zlayer.image.local import LocalImages
from zlayer.image.platform import own
from zlayer.image.rootfs import choose as choose_rootfs
from zlayer.image.s3 import keys
from zlayer.image.s3.keeper import Keeper
from zlayer.image.trust_gate import Gate
from zlayer.model.errors import Unavailable
from zlayer.model.instance import Node
from zlayer.model.paths import Paths
from zlayer.model.units import Timestamp
from zlayer.network.bridge import BridgeNetwork
from zlayer.network.bridges import foreign
from zlayer.network.dns.process import DnsProcess
from zlayer.network.holders import holder
from zlayer.network.netlink import Netlink
from zlayer.network.rules import Site
from zlayer.network.subnet import choose_subnet, choose_subnet6, preferred_subnet
from zlayer.proxy.certs.local import LocalCertifier
from zlayer.proxy.certs.sealing import FileSealer
from zlayer.proxy.haproxy.driver import HaproxyEngine
from zlayer.runtime.contract import Runtime
from zlayer.runtime.oci.cgroups.apart import set_apart
from zlayer.runtime.oci.cgroups.hierarchy import mounted
from zlayer.runtime.oci.driver import OciRuntime
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
    carriers: Carriers | None = None
    """What traffic goes by; None leaves the agent with networks alone."""
    gate: Gate | None = None
    """Where images are refused; it wants somebody to tell."""
    keeper: Keeper | None = None
    """Puts blobs into the bucket of the S3 tier, where there is one."""
    rootfs: str = ""
    """The driver behind the machine's snapshots."""


@asynccontextmanager
async def drivers(paths: Paths, config: Config) -> AsyncIterator[Drivers]:
    """Everything open and the network in place; leaving closes what we hold and changes nothing outside.

    Raises `Unavailable` when no runtime works here (the hint says how to get one), `Conflict`, `Corrupt` or `Denied`
    from the store, `Denied` without a key for the S3 tier, and what `Network.ensure` raises.
    """
    short = paths.id
    parent = f"zlayer-{short}"
    if (s3 := config.registries.s3) is not None:
        keys.find(s3.credentials_file, s3.profile, os.environ)
    async with AsyncExitStack() as stack:
        runtime = OciRuntime(paths.containers, paths.run, parent, config.runtime)
        stack.push_async_callback(runtime.close)
        engine = await _working(runtime)
        store = await stack.enter_async_context(SqliteStore(paths.state))
        node = await identify(
            store,
            config,
            choose=Choose(partial(_free_subnet, short), partial(_free_subnet6, short)),
            runtime=f"oci:{engine}",
            platform=str(own()),
            now=Timestamp(time.time()),
        )
        await forget_others(store, node)
        network = BridgeNetwork(Site(short, node.subnet, node.subnet6), paths.run)
        stack.callback(network.close)
        await network.ensure()
        images = LocalImages(paths.root, config.registries, rules=config.rules)
        rootfs = await anyio.to_thread.run_sync(choose_rootfs, paths.root, config.rootfs)
        log.info("rootfs driver", driver=rootfs.driver, reason=rootfs.reason)
        snapshots = rootfs.make(LayerStore(paths.layers), paths.containers)
        machine = Machine(runtime, images, snapshots, network, paths, time.time)
        carriers = _carriers(paths, config, network, partial(set_apart, mounted(), f"/{parent}-monitors"), node)
        stack.push_async_callback(carriers.proxy.close)
        stack.push_async_callback(carriers.names.close)
        probes = partial(probe_runtimes, paths, parent, engine.partition(" ")[0])
        yield Drivers(store, machine, node, probes, carriers, images.gate, images.keeper, rootfs.driver)


def _carriers(
    paths: Paths, config: Config, network: BridgeNetwork, apart: Callable[[int], None], node: Node
) -> Carriers:
    proxy = HaproxyEngine(paths.run / "proxy", apart=apart, holder=lambda port, ours: holder("tcp", port, but=ours))
    return Carriers(
        network=network,
        proxy=proxy,
        names=DnsProcess(paths.run / "dns", place=apart),
        keep=proxy.run,
        sealer=FileSealer(paths.root / "certs" / "seal.key"),
        certifier=LocalCertifier(paths.root / "certs", node.id),
        acme=config.acme,
        acme_port=config.acme_port,
        acme_tls_port=config.acme_tls_port,
    )


async def _working(runtime: Runtime) -> str:
    """The engine `auto` chose, such as `runc 1.1.5`."""
    probe = await runtime.probe()
    if not probe.ok:
        raise Unavailable(probe.reason, hint=probe.fix)
    return probe.engine


def _free_subnet(short: str, kept: str | None) -> str:
    return choose_subnet(kept or preferred_subnet(short), _foreign(short))


def _free_subnet6(short: str) -> str:
    """Empty where the kernel has no IPv6, or it is turned off."""
    off = Path("/proc/sys/net/ipv6/conf/all/disable_ipv6")
    if not off.exists() or off.read_text().strip() != "0":
        return ""
    return choose_subnet6(short, _foreign(short))


def _foreign(short: str) -> list[str]:
    with Netlink() as netlink:
        return foreign(netlink, Site(short, ""))
