"""The controllers' loop under a store that refuses and a clock that jumps."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import anyio

from zlayer.control import controllers
from zlayer.control.controllers import Controllers
from zlayer.model import keys
from zlayer.model.errors import Exhausted
from zlayer.model.instance import Event
from zlayer.model.units import Timestamp
from zlayer.plan.collect import KEEP_EVENTS
from zlayer.store.contract import Listing
from zlayer.store.memory import MemoryStore
from zlayer.testing import world as worlds
from zlayer.testing.builders import spec_text
from zlayer.testing.clock import run
from zlayer.testing.fake_machine import Behaviour
from zlayer.testing.world import World


def event(number: int, at: float) -> tuple[str, bytes]:
    document = Event(at=Timestamp(at), kind="test", message=str(number))
    return f"{keys.EVENTS}{int(at * 1e6):020d}-test-{number}", document.model_dump_json().encode()


class Full(MemoryStore):
    """Takes no deletions while `full`: even those need room in a log."""

    full = False

    async def commit(
        self, puts: Mapping[str, bytes] | None = None, deletes: Sequence[str] = (), *args: Any, **kwargs: Any
    ) -> int:
        if self.full and deletes:
            raise Exhausted("no space left", hint="free some")
        return await super().commit(puts, deletes, *args, **kwargs)


def test_a_full_disk_does_not_end_the_controllers_and_events_are_trimmed_later() -> None:
    async def story() -> None:
        async with Full() as store, anyio.create_task_group() as tasks:
            await store.commit(dict(event(n, 1000.0 + n) for n in range(KEEP_EVENTS + 5)))
            store.full = True
            tasks.start_soon(Controllers(store, clock=worlds.now).run)
            await anyio.sleep(3 * controllers.TRIM_EVERY)
            assert len((await store.list(keys.EVENTS)).items) == KEEP_EVENTS + 5
            store.full = False
            await anyio.sleep(2 * controllers.TRIM_EVERY)
            assert len((await store.list(keys.EVENTS)).items) == KEEP_EVENTS
            tasks.cancel_scope.cancel()

    run(story)


def test_events_written_last_are_kept_though_the_clock_went_back() -> None:
    async def story() -> None:
        async with MemoryStore() as store, anyio.create_task_group() as tasks:
            for number in range(KEEP_EVENTS):
                await store.commit(dict([event(number, 9000.0 + number)]))
            await store.commit(dict([event(KEEP_EVENTS, 1.0)]))
            tasks.start_soon(Controllers(store, clock=worlds.now).run)
            await anyio.sleep(1)
            kept = [Event.model_validate_json(item.value).message for item in (await store.list(keys.EVENTS)).items]
            assert len(kept) == KEEP_EVENTS
            assert str(KEEP_EVENTS) in kept
            assert "0" not in kept
            tasks.cancel_scope.cancel()

    run(story)


class Slow(MemoryStore):
    """Where a controller reads the revisions, `meanwhile` is done first, once, and has been seen by everybody."""

    meanwhile: Callable[[], Awaitable[object]] | None = None

    async def list(self, prefix: str) -> Listing:
        if prefix.startswith(keys.REVISIONS) and (done := self.meanwhile) is not None:
            self.meanwhile = None
            await done()
            await anyio.sleep(0.01)
        return await super().list(prefix)


def test_a_wish_that_comes_while_a_verdict_is_made_is_not_written_over(tmp_path: Path) -> None:
    async def story() -> None:
        store = Slow()
        async with World(tmp_path, store=store) as world:
            await world.wishes.deploy(spec_text(web={"scale": {"mode": "manual"}}))
            store.meanwhile = lambda: world.wishes.scale("shop", {"web": 3})
            await anyio.sleep(60)
            await world.settle()
            assert store.meanwhile is None
            assert world.picture().deployments["shop"].services["web"].replicas == 3
            assert len(world.picture().of("shop")) == 3

    run(story)


class Recording(MemoryStore):
    """Knows how many instances each commit wrote for the first time."""

    def __init__(self) -> None:
        super().__init__()
        self.made: list[int] = []

    async def commit(
        self,
        puts: Mapping[str, bytes] | None = None,
        deletes: Sequence[str] = (),
        expect: Mapping[str, int] | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> int:
        new = [key for key in puts or () if key.startswith(keys.INSTANCES) and (expect or {}).get(key) == 0]
        self.made += [len(new)] if new else []
        return await super().commit(puts, deletes, expect, *args, **kwargs)


def test_many_are_made_in_waves_so_that_the_first_begin(tmp_path: Path) -> None:
    async def story() -> None:
        store = Recording()
        async with World(tmp_path, store=store) as world:
            for replicas in (60, 70):
                await world.wishes.deploy(spec_text(web={"scale": {"mode": "fixed", "replicas": replicas}}))
                await world.settle()
                assert len(world.picture().of("shop")) == replicas
        assert store.made == [8, 32, 20, 8, 2]

    run(story)


def test_a_clock_set_back_delays_no_restart(tmp_path: Path) -> None:
    """By a day: what was to come back after a second comes back after at most the longest back-off."""

    async def story() -> None:
        async with World(tmp_path) as world:
            machine = world.nodes[0].machine
            await world.wishes.deploy(spec_text(web={}))
            await world.settle()
            [first] = machine.running()
            machine.kill(first, 1)
            await anyio.sleep(0.1)
            jump(world, -86_400.0)
            await anyio.sleep(150)
            assert len(machine.running()) == 1
            await world.settle()

    run(story)


def test_a_clock_set_back_does_not_keep_a_failed_step_waiting(tmp_path: Path) -> None:
    async def story() -> None:
        async with World(tmp_path) as world:
            machine = world.nodes[0].machine
            machine.script = lambda _: Behaviour(create_error=Exhausted("no pids left"), create_failures=1)
            await world.wishes.deploy(spec_text(web={}))
            await anyio.sleep(0.1)
            jump(world, -86_400.0)
            await anyio.sleep(10)
            assert len(machine.running()) == 1

    run(story)


def jump(world: World, seconds: float) -> None:
    """Set the wall clock of daemons and controllers; the event loop's goes on."""
    world.skew += seconds
