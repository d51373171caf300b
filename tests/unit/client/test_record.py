from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import pytest

from zlayer.client.record import Record


class Leaf(Record):
    name: str
    size: int = 0


class Tree(Record):
    parts: ClassVar[Mapping[str, type[Record]]] = {"leaves": Leaf}

    leaves: tuple[Leaf, ...] = ()
    note: str | None = None


def test_reads_nested_documents_and_ignores_what_it_does_not_know() -> None:
    tree = Tree.of({"leaves": [{"name": "a", "size": 2}, {"name": "b", "colour": "red"}], "age": 9})
    assert tree == Tree(leaves=(Leaf(name="a", size=2), Leaf(name="b")))


def test_null_for_a_list_of_records_is_none_of_them() -> None:
    assert Tree.of({"leaves": None}).leaves == ()


def test_document_is_the_inverse_of_of_and_keeps_the_declared_order() -> None:
    doc = {"leaves": [{"name": "a", "size": 2}], "note": "x"}
    assert Tree.of(doc).document() == doc
    assert list(Tree().document()) == ["leaves", "note"]


def test_missing_and_unknown_fields_are_named() -> None:
    with pytest.raises(TypeError, match="needs 'name'"):
        Leaf.of({"size": 1})
    with pytest.raises(TypeError, match="has no 'colour'"):
        Leaf(name="a", colour="red")  # type: ignore[call-arg]


def test_is_frozen_hashable_and_says_what_it_is() -> None:
    leaf = Leaf(name="a")
    with pytest.raises(AttributeError, match="frozen"):
        leaf.size = 3  # type: ignore[misc]
    assert {leaf, Leaf(name="a")} == {leaf}
    assert repr(leaf) == "Leaf(name='a', size=0)"
    assert leaf != Tree()


def test_but_changes_one_field_of_a_copy() -> None:
    leaf = Leaf(name="a", size=1)
    assert leaf.but(size=5) == Leaf(name="a", size=5)
    assert leaf.size == 1
