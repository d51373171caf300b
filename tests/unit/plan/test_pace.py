"""A few turns at once, many at a distance, and rest for dear ones."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from zlayer.plan.pace import Pace


def test_a_few_in_a_row_wait_for_nothing() -> None:
    pace = Pace(0.1, burst=3)
    for _ in range(3):
        assert pace.next(5.0) == 5.0
        pace.turn(5.0)
    assert round(pace.next(5.0), 6) == 5.1
    assert pace.next(6.0) == 6.0


def test_a_dear_one_rests_longer() -> None:
    pace = Pace(0.1, burst=1)
    pace.turn(5.0, 2.0)
    assert pace.next(5.0) == 7.0


@given(wishes=st.lists(st.floats(0, 1), max_size=60), gap=st.floats(0.01, 1), burst=st.integers(1, 6))
def test_never_more_than_the_rate_and_a_burst(wishes: list[float], gap: float, burst: int) -> None:
    pace, now, taken = Pace(gap, burst), 0.0, []
    for wait in wishes:
        now = pace.next(now + wait)
        pace.turn(now)
        taken.append(now)
    assert all(a <= b for a, b in pairwise(taken))
    for first, last in ((i, j) for i in range(len(taken)) for j in range(i, len(taken))):
        assert last - first + 1 <= burst + (taken[last] - taken[first]) / gap + 1e-6
