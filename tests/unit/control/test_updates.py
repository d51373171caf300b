"""Wishes about updates in the simulated world: history, the way back, pause, resume, abort; and their records."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio
import pytest

from zlayer.control import rollouts
from zlayer.control.updates import Updates
from zlayer.control.writer import DeploymentWriter
from zlayer.model.errors import Conflict, NotFound
from zlayer.model.rollout import Rollout
from zlayer.store.revisions import load_revisions
from zlayer.testing.builders import spec_text
from zlayer.testing.clock import run
from zlayer.testing.world import World, now


def web(image: str, **update: Any) -> dict[str, Any]:
    return {"image": {"name": f"example.test/app:{image}"}, "update": {"min_ready": "0s", **update}}


async def deployed(world: World, *images: str) -> Updates:
    for image in images:
        await world.wishes.deploy(spec_text("shop", web=web(image)))
        await world.settle()
    return Updates(DeploymentWriter(world.store, now))


def image_of(world: World) -> str:
    return world.picture().deployments["shop"].services["web"].container.image


def test_every_revision_is_kept_with_what_it_was(tmp_path: Path) -> None:
    async def body() -> None:
        async with World(tmp_path) as world:
            updates = await deployed(world, "1", "2")
            assert list(await load_revisions(world.store, "shop")) == [1, 2]
            standings = {kept.revision: standing for kept, standing in await updates.history("shop")}
            assert set(standings) == {1, 2}

    run(body)


def test_the_way_back_is_a_new_revision(tmp_path: Path) -> None:
    async def body() -> None:
        async with World(tmp_path) as world:
            updates = await deployed(world, "1", "2")
            done = await updates.rollback("shop")
            assert (done.revision, done.changed) == (3, True)
            await world.settle()
            assert image_of(world) == "example.test/app:1"
            again = await updates.rollback("shop", 1)
            assert not again.changed
            with pytest.raises(Conflict, match="plan"):
                await updates.rollback("shop", 2, expect=1)

    run(body)


def test_what_is_not_there_cannot_be_gone_back_to(tmp_path: Path) -> None:
    async def body() -> None:
        async with World(tmp_path) as world:
            updates = await deployed(world, "1")
            for call in (updates.rollback("shop", 9), updates.rollback("other"), updates.pause("other")):
                with pytest.raises(NotFound):
                    await call
            for idle in (updates.pause("shop"), updates.resume("shop")):
                with pytest.raises(Conflict, match="no update"):
                    await idle

    run(body)


def test_an_update_is_paused_resumed_and_aborted(tmp_path: Path) -> None:
    async def body() -> None:
        async with World(tmp_path) as world:
            updates = await deployed(world, "1")
            slow = web("2", min_ready="60s")
            await world.wishes.deploy(spec_text("shop", web=slow))
            await anyio.sleep(5)
            await updates.pause("shop")
            await anyio.sleep(120)
            assert world.picture().deployments["shop"].rollout.state == "updating", "paused: nothing is decided"
            await updates.resume("shop")
            await updates.abort("shop")
            await world.settle()
            assert image_of(world) == "example.test/app:1"

    run(body)


def test_a_verdict_is_part_of_one_guarded_commit() -> None:
    assert Rollout().state == "new"
    assert callable(rollouts.reviewed)
