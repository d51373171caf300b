"""Back-off and names: bounded, growing, and the same for the same input."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from zlayer.plan.backoff import FIRST, LIMIT, delay
from zlayer.plan.naming import MAX_LENGTH, instance_id

names = st.text("abcdefghijklmnopqrstuvwxyz0123456789-", min_size=1, max_size=120)


@given(failures=st.integers(-3, 1000), key=names)
def test_a_delay_is_bounded_and_deterministic(failures: int, key: str) -> None:
    found = delay(failures, key)
    assert found == delay(failures, key)
    assert 0 <= found <= LIMIT
    if failures > 0:
        whole = min(LIMIT, FIRST * 2.0 ** min(failures - 1, 16))
        assert 0.75 * whole <= found <= whole
    else:
        assert found == 0


def test_replicas_do_not_come_back_all_at_once() -> None:
    assert len({delay(5, f"web-{n}") for n in range(20)}) > 15


@given(deployment=names, service=names, slot=st.integers(1, 10**6), seed=names)
def test_ids_are_short_safe_and_tell_decisions_apart(deployment: str, service: str, slot: int, seed: str) -> None:
    found = instance_id(deployment, service, slot, seed)
    assert found == instance_id(deployment, service, slot, seed)
    assert len(found) <= MAX_LENGTH
    assert "/" not in found
    assert found != instance_id(deployment, service, slot, seed + "!")
    assert found != instance_id(deployment, service, slot + 1, seed)
