"""An instance with what became of it: what every decision looks at."""

from __future__ import annotations

from dataclasses import dataclass, field

from zlayer.model.instance import Instance, InstanceStatus, State


@dataclass(frozen=True, slots=True)
class Seen:
    """`status` is None until an agent has written one. What follows is asked far more often than it changes."""

    instance: Instance
    status: InstanceStatus | None = None
    id: str = field(init=False, repr=False, compare=False)
    state: State = field(init=False, repr=False, compare=False)
    live: bool = field(init=False, repr=False, compare=False)
    """Wanted: controllers have not asked for its end."""
    ended: bool = field(init=False, repr=False, compare=False)
    running: bool = field(init=False, repr=False, compare=False)
    ready: bool = field(init=False, repr=False, compare=False)
    """Serves: it passed its check and does not fail it now."""
    released: bool = field(init=False, repr=False, compare=False)
    """Holds nothing of the machine: never started, or taken apart."""

    def __post_init__(self) -> None:
        instance, status = self.instance, self.status
        unplaced = instance.node is None
        if status is not None:
            state, healthy, released = status.state, status.health != "unhealthy", status.released
        else:
            state, healthy, released = State.PENDING if unplaced else State.ASSIGNED, False, unplaced
        put = object.__setattr__  # frozen for everybody else
        put(self, "id", instance.id)
        put(self, "state", state)
        put(self, "live", instance.desired == "running")
        put(self, "ended", state.ended)
        put(self, "running", State.RUNNING <= state < State.STOPPING)
        put(self, "ready", healthy and state is State.READY)
        put(self, "released", released)
