"""A live copy of one prefix: what a controller or an agent decides on, without a read per look.

async with Mirror(store, keys.INSTANCES, decoder(Instance)) as instances:
    while True:
        view = instances.snapshot()
        ...decide on `view`, write...
        await instances.changed(view.revision)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import aclosing
from types import TracebackType
from typing import Generic, Self, TypeVar

import anyio

from zlayer.model.errors import Compacted, ZlayerError
from zlayer.store.contract import Change, Item, Store
from zlayer.store.documents import read

T = TypeVar("T")

KEEP_GONE = 4096
"""Deleted keys remembered for `changed`."""
PATIENCE = 0.25
"""Seconds `wait_for` trusts the watch to bring a revision before it lists."""


class View(Mapping[str, T]):
    """The prefix as it was at `revision`: key without prefix -> value. Immutable; made without copying."""

    __slots__ = ("_modified", "_values", "revision")

    def __init__(self, values: Mapping[str, T], modified: Mapping[str, int], revision: int) -> None:
        self._values = values
        self._modified = modified
        self.revision = revision

    def __getitem__(self, key: str) -> T:
        return self._values[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def modified(self, key: str) -> int:
        """What a guarded write of `key` must `expect`: its revision, 0 where it does not exist."""
        return self._modified.get(key, 0)


class Mirror(Mapping[str, T], Generic[T]):
    """Enter it to list and follow `prefix`; then a mapping of key without prefix -> decoded value, in whole commits.

    Every item is decoded once per put. Where `decode` or the watch raises, the mirror stops and `snapshot`, `changed`
    and `wait_for` raise that error from then on: a daemon never decides on a copy that no longer follows. Compaction
    is healed by listing again; deletions missed meanwhile are reported.
    """

    def __init__(self, store: Store, prefix: str, decode: Callable[[bytes], T], *, keep_gone: int = KEEP_GONE) -> None:
        self._store = store
        self._keep_gone = keep_gone
        self._prefix = prefix
        self._decode = decode
        self._values: dict[str, T] = {}
        self._modified: dict[str, int] = {}
        self._revision = 0
        self._touched: dict[str, int] = {}  # key -> revision of its last change, oldest first
        self._view: View[T] | None = None
        self._moved = anyio.Event()
        self._failure: ZlayerError | None = None

    async def __aenter__(self) -> Self:
        await self._relist()
        self._following = anyio.create_task_group()
        await self._following.__aenter__()
        self._following.start_soon(self._follow, name=f"mirror {self._prefix}")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        self._following.cancel_scope.cancel()
        if isinstance(error, anyio.get_cancelled_exc_class()):
            return await self._following.__aexit__(kind, error, trace)
        # Not handed over: a task group would wrap the caller's own exception in a group.
        await self._following.__aexit__(None, None, None)
        return None

    def __getitem__(self, key: str) -> T:
        return self._values[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    @property
    def revision(self) -> int:
        """The store's revision this mirror has certainly seen."""
        return self._revision

    def modified(self, key: str) -> int:
        """What a guarded write of `key` must `expect`: its revision, 0 where it does not exist."""
        return self._modified.get(key, 0)

    def snapshot(self) -> View[T]:
        """All of it as of now, in constant time: the next change copies, not this call."""
        self._check()
        if self._view is None:
            self._view = View(self._values, self._modified, self._revision)
        return self._view

    async def changed(self, after: int) -> frozenset[str]:
        """Wait until something changed past revision `after`; the keys that did (without prefix), deleted ones too.

        Returns at once when something already has. A caller more than `keep_gone` deletions behind is not told the
        oldest deletions: compare with the snapshot in hand.
        """
        while True:
            self._check()
            keys = self._changed_since(after)
            if keys:
                return keys
            await self._moved.wait()

    async def wait_for(self, revision: int) -> None:
        """Return once the mirror shows everything up to `revision`: a caller thereby reads its own write."""
        with anyio.move_on_after(PATIENCE):
            while self._revision < revision:
                self._check()
                await self._moved.wait()
        # A commit that touched nothing below the prefix never shows up in the watch: a list tells as much.
        while self._revision < revision:
            self._check()
            await self._relist()

    def _check(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _changed_since(self, after: int) -> frozenset[str]:
        found = []
        for key, revision in reversed(self._touched.items()):
            if revision <= after:
                break
            found.append(key)
        return frozenset(found)

    async def _follow(self) -> None:
        try:
            while True:
                try:
                    async with aclosing(self._store.watch(self._prefix, self._revision)) as stream:
                        async for changes in stream:
                            self._apply(changes.changes, changes.revision)
                except Compacted:
                    await self._relist()
        except ZlayerError as error:
            self._failure = error
            self._announce()

    async def _relist(self) -> None:
        listing = await self._store.list(self._prefix)
        present = {item.key for item in listing.items}
        gone = [key for key in self._values if self._prefix + key not in present]
        self._apply(
            [Change(item.key, item) for item in listing.items if self._is_news(item)]
            + [Change(self._prefix + key, None) for key in gone],
            listing.revision,
        )

    def _is_news(self, item: Item) -> bool:
        return self._modified.get(item.key[len(self._prefix) :]) != item.modified

    def _apply(self, changes: Sequence[Change], revision: int) -> None:
        """Take over a whole `Changes` or nothing; what is no news (a list overtook the watch) does no harm."""
        if revision <= self._revision:
            return
        start = len(self._prefix)
        put = [(c.key[start:], c.item.modified, read(self._decode, c.item)) for c in changes if c.item]
        if changes and self._view is not None:
            self._values, self._modified = dict(self._values), dict(self._modified)
        self._view = None
        self._revision = revision
        for change in changes:
            key = change.key[start:]
            self._touched.pop(key, None)  # popped first: the dict stays in the order of last changes
            self._touched[key] = revision
            if change.item is None:
                self._values.pop(key, None)
                self._modified.pop(key, None)
        for key, modified, value in put:
            self._values[key] = value
            self._modified[key] = modified
        if len(self._touched) > len(self._values) + 2 * self._keep_gone:
            self._forget_gone()
        self._announce()

    def _forget_gone(self) -> None:
        gone = [key for key in self._touched if key not in self._values]
        for key in gone[: -self._keep_gone]:
            del self._touched[key]

    def _announce(self) -> None:
        moved, self._moved = self._moved, anyio.Event()
        moved.set()
