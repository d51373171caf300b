"""Pure functions of a table's parts remember what they made of each: of a thousand services, one changes at a time."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TypeVar

V = TypeVar("V")
R = TypeVar("R")
MOST = 1 << 14


def by_identity(make: Callable[[V], R]) -> Callable[[V], R]:
    """`make`, called once per object and not again while that object is remembered: equal ones are not compared.

    For frozen values only; what it gives must not be changed. When `MOST` are remembered, all are forgotten.
    """
    known: dict[int, tuple[V, R]] = {}

    @wraps(make)
    def remembered(value: V) -> R:
        found = known.get(id(value))
        if found is not None and found[0] is value:
            return found[1]
        if len(known) >= MOST:
            known.clear()
        made = make(value)
        known[id(value)] = (value, made)
        return made

    return remembered
