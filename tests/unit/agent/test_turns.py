from __future__ import annotations

import anyio

from zlayer.agent.turns import turns, under_way
from zlayer.testing.clock import run


def test_who_waits_for_a_turn_is_under_way_too() -> None:
    async def body() -> None:
        shared = turns(2, ends=1)
        assert shared["prepare"].total_tokens == 2
        assert shared["release"].total_tokens == 1
        leave = anyio.Event()

        async def step() -> None:
            async with shared["create"]:
                await leave.wait()

        async with anyio.create_task_group() as tasks:
            for _ in range(5):
                tasks.start_soon(step)
            await anyio.sleep(0.01)
            assert under_way(shared) == 5
            leave.set()
        assert under_way(shared) == 0

    run(body)
