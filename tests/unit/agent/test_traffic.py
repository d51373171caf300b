"""How an instance leaves: out of every table, confirmed, drained; and how long that may take."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field

import anyio
import pytest

from zlayer.agent.drain import Drain
from zlayer.agent.planes import Derived, Plane, Trouble
from zlayer.agent.traffic import CONFIRM, Traffic
from zlayer.model import keys
from zlayer.model.endpoint import Update
from zlayer.model.errors import Unavailable
from zlayer.model.instance import Deployment, Instance
from zlayer.model.units import Seconds
from zlayer.store.documents import encode
from zlayer.store.memory import MemoryStore
from zlayer.store.view import Picture, View
from zlayer.testing.builders import container, deployment, service
from zlayer.testing.clock import run

SPEC = container(stop_grace=Seconds(10))


@dataclass
class Site:
    """One wanted instance, a plane of live ones, and a load that never ends unless told."""

    store: MemoryStore
    traffic: Traffic
    load: dict[str, int]
    broken: list[bool]
    applied: list[frozenset[str]] = field(default_factory=list)
    instance: Instance = field(
        default_factory=lambda: Instance(
            id="shop-web-1", deployment="shop", service="web", slot=1, revision=1, spec=SPEC, digest=SPEC.digest()
        )
    )

    async def leave(self, **fields: object) -> float:
        """Seconds from the wish to the end of the withdrawal."""
        began = anyio.current_time()
        gone = self.instance.model_copy(update={"desired": "removed", **fields})
        await self.store.commit({keys.instance(gone.id): encode(gone)})
        await self.traffic.withdraw(gone)
        return anyio.current_time() - began


def on_site(test: Callable[[Site], Awaitable[None]], wanted: Deployment | None = None, lasting: float = 0.0) -> None:
    async def body() -> None:
        load: dict[str, int] = {}
        broken = [False]
        applied: list[frozenset[str]] = []

        def derive(picture: Picture) -> Derived[frozenset[str]]:
            live = frozenset(key for key, seen in picture.all().items() if seen.live)
            return Derived(live, live)

        async def apply(table: frozenset[str]) -> None:
            await anyio.sleep(0.2)
            if broken[0]:
                raise Unavailable("no engine")
            applied.append(table)

        async def count(ids: Collection[str]) -> Mapping[str, int]:
            return {key: load.get(key, 0) for key in ids}

        async with MemoryStore() as store, View(store) as view, anyio.create_task_group() as tasks:
            plane = Plane("routes", derive, apply, concerned=lambda _: ["shop/web", "shopping/web"], lasting=lasting)
            traffic = Traffic(view, [plane], Drain(count))
            site = Site(store, traffic, load, broken, applied)
            document = wanted or deployment(web=service(update=Update(drain=Seconds(30))))
            await store.commit(
                {keys.deployment("shop"): encode(document), keys.instance(site.instance.id): encode(site.instance)}
            )
            tasks.start_soon(traffic.run)
            await anyio.sleep(1)
            assert site.instance.id in applied[-1]
            await test(site)
            tasks.cancel_scope.cancel()

    run(body)


def test_it_leaves_when_the_table_without_it_is_in_force() -> None:
    async def test(site: Site) -> None:
        took = await site.leave()
        assert site.applied[-1] == frozenset()
        assert 0.19 < took < 1

    on_site(test)


def test_requests_under_way_are_waited_for() -> None:
    async def test(site: Site) -> None:
        site.load[site.instance.id] = 1

        async def finish() -> None:
            await anyio.sleep(10)
            site.load.clear()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(finish)
            assert 10 <= await site.leave() < 11

    on_site(test)


def test_it_leaves_when_nobody_goes_by_an_old_answer_any_more() -> None:
    async def test(site: Site) -> None:
        assert 5 <= await site.leave() < 6

    on_site(test, lasting=5.0)


def test_who_hurries_does_not_wait_for_old_answers() -> None:
    async def test(site: Site) -> None:
        assert 2 <= await site.leave(stop_grace=Seconds(2)) < 3

    on_site(test, lasting=5.0)


def test_where_all_of_it_ends_old_answers_do_not_matter() -> None:
    async def test(site: Site) -> None:
        gone = deployment(web=service(update=Update(drain=Seconds(30)))).model_copy(update={"desired": "removed"})
        await site.store.commit({keys.deployment("shop"): encode(gone)})
        assert await site.leave() < 1

    on_site(test, lasting=5.0)


@pytest.mark.parametrize(("given", "patience"), [(None, 30), (Seconds(3), 3)])
def test_patience_is_the_updates_unless_somebody_hurries(given: Seconds | None, patience: int) -> None:
    async def test(site: Site) -> None:
        site.load[site.instance.id] = 1
        assert patience <= await site.leave(stop_grace=given) < patience + 1

    on_site(test)


def test_troubles_are_told_by_deployment() -> None:
    async def test(site: Site) -> None:
        assert site.traffic.troubles("shop") == []
        site.broken[0] = True
        gone = site.instance.model_copy(update={"desired": "removed"})
        await site.traffic.settled(await site.store.commit({keys.instance(gone.id): encode(gone)}))
        assert site.traffic.troubles("shop") == [Trouble("no engine", "shop/web")]
        assert site.traffic.failing() == {"routes": "no engine"}

    on_site(test)


def test_where_all_of_it_ends_nobody_waits_longer_than_the_grace() -> None:
    async def test(site: Site) -> None:
        site.load[site.instance.id] = 1
        gone = deployment(web=service(update=Update(drain=Seconds(30)))).model_copy(update={"desired": "removed"})
        await site.store.commit({keys.deployment("shop"): encode(gone)})
        assert 10 <= await site.leave() < 11

    on_site(test)


def test_an_engine_that_is_gone_holds_nobody_for_ever() -> None:
    async def test(site: Site) -> None:
        site.broken[0] = True
        assert CONFIRM <= await site.leave() < CONFIRM + 1

    on_site(test)


def test_one_that_no_table_knew_leaves_at_once() -> None:
    async def test(site: Site) -> None:
        stranger = site.instance.model_copy(update={"id": "shop-web-9"})
        began = anyio.current_time()
        await site.traffic.withdraw(stranger)
        assert anyio.current_time() - began < 0.5

    on_site(test)
