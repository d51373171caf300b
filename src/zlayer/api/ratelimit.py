"""A token bucket per client: generous for people and scripts, a wall for a loop gone wild."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from zlayer.model.units import Seconds

CLIENTS = 4096
"""Clients remembered; the one not seen for longest is forgotten first (its bucket was full again anyway)."""


class Buckets:
    """`rate` requests a second on average, `burst` at once. `now` is a monotonic clock in seconds."""

    def __init__(self, rate: float, burst: int, now: Callable[[], float]) -> None:
        self._rate = rate
        self._burst = burst
        self._now = now
        self._levels: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, client: str) -> Seconds | None:
        """None: go on. Else the time until this client may ask again."""
        now = self._now()
        level, then = self._levels.pop(client, (float(self._burst), now))
        level = min(self._burst, level + (now - then) * self._rate)
        wait = None if level >= 1 else Seconds((1 - level) / self._rate)
        self._levels[client] = (level - 1 if wait is None else level, now)
        if len(self._levels) > CLIENTS:
            self._levels.popitem(last=False)
        return wait
