"""An instance with what became of it: what every decision looks at."""

from __future__ import annotations

from dataclasses import dataclass

from zlayer.model.instance import Instance, InstanceStatus, State


@dataclass(frozen=True, slots=True)
class Seen:
    """`status` is None until an agent has written one."""

    instance: Instance
    status: InstanceStatus | None = None

    @property
    def id(self) -> str:
        return self.instance.id

    @property
    def state(self) -> State:
        if self.status is not None:
            return self.status.state
        return State.PENDING if self.instance.node is None else State.ASSIGNED

    @property
    def live(self) -> bool:
        """Wanted: controllers have not asked for its end."""
        return self.instance.desired == "running"

    @property
    def ended(self) -> bool:
        return self.state.ended

    @property
    def running(self) -> bool:
        return State.RUNNING <= self.state < State.STOPPING

    @property
    def ready(self) -> bool:
        """Serves: it passed its check and does not fail it now."""
        return self.state is State.READY and self.status is not None and self.status.health != "unhealthy"

    @property
    def released(self) -> bool:
        """Holds nothing of the machine: never started, or taken apart."""
        return self.status.released if self.status is not None else self.instance.node is None
