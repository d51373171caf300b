"""Waiting until replicas that get nothing new have finished what they have. One question for all that leave."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping

import anyio
import structlog

from zlayer.model.errors import ZlayerError

log = structlog.get_logger(__name__)

QUICK, SLOW = 0.02, 0.25
"""Seconds between two looks: no engine tells when a connection ends, so they are asked, ever less often."""

Count = Callable[[Collection[str]], Awaitable[Mapping[str, int]]]
"""What each of these still has under way; those it does not name have nothing."""


class Drain:
    """`empty` for any number of instances at once; `counts` are asked for all of them together."""

    def __init__(self, *counts: Count) -> None:
        self._counts = counts
        self._waiting: dict[str, anyio.Event] = {}
        self._asking = anyio.Lock()

    async def empty(self, key: str) -> None:
        """Returns once no count names `key` any more. Cancel it to give up."""
        event = self._waiting.setdefault(key, anyio.Event())
        pause = QUICK
        try:
            while not event.is_set():
                async with self._asking:
                    if not event.is_set():
                        await self._ask()
                if not event.is_set():
                    with anyio.move_on_after(pause):
                        await event.wait()
                    pause = min(SLOW, pause * 1.5)
        finally:
            self._waiting.pop(key, None)

    async def _ask(self) -> None:
        keys = tuple(self._waiting)
        busy: set[str] = set()
        for count in self._counts:
            try:
                busy |= {key for key, number in (await count(keys)).items() if number}
            except ZlayerError as error:  # an engine that is gone has nothing under way
                log.warning("drain.unknown", error=error.message)
        for key in keys:
            if key not in busy and key in self._waiting:
                self._waiting[key].set()
