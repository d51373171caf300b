"""Virtual time: an event loop whose clock jumps to the next timer instead of waiting for it.

A test of back-off, grace periods and deadlines that would take an hour runs in milliseconds, and in the same order
every time. Worker threads are waited for in real time, since nothing else can say when they finish.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import anyio
import anyio.to_thread

T = TypeVar("T")


class Stuck(AssertionError):
    """Nothing can happen any more: no timer, no thread, no file descriptor. A test that waits here waits for ever."""


class _Selector(selectors.DefaultSelector):
    def __init__(self) -> None:
        super().__init__()
        self.loop: VirtualLoop | None = None
        self.threads: anyio.CapacityLimiter | None = None

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready or timeout == 0 or self.loop is None:
            return ready
        if self.threads is not None and self.threads.borrowed_tokens:
            return super().select(60)
        if timeout is None:
            raise Stuck("every task waits for something that cannot happen")
        self.loop.now += timeout
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """`now` starts at 0 and only moves when every task waits."""

    def __init__(self) -> None:
        self.now = 0.0
        selector = _Selector()
        super().__init__(selector)
        selector.loop = self
        self.virtual_selector = selector

    def time(self) -> float:
        return self.now


def run(main: Callable[..., Awaitable[T]], *args: Any) -> T:  # Any: passed through
    """`anyio.run` in virtual time."""

    async def entry() -> T:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        loop.virtual_selector.threads = anyio.to_thread.current_default_thread_limiter()
        return await main(*args)

    return anyio.run(entry, backend_options={"loop_factory": VirtualLoop})
