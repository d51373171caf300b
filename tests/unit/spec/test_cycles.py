from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from zlayer.spec.cycles import find_cycle


def cycles(**graph: str) -> list[tuple[str, ...]]:
    return list(find_cycle({name: list(after) for name, after in graph.items()}))


def test_none() -> None:
    assert cycles(a="bc", b="c", c="") == []


def test_a_cycle_starts_at_the_name_written_first() -> None:
    assert cycles(x="b", a="b", b="c", c="a") == [("a", "b", "c")]


def test_cycles_apart_are_all_told() -> None:
    assert cycles(a="b", b="a", c="d", d="c") == [("a", "b"), ("c", "d")]


def test_unknown_names_are_passed_over() -> None:
    assert cycles(a="zb", b="z") == []


def test_a_long_chain_is_no_recursion() -> None:
    graph = {str(i): [str(i + 1)] for i in range(20_000)} | {"20000": ["0"]}
    assert [len(cycle) for cycle in find_cycle(graph)] == [20_001]


def sortable(graph: dict[int, set[int]]) -> bool:
    left = {name: set(after) for name, after in graph.items()}
    while left:
        free = [name for name, after in left.items() if not after & left.keys()]
        if not free:
            return False
        for name in free:
            del left[name]
    return True


@given(st.dictionaries(st.integers(0, 6), st.sets(st.integers(0, 6), max_size=3), max_size=7))
def test_a_cycle_is_found_exactly_when_no_order_exists(graph: dict[int, set[int]]) -> None:
    found = list(find_cycle({str(k): [str(v) for v in sorted(after)] for k, after in graph.items()}))
    assert bool(found) != sortable(graph)
    for cycle in found:
        for name, following in zip(cycle, (*cycle[1:], cycle[0]), strict=True):
            assert int(following) in graph[int(name)]
