"""Instances with what became of them, as decisions look at them."""

from __future__ import annotations

from collections.abc import Iterable

from zlayer.model.seen import Seen

__all__ = ["Seen", "by_slot", "grouped"]


def by_slot(seen: Iterable[Seen]) -> dict[int, list[Seen]]:
    """Oldest first within a slot, by what led to what: clocks go back."""
    slots: dict[int, list[Seen]] = {}
    for one in sorted(seen, key=_age):
        slots.setdefault(one.instance.slot, []).append(one)
    return slots


def grouped(seen: Iterable[Seen]) -> dict[str, list[Seen]]:
    """By service, in the order they come."""
    groups: dict[str, list[Seen]] = {}
    for one in seen:
        groups.setdefault(one.instance.service, []).append(one)
    return groups


def _age(seen: Seen) -> tuple[int, int, float, str]:
    one = seen.instance
    return (one.revision, one.attempt, one.created_at, one.id)
