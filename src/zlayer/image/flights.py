"""One piece of work for all who want the same at once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import anyio

from zlayer.image.contract import OnProgress, Progress
from zlayer.model.errors import ZlayerError, from_document

T = TypeVar("T")


@dataclass(slots=True, eq=False)
class _Flight(Generic[T]):
    """A pull going on; those who came later wait for it and hear its progress."""

    listeners: list[OnProgress]
    landed: anyio.Event = field(default_factory=anyio.Event)
    result: T | None = None
    error: ZlayerError | None = None

    def report(self, progress: Progress) -> None:
        for listener in list(self.listeners):
            listener(progress)


class Flights(Generic[T]):
    """Pulls in the air, by key. Whoever asks first does the work; if cancelled, another who waits takes over."""

    def __init__(self) -> None:
        self._flights: dict[Hashable, _Flight[T]] = {}

    def __len__(self) -> int:
        return len(self._flights)

    async def share(
        self, key: Hashable, work: Callable[[OnProgress], Awaitable[T]], on_progress: OnProgress | None
    ) -> T:
        """The outcome of `work` for `key`, run once for all who wait for it. Its error goes to each of them."""
        listeners = [on_progress] if on_progress else []
        while flight := self._flights.get(key):
            flight.listeners += listeners
            try:
                await flight.landed.wait()
            finally:
                for listener in listeners:
                    flight.listeners.remove(listener)
            if flight.result is not None:
                return flight.result
            if flight.error:
                raise from_document(flight.error.document())
        flight = self._flights[key] = _Flight[T](listeners)
        try:
            flight.result = await work(flight.report)
        except ZlayerError as error:
            flight.error = error
            raise
        finally:
            del self._flights[key]
            flight.landed.set()
        return flight.result
