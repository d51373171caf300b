"""What was made of an object is remembered by the object, not by its value."""

from __future__ import annotations

import pytest

from zlayer.proxy.haproxy import memo


def test_an_object_is_looked_at_once_and_an_equal_one_anew() -> None:
    calls: list[tuple[str, ...]] = []

    @memo.by_identity
    def made(value: tuple[str, ...]) -> int:
        calls.append(value)
        return len(value)

    one, other = tuple("ab"), tuple("ab")
    assert one is not other
    assert [made(one), made(one), made(other), made(one)] == [2, 2, 2, 2]
    assert len(calls) == 2


def test_what_is_remembered_has_a_bound_and_a_freed_address_tells_no_lie(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memo, "MOST", 8)

    @memo.by_identity
    def made(value: list[int]) -> int:
        return value[0]

    assert [made([number]) for number in range(100)] == list(range(100))
