"""The status writer in virtual time: what is urgent goes at once, what is not waits for company, never for long."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio
import anyio.lowlevel

from zlayer.agent.status import APIECE, GAP, LINGER, StatusWriter
from zlayer.model import keys
from zlayer.model.instance import Instance, InstanceStatus, State
from zlayer.model.units import Timestamp
from zlayer.store.documents import decoder
from zlayer.store.memory import MemoryStore
from zlayer.testing.builders import container, status
from zlayer.testing.clock import run


def one(name: str = "a") -> Instance:
    return Instance(
        id=f"shop-web-1-{name}", deployment="shop", service="web", slot=1, spec=container(), digest="x", revision=1,
        created_at=Timestamp(0),
    )  # fmt: skip


def at(state: State, name: str = "a") -> InstanceStatus:
    return status(one(name), state)


def writing(
    test: Callable[[StatusWriter, MemoryStore], Awaitable[None]], company: Callable[[], int] = lambda: 0
) -> None:
    async def body() -> None:
        async with MemoryStore() as store, anyio.create_task_group() as tasks:
            writer = StatusWriter(store, lambda: 0.0, company)
            tasks.start_soon(writer.run)
            await test(writer, store)
            tasks.cancel_scope.cancel()

    run(body)


async def commits(store: MemoryStore) -> int:
    return (await store.list(keys.STATUS)).revision


def test_steps_on_the_way_go_with_what_is_urgent() -> None:
    async def test(writer: StatusWriter, store: MemoryStore) -> None:
        before = await commits(store)
        writer.put(at(State.PREPARING), "none")
        writer.event("instance.started", one(), "", "n1")
        await anyio.sleep(LINGER / 2)
        assert await commits(store) == before
        await writer.committed(writer.put(at(State.EXITED)))
        assert await commits(store) == before + 1
        [item] = (await store.list(keys.STATUS)).items
        assert decoder(InstanceStatus)(item.value).state is State.EXITED
        assert len((await store.list(keys.EVENTS)).items) == 1

    writing(test)


def test_nothing_lingers_for_long() -> None:
    async def test(writer: StatusWriter, store: MemoryStore) -> None:
        for number in range(10):
            writer.put(at(State.PREPARING, f"n{number}"), "none")
            await anyio.sleep(LINGER / 4)
        assert len((await store.list(keys.STATUS)).items) >= 5
        await anyio.sleep(LINGER * 2)
        assert len((await store.list(keys.STATUS)).items) == 10

    writing(test)


def test_who_waits_is_not_kept_waiting() -> None:
    async def test(writer: StatusWriter, store: MemoryStore) -> None:
        began = anyio.current_time()
        await writer.committed(writer.put(at(State.PREPARING), "none"))
        writer.event("x", one(), "", "n1")
        await writer.flush()
        assert anyio.current_time() - began < LINGER / 2

    writing(test)


def test_in_a_storm_commits_keep_their_distance() -> None:
    async def test(writer: StatusWriter, store: MemoryStore) -> None:
        before, began = await commits(store), anyio.current_time()
        for number in range(200):
            writer.put(at(State.READY, f"n{number}"))
            await anyio.sleep(GAP / 10)
        await writer.flush()
        assert len((await store.list(keys.STATUS)).items) == 200
        assert await commits(store) - before <= (anyio.current_time() - began) / GAP + 6

    writing(test)


def test_a_client_does_not_wait_out_a_storm() -> None:
    async def test(writer: StatusWriter, store: MemoryStore) -> None:
        for number in range(20):
            writer.put(at(State.READY, f"n{number}"))
            await anyio.lowlevel.checkpoint()
        began = anyio.current_time()
        await writer.committed(writer.put(at(State.EXITED), "now"))
        assert anyio.current_time() == began

    writing(test)


def test_in_company_commits_keep_a_distance_and_the_last_one_waits_for_nobody() -> None:
    under_way = [20]

    async def test(writer: StatusWriter, store: MemoryStore) -> None:
        await writer.committed(writer.put(at(State.READY, "first")))
        before, began = await commits(store), anyio.current_time()
        writer.put(at(State.READY, "second"))
        await anyio.sleep(20 * APIECE / 2)
        assert await commits(store) == before
        under_way[0] = 0
        await writer.committed(writer.put(at(State.READY, "last")))
        assert await commits(store) == before + 1
        assert anyio.current_time() - began < 20 * APIECE

    writing(test, lambda: under_way[0])
