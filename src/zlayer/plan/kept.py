"""Answers kept for as long as what they were made of is the same.

What a store's picture shows is a new object exactly when something in it changed, so "the same objects" means "the
same answer": of two hundred services, a change in one costs a look at that one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from operator import is_
from typing import Generic, TypeVar

from zlayer.model.instance import Service
from zlayer.model.seen import Seen

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


class PerService(Generic[T]):
    """Of one deployment, what was made of each service and its replicas; made again of those that have changed."""

    def __init__(self) -> None:
        self._around: tuple[object, ...] = ()
        self._services: Mapping[str, Service] = {}
        self._group: Mapping[str, Seen] = {}
        self._made: dict[str, T] = {}

    def get(
        self,
        services: Mapping[str, Service],
        group: Mapping[str, Seen],
        around: tuple[object, ...],
        make: Callable[[str, Service, Sequence[Seen]], T],
    ) -> Mapping[str, T]:
        """By service, in the order of `services`. `group` are the replicas by id, `around` what all were made of."""
        if self._made and _same(self._around, around):
            old, before = self._group, self._services
            changed = {one.instance.service for key, one in group.items() if old.get(key) is not one}
            changed |= {one.instance.service for key, one in old.items() if key not in group}
            changed |= {name for name, one in services.items() if before.get(name) is not one}
        else:
            changed = set(services)
        replicas: dict[str, list[Seen]] = {}
        for one in group.values() if changed else ():
            if (name := one.instance.service) in changed:
                replicas.setdefault(name, []).append(one)
        self._made = {
            name: make(name, one, replicas.get(name, ())) if name in changed else self._made[name]
            for name, one in services.items()
        }
        self._around, self._services, self._group = around, services, group
        return self._made
