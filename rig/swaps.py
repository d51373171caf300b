"""Replica swaps at a rate that no machine starts containers at: the daemon's own data plane over servers of the rig.

Real are the documents, the table derived of them (`routes_plane`), the engine (HAProxy), and the way out: unlisted,
confirmed, drained, ended (`Traffic.withdraw`). What is not there are containers, and the daemon's other half that
starts them: each replica is a server of `app.py` on a loopback address of its own, which ends as on SIGTERM.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import anyio
from anyio.abc import TaskGroup

from app import FINISH, App
from crowd import PLAIN, TLS, crowd
from diary import Diary, Row
from load import Order
from stage import DRAIN, Measure, free_ports
from zlayer.agent.drain import Drain
from zlayer.agent.tables import routes_plane
from zlayer.agent.traffic import Traffic
from zlayer.model import keys
from zlayer.model.certificate import StoredCertificate
from zlayer.model.container import ContainerSpec
from zlayer.model.endpoint import Endpoint, Tls, Update
from zlayer.model.instance import Deployment, Instance, InstanceStatus, Service, State
from zlayer.model.secret import Secret
from zlayer.model.units import Seconds, Timestamp
from zlayer.plan.needs import certificate_name
from zlayer.proxy.certs.authority import LocalAuthority
from zlayer.proxy.haproxy.driver import HaproxyEngine
from zlayer.store.documents import encode
from zlayer.store.memory import MemoryStore
from zlayer.store.view import View
from zlayer.testing.builders import node

REPLICAS = 4
PORT = 8080
NAME = "rig.local"
CONTAINER = ContainerSpec(image="rig/app:1")
NODE = node("rig")


@dataclass(slots=True)
class Replica:
    """A server that answers, and the instance that it is to the plane."""

    app: App
    server: asyncio.Server
    connections: set[asyncio.StreamWriter]
    instance: Instance
    address: str

    def status(self) -> InstanceStatus:
        return InstanceStatus(
            id=self.instance.id, node=NODE.id, state=State.READY, address=self.address, ready_at=Timestamp(1)
        )

    async def end(self) -> None:
        """As the application ends on SIGTERM, and what it then still has is cut."""
        self.app.ending.set()
        self.server.close()
        if self.app.tasks:
            await asyncio.wait(self.app.tasks, timeout=FINISH)
        for writer in self.connections:
            writer.transport.abort()


@dataclass(slots=True)
class Swapping:
    """`swap` is one: a replica more that is ready, the oldest no longer wanted and on its way out."""

    store: MemoryStore
    traffic: Traffic
    tasks: TaskGroup
    slow: float
    replicas: list[Replica] = field(default_factory=list)
    made: int = 0
    leaving: int = 0
    most_leaving: int = 0
    applied: list[float] = field(default_factory=list)
    """Seconds from the commit of each swap to the table in force."""

    async def come(self) -> int:
        """The store's revision in which it is ready."""
        self.made += 1
        slot = self.made % REPLICAS + 1
        instance = Instance(
            id=f"rig-web-{self.made}", deployment="rig", service="web", slot=slot, revision=1, spec=CONTAINER,
            digest=CONTAINER.digest(), node=NODE.id,
        )  # fmt: skip
        replica = await _listening(instance, _address(self.made), self.slow)
        self.replicas.append(replica)
        documents = {keys.instance(instance.id): encode(instance), keys.status(instance.id): encode(replica.status())}
        return await self.store.commit(documents)

    async def swap(self) -> None:
        await self.come()
        old = self.replicas.pop(0)
        gone = old.instance.model_copy(update={"desired": "removed"})
        began = anyio.current_time()
        revision = await self.store.commit({keys.instance(gone.id): encode(gone)})
        self.tasks.start_soon(self._leave, old, gone)
        self.tasks.start_soon(self._timed, began, revision)

    async def _timed(self, began: float, revision: int) -> None:
        await self.traffic.published(revision)
        self.applied.append(anyio.current_time() - began)

    async def _leave(self, old: Replica, gone: Instance) -> None:
        self.leaving += 1
        self.most_leaving = max(self.leaving, self.most_leaving)
        await self.traffic.withdraw(gone)
        await old.end()
        await self.store.commit(deletes=[keys.instance(gone.id), keys.status(gone.id)])
        self.leaving -= 1


def _address(number: int) -> str:
    """All of 127.0.0.0/8 is the machine itself."""
    return f"127.77.{number >> 8 & 255}.{number & 255}"


async def _listening(instance: Instance, address: str, slow: float) -> Replica:
    app = App(instance.id, slow=slow)
    connections: set[asyncio.StreamWriter] = set()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.add(writer)
        try:
            await app.accept(reader, writer)
        finally:
            connections.discard(writer)

    server = await asyncio.start_server(accept, address, PORT)
    return Replica(app, server, connections, instance, address)


@asynccontextmanager
async def swapping(measure: Measure, directory: Path) -> AsyncIterator[tuple[Swapping, Order]]:
    """The data plane up with its replicas; the engine gone afterwards."""
    plain, tls = free_ports()
    authority = LocalAuthority(directory, "rig")
    pair = authority.sign([NAME])
    ends = (
        Endpoint(name="http", protocol="http", port=plain, target_port=PORT, public=True),
        Endpoint(name="tls", protocol="https", port=tls, target_port=PORT, public=True, tls=Tls()),
    )
    drain = Seconds(measure.slow + DRAIN)
    service = Service(container=CONTAINER, replicas=REPLICAS, endpoints=ends, update=Update(drain=drain))
    wanted = Deployment(name="rig", revision=1, services={"web": service}, created_at=Timestamp(1))
    name = certificate_name(ends[1])
    shown = StoredCertificate(name=name, source="self_signed", chain=pair.chain, key=pair.key.reveal())
    engine = HaproxyEngine(directory / "proxy")
    try:
        async with MemoryStore() as store, View(store) as view, anyio.create_task_group() as tasks:
            plane = routes_plane(NODE, engine, lambda sealed, _: Secret(sealed), 80)
            traffic = Traffic(view, [plane], Drain(engine.in_flight), engine)
            for run in (engine.run, traffic.run):
                tasks.start_soon(run)
            made = Swapping(store, traffic, tasks, measure.slow)
            documents = {keys.deployment("rig"): encode(wanted), keys.certificate(name): encode(shown)}
            await store.commit(documents)
            for _ in range(REPLICAS):
                revision = await made.come()
            await traffic.published(revision)
            yield made, Order(plain, {**PLAIN, **TLS}, drain, tls, str(directory / "ca.pem"))
            for replica in made.replicas:
                await replica.end()
            tasks.cancel_scope.cancel()
    finally:
        with anyio.CancelScope(shield=True):
            await engine.destroy()


async def swap_all(on: Swapping, measure: Measure, diary: Diary) -> str:
    """Swap at the rate that is asked for, or as fast as it goes; then wait for the last one to leave."""
    began = anyio.current_time()
    for number in range(measure.swaps):
        diary.note(f"swap {number + 1}")
        await on.swap()
        await anyio.sleep(max(0.0, began + (number + 1) / measure.rate - anyio.current_time()))
    rate = measure.swaps / (anyio.current_time() - began)
    while on.leaving:  # noqa: ASYNC110  # the rig's own tasks, some seconds
        await anyio.sleep(0.1)
    ordered = sorted(on.applied)
    p50, p95 = (ordered[int(len(ordered) * part)] * 1e3 for part in (0.5, 0.95))
    return (
        f"{measure.swaps} replica swaps at {rate:.0f}/s, each in force after {p50:.0f} ms (p95 {p95:.0f} ms), "
        f"up to {on.most_leaving} draining at a time"
    )


async def swaps(measure: Measure, diary: Diary) -> Row:
    """The whole phase, under a load of its own."""
    with tempfile.TemporaryDirectory(prefix="zl", dir="/tmp") as directory:
        async with swapping(measure, Path(directory)) as (on, order):
            with crowd(order, diary) as clients:
                did = await swap_all(on, measure, diary)
                row = await anyio.to_thread.run_sync(clients.end)
    row.did = did
    return row
