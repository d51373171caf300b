from __future__ import annotations

from zlayer.plan.kept import Kept


def test_the_same_objects_are_the_same_answer() -> None:
    kept: Kept[int] = Kept()
    made: list[int] = []

    def make() -> int:
        made.append(1)
        return len(made)

    one, two = object(), object()
    assert [kept.get("a", (one,), make), kept.get("a", (one,), make), kept.get("a", (two,), make)] == [1, 1, 2]
    kept.only({})
    assert kept.get("a", (two,), make) == 3
