"""How fast bytes may come: a token bucket that all downloads of a pull share."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

BURST = 0.1
"""Seconds of the rate that may come at once."""
SMALLEST = 1024


class Bucket:
    """`rate` in bytes a second; 0: no limit. For several threads: together they get the rate."""

    def __init__(
        self,
        rate: int,
        now: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self._rate, self._now, self._sleep = rate, now, sleep
        self._lock = threading.Lock()
        self._paid_until = 0.0

    @property
    def most(self) -> int:
        """Bytes that should be read at once, so that nobody sleeps for long; 0: as many as one likes."""
        return max(SMALLEST, int(self._rate * BURST)) if self._rate else 0

    def take(self, count: int) -> None:
        """Wait until so many bytes, which have come, are paid for."""
        if not self._rate:
            return
        with self._lock:
            now = self._now()
            self._paid_until = max(self._paid_until, now - BURST) + count / self._rate
            ahead = self._paid_until - now
        if ahead > 0:
            self._sleep(ahead)
