"""A body that trickles is given up (zlayer.image.s3.watched)."""

from __future__ import annotations

from dataclasses import dataclass, field
from http.client import IncompleteRead

import pytest

from zlayer.image.s3.watched import SLOWEST, Watched


@dataclass
class Slow:
    """Gives `step` bytes for each `seconds` of waiting."""

    left: int
    step: int
    seconds: float
    promised: int = 0
    status: int = 200
    now: float = 0.0
    closed: bool = field(default=False)

    @property
    def length(self) -> int | None:
        return self.promised or None

    def header(self, name: str) -> str:
        return name

    def readinto(self, buffer: memoryview) -> int:
        self.now += self.seconds
        count = min(self.left, self.step, len(buffer))
        buffer[:count] = b"x" * count
        self.left -= count
        return count

    def close(self) -> None:
        self.closed = True

    def clock(self) -> float:
        return self.now


def watched(slow: Slow) -> Watched:
    return Watched(slow, 10.0, slow.clock)


def test_what_comes_fast_enough_is_read_to_its_end() -> None:
    slow = Slow(100 * SLOWEST, SLOWEST, 0.9)
    assert watched(slow).whole(1 << 30) == b"x" * 100 * SLOWEST
    assert slow.closed


def test_a_trickle_is_given_up_after_the_patience() -> None:
    slow = Slow(1 << 30, 1000, 1.0)
    with pytest.raises(TimeoutError):
        watched(slow).whole(1 << 30)
    assert slow.now == 11.0
    assert slow.closed


def test_a_trickle_after_a_good_start_is_given_up_too() -> None:
    slow = Slow(1 << 40, 30 * SLOWEST, 1.0)
    body, block = watched(slow), memoryview(bytearray(30 * SLOWEST))
    for _ in range(50):
        body.readinto(block)
    slow.step = 1
    with pytest.raises(TimeoutError):
        body.whole(1 << 40)


def test_who_reads_slowly_is_not_the_bucket() -> None:
    slow = Slow(100, 1, 0.001)
    body, block = watched(slow), memoryview(bytearray(10))
    for _ in range(100):
        slow.now += 60
        body.readinto(block)
    assert slow.left == 0


def test_too_much_and_too_little() -> None:
    assert watched(Slow(101, 50, 0)).whole(100) is None
    assert watched(Slow(100, 50, 0)).whole(100) == b"x" * 100
    with pytest.raises(IncompleteRead):
        watched(Slow(100, 50, 0, promised=5)).whole(100)
