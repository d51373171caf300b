"""A part of the daemon that fails is run again; in virtual time."""

from __future__ import annotations

from itertools import pairwise

import anyio

from zlayer.daemon.standing import standing
from zlayer.model.errors import Unavailable
from zlayer.testing.clock import run


def test_what_fails_is_run_again_after_longer_and_longer_pauses() -> None:
    at: list[float] = []

    async def part() -> None:
        at.append(anyio.current_time())
        if len(at) == 3:
            raise ExceptionGroup("both", [OSError(24, "no descriptor left"), ValueError("a bug")])
        if len(at) < 6:
            raise Unavailable("the disk is full")

    run(lambda: standing("part", part))
    gaps = [later - earlier for earlier, later in pairwise(at)]
    assert len(at) == 6
    assert gaps == sorted(gaps)
    assert gaps[0] >= 0.05


def test_what_worked_long_starts_again_at_once() -> None:
    at: list[float] = []

    async def part() -> None:
        at.append(anyio.current_time())
        await anyio.sleep(100)
        if len(at) < 10:
            raise Unavailable("once in a while")

    run(lambda: standing("part", part))
    assert at[-1] - at[0] < 10 * 100.2


def test_it_ends_when_it_is_cancelled() -> None:
    async def body() -> None:
        with anyio.move_on_after(5) as patience:
            await standing("part", anyio.sleep_forever)
        assert patience.cancelled_caught

    run(body)
