"""An answer whose body must come at a rate worth having: a bucket that trickles is as good as one that stalls."""

from __future__ import annotations

import time
from collections.abc import Callable
from http.client import IncompleteRead
from typing import Protocol

SLOWEST = 16 * 1024
"""Bytes a second."""
_BLOCK = 64 * 1024


class Body(Protocol):
    """What is read; an `Answer` of the transport is one."""

    @property
    def status(self) -> int: ...

    @property
    def length(self) -> int | None: ...

    def header(self, name: str) -> str: ...

    def readinto(self, buffer: memoryview) -> int: ...

    def close(self) -> None: ...


class Watched:
    """Over a `Body`. Only time spent waiting for bytes counts, so who reads slowly is not blamed on the bucket.

    `patience`: seconds of waiting that must bring `SLOWEST` each, or `readinto` raises `TimeoutError`.
    """

    def __init__(self, body: Body, patience: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._body, self._patience, self._clock = body, patience, clock
        self._waited = 0.0
        self._got = 0
        self.status = body.status

    @property
    def length(self) -> int | None:
        return self._body.length

    def header(self, name: str) -> str:
        return self._body.header(name)

    def readinto(self, buffer: memoryview) -> int:
        began = self._clock()
        count = self._body.readinto(buffer)
        self._waited += self._clock() - began
        self._got += count
        if self._waited > self._patience:
            if self._got < SLOWEST * self._waited:
                raise TimeoutError("it comes too slowly")
            self._waited, self._got = 0.0, 0
        return count

    def whole(self, limit: int) -> bytes | None:
        """All of it, then it is closed. None when it is longer than `limit`; faults as the transport raises them."""
        found, block = bytearray(), memoryview(bytearray(_BLOCK))
        try:
            while len(found) <= limit and (count := self.readinto(block)):
                found += block[:count]
            if len(found) > limit:
                return None
            if self.length:
                raise IncompleteRead(bytes(found), self.length)
            return bytes(found)
        finally:
            self.close()

    def close(self) -> None:
        self._body.close()
