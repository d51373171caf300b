"""One instance's loop: what is recorded, what is told, and what a broken disk or engine may not do."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from zlayer.agent import journal
from zlayer.agent.instance import InstanceLoop
from zlayer.agent.perform import all_of, pause
from zlayer.model import keys
from zlayer.model.errors import Failed
from zlayer.model.instance import InstanceStatus, State
from zlayer.model.units import Seconds
from zlayer.plan.lifecycle import Stage
from zlayer.store.documents import decoder, read
from zlayer.testing.builders import container, spec_text
from zlayer.testing.clock import run
from zlayer.testing.fake_machine import Behaviour
from zlayer.testing.world import World


def loops(world: World) -> dict[str, InstanceLoop]:
    return world.agents[0]._loops


def test_the_journal_keeps_what_a_new_daemon_could_not_find_out(tmp_path: Path) -> None:
    async def story() -> None:
        async with World(tmp_path) as world:
            await world.wishes.deploy(spec_text(web={}))
            await world.settle()
            [loop] = loops(world).values()
            lines = (loop.steps.directory / journal.NAME).read_text().strip().splitlines()
            assert [journal.parse(line).stage for line in lines] == [Stage.PREPARED, Stage.CREATED, Stage.STARTED]
            assert journal.parse(lines[0]).created, "the intent to create stands before the create"

    run(story)


def test_a_full_disk_under_the_journal_ends_nothing(tmp_path: Path) -> None:
    async def story() -> None:
        async with World(tmp_path) as world:
            where = world.nodes[0]
            full: list[Path] = []

            def fill(operation: str, owner: str, when: str) -> None:
                directory = where.paths.containers / owner
                if operation == "attach" and when == "before" and not full:
                    directory.mkdir(parents=True, exist_ok=True)
                    full.append(directory / journal.NAME)
                    full[0].symlink_to("/dev/full")

            where.fabric.fault = fill
            await world.wishes.deploy(spec_text(web={}))
            await anyio.sleep(5)
            [seen] = world.picture().of("shop")
            assert seen.status is not None
            assert "No space left on device" in seen.status.reason
            assert seen.state is State.PREPARING, "nothing was created that could be forgotten"
            full[0].unlink()
            await world.settle()

    run(story)


@pytest.mark.parametrize(("ready_after", "told"), [(0.0, False), (5.0, True)])
def test_that_it_runs_goes_with_the_news_that_it_is_ready(tmp_path: Path, ready_after: float, *, told: bool) -> None:
    """A commit is a look at everything by everybody, just when the one that is waited for is about to come."""
    states: list[State] = []

    async def listen(world: World) -> None:
        async for batch in world.store.watch(keys.STATUS, 0):
            states.extend(read(decoder(InstanceStatus), one.item).state for one in batch.changes if one.item)

    async def story() -> None:
        async with World(tmp_path) as world, anyio.create_task_group() as tasks:
            world.nodes[0].machine.script = lambda _: Behaviour(ready_after=ready_after)
            tasks.start_soon(listen, world)
            check = {"check": {"type": "command", "command": "true"}, "interval": "1s"}
            await world.wishes.deploy(spec_text(web={"health": check}))
            await world.settle()
            tasks.cancel_scope.cancel()

    run(story)
    assert states[-1] is State.READY
    assert (State.RUNNING in states) == told


def test_wishes_that_flip_quickly_end_in_the_last_one(tmp_path: Path) -> None:
    async def story() -> None:
        async with World(tmp_path) as world:
            await world.wishes.deploy(spec_text(web={"scale": {"mode": "fixed", "replicas": 3}}))
            for _ in range(5):
                await world.wishes.stop("shop")
                await world.wishes.start("shop")
            await world.settle()
            assert len(world.nodes[0].machine.running()) == 3
            await world.wishes.stop("shop")
            await world.settle()
            assert world.nodes[0].machine.running() == []
            assert world.picture().addresses == {}, "what is stopped holds no address"

    run(story)


def test_a_second_stop_with_less_patience_kills(tmp_path: Path) -> None:
    async def story() -> None:
        async with World(tmp_path) as world:
            world.nodes[0].machine.script = lambda _: Behaviour(ignore_term=True)
            await world.wishes.deploy(spec_text(web={"stop_grace_period": "1h"}))
            await world.settle()
            await world.wishes.stop("shop")
            await anyio.sleep(60)
            assert len(world.nodes[0].machine.running()) == 1
            await world.wishes.stop("shop", grace=Seconds(0))
            await anyio.sleep(2)
            assert world.nodes[0].machine.running() == []
            await world.settle(within=10)

    run(story)


def test_a_stop_takes_the_grace_it_is_given(tmp_path: Path) -> None:
    async def story() -> None:
        async with World(tmp_path) as world:
            world.nodes[0].machine.script = lambda _: Behaviour(ignore_term=True)
            await world.wishes.deploy(spec_text(web={"stop_grace_period": "1h"}))
            await world.settle()
            await world.wishes.stop("shop", "web", grace=Seconds(5))
            await anyio.sleep(4)
            assert len(world.nodes[0].machine.running()) == 1
            await anyio.sleep(2)
            assert world.nodes[0].machine.running() == []

    run(story)


def test_a_settled_loop_is_dropped(tmp_path: Path) -> None:
    async def story() -> None:
        async with World(tmp_path) as world:
            await anyio.sleep(1)
            one = await world.wishes.run_once(container())
            await anyio.sleep(1)
            assert one.id in loops(world)
            await world.wishes.remove_instance(one.id)
            await anyio.sleep(1)
            assert one.id not in loops(world)
            assert await world.store.get(keys.instance(one.id)) is None

    run(story)


@pytest.mark.anyio
async def test_calls_at_once_all_end_and_tell_the_first_error() -> None:
    done: list[str] = []

    async def works() -> None:
        await anyio.sleep(0.01)
        done.append("works")

    async def fails() -> None:
        raise Failed("no")

    with pytest.raises(Failed, match="no"):
        await all_of(fails(), works())
    assert done == ["works"]
    await all_of(works(), works())


@pytest.mark.anyio
async def test_a_pause_ends_early_when_woken() -> None:
    wake = anyio.Event()
    wake.set()
    with anyio.fail_after(1):
        await pause(60, wake)
        await pause(-1, anyio.Event())


def test_an_end_the_disk_refused_is_written_before_the_engine_forgets_it(tmp_path: Path) -> None:
    async def story() -> None:
        async with World(tmp_path) as world:
            machine = world.nodes[0].machine
            one = await world.wishes.run_once(container())
            await anyio.sleep(2)
            file = world.nodes[0].paths.containers / one.id / journal.NAME
            written = file.read_bytes()
            file.unlink()
            file.symlink_to("/dev/full")
            machine.kill(one.id, 5)
            await anyio.sleep(60)
            assert one.id in machine.containers, "its exit code was thrown away"
            file.unlink()
            file.write_bytes(written)
            await anyio.sleep(120)
            assert one.id not in machine.containers
            ended = journal.load(file.parent)
            assert ended is not None
            assert ended.exit is not None
            assert ended.exit.code == 5

    run(story)
