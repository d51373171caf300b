"""What the agent tells the store: derived from a record, written coalesced.

An instance that changes three times while one commit is under way is written once, with its last state; an outage of
the store delays what others see and never a step of the machine. What nobody waits for (a container is being made,
an event) lingers a moment, and mostly goes with what somebody does. In a storm commits keep a distance, the longer
the more of us are still on their way: everybody who looks at the store looks once per commit, at everything.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import anyio
import structlog

from zlayer.agent.journal import Record
from zlayer.model import keys
from zlayer.model.errors import Conflict, ZlayerError
from zlayer.model.instance import Event, Health, Instance, InstanceStatus, Node, State
from zlayer.model.units import Timestamp
from zlayer.plan.backoff import delay
from zlayer.plan.lifecycle import Stage
from zlayer.plan.pace import Pace
from zlayer.store.contract import Store
from zlayer.store.documents import encode

log = structlog.get_logger(__name__)


def state_of(record: Record, *, stopping: bool) -> State:
    if record.stage >= Stage.ENDED:
        return State.FAILED if record.failed else State.EXITED
    if stopping and record.stage >= Stage.CREATED:
        return State.STOPPING
    if record.stage is Stage.STARTED:
        return State.READY if record.ready_at is not None else State.RUNNING
    return State.CREATED if record.stage is Stage.CREATED else State.PREPARING


@dataclass(frozen=True, slots=True)
class Mood:
    """What is known of an instance beyond its record. `reason` is the latest trouble."""

    health: Health = "none"
    reason: str = ""
    stopping: bool = False


def status_of(instance: Instance, record: Record, mood: Mood, *, node: str, runtime: str) -> InstanceStatus:
    """The whole status document. An ended instance shows its recorded reason."""
    ended = record.stage >= Stage.ENDED
    exit_ = record.exit
    return InstanceStatus(
        id=instance.id,
        node=node,
        state=state_of(record, stopping=mood.stopping),
        health="none" if ended else mood.health,
        reason=record.reason if ended else mood.reason,
        pid=record.handle.pid if record.handle is not None and not ended else None,
        address=instance.address if not ended else None,
        image_digest=record.image_digest or None,
        exit_code=exit_.code if exit_ is not None else None,
        oom=exit_.oom if exit_ is not None else False,
        created_at=record.handle.created_at if record.handle is not None else None,
        started_at=record.started_at,
        ready_at=record.ready_at,
        finished_at=exit_.at if exit_ is not None else None,
        released=record.stage >= Stage.RELEASED,
        gone=record.stage is Stage.GONE,
        runtime=runtime,
    )


LINGER = 0.05
"""Seconds that what nobody waits for waits for company."""
GAP = 0.04
"""Seconds between two commits of a storm, on average."""
APIECE, MOST = 0.005, 0.2
"""Seconds of distance for each instance that is on its way, and all together: who waits for many waits for the last."""
Haste = Literal["none", "soon", "now"]
"""How a status is waited for: by nobody; by who goes on with it; by a client that has nothing else to do."""


class StatusWriter:
    """One commit at a time; everything that arrives meanwhile goes into the next."""

    def __init__(self, store: Store, clock: Callable[[], float], company: Callable[[], int] = lambda: 0) -> None:
        """`company` counts the instances that are about to have something to tell."""
        self._store = store
        self._clock = clock
        self._company = company
        self._pending: dict[str, bytes] = {}
        self._events: dict[str, bytes] = {}
        self._arrived = anyio.Event()
        self._pace = Pace(GAP)
        self._last = float("-inf")
        """When the last commit was begun, by the event loop's clock."""
        self._due_at: float | None = None
        """When what is queued is to go, by the event loop's clock; None: nothing is."""
        self._sequence = 0
        self._given = 0
        self._durable = 0
        self._progress = anyio.Event()

    def put(self, status: InstanceStatus, haste: Haste = "soon") -> int:
        """Queue a status; its number, for `committed`."""
        self._pending[keys.status(status.id)] = encode(status)
        return self._take(haste)

    def register(self, node: Node) -> None:
        """Queue this node's document: a full disk must not keep a daemon from adopting what runs."""
        self._pending[keys.node(node.id)] = encode(node)
        self._take("now")

    async def committed(self, number: int) -> None:
        """Returns once the store has what was put under that number, or something newer of the same instance."""
        while self._durable < number:
            self._due("soon")
            await self._progress.wait()

    async def flush(self) -> None:
        """Returns once the store has everything that was queued so far."""
        self._due("now")
        await self.committed(self._given)

    def _take(self, haste: Haste) -> int:
        self._given += 1
        self._due(haste)
        return self._given

    def _due(self, haste: Haste) -> None:
        now = anyio.current_time()
        at = now if haste == "now" else self._soon(now) if haste == "soon" else now + LINGER
        if self._due_at is None or at < self._due_at:
            self._due_at = at
            self._arrived.set()

    def _soon(self, now: float) -> float:
        return max(self._pace.next(now), self._last + min(MOST, APIECE * self._company()))

    def event(self, kind: str, instance: Instance, message: str, node: str) -> None:
        """Queue an event. Its key sorts by time; the sequence keeps two of one instant apart."""
        who = {"deployment": instance.deployment, "service": instance.service, "instance": instance.id}
        self._keep(Event(at=Timestamp(self._clock()), kind=kind, node=node, message=message, **who))

    def note(self, kind: str, message: str, node: str) -> None:
        """Queue an event of the node itself."""
        self._keep(Event(at=Timestamp(self._clock()), kind=kind, node=node, message=message))

    def _keep(self, event: Event) -> None:
        self._sequence += 1
        self._events[f"{keys.EVENTS}{int(event.at * 1e6):020d}-{event.node}-{self._sequence}"] = encode(event)
        self._take("none")

    async def run(self) -> None:
        failures = 0
        while True:
            await self._until_due()
            self._last = anyio.current_time()
            self._pace.turn(self._last)
            self._due_at = None
            batch, self._pending = self._pending, {}
            events, self._events = self._events, {}
            given = self._given
            try:
                await self._store.commit({**batch, **events})
                failures = 0
                self._durable = given
                self._progress.set()
                self._progress = anyio.Event()
            except Conflict:
                raise  # nothing is expected here, so nothing can conflict: a defect of the store
            except ZlayerError as error:
                failures += 1
                log.warning("status.write_failed", error=error.message, hint=error.hint, failures=failures)
                self._pending = {**batch, **self._pending}
                self._events = {**events, **self._events}
                self._due("now")
                await anyio.sleep(delay(failures, "status", first=0.1, limit=5.0))

    async def _until_due(self) -> None:
        while self._due_at is None or (left := self._due_at - anyio.current_time()) > 0:
            self._arrived = anyio.Event()
            with anyio.move_on_after(None if self._due_at is None else left):
                await self._arrived.wait()
