"""What the clients count: answers by kind with how long they took, and every single failure."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

PULSE, LONG = "new", 0.5
"""The kind of client whose answers say that there is service at all, and the seconds without any that count as none."""
DETAILS = 200
"""Failures between two looks of which more than the number is kept."""


class Failed(Exception):
    """What a client could not get, in words."""


class Over(Exception):
    """A request of this session was lost, and counted: the session begins anew."""


LOST = (OSError, EOFError, Failed, TimeoutError)
"""What loses a request; `ssl.SSLError` is an OSError, `asyncio.IncompleteReadError` an EOFError."""


@dataclass(slots=True)
class Asked:
    """Set `counts` to False for a request that the server gave back unanswered, as its protocol lets it."""

    counts: bool = True


@dataclass(slots=True)
class Tally:
    """Since it was last taken."""

    spans: dict[str, list[float]] = field(default_factory=dict)
    lost: Counter[str] = field(default_factory=Counter)
    failures: list[dict[str, Any]] = field(default_factory=list)
    goodbyes: int = 0
    """WebSockets the server closed as the protocol has it, once the drain of its replica was over."""
    serials: set[int] = field(default_factory=set)
    """Of the certificates that were shown."""
    dark: float = 0.0
    """Seconds without service."""
    _pulse: float = field(default_factory=time.time)

    @contextmanager
    def asking(self, kind: str) -> Iterator[Asked]:
        """One request: good when the block ends well, lost when it raises one of `LOST`."""
        began, asked = time.time(), Asked()
        try:
            yield asked
        except LOST as error:
            words = str(error) if isinstance(error, Failed) else f"{type(error).__name__}: {error}"
            self.failed(kind, began, words)
            raise Over from error
        if asked.counts:
            self.spans.setdefault(kind, []).append(time.time() - began)
        if kind == PULSE:
            self._beat()

    def _beat(self) -> None:
        now = time.time()
        if (gap := now - self._pulse) > LONG:
            self.dark += gap
        self._pulse = now

    def failed(self, kind: str, began: float, words: str) -> None:
        self.lost[kind] += 1
        if len(self.failures) < DETAILS:
            self.failures.append({"kind": kind, "began": began, "ended": time.time(), "words": words})

    def take(self) -> dict[str, Any]:
        """All of it as plain values, times in milliseconds; and it begins anew."""
        taken = {
            "kinds": {kind: _figures(spans) for kind, spans in self.spans.items()},
            "lost": dict(self.lost),
            "failures": self.failures,
            "goodbyes": self.goodbyes,
            "certificates": len(self.serials),
            "dark": round(self.dark, 1),
        }
        self.spans, self.lost, self.failures = {}, Counter(), []
        self.goodbyes, self.serials, self.dark = 0, set(), 0.0
        return taken


def _figures(spans: list[float]) -> dict[str, float]:
    ordered = sorted(spans)
    p50, p99 = (ordered[min(len(ordered) - 1, int(len(ordered) * part))] for part in (0.5, 0.99))
    return {
        "answered": len(ordered),
        "p50_ms": round(p50 * 1e3, 1),
        "p99_ms": round(p99 * 1e3, 1),
        "max_ms": round(ordered[-1] * 1e3, 1),
    }
