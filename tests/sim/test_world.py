"""The whole control loop over fake machines: seeds choose when daemons die and engines fail."""

from __future__ import annotations

import random
from pathlib import Path

import anyio
import pytest

from zlayer.model.instance import State
from zlayer.testing.builders import container, spec_text
from zlayer.testing.clock import run
from zlayer.testing.fake_machine import Behaviour
from zlayer.testing.world import Faults, World

CRASHES: list[int] = []


def fixed(replicas: int, **more: object) -> dict[str, object]:
    return {"scale": {"mode": "fixed", "replicas": replicas}, **more}


def test_up_scale_change_down(tmp_path: Path) -> None:
    async def story() -> None:
        async with World(tmp_path) as world:
            await world.wishes.deploy(spec_text(web=fixed(3), db=fixed(1)))
            await world.settle()
            assert len(world.nodes[0].machine.running()) == 4
            first = set(world.nodes[0].machine.running())
            await world.wishes.scale("shop", {"web": 5})
            await world.settle()
            assert first < set(world.nodes[0].machine.running())
            before = dict(world.nodes[0].machine.starts)
            await world.wishes.deploy(spec_text(web=fixed(5), db=fixed(1)))
            again = await world.wishes.deploy(spec_text(web=fixed(5), db=fixed(1)))
            assert not again.changed
            await world.settle()
            assert world.nodes[0].machine.starts == before
            changed = await world.wishes.deploy(spec_text(web=fixed(5, env={"A": "1"}), db=fixed(1)))
            assert changed.changed
            await world.settle()
            kept = first & set(world.nodes[0].machine.running())
            assert {name.split("-")[1] for name in kept} == {"db"}
            await world.wishes.remove("shop")
            await world.settle()
            assert world.picture().all() == {}
            assert world.picture().addresses == {}
            assert list(world.picture().networks) == ["n1/_run"]
            assert [subnet.name for subnet in world.nodes[0].fabric.applied.subnets] == ["_run"]
            assert list(world.nodes[0].paths.containers.iterdir()) == []

    run(story)


def test_a_replacement_keeps_every_replica_serving(tmp_path: Path) -> None:
    async def story() -> None:
        async with World(tmp_path) as world:
            machine = world.nodes[0].machine
            machine.script = lambda _: Behaviour(start_seconds=1.0, create_seconds=2.0)
            await world.wishes.deploy(spec_text(web=fixed(6)))
            await world.settle()
            await world.wishes.deploy(spec_text(web=fixed(6, env={"A": "1"})))
            while world.wrong():
                assert len(machine.running()) >= 6
                assert len(machine.running()) <= 6 + 2 * 2
                await anyio.sleep(0.1)

    run(story)


def test_a_crashing_container_backs_off_and_keeps_its_history(tmp_path: Path) -> None:
    async def story() -> None:
        async with World(tmp_path) as world:
            machine = world.nodes[0].machine
            machine.script = lambda _: Behaviour(exit_after=1.0, exit_code=3)
            await world.wishes.deploy(spec_text(web=fixed(1)))
            await anyio.sleep(300)
            starts = sum(machine.starts.values())
            assert 6 <= starts <= 15, "exponential back-off: 0.5, 1, 2 … 60 s"
            seen = world.picture().of("shop")
            ended = [one for one in seen if one.ended]
            assert 3 <= len(ended) <= 4
            assert {one.status.exit_code for one in ended if one.status} == {3}
            assert "shop is failed" in world.wrong()[0]

    run(story)


def test_a_full_subnet_is_explained_once_and_heals(tmp_path: Path) -> None:
    async def story() -> None:
        async with World(tmp_path) as world:
            await world.wishes.deploy(spec_text(web={"scale": {"mode": "manual"}}))
            await world.wishes.scale("shop", {"web": 260})
            await anyio.sleep(20)
            assert len(world.nodes[0].machine.running()) == 183
            waiting = [one for one in world.picture().of("shop") if one.instance.node is None]
            assert len(waiting) == 77
            assert all("all 4 blocks of 10.77.1.0/24 are taken" in one.instance.unplaced for one in waiting)
            revision = world.view.revision
            await anyio.sleep(100)
            assert world.view.revision == revision, "told once, not at every look"
            await world.wishes.scale("shop", {"web": 100})
            await world.settle()

    run(story)


def test_one_offs_run_once_and_vanish(tmp_path: Path) -> None:
    async def story() -> None:
        async with World(tmp_path) as world:
            world.nodes[0].machine.script = lambda _: Behaviour(exit_after=2.0, exit_code=7)
            kept = await world.wishes.run_once(container())
            gone = await world.wishes.run_once(container(), remove_on_exit=True)
            await anyio.sleep(5)
            seen = world.picture().all()
            assert gone.id not in seen
            assert seen[kept.id].state is State.EXITED
            assert (status := seen[kept.id].status) is not None
            assert status.exit_code == 7
            assert status.released
            await world.wishes.remove_instance(kept.id)
            await anyio.sleep(1)
            assert world.picture().all() == {}
            assert world.picture().addresses == {}

    run(story)


def test_many_one_offs_at_once_get_an_address_each(tmp_path: Path) -> None:
    async def story() -> None:
        async with World(tmp_path) as world:
            await anyio.sleep(1)
            made: list[str] = []

            async def one() -> None:
                made.append((await world.wishes.run_once(container())).id)

            async with anyio.create_task_group() as tasks:
                for _ in range(60):
                    tasks.start_soon(one)
            await anyio.sleep(5)
            placed = [world.picture().all()[name].instance for name in made]
            assert len({instance.address for instance in placed} - {None}) == 60
            assert world.promises() == []

    run(story)


def test_daemon_restart_adopts_and_tells_what_happened_meanwhile(tmp_path: Path) -> None:
    async def story() -> None:
        async with World(tmp_path) as world:
            await world.wishes.deploy(spec_text(web=fixed(4)))
            await world.settle()
            machine = world.nodes[0].machine
            before = dict(machine.starts)
            world.restart()
            victim = machine.running()[0]
            machine.kill(victim, 137, oom=True)
            await anyio.sleep(1)
            await world.settle()
            assert {k: v for k, v in machine.starts.items() if k in before} == before
            assert len(machine.running()) == 4
            old = world.picture().find(victim)
            assert old is not None
            assert old.status is not None
            assert (old.status.exit_code, old.status.oom) == (137, True)

    run(story)


@pytest.mark.parametrize("seed", range(25))
def test_any_seed_comes_right(tmp_path: Path, seed: int) -> None:
    """Random wishes while daemons are killed around every outside call and engines fail; then peace, then rest."""

    async def story() -> None:
        faults = Faults(crash=0.02, fail=0.05)
        chance = random.Random(seed * 7919)
        async with World(tmp_path, seed=seed, nodes=chance.choice([1, 2, 3]), faults=faults) as world:
            for _ in range(12):
                await _wish(world, chance)
                await anyio.sleep(chance.random() * 4)
                assert world.promises() == []
            faults.quiet = True
            CRASHES.append(sum(node.crashes for node in world.nodes))
            await world.settle(within=1200)
            assert world.promises() == []
            if chance.random() < 0.5 and "shop" in world.picture().deployments:
                await world.wishes.remove("shop")
                await world.settle(within=1200)
                assert world.picture().all() == {}

    run(story)


async def _wish(world: World, chance: random.Random) -> None:
    deployments = world.picture().deployments
    known = deployments.get("shop")
    if known is not None and known.desired == "removed":
        return
    match chance.choice(["deploy", "deploy", "scale", "stop", "start", "remove", "restart", "kill"]):
        case "deploy":
            env = {"A": str(chance.randrange(3))}
            await world.wishes.deploy(spec_text(web=fixed(chance.randrange(1, 5), env=env), db=fixed(1)))
        case "scale" if known:
            await world.wishes.scale("shop", {"web": chance.randrange(6)})
        case "stop" if known:
            await world.wishes.stop("shop", chance.choice([None, "web"]))
        case "start" if known:
            await world.wishes.start("shop")
        case "remove" if known:
            await world.wishes.remove("shop")
        case "restart":
            world.restart(chance.randrange(len(world.nodes)))
        case "kill":
            machine = chance.choice(world.nodes).machine
            if running := machine.running():
                machine.kill(chance.choice(running), chance.choice([0, 1, 137]))
        case _:
            pass


@pytest.mark.parametrize("restart", [{"kind": "no"}, {"kind": "always"}])
def test_up_again_tries_again_what_failed(tmp_path: Path, restart: dict[str, str]) -> None:
    """At once, whatever the policy; the same file again when all is well touches nothing."""

    async def story() -> None:
        async with World(tmp_path) as world:
            machine = world.nodes[0].machine
            machine.script = lambda _: Behaviour(exit_after=0.5, exit_code=3)
            text = spec_text(web=fixed(1, restart_policy=restart))
            await world.wishes.deploy(text)
            await anyio.sleep(100)
            assert "is failed" in world.wrong()[0]
            machine.script = lambda _: Behaviour()
            tried = sum(machine.starts.values())
            await world.wishes.deploy(text)
            await anyio.sleep(1)
            assert sum(machine.starts.values()) == tried + 1
            await world.settle()
            revision = (await world.store.list("/deployments/")).items[0].modified
            again = await world.wishes.deploy(text)
            assert not again.changed
            assert (await world.store.list("/deployments/")).items[0].modified == revision

    run(story)
