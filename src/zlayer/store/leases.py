"""Leases of drivers that one process owns.

While its context is open a lease lives: there is no other process that could outlive a missed renewal, so nothing is
renewed and an idle store has no timer. A lease ends early only with its process; its keys then outlive the next
opening of the store by `ttl` seconds (late, never early, as with etcd after a change of leader).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol, Self

import anyio

from zlayer.model.errors import Invalid, Unavailable, ZlayerError

END_DEADLINE = 10.0
"""Seconds a leaving context waits for its keys to be deleted."""


class LeaseKeeper(Protocol):
    """What a driver does for its leases."""

    async def grant(self, name: str, ttl: float) -> int: ...
    def end(self, lease_id: int) -> asyncio.Future[None]: ...
    def orphan(self, lease_id: int, ttl: float) -> None: ...


class HeldLease:
    """The `Lease` of the memory and SQLite drivers. `id` is 0 until entered."""

    def __init__(self, keeper: LeaseKeeper, name: str, ttl: float) -> None:
        if ttl <= 0:
            raise Invalid(f"a lease of {ttl} seconds", hint="the time to live of a lease is more than 0 seconds")
        self.id = 0
        self.name = name
        self.ttl = ttl
        self._keeper = keeper
        self._abandoned = False

    async def __aenter__(self) -> Self:
        # Shielded: a lease granted to nobody would stay until the store is opened again.
        with anyio.CancelScope(shield=True):
            self.id = await self._keeper.grant(self.name, self.ttl)
        return self

    async def __aexit__(self, *exc: object) -> None:
        if self._abandoned:
            return
        with anyio.move_on_after(END_DEADLINE, shield=True):
            # Where the store closed first, the keys vanish `ttl` seconds after it is opened again.
            with suppress(Unavailable):
                await self._keeper.end(self.id)

    def abandon(self) -> None:
        """Stop renewing, as a process that died would: the keys vanish after `ttl`. For tests and simulations."""
        self._abandoned = True
        self._keeper.orphan(self.id, self.ttl)


class Orphans:
    """The only timers of a store: one per lease that nobody renews."""

    def __init__(self, end: Callable[[int], asyncio.Future[None]]) -> None:
        self._end = end
        self._timers: dict[int, asyncio.TimerHandle] = {}

    def add(self, lease_id: int, ttl: float) -> None:
        loop = asyncio.get_running_loop()
        self._timers[lease_id] = loop.call_later(ttl, self._expire, lease_id, ttl)

    def close(self) -> None:
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    def _expire(self, lease_id: int, ttl: float) -> None:
        def ended(done: asyncio.Future[None]) -> None:
            failed = None if done.cancelled() else done.exception()
            if isinstance(failed, ZlayerError) and lease_id in self._timers:
                self.add(lease_id, max(ttl, 1.0))  # The disk is full, say: the keys still have to go.
            else:
                self._timers.pop(lease_id, None)

        self._end(lease_id).add_done_callback(ended)
