"""What the memory store has beside the contract (tests/contract/test_store.py)."""

from __future__ import annotations

from contextlib import aclosing

import anyio
import pytest

from zlayer.model.errors import Compacted, Conflict
from zlayer.store.memory import MemoryStore

pytestmark = pytest.mark.anyio


async def test_old_deletions_are_forgotten_by_themselves() -> None:
    async with MemoryStore(keep_deletions=8) as store:
        for number in range(30):
            await store.commit({f"/{number}": b"1"})
            await store.commit(deletes=[f"/{number}"])
        with pytest.raises(Compacted):
            await anext(store.watch("/", 1))
        async with aclosing(store.watch("/", 60 - 16)) as stream:
            assert len((await anext(stream)).changes) == 8


async def test_entering_twice_is_refused() -> None:
    async with MemoryStore() as store:
        with pytest.raises(Conflict):
            await store.__aenter__()


async def test_a_cancelled_commit_did_nothing() -> None:
    async with MemoryStore() as store:
        with anyio.CancelScope() as scope:
            scope.cancel()
            await store.commit({"/a": b"1"})
        assert (await store.list("/")).revision == 0


async def test_an_abandoned_lease_takes_its_keys_along() -> None:
    async with MemoryStore() as store:
        lease = store.hold("node", 0.02)
        await lease.__aenter__()
        await store.commit({"/alive": b"1"}, lease=lease)
        async with aclosing(store.watch("/", 1)) as stream:
            lease.abandon()
            with anyio.fail_after(10):
                assert (await anext(stream)).changes[0].item is None
