"""Work that stands beside the daemon's own: when a part of it fails, that part starts again, and nothing else ends."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio
import structlog

from zlayer.plan.backoff import delay

log = structlog.get_logger(__name__)

STEADY = 60.0
"""Seconds of work after which earlier failures are forgotten."""


async def standing(name: str, run: Callable[[], Awaitable[None]]) -> None:
    """Run it until it returns or is cancelled; a failure is logged, and it is run again after a pause."""
    failures = 0
    while True:
        began = anyio.current_time()
        try:
            await run()
        except Exception as error:  # a full disk, no descriptor left, a defect: what runs must not stop for it
            log.exception("daemon.part_failed", part=name, error=str(error))
        else:
            return
        failures = 1 if anyio.current_time() - began > STEADY else failures + 1
        await anyio.sleep(delay(failures, name, first=0.1, limit=30.0))
