"""A simulated cluster: real controllers and agents over a memory store and fake machines, in virtual time.

A seed decides when daemons crash and engines fail, so a failure can be replayed. A crash is a BaseException out of
the very call the daemon made, before or after it took effect, so nothing of ours gets to tidy up.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import anyio
from anyio.abc import TaskGroup

from zlayer.agent.agent import Agent
from zlayer.agent.perform import Machine
from zlayer.control.controllers import Controllers
from zlayer.control.wishes import Wishes
from zlayer.model.errors import Unavailable
from zlayer.model.instance import Node
from zlayer.model.paths import Paths
from zlayer.plan.summary import summarise
from zlayer.store.contract import Store
from zlayer.store.memory import MemoryStore
from zlayer.store.view import Picture, View
from zlayer.testing.builders import node
from zlayer.testing.fake_images import FakeImages
from zlayer.testing.fake_machine import EPOCH, FakeMachine
from zlayer.testing.fake_network import FakeFabric, FakeNetwork
from zlayer.testing.fake_runtime import FakeRuntime
from zlayer.testing.fake_snapshots import FakeSnapshots


class Crash(BaseException):
    """kill -9 of a daemon. Not an Exception: no loop of ours may survive it."""


@dataclass(slots=True)
class Faults:
    """Chances per outside call. Turned off (`quiet`) before a test asks whether the world came right."""

    crash: float = 0.0
    fail: float = 0.0
    quiet: bool = False


@dataclass(slots=True)
class FakeNode:
    """What a daemon restart does not take away: kernel, disk, engines. `crashes` counts the daemons it outlived."""

    document: Node
    paths: Paths
    images: FakeImages
    machine: FakeMachine = field(default_factory=FakeMachine)
    fabric: FakeFabric = field(default_factory=FakeFabric)
    snapshots: FakeSnapshots = field(default_factory=lambda: FakeSnapshots({}))
    scope: anyio.CancelScope | None = None
    crashes: int = 0


def now() -> float:
    return EPOCH + anyio.current_time()


class World:
    """Async context manager. `wishes` is the user; `settle` waits until what is wanted is what there is."""

    def __init__(
        self, root: Path, *, seed: int = 0, nodes: int = 1, faults: Faults | None = None, store: Store | None = None
    ) -> None:
        self.random = random.Random(seed)
        self.faults = faults or Faults()
        self.store: Store = store or MemoryStore()
        self.skew = 0.0
        """Seconds the wall clock is off: set it to make clocks jump. The event loop's clock never does."""
        self.controllers = Controllers(self.store, clock=self._clock)
        self.wishes = Wishes(self.store, environ={}, clock=self._clock, suggest=self.controllers.suggest)
        self.view = View(self.store)
        self.nodes = [self._node(root, f"n{number}", number) for number in range(1, nodes + 1)]
        self.agents: dict[int, Agent] = {}
        """The agents of the daemons that run now, by the node's position."""
        self.leading = anyio.CancelScope()
        self._tasks: TaskGroup | None = None

    def _clock(self) -> float:
        return now() + self.skew

    def _node(self, root: Path, name: str, number: int) -> FakeNode:
        subnet = f"10.77.{number}.0/24"
        made = FakeNode(node(name, subnet=subnet), Paths.of(root / name), FakeImages(), fabric=FakeFabric())
        made.machine.fault = self._fault(made)
        made.fabric.fault = self._fault(made)
        return made

    def _fault(self, where: FakeNode) -> Callable[[str, str, str], None]:
        def fault(operation: str, instance_id: str, when: str) -> None:
            if self.faults.quiet:
                return
            if self.random.random() < self.faults.crash:
                where.crashes += 1
                raise Crash(f"{operation} {instance_id} {when}")
            if when == "before" and self.random.random() < self.faults.fail:
                raise Unavailable(f"{operation}: the engine is having a moment")

        return fault

    async def __aenter__(self) -> World:
        await self.store.__aenter__()
        await self.view.__aenter__()
        self._tasks = anyio.create_task_group()
        await self._tasks.__aenter__()
        self._tasks.start_soon(self._leader)
        for one in self.nodes:
            self._tasks.start_soon(self._daemon, one)
        return self

    async def __aexit__(self, *exc: object) -> None:
        assert self._tasks is not None
        self._tasks.cancel_scope.cancel()
        await self._tasks.__aexit__(None, None, None)
        await self.view.__aexit__(None, None, None)
        await self.store.__aexit__(None, None, None)

    async def _leader(self) -> None:
        """Controllers that are started again a moment after each end."""
        while True:
            with anyio.CancelScope() as self.leading:
                await self.controllers.run()
            await anyio.sleep(0.2)

    def depose(self) -> None:
        """End the controllers at whatever they await; others, who know nothing of it, follow."""
        self.controllers = Controllers(self.store, clock=self._clock)
        self.leading.cancel()

    async def _daemon(self, where: FakeNode) -> None:
        """A daemon that is started again a moment after each end."""
        while True:
            machine = Machine(
                runtime=FakeRuntime(where.machine),
                images=where.images,
                snapshots=where.snapshots,
                network=FakeNetwork(where.fabric),
                paths=where.paths,
                clock=self._clock,
            )
            agent = Agent(self.store, where.document, machine)
            self.agents[self.nodes.index(where)] = agent
            try:
                with anyio.CancelScope() as where.scope:
                    await agent.run()
            except* Crash:
                pass
            await anyio.sleep(0.2)

    def restart(self, number: int = 0) -> None:
        """End a node's daemon at whatever it awaits; a new one follows."""
        where = self.nodes[number]
        where.crashes += 1
        if where.scope is not None:
            where.scope.cancel()

    def picture(self) -> Picture:
        return self.view.picture()

    async def settle(self, within: float = 600.0) -> None:
        """Until every deployment is as wanted, twice in a row. AssertionError with what is not, after `within`."""
        calm = 0
        deadline = anyio.current_time() + within
        while calm < 2:
            await anyio.sleep(0.5)
            wrong = self.wrong()
            calm = 0 if wrong else calm + 1
            assert anyio.current_time() < deadline, f"not settled: {wrong}"

    def wrong(self) -> list[str]:
        """What keeps the world from rest, in words. Also every broken promise that can be seen from outside."""
        picture = self.picture()
        problems: list[str] = []
        for name, deployment in picture.deployments.items():
            summary = summarise(deployment, picture.of(name))
            if summary.status not in ("running", "rolled_back", "stopped"):
                problems.append(f"{name} is {summary.status}: {summary.message or self.controllers.waits.get(name)}")
        problems += self.promises()
        return problems + self.residue()

    def promises(self) -> list[str]:
        """Broken promises: never two processes under one id, never one address twice."""
        broken = [f"addresses clashed: {n.fabric.clashes}" for n in self.nodes if n.fabric.clashes]
        broken += self._shared_blocks()
        for one in self.nodes:
            broken += [f"{i} was made twice" for i in one.machine.creates if one.machine.most_at_once(i) > 1]
        return broken

    def _shared_blocks(self) -> list[str]:
        """Blocks that two networks of a node have, and instances attached to another deployment's network."""
        broken: list[str] = []
        given: dict[tuple[str, str], str] = {}
        for network in self.picture().networks.values():
            for block in network.blocks:
                other = given.setdefault((network.node, block), network.deployment)
                if other != network.deployment:
                    broken.append(f"{block} of {network.node} is {network.deployment}'s and {other}'s")
        for one in self.nodes:
            for owner, home in one.fabric.homes.items():
                seen = self.picture().find(owner)
                if seen is not None and seen.instance.deployment != home.name:
                    broken.append(f"{owner} is attached to {home.name}")
        return broken

    def residue(self) -> list[str]:
        """What is on a machine without an instance that should have it there."""
        wanted = {one.id for one in self.picture().all().values() if one.live and not one.ended}
        found: list[str] = []
        for one in self.nodes:
            for kind, owners in (("container", one.machine.containers), ("namespace", one.fabric.attached)):
                found += [f"{one.document.id}: {kind} of {owner}" for owner in owners if owner not in wanted]
        return found
