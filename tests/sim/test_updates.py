"""Updates with real controllers and agents in virtual time: trials, roll-backs, and controllers that are killed."""

from __future__ import annotations

import random
from pathlib import Path

import anyio
import pytest

from zlayer.control.controllers import Controllers
from zlayer.model import keys
from zlayer.model.errors import Conflict, NotFound
from zlayer.model.instance import Deployment, Event
from zlayer.plan.admission import admission
from zlayer.plan.summary import summarise
from zlayer.runtime.contract import CreateRequest
from zlayer.testing.builders import spec_text
from zlayer.testing.clock import run
from zlayer.testing.fake_machine import Behaviour
from zlayer.testing.world import Faults, World


def web(replicas: int = 3, **env: str) -> str:
    return spec_text(web={"scale": {"mode": "fixed", "replicas": replicas}, "env": env})


def broken_when(key: str, behaviour: Behaviour, world: World) -> None:
    """Every container with that variable behaves so, on all nodes."""

    def script(request: CreateRequest) -> Behaviour:
        return behaviour if key in request.env else Behaviour()

    for node in world.nodes:
        node.machine.script = script


def wanted(world: World, name: str = "shop") -> Deployment:
    return world.picture().deployments[name]


async def events(world: World, kind: str) -> list[Event]:
    found = [Event.model_validate_json(i.value) for i in (await world.store.list(keys.EVENTS)).items]
    return [event for event in found if event.kind == kind]


async def until(world: World, state: str, within: float = 900.0) -> None:
    with anyio.fail_after(within):
        while wanted(world).rollout.state != state:  # noqa: ASYNC110 - virtual time
            await anyio.sleep(0.1)


@pytest.mark.parametrize(
    "behaviour",
    [Behaviour(exit_after=0.5, exit_code=3), Behaviour(exit_after=3.0, exit_code=0), Behaviour(exit_after=0.0)],
)
def test_a_bad_revision_is_undone_and_nobody_noticed(tmp_path: Path, behaviour: Behaviour) -> None:
    async def story() -> None:
        async with World(tmp_path) as world:
            broken_when("BAD", behaviour, world)
            await world.wishes.deploy(web())
            await until(world, "good")
            before = set(world.nodes[0].machine.running())
            await world.wishes.deploy(web(BAD="1"))
            while wanted(world).revision < 3:
                assert before <= set(world.nodes[0].machine.running())
                picture = world.picture().of("shop")
                told = admission(wanted(world), picture)
                reached = {one.id for one in picture if one.ready and one.live and one.id not in told.held}
                assert reached == before
                await anyio.sleep(0.05)
            await world.settle()
            assert set(world.nodes[0].machine.running()) == before, "the old ones were never touched"
            summary = summarise(wanted(world), world.picture().of("shop"))
            assert summary.status == "rolled_back"
            assert "web: replica 1" in summary.message
            culprit = world.picture().find(summary.culprit)
            assert culprit is not None
            assert culprit.instance.desired == "stopped", "it is kept for its log"
            [rolled] = await events(world, "deployment.rolled_back")
            assert rolled.instance == summary.culprit
            assert "revision 2 is undone, 3 is as 1 was" in rolled.message
            assert len(await events(world, "deployment.failed")) == 1
            told_of = [(one.revision, word) for one, word in await world.wishes.updates.history("shop")]
            assert told_of == [(3, "current"), (2, "rolled back"), (1, "good")]

    run(story)


def test_a_replacement_has_no_traffic_before_its_trial_is_over(tmp_path: Path) -> None:
    async def story() -> None:
        async with World(tmp_path) as world:
            await world.wishes.deploy(web(2))
            await until(world, "good")
            await world.wishes.deploy(web(2, A="1"))
            while wanted(world).rollout.state != "good" or wanted(world).revision != 2:
                serving = 0
                for one in world.picture().of("shop"):
                    if one.ready and one.live and not one.instance.held:
                        serving += 1
                        at, since = one.instance.admitted_at, one.status.ready_at if one.status else None
                        assert at is None or (since is not None and at - since >= 5.0)
                assert serving >= 2
                await anyio.sleep(0.05)
            await world.settle()
            assert {one.instance.revision for one in world.picture().of("shop")} == {2}

    run(story)


def test_two_leaders_and_dying_ones_roll_back_once(tmp_path: Path) -> None:
    async def story() -> None:
        async with World(tmp_path, seed=7) as world, anyio.create_task_group() as tasks:
            broken_when("BAD", Behaviour(exit_after=1.0, exit_code=9), world)
            await world.wishes.deploy(web())
            await until(world, "good")
            tasks.start_soon(Controllers(world.store, clock=world._clock).run)
            await world.wishes.deploy(web(BAD="1"))
            for _ in range(60):
                world.depose()
                await anyio.sleep(world.random.random() * 0.5)
            await world.settle()
            assert wanted(world).revision == 3
            assert len(await events(world, "deployment.rolled_back")) == 1
            assert len(world.nodes[0].machine.running()) == 3
            tasks.cancel_scope.cancel()

    run(story)


def test_without_a_way_back_it_stops_there(tmp_path: Path) -> None:
    """The old ones serve on, also when one of them ends; the next `up` begins anew."""

    async def story() -> None:
        async with World(tmp_path) as world:
            machine = world.nodes[0].machine
            broken_when("BAD", Behaviour(exit_after=0.5, exit_code=3), world)
            await world.wishes.deploy(web())
            await anyio.sleep(1.0)  # it has not been found good yet
            assert wanted(world).rollout.state == "updating"
            before = set(machine.running())
            await world.wishes.deploy(web(BAD="1"))
            await until(world, "failed")
            await anyio.sleep(60)
            assert set(machine.running()) == before
            assert "is failed: web: replica 1" in world.wrong()[0]
            machine.kill(min(before), 1)
            await anyio.sleep(10)
            assert len(machine.running()) == 3
            live = [one.instance.spec.env for one in world.picture().of("shop") if one.live]
            assert live == [{}, {}, {}], "it came back as it was"
            with pytest.raises(NotFound, match="no earlier good revision"):
                await world.wishes.updates.rollback("shop")
            machine.script = lambda _: Behaviour()
            again = await world.wishes.deploy(web(BAD="1"))
            assert not again.changed
            await until(world, "good")
            await world.settle()

    run(story)


def test_pause_resume_abort_survive_their_controllers(tmp_path: Path) -> None:
    async def story() -> None:
        async with World(tmp_path) as world:
            updates = world.wishes.updates
            await world.wishes.deploy(web())
            await until(world, "good")
            with pytest.raises(Conflict, match="no update"):
                await updates.pause("shop")
            await world.wishes.deploy(web(A="1"))
            await anyio.sleep(1)
            assert (await updates.pause("shop")).changed
            assert not (await updates.pause("shop")).changed
            world.depose()
            await anyio.sleep(1)
            serving = {o.id for o in world.picture().of("shop") if o.ready and o.live and not o.instance.held}
            await anyio.sleep(600)
            assert serving == {o.id for o in world.picture().of("shop") if o.ready and o.live and not o.instance.held}
            assert summarise(wanted(world), world.picture().of("shop")).status == "paused"
            await updates.resume("shop")
            await until(world, "good")
            await world.settle()
            await world.wishes.deploy(web(A="2"))
            await anyio.sleep(1)
            assert (await updates.abort("shop")).revision == 4
            await world.settle()
            assert {tuple(o.instance.spec.env.items()) for o in world.picture().of("shop") if o.live} == {(("A", "1"),)}
            with pytest.raises(Conflict, match="no update"):
                await updates.abort("shop")

    run(story)


def test_going_back_runs_the_images_of_then(tmp_path: Path) -> None:
    """A tag that moved meanwhile does not move the roll-back."""

    async def story() -> None:
        async with World(tmp_path) as world:
            images = world.nodes[0].images
            image = "example.test/app:1"
            images.serves[image] = "sha256:" + "1" * 64
            await world.wishes.deploy(web(1, A="1"))
            await until(world, "good")
            await world.wishes.deploy(web(1, A="2"))
            await until(world, "updating")
            await until(world, "good")
            images.serves[image] = "sha256:" + "2" * 64
            images.local.clear()
            back = await world.wishes.updates.rollback("shop")
            assert (back.revision, back.changed) == (3, True)
            await world.settle()
            [one] = [o for o in world.picture().of("shop") if o.live]
            assert one.status is not None
            assert one.status.image_digest == "sha256:" + "1" * 64
            assert wanted(world).reason == "rolled back to revision 1"

    run(story)


@pytest.mark.parametrize("seed", range(12))
def test_any_seed_of_updates_comes_right(tmp_path: Path, seed: int) -> None:
    """Good and bad files, pauses, scaling and stops, while daemons and controllers are killed; then peace."""

    async def story() -> None:
        chance = random.Random(seed * 104_729)
        faults = Faults(crash=0.01, fail=0.03)
        async with World(tmp_path, seed=seed, nodes=chance.choice([1, 2]), faults=faults) as world:
            broken_when("BAD", Behaviour(exit_after=1.0, exit_code=3), world)
            await world.wishes.deploy(web())
            for _ in range(15):
                await _wish(world, chance)
                await anyio.sleep(chance.random() * 8)
                assert world.promises() == []
            faults.quiet = True
            await world.wishes.deploy(web(2, END="1"))
            await world.settle(within=1500)
            assert wanted(world).rollout.state == "good"
            assert {tuple(o.instance.spec.env) for o in world.picture().of("shop") if o.live} == {("END",)}

    run(story)


async def _wish(world: World, chance: random.Random) -> None:
    updates = world.wishes.updates
    try:
        match chance.choice(["good", "bad", "scale", "stop", "start", "depose", "restart", "pause", "resume", "abort"]):
            case "good":
                await world.wishes.deploy(web(chance.randrange(1, 4), A=str(chance.randrange(3))))
            case "bad":
                await world.wishes.deploy(web(chance.randrange(1, 4), BAD=str(chance.randrange(3))))
            case "scale":
                await world.wishes.scale("shop", {"web": chance.randrange(5)})
            case "stop":
                await world.wishes.stop("shop", chance.choice([None, "web"]))
            case "start":
                await world.wishes.start("shop")
            case "depose":
                world.depose()
            case "restart":
                world.restart(chance.randrange(len(world.nodes)))
            case "pause":
                await updates.pause("shop")
            case "resume":
                await updates.resume("shop")
            case _:
                await updates.abort("shop")
    except (Conflict, NotFound):
        pass
