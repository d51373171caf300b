"""The agent of one node: a loop per instance, fed by the store, with what the API may ask of running instances."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Container, Iterable, Mapping
from dataclasses import replace

import anyio
import structlog
from anyio.abc import TaskGroup
from anyio.to_thread import run_sync

from zlayer.agent.contract import NodeTraffic
from zlayer.agent.fabric import network_plane
from zlayer.agent.homes import Homes
from zlayer.agent.instance import InstanceLoop, Shop
from zlayer.agent.journal import Record
from zlayer.agent.perform import Machine, Steps
from zlayer.agent.planes import PlaneLoop
from zlayer.agent.recover import mood_of, recover, remembered, widowed
from zlayer.agent.status import StatusWriter, state_of
from zlayer.agent.traffic import Traffic
from zlayer.agent.turns import turns, under_way
from zlayer.model import keys
from zlayer.model.errors import Conflict, NotFound
from zlayer.model.instance import Instance, InstanceStatus, Node
from zlayer.model.units import Timestamp
from zlayer.plan.backoff import delay
from zlayer.plan.lifecycle import Stage
from zlayer.runtime.contract import ExecRequest, Handle, LogLine, Session, Stats
from zlayer.store.contract import Store
from zlayer.store.documents import decoder, read
from zlayer.store.mirror import Mirror
from zlayer.store.view import View

_read_instance = decoder(Instance)
_read_instancestatus = decoder(InstanceStatus)

log = structlog.get_logger(__name__)

STARTS = 4
ENDS = 4
HEARD_WITHIN = 0.1
"""Seconds after which the store is asked whether there is such an instance at all."""
TOLD_WITHIN = 5.0
"""Seconds that traffic waits at the start of a daemon for what was recovered to be in the store."""


class Agent:
    """`run` until cancelled; containers go on. Everything it needs is a contract, the clock included."""

    def __init__(
        self,
        store: Store,
        node: Node,
        machine: Machine,
        *,
        traffic: Traffic | None = None,
        starts: int = STARTS,
        ends: int = ENDS,
    ) -> None:
        self.node = node
        self.images = machine.images
        self.recovered = anyio.Event()
        self._store = store
        self._traffic = traffic
        self.traffic: NodeTraffic | None = traffic
        if traffic is not None:
            machine = replace(machine, withdraw=traffic.withdraw)
        machine = replace(machine, subnet=Homes(store, node).subnet)
        self._machine = machine
        steps = turns(starts, ends)
        self._writer = StatusWriter(store, machine.clock, lambda: under_way(steps))
        self._loops: dict[str, InstanceLoop] = {}
        self.looked = anyio.Event()
        """Set once it has seen what was wanted at its start; who serves clients waits for it."""
        self._widowed: set[str] = set()
        """Ids that wait for a client of an earlier daemon: it is gone, and will not come back."""
        self._gone: set[str] = set()
        """Ids of which nothing is left here while their documents still stand."""
        self._arrived = anyio.Event()
        self._shop = Shop(
            machine=machine,
            writer=self._writer,
            node=node.id,
            runtime_name=node.runtime,
            turns=steps,
            clock=machine.clock,
        )

    async def run(self) -> None:
        async with (
            Mirror(self._store, keys.INSTANCES, _read_instance) as mirror,
            anyio.create_task_group() as tasks,
        ):
            present = mirror.snapshot()
            self._widowed = {one.id for one in present.values() if one.await_attach}
            self.looked.set()
            tasks.start_soon(self._writer.run)
            self._writer.register(self.node)
            mine, revision = self._mine(present.values()), present.revision
            told = await self._told(mine.keys())
            records = await recover(self._machine)
            records = {key: remembered(record, told.get(key), self._now()) for key, record in records.items()}
            records.update(self._without_trace(told, mine.keys() - records.keys()))
            for instance_id, record in records.items():
                self._loop(tasks, instance_id, mine.get(instance_id), record, told.get(instance_id))
            for instance_id, instance in mine.items():
                self._wish(tasks, instance_id, instance)
            self.recovered.set()
            tasks.start_soon(self._sweep)
            if self._traffic is not None:
                tasks.start_soon(self._keep_traffic, self._traffic)
            else:
                tasks.start_soon(self._keep_network)
            while True:
                changed = await mirror.changed(revision)
                revision = mirror.revision
                view = mirror.snapshot()
                for instance_id in changed:
                    wanted = view.get(instance_id)
                    if wanted is None or wanted.node == self.node.id:
                        self._wish(tasks, instance_id, wanted)

    async def flush(self) -> None:
        """Returns once the store has every status and event of what has happened so far."""
        await self._writer.flush()

    def _mine(self, instances: Iterable[Instance]) -> dict[str, Instance]:
        return {i.id: i for i in instances if i.node == self.node.id}

    async def _told(self, instance_ids: Container[str]) -> dict[str, InstanceStatus]:
        """What earlier daemons told the store of these instances."""
        found = (read(_read_instancestatus, item) for item in (await self._store.list(keys.STATUS)).items)
        return {status.id: status for status in found if status.id in instance_ids}

    def _without_trace(self, told: Mapping[str, InstanceStatus], instance_ids: Iterable[str]) -> dict[str, Record]:
        """Instances that were here by their status, but of which nothing is left: they must not begin again."""
        records: dict[str, Record] = {}
        for instance_id in instance_ids:
            status = told.get(instance_id)
            if status is not None and status.gone:
                self._gone.add(instance_id)
            elif (record := remembered(Record(), status, self._now())) != Record():
                records[instance_id] = record
        return records

    def _now(self) -> Timestamp:
        return Timestamp(self._machine.clock())

    def _wish(self, tasks: TaskGroup, instance_id: str, instance: Instance | None) -> None:
        loop = self._loops.get(instance_id)
        if instance is None:
            self._gone.discard(instance_id)
            self._widowed.discard(instance_id)
        if loop is not None:
            loop.wish(instance)
        elif instance is not None and instance_id not in self._gone:
            self._loop(tasks, instance_id, instance, Record())

    def _loop(
        self,
        tasks: TaskGroup,
        instance_id: str,
        instance: Instance | None,
        record: Record,
        told: InstanceStatus | None = None,
    ) -> None:
        if instance_id in self._widowed:
            record = widowed(record, self._now())
        steps = Steps(self._machine, instance_id)
        loop = InstanceLoop(instance_id, self._shop, instance, record, steps, mood_of(told))
        self._loops[instance_id] = loop
        tasks.start_soon(self._drive, loop, tasks)
        self._arrived.set()
        self._arrived = anyio.Event()

    async def _drive(self, loop: InstanceLoop, tasks: TaskGroup) -> None:
        failures = 0
        while not loop.settled:
            try:
                await loop.run(tasks)
            except Exception as error:
                failures += 1
                log.exception("instance.loop_failed", instance=loop.id, error=str(error))
                await anyio.sleep(delay(failures, loop.id))
        del self._loops[loop.id]
        if loop.instance is not None:
            self._gone.add(loop.id)

    async def _sweep(self) -> None:
        """Directories a forget had renamed when it was cut off."""

        def sweep() -> None:
            for trash in self._machine.paths.containers.glob(".trash-*"):
                shutil.rmtree(trash, ignore_errors=True)

        await run_sync(sweep)

    async def _keep_traffic(self, traffic: Traffic) -> None:
        """Not before the store knows what has become of what ran: or clients were sent to what a reboot has ended."""
        with anyio.move_on_after(TOLD_WITHIN):
            await self._writer.flush()
        traffic.tell = lambda kind, message: self._writer.note(kind, message, self.node.id)
        await traffic.run()

    async def _keep_network(self) -> None:
        """Until the daemon gives traffic to keep: networks and forwarded ports alone."""
        async with View(self._store) as view:
            plane = network_plane(self.node, self._machine.network)
            await PlaneLoop(plane, view, lambda kind, message: self._writer.note(kind, message, self.node.id)).run()

    def note(self, kind: str, message: str) -> None:
        """An event of this node."""
        self._writer.note(kind, message, self.node.id)

    # What the API asks (agent.contract.NodeAgent)

    async def logs(
        self, instance_id: str, *, tail: int | None = None, since: Timestamp | None = None, follow: bool = False
    ) -> AsyncIterator[LogLine]:
        loop = await self._find(instance_id, wait=follow)
        while follow and loop.record.stage < Stage.CREATED:
            await loop.moved()
        if not loop.record.created:
            return
        directory = loop.steps.directory
        async for line in self._machine.runtime.logs(directory, tail=tail, since=since, follow=follow):
            yield line

    async def exec(self, instance_id: str, request: ExecRequest) -> Session:
        return await self._machine.runtime.exec(self._running(instance_id), request)

    async def attach(self, instance_id: str) -> Session:
        loop = await self._find(instance_id, wait=True)
        while loop.record.stage < Stage.CREATED:
            await loop.moved()
        if loop.record.handle is None or loop.record.stage >= Stage.ENDED:
            raise Conflict(f"{instance_id} has ended: {loop.record.reason or 'it ran to its end'}")
        session = await self._machine.runtime.attach(loop.record.handle)
        loop.attached = True
        loop.wake()
        return session

    async def stats(self, instance_id: str) -> Stats:
        return await self._machine.runtime.stats(self._running(instance_id))

    async def signal(self, instance_id: str, signal: str) -> None:
        await self._machine.runtime.signal(self._running(instance_id), signal)

    async def _find(self, instance_id: str, *, wait: bool) -> InstanceLoop:
        while instance_id not in self._loops:
            if wait:  # it is written already, and mostly about to be heard of here
                with anyio.move_on_after(HEARD_WITHIN):
                    await self._arrived.wait()
            if instance_id not in self._loops and not (wait and await self._store.get(keys.instance(instance_id))):
                raise NotFound(f"no instance {instance_id} on node {self.node.id}", hint="see: zlayer ps -c")
        return self._loops[instance_id]

    def _running(self, instance_id: str) -> Handle:
        loop = self._loops.get(instance_id)
        if loop is None:
            raise NotFound(f"no instance {instance_id} on node {self.node.id}", hint="see: zlayer ps -c")
        if loop.record.stage is not Stage.STARTED or loop.record.handle is None:
            state = state_of(loop.record, stopping=loop.mood.stopping)
            raise Conflict(f"{instance_id} is {state.public}, not running", hint="see: zlayer ps -c")
        return loop.record.handle
