"""Who waits for which prefix. Used by every driver that sees its own commits; lives on the event loop's thread.

A watcher is woken by `publish` itself, in the turn of the loop that acknowledges the commit: nothing polls. Readers
that fall far behind are dropped to the backlog (the driver's stored history), so that a stuck one holds no memory.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from dataclasses import dataclass

from zlayer.model.errors import Unavailable
from zlayer.store.contract import Change, Changes

MAX_PENDING = 10_000
"""Changed keys kept for one slow reader before it is sent back to the backlog."""

Backlog = Callable[[str, int], Awaitable[Changes]]
"""`backlog(prefix, after)`: what changed since, and the revision it was read at; raises `Compacted`."""


@dataclass(frozen=True, slots=True)
class Committed:
    """One commit as watchers see it."""

    revision: int
    changes: tuple[Change, ...]


class Watchers:
    """The open watches of one store."""

    def __init__(self, *, max_pending: int = MAX_PENDING) -> None:
        self._max_pending = max_pending
        self._watchers: set[_Watcher] = set()
        self._closed: Unavailable | None = None

    def publish(self, commits: Iterable[Committed]) -> None:
        """Hand commits to everyone they concern. In revision order, after they are durable."""
        for commit in commits:
            for watcher in self._watchers:
                watcher.offer(commit)

    def close(self, reason: Unavailable) -> None:
        """End every watch, now and later, with `reason`."""
        self._closed = reason
        for watcher in self._watchers:
            watcher.wake()

    async def watch(self, prefix: str, after: int, backlog: Backlog) -> AsyncGenerator[Changes, None]:
        """The stream `Store.watch` promises."""
        watcher = _Watcher(prefix, after, self._max_pending)
        self._watchers.add(watcher)
        try:
            while self._closed is None:
                if watcher.behind:
                    watcher.restart()
                    missed = await backlog(prefix, watcher.position)
                    watcher.advance(missed.revision)
                    if missed.changes:
                        yield missed
                elif watcher.pending:
                    yield watcher.take()
                else:
                    await watcher.woken()
            raise self._closed
        finally:
            self._watchers.discard(watcher)


class _Watcher:
    __slots__ = ("_waiter", "behind", "max_pending", "pending", "position", "prefix")

    def __init__(self, prefix: str, after: int, max_pending: int) -> None:
        self.prefix = prefix
        self.max_pending = max_pending
        self.position = after
        self.behind = True
        self.pending: dict[str, tuple[int, Change]] = {}
        self._waiter: asyncio.Future[None] | None = None

    def offer(self, commit: Committed) -> None:
        if self.behind or commit.revision <= self.position:
            return
        for change in commit.changes:
            if change.key.startswith(self.prefix):
                # Popped first, so that the dict stays in the order of last changes.
                self.pending.pop(change.key, None)
                self.pending[change.key] = (commit.revision, change)
        if len(self.pending) > self.max_pending:
            self.behind = True
        if self.pending:
            self.wake()

    def restart(self) -> None:
        """From here on commits are kept, while the caller reads the backlog before them."""
        self.pending.clear()
        self.behind = False

    def advance(self, revision: int) -> None:
        """Everything up to `revision` has been delivered."""
        self.position = max(self.position, revision)
        self.pending = {key: kept for key, kept in self.pending.items() if kept[0] > self.position}

    def take(self) -> Changes:
        kept = tuple(self.pending.values())
        self.pending.clear()
        self.position = kept[-1][0]
        return Changes(self.position, tuple(change for _, change in kept))

    def wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def woken(self) -> None:
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None
