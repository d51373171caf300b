from __future__ import annotations

import pytest

from zlayer.model.errors import Invalid
from zlayer.spec.nodes import Listing, Node, Scalar, Table
from zlayer.spec.yamltree import MAX_NODES, MAX_TEXT, parse, position, resolve


def plain(node: Node) -> object:
    match node:
        case Scalar():
            return node.value
        case Listing():
            return [plain(item) for item in node.items]
        case Table():
            return {name: plain(value) for name, _, value in node}


def read(text: str) -> object:
    return plain(parse(text, "f.yml"))


def fault(text: str) -> tuple[int, int, str]:
    with pytest.raises(Invalid) as caught:
        parse(text, "f.yml")
    [problem] = caught.value.problems
    return problem.line, problem.column, problem.message


@pytest.mark.parametrize(
    ("text", "value"),
    [("no", "no"), ("on", "on"), ("yes", "yes"), ("true", True), ("False", False), ("tRUE", "tRUE"), ("~", None),
     ("null", None), ("", None), ("12", 12), ("-3", -3), ("0o17", 15), ("0x1F", 31), ("017", 17), ("1_000", "1_000"),
     ("1.5", 1.5), (".5", 0.5), ("1e3", 1000.0), ("1:30", "1:30"), ("2001-01-01", "2001-01-01"), (".inf", float("inf")),
     ("1.2.3", "1.2.3"), ("0x", "0x"), ("=", "=")],
)  # fmt: skip
def test_plain_scalars_follow_yaml_1_2(text: str, value: object) -> None:
    assert resolve(text) == value
    assert type(resolve(text)) is type(value)


def test_quoted_and_tagged_scalars() -> None:
    assert read("[ '5', \"true\", !!str 5, !!int '7', |-\n  5\n ]".replace(", |-\n  5\n ", "")) == ["5", "true", "5", 7]


def test_positions_count_from_one() -> None:
    root = parse("a:\n  - é: x\n", "f")
    assert isinstance(root, Table)
    items = root.get("a")
    assert isinstance(items, Listing)
    entry = items.items[0]
    assert isinstance(entry, Table)
    key, value = entry.entries["é"]
    assert (key.line, key.column, value.line, value.column) == (2, 5, 2, 8)


def test_aliases_and_merges() -> None:
    assert read("a: &x {p: 1, q: 2}\nb: {<<: *x, q: 3}\nc: *x\n") == {
        "a": {"p": 1, "q": 2},
        "b": {"p": 1, "q": 3},
        "c": {"p": 1, "q": 2},
    }


def test_the_first_of_several_merges_wins() -> None:
    assert read("a: &x {p: 1}\nb: &y {p: 2, q: 2}\nc: {<<: [*x, *y]}") == {
        "a": {"p": 1}, "b": {"p": 2, "q": 2}, "c": {"p": 1, "q": 2},
    }  # fmt: skip


def test_a_billion_laughs_are_refused() -> None:
    text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
    for i in range(1, 10):
        text += f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n"
    line, _, message = fault(text)
    assert line == 5
    assert message == f"more than {MAX_NODES} values (aliases counted as what they stand for)"


def test_a_long_text_many_times_is_refused_too() -> None:
    text = f"a: &a {'x' * 100_000}\nb: [{', '.join(['*a'] * 1000)}]"
    assert fault(text)[2].startswith(f"more than {MAX_NODES}")


def test_a_large_file_is_refused_unread() -> None:
    assert fault("#" * (MAX_TEXT + 1)) == (1, 1, "the file is larger than 1 MiB")


@pytest.mark.parametrize("text", ["[" * 100_000, "{a: " * 5000, "- " * 5000 + "x"])
def test_deep_nesting_is_refused(text: str) -> None:
    assert "nested deeper" in fault(text)[2]


def test_a_surrogate_is_told_with_its_place() -> None:
    assert fault("a: b\nc: \ud800") == (2, 4, "the text has half of a surrogate pair")


def test_a_position_in_text() -> None:
    assert position("ab\ncd", 4) == (2, 2)
    assert position("ab", 0) == (1, 1)
