"""What a controller may decide: frozen values without methods that act."""

from __future__ import annotations

from dataclasses import dataclass, field

from zlayer.model.instance import DesiredState, Instance
from zlayer.model.units import Seconds


@dataclass(frozen=True, slots=True)
class Create:
    """Write a new instance that must not exist yet."""

    instance: Instance
    reason: str


@dataclass(frozen=True, slots=True)
class Want:
    """Change what is wanted of an existing instance. Only forwards: running -> stopped -> removed."""

    instance_id: str
    desired: DesiredState
    reason: str
    grace: Seconds | None = None
    """Replaces the spec's stop grace."""


@dataclass(frozen=True, slots=True)
class Admit:
    """Let a replacement have traffic: it stood its trial."""

    instance_id: str
    reason: str


Change = Create | Want | Admit


@dataclass(frozen=True, slots=True)
class Wait:
    """Why something is not done yet, for people."""

    service: str
    slot: int
    reason: str
    until: float | None = None
    """When it is over by itself, where that is known."""


@dataclass(frozen=True, slots=True)
class Decision:
    """`wake_at` is when to look again though nothing changed; None: only when something does."""

    changes: tuple[Change, ...] = ()
    waits: tuple[Wait, ...] = ()
    wake_at: float | None = None


@dataclass(slots=True)
class Draft:
    """A decision being gathered."""

    changes: list[Change] = field(default_factory=list)
    waits: list[Wait] = field(default_factory=list)
    wake_at: float | None = None

    def wake(self, at: float) -> None:
        self.wake_at = at if self.wake_at is None else min(self.wake_at, at)

    def close(self) -> Decision:
        return Decision(tuple(self.changes), tuple(self.waits), self.wake_at)
