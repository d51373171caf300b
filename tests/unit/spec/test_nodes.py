from __future__ import annotations

import pytest

from zlayer.spec.nodes import Path, Source, dotted, kind, shorten
from zlayer.spec.yamltree import parse

ROOT = parse("a:\n  - b: 1\n  - {c: [x, y]}\n", "f")
SOURCE = Source("f", ROOT)


@pytest.mark.parametrize(
    ("path", "where"),
    [((), (1, 1)), (("a",), (2, 3)), (("a", 0, "b"), (2, 8)), (("a", 1, "c", 1), (3, 13)), (("a", 1, "zzz"), (3, 5)),
     (("a", 9), (2, 3)), (("nope", "deeper"), (1, 1))],
)  # fmt: skip
def test_a_place_or_its_nearest_ancestor(path: Path, where: tuple[int, int]) -> None:
    assert SOURCE.locate(path) == where


def test_without_a_tree_there_is_no_place() -> None:
    assert Source().locate(("a",)) == (0, 0)


def test_items_of_a_list_have_paths() -> None:
    assert [path for path, _ in SOURCE.items(("a",))] == [("a", 0), ("a", 1)]
    assert list(SOURCE.items(("a", 0))) == []


def test_where_it_was_written_makes_no_difference() -> None:
    assert Source("a") == Source("b", ROOT)
    assert len({Source("a"), Source("b")}) == 1
    assert Source("a") != "a"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("[]", "a list"),
        ("{}", "a map"),
        ("~", "nothing"),
        ("5", "the number 5"),
        ("True", "true"),
        ("x", "the text 'x'"),
    ],
)
def test_what_a_person_calls_it(text: str, name: str) -> None:
    root = parse(f"a: {text}", "f")
    assert kind(Source("f", root).at(("a",)) or root) == name


def test_long_words_are_shortened() -> None:
    assert shorten("x" * 70) == "x" * 59 + "…"
    assert dotted(("a", 0, "b" * 200)) == "a.0." + "b" * 99 + "…"
