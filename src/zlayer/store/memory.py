"""A store in memory: for tests and simulated worlds. The same promises as SQLite, but for durability."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Self

from zlayer.model.errors import Compacted, Conflict, Unavailable
from zlayer.store.checks import Batch, check_prefix, checked, refuse_unexpected
from zlayer.store.contract import Change, Changes, Item, Lease, Listing
from zlayer.store.leases import HeldLease, Orphans
from zlayer.store.watchers import Committed, Watchers

KEEP_DELETIONS = 10_000
"""Deletions remembered for watches that start in the past."""


class MemoryStore:
    """What was stored stays with the object: leaving and entering it again is a daemon's restart."""

    def __init__(self, *, keep_deletions: int = KEEP_DELETIONS) -> None:
        self._keep = keep_deletions
        self._items: dict[str, Item] = {}
        self._deleted: dict[str, int] = {}
        self._owners: dict[str, int] = {}
        self._leases: dict[int, float] = {}
        self._last_lease = 0
        self._revision = 0
        self._floor = 1
        self._closed: Unavailable | None = Unavailable("the store is not open", hint="enter it with `async with`")
        self._watchers = Watchers()
        self._orphans = Orphans(self.end)

    async def __aenter__(self) -> Self:
        if self._closed is None:
            raise Conflict("the store is already open", hint="a store is entered once at a time")
        self._closed = None
        self._watchers = Watchers()
        for lease_id, ttl in self._leases.items():
            self._orphans.add(lease_id, ttl)
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._closed = Unavailable("the store is closed", hint="it closes when its daemon stops; try again")
        self._orphans.close()
        self._watchers.close(self._closed)

    async def get(self, key: str) -> Item | None:
        check_prefix(key)
        await self._turn()
        return self._items.get(key)

    async def list(self, prefix: str) -> Listing:
        check_prefix(prefix)
        await self._turn()
        keys = sorted(key for key in self._items if key.startswith(prefix))
        return Listing(tuple(self._items[key] for key in keys), self._revision)

    async def commit(
        self,
        puts: Mapping[str, bytes] | None = None,
        deletes: Sequence[str] = (),
        expect: Mapping[str, int] | None = None,
        lease: Lease | None = None,
    ) -> int:
        batch = checked(puts, deletes, expect, lease)
        await self._turn()
        return self._apply(batch)

    def watch(self, prefix: str, after: int) -> AsyncGenerator[Changes, None]:
        check_prefix(prefix)
        return self._watchers.watch(prefix, after, self._since)

    async def compact(self, before: int) -> None:
        await self._turn()
        self._forget(before)

    def hold(self, name: str, ttl: float) -> HeldLease:
        return HeldLease(self, name, ttl)

    async def grant(self, name: str, ttl: float) -> int:
        """For leases. `name` has no use here: nobody reads this store's file."""
        await self._turn()
        self._last_lease += 1
        self._leases[self._last_lease] = ttl
        return self._last_lease

    def end(self, lease_id: int) -> asyncio.Future[None]:
        """For leases: delete what hangs on this one."""
        done = asyncio.get_running_loop().create_future()
        if self._closed is not None:
            done.set_exception(self._closed)
            return done
        self._leases.pop(lease_id, None)
        keys = tuple(key for key, owner in self._owners.items() if owner == lease_id)
        if keys:
            self._apply(Batch({}, keys, {}))
        done.set_result(None)
        return done

    def orphan(self, lease_id: int, ttl: float) -> None:
        self._orphans.add(lease_id, ttl)

    async def _turn(self) -> None:
        """Let others run first, as any real driver does; a call that is cancelled here has done nothing."""
        await asyncio.sleep(0)
        if self._closed is not None:
            raise self._closed

    def _apply(self, batch: Batch) -> int:
        refuse_unexpected(batch.expect, {k: i.modified for k in batch.expect if (i := self._items.get(k))})
        if batch.lease is not None and batch.lease not in self._leases:
            raise Conflict(f"lease {batch.lease} has ended", hint="what it guarded may be someone else's by now")
        self._revision += 1
        changes = [self._put(key, value, batch.lease) for key, value in batch.puts.items()]
        changes += [self._delete(key) for key in batch.deletes if key in self._items]
        if len(self._deleted) > self._keep * 5 // 4:  # slack, so that not every commit forgets
            self._forget([*self._deleted.values()][-self._keep - 1] + 1)
        self._watchers.publish([Committed(self._revision, tuple(changes))])
        return self._revision

    def _put(self, key: str, value: bytes, lease: int | None) -> Change:
        known = self._items.get(key)
        item = Item(key, value, known.created if known else self._revision, self._revision)
        self._items[key] = item
        self._deleted.pop(key, None)
        self._owners.pop(key, None)
        if lease is not None:
            self._owners[key] = lease
        return Change(key, item)

    def _delete(self, key: str) -> Change:
        del self._items[key]
        self._owners.pop(key, None)
        self._deleted[key] = self._revision
        return Change(key, None)

    def _forget(self, before: int) -> None:
        self._floor = max(self._floor, min(before, self._revision + 1))
        self._deleted = {key: revision for key, revision in self._deleted.items() if revision >= self._floor}

    async def _since(self, prefix: str, after: int) -> Changes:
        await self._turn()
        if after + 1 < self._floor:
            raise Compacted(f"changes after {after} are no longer kept", hint="list again and watch from there")
        found = [(i.modified, Change(k, i)) for k, i in self._items.items() if i.modified > after]
        found += [(revision, Change(key, None)) for key, revision in self._deleted.items() if revision > after]
        found.sort(key=lambda entry: entry[0])
        return Changes(self._revision, tuple(change for _, change in found if change.key.startswith(prefix)))
