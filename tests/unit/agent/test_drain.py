from __future__ import annotations

from collections.abc import Collection, Mapping

import anyio

from zlayer.agent.drain import Drain
from zlayer.model.errors import Unavailable
from zlayer.testing.clock import run


class Busy:
    """`load` requests under way per key; counts how often it was asked, and for what."""

    def __init__(self, **load: int) -> None:
        self.load = load
        self.asked: list[tuple[str, ...]] = []

    async def count(self, keys: Collection[str]) -> Mapping[str, int]:
        self.asked.append(tuple(sorted(keys)))
        await anyio.sleep(0.001)
        return {key: self.load[key] for key in keys if key in self.load}


def test_who_has_nothing_is_asked_once() -> None:
    async def body() -> None:
        busy = Busy()
        await Drain(busy.count).empty("a")
        assert busy.asked == [("a",)]

    run(body)


def test_the_last_request_ends_the_wait() -> None:
    async def body() -> None:
        busy = Busy(a=2)

        async def finish() -> None:
            await anyio.sleep(10)
            busy.load["a"] = 0

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(finish)
            await Drain(busy.count).empty("a")
            assert 10 <= anyio.current_time() < 10.5

    run(body)


def test_every_count_has_a_say_and_one_that_fails_has_none() -> None:
    async def broken(keys: Collection[str]) -> Mapping[str, int]:
        raise Unavailable("gone")

    async def body() -> None:
        proxied, forwarded = Busy(), Busy(a=1)
        drain = Drain(proxied.count, broken, forwarded.count)
        with anyio.move_on_after(5) as given:
            await drain.empty("a")
        assert given.cancelled_caught
        forwarded.load.clear()
        await drain.empty("a")

    run(body)


def test_many_that_leave_are_asked_for_together() -> None:
    async def body() -> None:
        busy = Busy(**{f"i{n}": 1 for n in range(50)})
        drain = Drain(busy.count)
        async with anyio.create_task_group() as tasks:
            for number in range(50):
                tasks.start_soon(drain.empty, f"i{number}")
            await anyio.sleep(2)
            busy.load.clear()
        assert any(len(asked) == 50 for asked in busy.asked)

    run(body)
