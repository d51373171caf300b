"""The one next step of one instance on its node.

Up: pull -> prepare (root file system and network) -> create -> start -> watch. Down: stop -> release (container,
network and root file system) -> forget. The agent does what a step stands for, records how far it got, and asks
again; so a crash between any two steps repeats at most one of them, and every call in them is idempotent.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Literal

from zlayer.model.instance import DesiredState
from zlayer.model.units import Seconds


class Stage(IntEnum):
    """How far an instance got on its node. Only grows. From CREATED on there is a container to account for."""

    NEW = 0
    PULLED = 1
    PREPARED = 2
    CREATED = 4
    STARTED = 5
    ENDED = 6
    RELEASED = 9
    GONE = 10


@dataclass(frozen=True, slots=True)
class Position:
    """All the decision needs. `desired` None: the store no longer knows the instance (its directory is an orphan).

    `created`: the runtime may know a container, because a create was begun. `retry_at`: the last step failed in a
    way that may pass, try again then. `attached`: a client has attached, for those that wait for one, and `attach_by`
    is when they are given up: their client is gone.
    """

    stage: Stage
    desired: DesiredState | None
    created: bool
    grace: Seconds = Seconds(10)
    await_attach: bool = False
    attached: bool = False
    attach_by: float | None = None
    retry_at: float | None = None


Verb = Literal["pull", "prepare", "create", "start", "stop", "release", "forget"]


@dataclass(frozen=True, slots=True)
class Do:
    verb: Verb


@dataclass(frozen=True, slots=True)
class Rest:
    """Nothing to do until something changes, or until `wake_at`."""

    wake_at: float | None = None


Step = Do | Rest

_UP: dict[Stage, Verb] = {
    Stage.NEW: "pull",
    Stage.PULLED: "prepare",
    Stage.PREPARED: "create",
    Stage.CREATED: "start",
}


def next_step(position: Position, now: float) -> Step:
    """The step, or when to ask again."""
    if position.retry_at is not None and now < position.retry_at:
        return Rest(position.retry_at)
    if position.stage is Stage.ENDED:
        return Do("release")
    if position.stage is Stage.RELEASED:
        return Do("forget") if position.desired in ("removed", None) else Rest()
    if position.stage is Stage.GONE:
        return Rest()
    if position.desired != "running":
        return Do("stop")
    if position.stage is Stage.STARTED:
        return Rest()
    if position.stage is Stage.CREATED and position.await_attach and not position.attached:
        late = position.attach_by is not None and now >= position.attach_by
        return Do("stop") if late else Rest(position.attach_by)
    return Do(_UP[position.stage])
