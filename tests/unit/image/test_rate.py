from __future__ import annotations

import pytest

from zlayer.image.rate import Bucket


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def test_bytes_come_at_the_rate_and_a_pause_saves_little() -> None:
    clock = Clock()
    bucket = Bucket(1000, clock, clock.sleep)
    for _ in range(100):
        bucket.take(100)
    assert clock.now - 100 == pytest.approx(10, abs=0.2)
    clock.now += 60
    before = clock.now
    for _ in range(20):
        bucket.take(100)
    assert clock.now - before == pytest.approx(2, abs=0.2)


def test_no_limit_costs_nothing() -> None:
    clock = Clock()
    bucket = Bucket(0, clock, clock.sleep)
    bucket.take(1 << 40)
    assert (clock.now, bucket.most) == (100.0, 0)
    assert Bucket(10).most == 1024
    assert Bucket(10_000_000).most == 1_000_000
