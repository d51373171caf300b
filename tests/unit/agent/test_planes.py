"""A plane over a real view: it follows, heals, backs off, and says so; all in virtual time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import anyio

from zlayer.agent.planes import Derived, Plane, PlaneLoop, Trouble
from zlayer.model import keys
from zlayer.model.errors import Conflict, Problem, Unavailable
from zlayer.model.instance import Instance
from zlayer.model.units import Timestamp
from zlayer.store.documents import encode
from zlayer.store.memory import MemoryStore
from zlayer.store.view import Picture, View
from zlayer.testing.builders import container, deployment, service
from zlayer.testing.clock import run

Names = tuple[str, ...]
LASTING = 5.0


@dataclass
class Applied:
    """Names of deployments as a table; what was told, and what to do instead of applying."""

    tables: list[Names] = field(default_factory=list)
    told: list[tuple[str, str]] = field(default_factory=list)
    refuse: list[Exception] = field(default_factory=list)
    stumble: list[Exception] = field(default_factory=list)
    looks: int = 0
    pause: float | None = None
    shake: anyio.Event = field(default_factory=anyio.Event)

    def derive(self, picture: Picture) -> Derived[Names]:
        self.looks += 1
        if self.stumble:
            raise self.stumble.pop(0)
        wake = None if self.pause is None else anyio.current_time() + self.pause
        return Derived(tuple(sorted(picture.deployments)), frozenset(picture.deployments), wake)

    async def apply(self, table: Names) -> None:
        await anyio.sleep(0.01)
        if self.refuse:
            raise self.refuse.pop(0)
        self.tables.append(table)

    async def disturbed(self) -> None:
        await self.shake.wait()
        self.shake = anyio.Event()


def follow(test: Callable[[Applied, PlaneLoop[Names], MemoryStore], Awaitable[None]]) -> None:
    async def body() -> None:
        applied = Applied()
        async with MemoryStore() as store, View(store) as view, anyio.create_task_group() as tasks:
            plane = Plane(
                "routes",
                applied.derive,
                applied.apply,
                applied.disturbed,
                concerned=lambda names: names,
                lasting=LASTING,
            )
            loop = PlaneLoop(plane, view, lambda kind, message: applied.told.append((kind, message)))
            tasks.start_soon(loop.run)
            await test(applied, loop, store)
            tasks.cancel_scope.cancel()

    run(body)


async def put(store: MemoryStore, name: str) -> int:
    return await store.commit({keys.deployment(name): encode(deployment(name, web=service()))})


def test_every_change_ends_in_a_table() -> None:
    async def test(applied: Applied, loop: PlaneLoop[Names], store: MemoryStore) -> None:
        await anyio.sleep(1)
        assert applied.tables == [()]
        await put(store, "shop")
        await anyio.sleep(1)
        assert applied.tables == [(), ("shop",)]
        assert loop.table == ("shop",)

    follow(test)


def test_what_changes_nothing_is_not_applied_again() -> None:
    async def test(applied: Applied, loop: PlaneLoop[Names], store: MemoryStore) -> None:
        await anyio.sleep(1)
        revision = await store.commit({"/events/1": b"{}"})
        await loop.without("shop", revision)
        assert applied.tables == [()]

    follow(test)


def test_what_no_table_is_made_of_is_not_looked_at() -> None:
    async def test(applied: Applied, loop: PlaneLoop[Names], store: MemoryStore) -> None:
        await put(store, "shop")
        await anyio.sleep(1)
        before = applied.looks
        for number in range(5):
            one = Instance(
                id=f"run-run-1-aaaaaa{number}", deployment="run", service="run", slot=1, spec=container(),
                digest="x", revision=1, created_at=Timestamp(0),
            )  # fmt: skip
            revision = await store.commit({keys.instance(one.id): encode(one), f"/events/{number}": b"{}"})
            await loop.reached(revision)
        assert applied.looks == before
        await put(store, "shop")
        await anyio.sleep(1)
        assert applied.looks == before + 1

    follow(test)


def test_it_looks_again_when_it_is_time_though_nothing_has_changed() -> None:
    async def test(applied: Applied, loop: PlaneLoop[Names], store: MemoryStore) -> None:
        applied.pause = 10.0
        await put(store, "shop")
        await anyio.sleep(35)
        assert 4 <= applied.looks <= 6

    follow(test)


def test_a_storm_is_a_few_tables_and_the_last_one_wins() -> None:
    async def test(applied: Applied, loop: PlaneLoop[Names], store: MemoryStore) -> None:
        for number in range(100):
            await put(store, f"shop{number}")
        await anyio.sleep(1)
        assert len(applied.tables[-1]) == 100
        assert len(applied.tables) < 10

    follow(test)


def test_without_waits_for_the_table_that_lacks_it() -> None:
    async def test(applied: Applied, loop: PlaneLoop[Names], store: MemoryStore) -> None:
        revision = await put(store, "shop")
        with anyio.move_on_after(1) as patience:
            await loop.without("shop", revision)
        assert patience.cancelled_caught
        revision = await store.commit(deletes=[keys.deployment("shop")])
        await loop.without("shop", revision)
        assert applied.tables[-1] == ()

    follow(test)


def test_who_left_is_remembered_as_long_as_what_was_told_lasts() -> None:
    async def test(applied: Applied, loop: PlaneLoop[Names], store: MemoryStore) -> None:
        began = anyio.current_time()
        await loop.outlasted("nobody")
        assert anyio.current_time() == began
        await loop.reached(await put(store, "shop"))
        await loop.outlasted("nobody, and unknown what an earlier daemon told")
        first = anyio.current_time()
        assert first - began <= LASTING + 1
        await loop.outlasted("shop")
        assert anyio.current_time() == first, "it never left"
        await anyio.sleep(10)
        left = await store.commit(deletes=[keys.deployment("shop")])
        await loop.without("shop", left)
        gone = anyio.current_time()
        await loop.outlasted("shop")
        assert anyio.current_time() == gone + LASTING
        await loop.outlasted("shop")
        assert anyio.current_time() == gone + LASTING

    follow(test)


def test_a_failure_is_told_once_retried_and_its_end_told() -> None:
    async def test(applied: Applied, loop: PlaneLoop[Names], store: MemoryStore) -> None:
        applied.refuse = [Unavailable("no engine", hint="install it")] * 3
        await anyio.sleep(60)
        assert applied.tables == [()]
        assert applied.told == [("routes.failed", "no engine; install it"), ("routes.restored", "")]
        assert loop.failing == ""

    follow(test)


def test_a_defect_of_a_driver_ends_nothing() -> None:
    async def test(applied: Applied, loop: PlaneLoop[Names], store: MemoryStore) -> None:
        applied.refuse = [ValueError("a bug")]
        await anyio.sleep(60)
        assert applied.tables == [()]

    follow(test)


def test_a_picture_nothing_can_be_made_of_ends_nothing() -> None:
    async def test(applied: Applied, loop: PlaneLoop[Names], store: MemoryStore) -> None:
        applied.stumble = [ValueError("a bug")] * 2
        await anyio.sleep(60)
        assert applied.tables == [()]
        assert applied.told == [("routes.failed", "a bug"), ("routes.restored", "")]

    follow(test)


def test_a_refused_part_leaves_the_rest_in_force_and_is_tried_again() -> None:
    async def test(applied: Applied, loop: PlaneLoop[Names], store: MemoryStore) -> None:
        await anyio.sleep(1)
        applied.refuse = [Conflict("port 80 is taken")]
        revision = await put(store, "shop")
        await loop.without("other", revision)
        assert loop.failing == "port 80 is taken"
        await anyio.sleep(10)
        assert loop.failing == ""
        assert applied.tables[-1] == ("shop",)

    follow(test)


def test_whose_a_refused_part_is_and_whom_a_failure_concerns() -> None:
    async def test(applied: Applied, loop: PlaneLoop[Names], store: MemoryStore) -> None:
        await anyio.sleep(1)
        problems = (Problem("port 80 is nginx's", path="shop/web"), Problem("something else"))
        applied.refuse = [Conflict("cannot listen", hint="look", problems=problems)] * 4
        await loop.settled(await put(store, "shop"))
        assert loop.failing == "cannot listen; look; port 80 is nginx's"
        assert loop.troubles == (Trouble("cannot listen; look"), Trouble("port 80 is nginx's", "shop/web"))
        await anyio.sleep(3)
        assert not loop.troubles, "four tries in three seconds"
        applied.refuse = [Unavailable("no engine")]
        await loop.settled(await put(store, "blog"))
        assert [one.owner for one in loop.troubles] == ["", "blog", "shop"]

    follow(test)


def test_settled_waits_for_the_try_also_where_it_is_failing_already() -> None:
    async def test(applied: Applied, loop: PlaneLoop[Names], store: MemoryStore) -> None:
        applied.refuse = [Conflict("port 80 is taken")] * 50
        await loop.settled(await put(store, "shop"))
        applied.refuse = [Conflict("port 81 is taken")] * 50
        await loop.settled(await put(store, "blog"))
        assert loop.failing == "port 81 is taken"

    follow(test)


def test_who_asks_again_hears_what_is_so_now() -> None:
    async def test(applied: Applied, loop: PlaneLoop[Names], store: MemoryStore) -> None:
        applied.refuse = [Conflict("port 80 is taken")] * 50
        revision = await put(store, "shop")
        await loop.settled(revision)
        await anyio.sleep(30)
        assert loop.failing
        applied.refuse = []
        asked = anyio.current_time()
        await loop.settled(revision)
        assert loop.failing == ""
        assert anyio.current_time() - asked < 0.5

    follow(test)


def test_what_somebody_else_changed_is_applied_again() -> None:
    async def test(applied: Applied, loop: PlaneLoop[Names], store: MemoryStore) -> None:
        await anyio.sleep(1)
        applied.shake.set()
        await anyio.sleep(1)
        assert applied.tables == [(), ()]

    follow(test)


def test_a_table_that_changes_by_itself_is_derived_again() -> None:
    async def test(applied: Applied, loop: PlaneLoop[Names], store: MemoryStore) -> None:
        looks = 0
        derive = applied.derive

        def counted(picture: Picture) -> Derived[Names]:
            nonlocal looks
            looks += 1
            return derive(picture)

        applied.pause = 10.0
        plane = Plane("routes", counted, applied.apply)
        async with View(store) as view, anyio.create_task_group() as tasks:
            tasks.start_soon(PlaneLoop(plane, view, lambda _kind, _message: None).run)
            await anyio.sleep(35)
            tasks.cancel_scope.cancel()
        assert looks == 4

    follow(test)
