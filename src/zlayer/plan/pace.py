"""How often to do what costs the same for one change as for many: at once while little happens, less often in a storm.

The generic cell rate algorithm (ITU-T I.371) on a clock that is given.
"""

from __future__ import annotations


class Pace:
    """`burst` turns in a row wait for nothing; then there is one each `gap` seconds."""

    def __init__(self, gap: float, burst: int = 5) -> None:
        self.gap = gap
        self._slack = gap * (burst - 1)
        self._paid = 0.0
        """Until when the turns taken would have lasted, each with its gap after it."""

    def next(self, now: float) -> float:
        """When the next turn may be: `now` or later."""
        return max(now, self._paid - self._slack)

    def turn(self, now: float, gap: float = 0.0) -> None:
        """One is taken. `gap`: it was dear, and wants so much rest, if that is more."""
        self._paid = max(self._paid, now) + max(self.gap, gap)
