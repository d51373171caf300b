from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator

import anyio
import anyio.lowlevel
import pytest

from zlayer.model.errors import Corrupt, NotFound, Unavailable
from zlayer.store.contract import Changes
from zlayer.store.memory import MemoryStore
from zlayer.store.mirror import Mirror

pytestmark = pytest.mark.anyio


class Counting:
    """A decoder that notes what it was given."""

    def __init__(self) -> None:
        self.seen: list[bytes] = []

    def __call__(self, raw: bytes) -> object:
        self.seen.append(raw)
        try:
            return json.loads(raw)
        except ValueError as error:
            raise Corrupt("not JSON", hint="mend it") from error


async def test_it_holds_what_is_there_and_follows() -> None:
    async with MemoryStore() as store:
        await store.commit({"/i/a": b"1", "/i/b": b"2", "/other": b"9"})
        async with Mirror(store, "/i/", json.loads) as mirror:
            assert dict(mirror) == {"a": 1, "b": 2}
            assert (mirror.revision, mirror.modified("a"), mirror.modified("z")) == (1, 1, 0)
            revision = await store.commit({"/i/a": b"3", "/i/c": b"4"}, ["/i/b"])
            await mirror.wait_for(revision)
            assert dict(mirror) == {"a": 3, "c": 4}
            assert (len(mirror), "b" in mirror, mirror.modified("c"), mirror.modified("b")) == (2, False, 2, 0)


async def test_a_snapshot_does_not_change() -> None:
    async with MemoryStore() as store:
        await store.commit({"/i/a": b"1"})
        async with Mirror(store, "/i/", json.loads) as mirror:
            first = mirror.snapshot()
            assert mirror.snapshot() is first
            await mirror.wait_for(await store.commit({"/i/b": b"2"}, ["/i/a"]))
            second = mirror.snapshot()
            assert (dict(first), first.revision, first.modified("a")) == ({"a": 1}, 1, 1)
            assert (dict(second), second.revision, second.modified("a")) == ({"b": 2}, 2, 0)


async def test_each_put_is_decoded_once() -> None:
    decode = Counting()
    async with MemoryStore() as store:
        await store.commit({"/i/a": b"1", "/i/b": b"2"})
        async with Mirror(store, "/i/", decode) as mirror:
            await mirror.wait_for(await store.commit({"/i/c": b"3"}))
            await mirror.wait_for(await store.commit({"/elsewhere": b"9"}))
            mirror.snapshot()
            assert decode.seen == [b"1", b"2", b"3"]


async def test_changed_waits_and_tells_what() -> None:
    told: list[frozenset[str]] = []
    async with MemoryStore() as store:
        await store.commit({"/i/a": b"1", "/i/b": b"1"})
        async with Mirror(store, "/i/", json.loads) as mirror:
            assert await mirror.changed(0) == {"a", "b"}

            async def wait() -> None:
                told.append(await mirror.changed(1))

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(wait)
                await anyio.wait_all_tasks_blocked()
                await store.commit({"/elsewhere": b"1"})
                await anyio.wait_all_tasks_blocked()
                assert told == []
                await store.commit({"/i/c": b"1"}, ["/i/a"])
            assert told == [{"a", "c"}]
            await mirror.wait_for(await store.commit({"/i/c": b"2"}))
            assert await mirror.changed(1) == {"a", "c"}
            assert await mirror.changed(3) == {"c"}


async def test_no_turn_of_a_loop_misses_a_change() -> None:
    """The way controllers use it: look, decide, wait for what came after the look."""
    async with MemoryStore() as store, Mirror(store, "/n/", json.loads) as mirror:
        seen: set[str] = set()

        async def control() -> None:
            revision = 0
            while len(seen) < 200:
                seen.update(await mirror.changed(revision))
                revision = mirror.snapshot().revision
                await anyio.lowlevel.checkpoint()

        with anyio.fail_after(20):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(control)
                for number in range(200):
                    await store.commit({f"/n/{number}": b"1"})
        assert len(seen) == 200


class Forgetful(MemoryStore):
    """A store whose watch stands still until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.go = anyio.Event()

    async def watch(self, prefix: str, after: int) -> AsyncGenerator[Changes, None]:
        await self.go.wait()
        async for changes in super().watch(prefix, after):
            yield changes


async def test_compaction_is_healed_and_deletions_are_reported() -> None:
    decode = Counting()
    async with Forgetful() as store:
        await store.commit({"/i/kept": b"1", "/i/gone": b"1", "/i/changed": b"1"})
        async with Mirror(store, "/i/", decode) as mirror:
            await store.commit({"/i/changed": b"2", "/i/new": b"1"}, ["/i/gone"])
            await store.compact(3)
            store.go.set()
            with anyio.fail_after(10):
                assert await mirror.changed(1) == {"gone", "changed", "new"}
            assert dict(mirror) == {"kept": 1, "changed": 2, "new": 1}
            assert len(decode.seen) == 5
            await mirror.wait_for(await store.commit(deletes=["/i/new"]))
            assert "new" not in mirror


async def test_waiting_for_a_write_elsewhere_ends() -> None:
    async with Forgetful() as store, Mirror(store, "/i/", json.loads) as mirror:
        await store.commit({"/i/a": b"1"})
        with anyio.fail_after(10):
            await mirror.wait_for(await store.commit({"/elsewhere": b"1"}))
        assert dict(mirror) == {"a": 1}
        assert mirror.revision == 2
        store.go.set()
        await mirror.wait_for(await store.commit({"/i/b": b"2"}))
        assert dict(mirror) == {"a": 1, "b": 2}


async def test_what_cannot_be_decoded_stops_it_loudly() -> None:
    async with MemoryStore() as store, Mirror(store, "/i/", Counting()) as mirror:
        await store.commit({"/i/a": b"1"})
        await mirror.changed(0)
        await store.commit({"/i/a": b"2", "/i/b": b"{"})
        with pytest.raises(Corrupt), anyio.fail_after(10):
            await mirror.changed(1)
        with pytest.raises(Corrupt):
            mirror.snapshot()
        with pytest.raises(Corrupt):
            await mirror.wait_for(5)
        assert dict(mirror) == {"a": 1}


async def test_what_cannot_be_decoded_at_first_is_raised_on_entering() -> None:
    async with MemoryStore() as store:
        await store.commit({"/i/a": b"{"})
        with pytest.raises(Corrupt):
            async with Mirror(store, "/i/", Counting()):
                pass


async def test_a_closed_store_is_told() -> None:
    store = MemoryStore()
    async with store, Mirror(store, "/i/", json.loads) as mirror:
        await store.__aexit__()
        with pytest.raises(Unavailable), anyio.fail_after(10):
            await mirror.changed(0)


async def test_an_error_of_its_user_comes_out_as_it_is() -> None:
    async with MemoryStore() as store:
        with pytest.raises(NotFound):
            async with Mirror(store, "/i/", json.loads):
                raise NotFound("mine")


async def test_cancelling_its_user_ends_it() -> None:
    async with MemoryStore() as store:
        with anyio.move_on_after(0.01) as scope:
            async with Mirror(store, "/i/", json.loads):
                await anyio.sleep_forever()
        assert scope.cancelled_caught
        await store.commit({"/i/a": b"1"})


async def test_cancelling_its_task_by_hand_cancels_it() -> None:
    async def use() -> None:
        async with MemoryStore() as store, Mirror(store, "/i/", json.loads):
            entered.set()
            await anyio.sleep_forever()

    entered = anyio.Event()
    task = asyncio.ensure_future(use())
    await entered.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_defect_of_decode_ends_its_user() -> None:
    """Not one of our errors: nothing would make it better, so nobody goes on."""

    def defective(_raw: bytes) -> int:
        raise LookupError("a defect")

    async def use() -> None:
        async with Mirror(store, "/i/", defective):
            await store.commit({"/i/a": b"x"})
            await anyio.sleep_forever()

    async with MemoryStore() as store:
        with pytest.raises(ExceptionGroup) as ended:
            await use()
        assert isinstance(ended.value.exceptions[0], LookupError)


async def test_deleted_keys_are_not_remembered_for_ever() -> None:
    async with MemoryStore() as store, Mirror(store, "/i/", json.loads, keep_gone=3) as mirror:
        await store.commit({"/i/kept": b"1"})
        for number in range(40):
            await store.commit({f"/i/{number}": b"1"})
            await mirror.wait_for(await store.commit(deletes=[f"/i/{number}"]))
        told = await mirror.changed(0)
        assert {"kept", "39", "38", "37"} <= told
        assert len(told) <= 8
