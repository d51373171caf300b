"""How many instances of a node take the same step at once, and how many are on their way."""

from __future__ import annotations

from collections.abc import Mapping

import anyio

from zlayer.plan.lifecycle import Verb

Turns = Mapping[Verb, anyio.CapacityLimiter]


def turns(starts: int, ends: int | None = None) -> Turns:
    """So many of each step on the way up, and on the way down, at once."""
    down = ends or starts
    widths: dict[Verb, int] = {"prepare": starts, "create": starts, "start": starts, "release": down, "forget": down}
    return {verb: anyio.CapacityLimiter(width) for verb, width in widths.items()}


def under_way(turns: Turns) -> int:
    """How many take a step or wait for their turn."""
    return sum(turn.borrowed_tokens + turn.statistics().tasks_waiting for turn in turns.values())
