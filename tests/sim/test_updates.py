"""Updates over fake machines: daemons die around any call, engines fail, controllers change; who serves goes on."""

from __future__ import annotations

import random
from pathlib import Path

import anyio
import pytest

from zlayer.runtime.contract import CreateRequest
from zlayer.testing.builders import spec_text
from zlayer.testing.clock import run
from zlayer.testing.fake_machine import Behaviour
from zlayer.testing.world import Faults, World

BAD = "bad"
STRATEGIES: list[dict[str, object]] = [
    {"strategy": "rolling"},
    {"strategy": "rolling", "max_surge": "100%"},
    {"strategy": "blue_green"},
    {"strategy": "canary", "steps": [{"weight": 20, "pause": "3s"}, {"weight": 60, "pause": "2s"}]},
]


def shop(replicas: int, version: str, update: dict[str, object]) -> str:
    limits = {"min_ready": "4s", "deadline": "120s", **update}
    web = {"scale": {"mode": "fixed", "replicas": replicas}, "env": {"VERSION": version}, "update": limits}
    web["endpoints"] = [{"name": "http", "protocol": "http", "port": 8080}]
    return spec_text(web=web)


def behave(request: CreateRequest) -> Behaviour:
    """A bad version ends itself two seconds after its start."""
    return Behaviour(exit_after=2.0, exit_code=1) if request.env["VERSION"] == BAD else Behaviour(start_seconds=0.2)


def serving(world: World) -> list[str]:
    """Versions of the replicas that get traffic."""
    seen = world.picture().of("shop")
    return [one.instance.spec.env["VERSION"] for one in seen if one.ready and one.live and not one.instance.held]


@pytest.mark.parametrize("seed", range(16))
def test_an_update_keeps_every_replica_serving(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed * 104729)
    replicas, update, bad = chance.randrange(1, 5), STRATEGIES[seed % 4], seed // 4 % 2 == 0
    faults = Faults(crash=0.02, fail=0.05, quiet=True)

    async def story() -> None:
        async with World(tmp_path, seed=seed, nodes=chance.choice([1, 2]), faults=faults) as world:
            for node in world.nodes:
                node.machine.script = behave
            await world.wishes.deploy(shop(replicas, "old", update))
            await world.settle()
            await anyio.sleep(10)  # it has stood its trial: one to go back to
            before = {one.id for one in world.picture().of("shop")}
            faults.quiet = False
            await world.wishes.deploy(shop(replicas, BAD if bad else "new", update))
            for step in range(400):
                served = serving(world)
                assert len(served) >= replicas, served
                assert BAD not in served
                assert world.promises() == []
                if step % 40 == 39:
                    world.depose() if chance.random() < 0.5 else world.restart(chance.randrange(len(world.nodes)))
                if step > 20 and not world.wrong():
                    break
                await anyio.sleep(0.25)
            faults.quiet = True
            await world.settle(within=1200)
            rolled_back = world.picture().deployments["shop"].rolled_back_from > 0
            assert set(serving(world)) == {"old" if rolled_back else "new"}
            assert len(serving(world)) == replicas
            if bad:
                assert rolled_back
                assert {one.id for one in world.picture().of("shop") if one.live} == before
                starts = {key: count for node in world.nodes for key, count in node.machine.starts.items()}
                assert all(starts[one] == 1 for one in before), "the old ones were not touched"

    run(story)
