"""Wishes are durable, guarded and explained; views read them back."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from zlayer.control.pins import Pins
from zlayer.control.views import Views, instance_document, when
from zlayer.control.wishes import Wishes
from zlayer.model import keys
from zlayer.model.container import ContainerSpec
from zlayer.model.errors import Conflict, Invalid, NotFound, Unavailable
from zlayer.model.instance import Deployment, Event, InstanceStatus, State
from zlayer.plan.history import KEEP
from zlayer.store.memory import MemoryStore
from zlayer.store.view import View
from zlayer.testing.builders import container, spec_text
from zlayer.testing.clock import run
from zlayer.testing.world import World

pytestmark = pytest.mark.anyio


@pytest.fixture
async def store() -> AsyncIterator[MemoryStore]:
    async with MemoryStore() as opened:
        yield opened


@pytest.fixture
def wishes(store: MemoryStore) -> Wishes:
    return Wishes(store, environ={"REGION": "eu"}, clock=lambda: 1000.0)


async def stored(store: MemoryStore, name: str = "shop") -> Deployment:
    item = await store.get(keys.deployment(name))
    assert item is not None
    return Deployment.model_validate_json(item.value)


async def test_deploying_the_same_again_changes_nothing(store: MemoryStore, wishes: Wishes) -> None:
    first = await wishes.deploy(spec_text(web={}))
    again = await wishes.deploy(spec_text(web={}))
    other = await wishes.deploy(spec_text(web={"env": {"R": "$E:REGION"}}))
    assert [(d.revision, d.changed) for d in (first, again, other)] == [(1, True), (1, False), (2, True)]
    assert (await stored(store)).services["web"].container.env == {"R": "eu"}


async def test_a_bad_file_writes_nothing(store: MemoryStore, wishes: Wishes) -> None:
    with pytest.raises(Invalid) as caught:
        await wishes.deploy(spec_text(web={"replikas": 3, "prots": []}), file="shop.yml")
    assert len(caught.value.problems) == 2
    assert (await store.list("/")).items == ()


async def test_a_plan_is_held_to_its_revision(wishes: Wishes) -> None:
    text = spec_text(web={})
    plan = await wishes.plan(text)
    assert (plan.revision, [d.action for d in plan.differences]) == (0, ["create"])
    await wishes.deploy(text)
    with pytest.raises(Conflict, match="is at revision 1, the plan was made on 0"):
        await wishes.deploy(spec_text(web={"env": {"A": "1"}}), expect_revision=plan.revision)
    with pytest.raises(Invalid, match="deploys 'shop', not 'store'"):
        await wishes.deploy(text, name="store")


async def test_concurrent_wishes_all_count(store: MemoryStore, wishes: Wishes) -> None:
    await wishes.deploy(spec_text(a={"scale": {"mode": "manual"}}, b={"scale": {"mode": "manual"}}))
    async with anyio.create_task_group() as tasks:
        for service in ("a", "b"):
            for count in range(2, 5):
                tasks.start_soon(wishes.scale, "shop", {service: count})
    found = await stored(store)
    assert found.revision == 7
    assert found.services["a"].replicas in (2, 3, 4)


async def test_scaling(store: MemoryStore, wishes: Wishes) -> None:
    await wishes.deploy(spec_text(web={"scale": {"mode": "adaptive", "min": 2, "max": 4}}))
    assert (await stored(store)).services["web"].replicas == 2
    await wishes.scale("shop", {"web": 3})
    await wishes.deploy(spec_text(web={"scale": {"mode": "adaptive", "min": 2, "max": 4}, "env": {"A": "1"}}))
    assert (await stored(store)).services["web"].replicas == 3, "an adaptive count is kept within the file's range"
    with pytest.raises(Invalid, match="between 2 and 4"):
        await wishes.scale("shop", {"web": 5})
    with pytest.raises(NotFound, match="no service wbe"):
        await wishes.scale("shop", {"wbe": 1})
    with pytest.raises(Invalid, match="cannot scale web to -1"):
        await wishes.scale("shop", {"web": -1})
    with pytest.raises(NotFound, match="no deployment nope"):
        await wishes.scale("nope", {"web": 1})
    assert not (await wishes.scale("shop", {"web": 3})).changed, "it is so already"
    await wishes.remove("shop")
    with pytest.raises(Conflict, match="being removed"):
        await wishes.scale("shop", {"web": 1})


async def test_stop_start_remove(store: MemoryStore, wishes: Wishes) -> None:
    await wishes.deploy(spec_text(web={}, db={}))
    await wishes.stop("shop", "web")
    assert (await stored(store)).services["web"].stopped
    assert not (await wishes.stop("shop", "web")).changed
    await wishes.stop("shop")
    assert (await stored(store)).desired == "stopped"
    await wishes.start("shop")
    found = await stored(store)
    assert (found.desired, found.services["web"].stopped) == ("running", False)
    await wishes.remove("shop")
    assert not (await wishes.remove("shop")).changed
    with pytest.raises(Conflict, match="being removed"):
        await wishes.deploy(spec_text(web={}))
    with pytest.raises(Conflict, match="being removed"):
        await wishes.start("shop")


async def test_old_revisions_are_forgotten(store: MemoryStore, wishes: Wishes) -> None:
    for number in range(KEEP + 5):
        await wishes.deploy(spec_text(web={"env": {"N": str(number)}}))
    assert len((await store.list(keys.REVISIONS)).items) == KEEP


async def test_a_moved_tag_is_a_change_where_the_policy_asks(store: MemoryStore) -> None:
    served = ["sha256:" + "1" * 64]

    async def resolve(spec: ContainerSpec) -> str:
        if not served:
            raise Unavailable("registry unreachable")
        return served[-1]

    wishes = Wishes(store, environ={}, clock=lambda: 1.0, pins=Pins(resolve))
    newer = spec_text(web={"image": {"name": "example.test/app:1", "pull_policy": "newer"}})
    await wishes.deploy(newer)
    assert not (await wishes.deploy(newer)).changed
    served.append("sha256:" + "2" * 64)
    assert (await wishes.deploy(newer)).changed
    served.clear()
    assert not (await wishes.deploy(newer)).changed, "unreachable: newer keeps what it has"
    with pytest.raises(Unavailable):
        await wishes.deploy(newer, pull="always")


async def test_an_image_of_this_node_only_is_not_asked_for(store: MemoryStore) -> None:
    asked: list[str] = []

    async def resolve(spec: ContainerSpec) -> str:
        asked.append(spec.image)
        return "sha256:" + "1" * 64

    wishes = Wishes(store, environ={}, clock=lambda: 1.0, pins=Pins(resolve))
    here = {"image": {"name": "example.test/here:1", "source_policy": "local_only"}}
    await wishes.deploy(spec_text(web=here, db={}), pull="always")
    assert "example.test/here:1" not in asked
    assert len(asked) == 1


async def test_replicas_are_not_removed_one_by_one(store: MemoryStore, wishes: Wishes, tmp_path: Path) -> None:
    one = await wishes.run_once(container())
    await wishes.remove_instance(one.id)
    await wishes.remove_instance(one.id)
    with pytest.raises(NotFound):
        await wishes.remove_instance("nobody")


def test_the_node_is_told_where_an_image_may_come_from(tmp_path: Path) -> None:
    async def story() -> None:
        async with World(tmp_path) as world:
            image = {"name": "example.test/app:1", "source_policy": "remote_only"}
            await world.wishes.deploy(spec_text(web={"image": image}))
            await world.settle()
            assert set(world.nodes[0].images.sources) == {"remote_only"}

    run(story)


def test_views_of_a_running_world(tmp_path: Path) -> None:
    async def story() -> None:
        async with World(tmp_path) as world:
            views = Views(world.store, world.view)
            deployed = await world.wishes.deploy(spec_text(web={"scale": {"mode": "fixed", "replicas": 2}}, db={}))
            await world.settle()
            await views.reached(world.view.revision)
            [shown] = views.deployments()
            assert (shown["deployment"], shown["status"], shown["revision"]) == ("shop", "running", deployed.revision)
            assert [(s["name"], s["desired"], s["running"], s["ready"]) for s in shown["services"]] == [
                ("db", 1, 1, 1),
                ("web", 2, 2, 2),
            ]
            rows = views.instances("shop", "web")
            assert [(r["replica"], r["state"], r["restarts"]) for r in rows] == [(1, "running", 0), (2, "running", 0)]
            assert set(rows[0]) == FIELDS
            assert len({r["ip"] for r in views.instances()}) == 3
            assert views.resolve(None, "web", 2) == rows[1]["id"]
            assert views.resolve("shop", "web") == rows[0]["id"]
            assert views.resolve(None, rows[0]["id"]) == rows[0]["id"]
            with pytest.raises(NotFound, match="no instance of service wbe in deployment shop"):
                views.resolve("shop", "wbe")
            await world.wishes.deploy(spec_text("other", web={}))
            await world.settle()
            with pytest.raises(Invalid, match="several deployments: other, shop"):
                views.resolve(None, "web")
            with pytest.raises(Invalid, match="is a replica of deployment shop"):
                await world.wishes.remove_instance(rows[0]["id"])
            kinds = [event.kind async for event in views.events()]
            assert {"deployment.updated", "instance.created", "instance.started"} <= set(kinds)
            assert json.loads(views.spec("shop"))["deployment"] == "shop"

    run(story)


FIELDS = {
    "deployment", "service", "replica", "id", "node", "state", "health", "image", "ip", "ports", "pid",
    "restarts", "created_at", "started_at", "exit_code", "reason",
}  # fmt: skip


def test_waiting_for_an_instance(tmp_path: Path) -> None:
    async def story() -> None:
        async with World(tmp_path) as world:
            views = Views(world.store, world.view)
            assert await views.wait_instance("nobody", "ended") is None
            one = await world.wishes.run_once(container(), remove_on_exit=True)
            status: InstanceStatus | None = await views.wait_instance(one.id, "running")
            assert status is not None
            world.nodes[0].machine.kill(one.id, 5)
            ended = await views.wait_instance(one.id, "ended")
            assert ended is None or (ended.state, ended.exit_code) == (State.EXITED, 5)
            assert await views.wait_instance(one.id, "gone") is None

    run(story)


async def test_events_are_followed(store: MemoryStore, wishes: Wishes) -> None:
    async with View(store) as view:
        views = Views(store, view)
        await wishes.deploy(spec_text(web={}))
        seen: list[Event] = []

        async def follow() -> None:
            async for event in views.events(follow=True):
                seen.append(event)
                if len(seen) == 2:
                    return

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(follow)
            await anyio.sleep(0.01)
            await wishes.stop("shop")
    assert [event.kind for event in seen] == ["deployment.updated", "deployment.stopped"]


async def test_a_view_shares_what_did_not_change(store: MemoryStore, wishes: Wishes) -> None:
    async with View(store) as view:
        one = await wishes.run_once(container())
        two = await wishes.run_once(container())
        await view.reached(2)
        before = view.picture()
        await store.commit({keys.status(two.id): InstanceStatus(id=two.id, node="n1").model_dump_json().encode()})
        await view.reached(3)
        after = view.picture()
        assert before.find(one.id) is after.find(one.id)
        assert before.find(two.id) is not after.find(two.id)
        assert view.modified(keys.status(two.id)) == 3
        assert view.take_dirty() == {"_run"}
        document: dict[str, Any] = instance_document(after.all()[one.id], None)
        assert (document["state"], document["reason"]) == ("pending", "waits for a node")


def test_times_are_rfc_3339() -> None:
    assert when(0) is None
    assert when(1_700_000_000.5) == "2023-11-14T22:13:20.500Z"
