"""Keeps the disk from filling with images: below a mark of free space, what nothing needs is given back.

What instances run and what a roll-back needs always stays. What went is logged and told as an event.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio
import structlog

from zlayer.image.contract import Storage, Want
from zlayer.model.errors import ZlayerError
from zlayer.model.units import Bytes, Seconds

log = structlog.get_logger(__name__)

EVERY = Seconds(60)
LOW, HIGH = 0.05, 0.08
"""Parts of the disk that are free when giving back begins, and when it may end."""
MOST_LOW = Bytes(10 << 30)
"""On large disks a part is more than anybody needs."""
Space = Callable[[], tuple[int, int]]
"""Bytes free for us, and of the whole file system."""


def space_of(path: Path) -> Space:
    def space() -> tuple[int, int]:
        found = os.statvfs(path)
        return found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize

    return space


def shortage(free: int, whole: int) -> Bytes:
    """How much to give back; 0 while there is enough."""
    low = min(int(whole * LOW), MOST_LOW)
    return Bytes(0 if free >= low else int(low * HIGH / LOW) - free)


class Housekeeper:
    """`run` until cancelled. `pinned` are digests that stay; `tell` takes an event's kind and message."""

    def __init__(
        self,
        stock: Storage,
        space: Space,
        pinned: Callable[[], Awaitable[frozenset[str]]],
        tell: Callable[[str, str], None],
    ) -> None:
        self._stock, self._space, self._pinned, self._tell = stock, space, pinned, tell
        self._helpless = False

    async def run(self) -> None:
        while True:
            await anyio.sleep(EVERY)
            await self.look()

    async def look(self) -> None:
        missing = shortage(*self._space())
        if not missing:
            self._helpless = False
            return
        try:
            pieces = await self._stock.reclaim(await self._pinned(), Want(bytes=missing))
        except ZlayerError as error:
            log.warning("images.reclaim_failed", error=error.message)
            return
        freed = sum(piece.size for piece in pieces)
        if pieces:
            log.info("images.reclaimed", pieces=len(pieces), bytes=freed)
            self._tell(
                "images.reclaimed", f"the disk ran short: {len(pieces)} pieces, {freed / 2**20:.1f} MiB given back"
            )
        if freed < missing and not self._helpless:
            self._helpless = True
            self._tell("disk.short", f"{self._space()[0] / 2**20:.0f} MiB free, and no image that nothing needs")
