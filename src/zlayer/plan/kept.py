"""Answers kept for as long as what they were made of is the same.

What a store's picture shows is a new object exactly when something in it changed, so "the same objects" means "the
same answer": of two hundred services, a change in one costs a look at that one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from operator import is_
from typing import Generic, TypeVar

T = TypeVar("T")


class Kept(Generic[T]):
    """An answer per name, each with the objects it was made of; made again when one of them is another object."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[tuple[object, ...], T]] = {}

    def get(self, name: str, made_of: tuple[object, ...], make: Callable[[], T]) -> T:
        known = self._known.get(name)
        if known is None or not _same(known[0], made_of):
            known = self._known[name] = (made_of, make())
        return known[1]

    def only(self, present: Mapping[str, object]) -> None:
        for name in self._known.keys() - present.keys():
            del self._known[name]


def _same(ones: tuple[object, ...], others: tuple[object, ...]) -> bool:
    return len(ones) == len(others) and all(map(is_, ones, others))
