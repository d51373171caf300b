from __future__ import annotations

import anyio
import pytest

from zlayer.model.errors import Conflict, NotFound
from zlayer.store.memory import MemoryStore
from zlayer.store.update import update

pytestmark = pytest.mark.anyio


def plus_one(value: bytes | None) -> bytes:
    return b"%d" % (int(value or b"0") + 1)


async def test_it_creates_changes_and_deletes() -> None:
    async with MemoryStore() as store:
        assert await update(store, "/n", plus_one) == 1
        assert await update(store, "/n", plus_one) == 2
        assert await update(store, "/n", lambda _: None) == 3
        assert await store.get("/n") is None


async def test_the_same_value_is_not_written() -> None:
    async with MemoryStore() as store:
        assert await update(store, "/n", lambda value: value) == 0
        await store.commit({"/n": b"5"})
        assert await update(store, "/n", lambda _: b"5") == 1
        assert (await store.list("/")).revision == 1


async def test_no_increment_is_lost() -> None:
    async def count(store: MemoryStore) -> None:
        for _ in range(5):
            await update(store, "/n", plus_one, attempts=200)

    async with MemoryStore() as store:
        async with anyio.create_task_group() as tasks:
            for _ in range(8):
                tasks.start_soon(count, store)
        item = await store.get("/n")
        assert item is not None
        assert item.value == b"40"


async def test_it_gives_up_after_so_many_lost_races() -> None:
    class Contested(MemoryStore):
        races = 0

        async def commit(self, *args: object, **guards: object) -> int:
            self.races += 1
            raise Conflict("someone was faster")

    async with Contested() as store:
        with pytest.raises(Conflict, match="4 attempts"):
            await update(store, "/n", plus_one, attempts=4)
        assert store.races == 4


async def test_what_compute_raises_ends_it() -> None:
    def refuse(value: bytes | None) -> bytes:
        raise NotFound("no such thing")

    async with MemoryStore() as store:
        with pytest.raises(NotFound):
            await update(store, "/n", refuse)
        assert (await store.list("/")).revision == 0
