"""An agent over fakes: what it does on the way up and down, after a crash, and what the API may ask of it."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from zlayer.agent import journal
from zlayer.agent.agent import Agent
from zlayer.agent.journal import Record
from zlayer.agent.perform import Machine
from zlayer.agent.recover import recover
from zlayer.agent.status import Mood, StatusWriter, state_of, status_of
from zlayer.model import keys
from zlayer.model.errors import Conflict, Failed, NotFound, Unavailable
from zlayer.model.instance import Instance, InstanceStatus, State
from zlayer.model.paths import Paths
from zlayer.model.units import Timestamp
from zlayer.plan.lifecycle import Stage
from zlayer.runtime.contract import ExecRequest, Exit
from zlayer.store.memory import MemoryStore
from zlayer.testing.builders import container, node, spec_text
from zlayer.testing.clock import run
from zlayer.testing.fake_images import FakeImages
from zlayer.testing.fake_machine import Behaviour
from zlayer.testing.fake_network import FakeNetwork
from zlayer.testing.fake_runtime import FakeRuntime
from zlayer.testing.fake_snapshots import FakeSnapshots
from zlayer.testing.world import World, now


def instance(**fields: object) -> Instance:
    spec = container()
    base = {"id": "shop-web-1-a", "deployment": "shop", "service": "web", "slot": 1, "revision": 1, "node": "n1"}
    return Instance.model_validate({"spec": spec, "digest": spec.digest(), **base, **fields})


def test_states_follow_the_record() -> None:
    def state(stage: Stage, *, stopping: bool = False, **fields: object) -> State:
        return state_of(Record(stage, **fields), stopping=stopping)  # type: ignore[arg-type]

    assert state(Stage.PREPARED) is State.PREPARING
    assert state(Stage.CREATED) is State.CREATED
    assert state(Stage.STARTED) is State.RUNNING
    assert state(Stage.STARTED, ready_at=Timestamp(1)) is State.READY
    assert state(Stage.STARTED, stopping=True) is State.STOPPING
    assert state(Stage.PULLED, stopping=True) is State.PREPARING
    assert state(Stage.ENDED, stopping=True) is State.EXITED
    assert state(Stage.RELEASED, failed=True) is State.FAILED


def test_an_ended_status_keeps_its_reason_and_lets_go_of_the_rest() -> None:
    record = Record(Stage.RELEASED, exit=Exit(137, True, Timestamp(9)), reason="why")
    status = status_of(instance(address="10.0.0.2"), record, Mood("healthy", "old"), node="n1", runtime="fake")
    assert (status.reason, status.health, status.address, status.pid) == ("why", "none", None, None)
    assert (status.exit_code, status.oom, status.released, status.gone) == (137, True, True, False)


def test_a_store_outage_delays_statuses_and_loses_none() -> None:
    class Moody(MemoryStore):
        failing = True

        async def commit(self, *args: object, **kwargs: object) -> int:
            if self.failing:
                raise Unavailable("no quorum")
            return await super().commit(*args, **kwargs)  # type: ignore[arg-type]

    async def story() -> None:
        async with Moody() as store, anyio.create_task_group() as tasks:
            writer = StatusWriter(store, now)
            tasks.start_soon(writer.run)
            for state in (State.PREPARING, State.RUNNING, State.READY):
                writer.put(InstanceStatus(id="a", node="n1", state=state))
                writer.event("instance.test", instance(), state.name, "n1")
                await anyio.sleep(1)
            store.failing = False
            await anyio.sleep(10)
            item = await store.get(keys.status("a"))
            assert item is not None
            assert InstanceStatus.model_validate_json(item.value).state is State.READY
            assert len((await store.list(keys.EVENTS)).items) == 3
            tasks.cancel_scope.cancel()

    run(story)


def test_what_was_queued_can_be_waited_for() -> None:
    class Slow(MemoryStore):
        async def commit(self, *args: object, **kwargs: object) -> int:
            await anyio.sleep(3)
            return await super().commit(*args, **kwargs)  # type: ignore[arg-type]

    async def story() -> None:
        async with Slow() as store, anyio.create_task_group() as tasks:
            writer = StatusWriter(store, now)
            await writer.flush()
            tasks.start_soon(writer.run)
            first = writer.put(InstanceStatus(id="a", node="n1", state=State.RUNNING))
            await anyio.sleep(1)
            writer.put(InstanceStatus(id="a", node="n1", state=State.EXITED))
            began = anyio.current_time()
            await writer.committed(first)
            assert anyio.current_time() - began == 2
            await writer.flush()
            item = await store.get(keys.status("a"))
            assert item is not None
            assert InstanceStatus.model_validate_json(item.value).state is State.EXITED
            tasks.cancel_scope.cancel()

    run(story)


def machine(world: World) -> Machine:
    one = world.nodes[0]
    return Machine(FakeRuntime(one.machine), one.images, one.snapshots, FakeNetwork(one.fabric), one.paths, now)


def test_a_bad_image_is_told_and_tried_again_by_policy(tmp_path: Path) -> None:
    async def story() -> None:
        async with World(tmp_path) as world:
            images = world.nodes[0].images

            def missing(reference: str) -> None:
                raise NotFound(f"manifest of {reference} is unknown", hint="check the tag")

            images.fault = missing
            await world.wishes.deploy(spec_text(web={}))
            await anyio.sleep(3)
            [one] = [s for s in world.picture().of("shop") if s.live]
            assert one.status is not None
            assert "manifest of example.test/app:1 is unknown; check the tag" in one.status.reason
            images.fault = lambda _: None
            await world.settle()

    run(story)


def test_an_unreachable_registry_is_waited_for_without_a_restart(tmp_path: Path) -> None:
    async def story() -> None:
        async with World(tmp_path) as world:
            images = world.nodes[0].images

            def down(_: str) -> None:
                raise Unavailable("registry unreachable")

            images.fault = down
            await world.wishes.deploy(spec_text(web={}))
            await anyio.sleep(30)
            [one] = world.picture().of("shop")
            assert one.state is State.PREPARING
            assert one.status is not None
            assert one.status.reason == "registry unreachable"
            images.fault = lambda _: None
            await world.settle()
            assert [s.instance.attempt for s in world.picture().of("shop")] == [0]

    run(story)


def test_a_long_pull_is_given_up_when_no_longer_wanted(tmp_path: Path) -> None:
    async def story() -> None:
        async with World(tmp_path) as world:
            world.nodes[0].images.seconds = 10_000
            await world.wishes.deploy(spec_text(web={}))
            await anyio.sleep(5)
            [waiting] = world.picture().of("shop")
            assert waiting.status is not None
            assert waiting.status.reason == "pulling example.test/app:1", "a long pull is told"
            await world.wishes.remove("shop")
            await world.settle(within=30)
            assert world.picture().all() == {}

    run(story)


def test_exit_codes_of_what_could_not_start(tmp_path: Path) -> None:
    for words, code in (("exec: nope: not found", 127), ("permission denied", 126), ("no space", 125)):

        async def story(words: str = words, code: int = code) -> None:
            async with World(tmp_path / str(code)) as world:
                error = Failed(words)
                world.nodes[0].machine.script = lambda _: Behaviour(create_error=error)
                one = await world.wishes.run_once(container())
                await anyio.sleep(2)
                status = world.picture().all()[one.id].status
                assert status is not None
                assert (status.state, status.exit_code, status.reason) == (State.FAILED, code, words)
                assert status.released

        run(story)


def test_a_client_attaches_before_the_first_instruction(tmp_path: Path) -> None:
    async def story() -> None:
        async with World(tmp_path) as world:
            await anyio.sleep(1)
            world.nodes[0].machine.script = lambda _: Behaviour(exit_after=1, output=(("stdout", b"first words\n"),))
            agent = world.agents[0]
            one = await world.wishes.run_once(container(), await_attach=True)
            await anyio.sleep(20)
            assert world.nodes[0].machine.starts[one.id] == 0
            async with await agent.attach(one.id) as session:
                output = [chunk async for chunk in session.output()]
                assert output == [("stdout", b"first words\n")]
                assert await session.wait() == 0

    run(story)


def test_what_the_api_asks_of_one_that_is_not_running(tmp_path: Path) -> None:
    async def story() -> None:
        async with World(tmp_path) as world:
            await anyio.sleep(1)
            agent = world.agents[0]
            with pytest.raises(NotFound, match="no instance nobody"):
                await agent.exec("nobody", ExecRequest(("true",)))
            world.nodes[0].machine.script = lambda _: Behaviour(exit_after=1)
            one = await world.wishes.run_once(container())
            await anyio.sleep(5)
            with pytest.raises(Conflict, match="is exited, not running"):
                await agent.stats(one.id)
            with pytest.raises(Conflict, match="has ended"):
                await agent.attach(one.id)

    run(story)


def test_recovery_clears_what_is_no_ones(tmp_path: Path) -> None:
    """Traces without a document in the store, as after a restored backup: taken apart, not left and not run."""

    async def story() -> None:
        async with World(tmp_path) as world:
            await world.wishes.deploy(spec_text(web={}))
            await world.settle()
            [key] = world.picture().instances["shop"]
            world.restart()
            await world.store.commit(
                deletes=[keys.instance(key), keys.status(key), keys.deployment("shop"), keys.revision("shop", 1)]
            )
            await anyio.sleep(30)
            assert world.residue() == []
            assert list(world.nodes[0].paths.containers.iterdir()) == []

    run(story)


def test_recovery_finds_the_container_of_a_create_that_was_cut_off(tmp_path: Path) -> None:
    async def story() -> None:
        async with World(tmp_path) as world:
            await world.wishes.deploy(spec_text(web={}))
            await world.settle()
            where = machine(world)
            [key] = world.picture().instances["shop"]
            directory = where.paths.containers / key
            (directory / journal.NAME).unlink()
            journal.append(directory, Record(Stage.PREPARED, created=True))
            found = (await recover(where))[key]
            assert found.stage is Stage.STARTED
            assert found.handle is not None

    run(story)


def test_an_instance_whose_directory_was_deleted_is_not_started_again(tmp_path: Path) -> None:
    async def story() -> None:
        paths = Paths.of(tmp_path)
        async with MemoryStore() as store:
            one = instance()
            status = InstanceStatus(id=one.id, node="n1", state=State.READY)
            await store.commit(
                {
                    keys.instance(one.id): one.model_dump_json().encode(),
                    keys.status(one.id): status.model_dump_json().encode(),
                }
            )
            runtime = FakeRuntime()
            agent = Agent(
                store,
                node(),
                Machine(runtime, FakeImages(), FakeSnapshots({}), FakeNetwork(), paths, now),
            )
            with anyio.move_on_after(5):
                await agent.run()
            item = await store.get(keys.status(one.id))
            assert item is not None
            after = InstanceStatus.model_validate_json(item.value)
            assert (after.state, after.reason) == (State.FAILED, "its directory is gone from the data directory")
            assert runtime.machine.creates == {}

    run(story)
