"""One part of the data plane, kept as the store says: derive the whole table, apply it, look again when told to.

A plane is the proxy's routes, the name server's zone or the kernel's networks. Each has a loop of its own, so one
that fails holds up no other. Level-triggered: whatever woke it, it looks at the newest picture.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

import anyio
import structlog

from zlayer.model.errors import Conflict, Invalid, ZlayerError
from zlayer.plan.backoff import delay
from zlayer.plan.pace import Pace
from zlayer.store.view import Picture, View

log = structlog.get_logger(__name__)

T = TypeVar("T")
AGAIN = 5.0
"""Seconds at most until a part that was refused (an address in use) is tried again."""
SOON = 0.25
"""Seconds until it is tried for the second time: what has it may be a part of ours that is just giving it up."""
GAP, MOST = 0.02, 0.1
"""Seconds between two tables in a storm, at least and at most: one for many changes. The first few wait for nothing."""
REST = 10
"""How many times longer than one took, engine included, the next one waits, within those."""
Tell = Callable[[str, str], None]
"""Kind and message of an event of this node."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """`text` says, for people, what is not in force; `owner` is the deployment or `deployment/service` that lacks it,
    empty when that is nobody in particular."""

    text: str
    owner: str = ""


@dataclass(frozen=True, slots=True)
class Derived(Generic[T]):
    """A whole table, the ids of the instances in it, and when it will be another though nothing changes (None: never).

    `wake_at` is of the event loop's clock. `trouble` is what could not be part of it.
    """

    table: T
    members: frozenset[str] = frozenset()
    wake_at: float | None = None
    trouble: tuple[Trouble, ...] = ()


Parts = tuple[object, ...]


def of_deployments(picture: Picture) -> Parts:
    """All that tables are made of. Pictures share what did not change, so the same objects make the same table.

    One-off runs are in none of them.
    """
    groups = (picture.instances.get(name) for name in picture.deployments)
    own = (picture.deployments, picture.networks, picture.ports, picture.certificates, picture.orders)
    return (*own, *groups)


@dataclass(frozen=True, slots=True)
class Plane(Generic[T]):
    """`derive` is pure but for the clock; `apply` returns when the table is in force. `disturbed` returns when
    somebody else has changed what was applied. While `made_of` gives the same objects, nothing is derived anew.
    `concerned` are those whom nothing in force at all concerns. `lasting`: seconds for which people go on by what a
    table told them, after there is a newer one."""

    name: str
    derive: Callable[[Picture], Derived[T]]
    apply: Callable[[T], Awaitable[None]]
    disturbed: Callable[[], Awaitable[None]] | None = None
    made_of: Callable[[Picture], Parts] = of_deployments
    concerned: Callable[[T], Iterable[str]] = lambda _: ()
    lasting: float = 0.0


class PlaneLoop(Generic[T]):
    """`run` until cancelled. `revision` is the store's that is in force, -1 before the first."""

    def __init__(self, plane: Plane[T], view: View, tell: Tell) -> None:
        self.name = plane.name
        self.revision = -1
        self.failing = ""
        """Why the newest table is not in force, for people; empty when it is."""
        self.troubles: tuple[Trouble, ...] = ()
        """The same, each with whose it is."""
        self.table: T | None = None
        self._plane, self._view, self._tell = plane, view, tell
        self._members: frozenset[str] = frozenset()
        self._until: dict[str, float] = {}
        """Of those that left lately: until when somebody may go by a table they were in."""
        self._unknown_until = 0.0
        """The same of those that left before our first table."""
        self._spoiled = False
        self._resting = False
        """What was looked at last is in force, and the loop waits for something else."""
        self._pace = Pace(GAP, burst=11)
        self._woken = anyio.Event()
        self._moved = anyio.Event()
        self._tried = -1
        self._begun = self._done = 0
        """Tries, by number."""
        self._failures = 0
        self._parts: Parts = ()
        self._derived: Derived[T] | None = None
        self._refused: float | None = None
        """When what is refused now first was."""

    async def run(self) -> None:
        async with anyio.create_task_group() as tasks:
            if self._plane.disturbed is not None:
                tasks.start_soon(self._listen, self._plane.disturbed)
            tasks.start_soon(self._follow, self._view.revision)
            while True:
                self._woken = anyio.Event()
                self._begun += 1
                seen = self._view.revision
                began = anyio.current_time()
                try:
                    derived = self._look(self._view.picture())
                except Exception as error:
                    log.exception("traffic.defect", plane=self.name, error=str(error))
                    pause: float | None = self._failed(str(error))
                else:
                    pause = await self._bring(derived, seen)
                self._pace.turn(began, min(MOST, REST * (anyio.current_time() - began)))
                self._done = self._begun
                self._tell_tried(seen)
                self._resting = not self.failing
                with anyio.move_on_after(pause):
                    await self._woken.wait()
                self._resting = False
                await anyio.sleep_until(self._pace.next(anyio.current_time()))

    def _look(self, picture: Picture) -> Derived[T]:
        """What the picture means."""
        parts = self._plane.made_of(picture)
        if (last := self._derived) is not None and self._holds(last, parts):
            return last
        self._derived = None
        self._derived, self._parts = self._plane.derive(picture), parts
        return self._derived

    def _holds(self, derived: Derived[T], parts: Parts) -> bool:
        """It is the same as last time: the picture is made of the same, and it is not time to look."""
        same = len(parts) == len(self._parts) and all(a is b for a, b in zip(parts, self._parts, strict=True))
        return same and (derived.wake_at is None or anyio.current_time() < derived.wake_at)

    async def _follow(self, seen: int) -> None:
        """Whatever moves in the store after `seen` wakes the loop, but what no table of it is made of."""
        while True:
            seen = await self._view.moved(seen)
            last = self._derived if self._resting and not self._woken.is_set() else None
            if last is not None and self._holds(last, self._plane.made_of(self._view.picture())):
                self.revision = seen
                self._tell_tried(seen)
            else:
                self._woken.set()

    async def without(self, instance_id: str, revision: int) -> None:
        """Returns once a table of `revision` or later is in force, and the instance is not in it."""
        while self.revision < revision or instance_id in self._members:
            await self._moved.wait()

    async def outlasted(self, instance_id: str) -> None:
        """Returns once nobody goes any more by a table that had the instance, if it is in none now."""
        await anyio.sleep_until(self._until.get(instance_id, self._unknown_until))

    async def reached(self, revision: int) -> None:
        """Returns once a table of `revision` or later is in force."""
        while self.revision < revision:
            await self._moved.wait()

    async def settled(self, revision: int) -> None:
        """As `reached`, or once that was tried and is failing; what was failing already is tried once more first."""
        if self.failing:
            fresh = self._begun + 1
            self._woken.set()
            while self._done < fresh:
                await self._moved.wait()
        while self._tried < revision:
            await self._moved.wait()

    async def _bring(self, derived: Derived[T], revision: int) -> float | None:
        """Apply what is new. The seconds after which to look again though nothing has changed."""
        pause = None if derived.wake_at is None else max(0.0, derived.wake_at - anyio.current_time())
        troubles = derived.trouble
        if derived.table != self.table or self._spoiled or self.failing:
            self._spoiled = False
            try:
                await self._plane.apply(derived.table)
            except (Conflict, Invalid) as error:  # a part of it is refused, the rest is in force
                troubles += _told(error)
            except ZlayerError as error:
                return self._failed(_sentence(error), self._plane.concerned(derived.table))
            except Exception as error:
                log.exception("traffic.defect", plane=self.name, error=str(error))
                return self._failed(str(error), self._plane.concerned(derived.table))
        self._failures = 0
        if troubles == derived.trouble:
            self._refused = None
        else:
            pause = self._refused_for(troubles, pause)
        self._trouble(troubles)
        self._remember(derived.members)
        self.table, self._members, self.revision = derived.table, derived.members, revision
        return pause

    def _remember(self, members: frozenset[str]) -> None:
        """Who is no longer a member was told to somebody until now."""
        if not self._plane.lasting:
            return
        now = anyio.current_time()
        if self.table is None:
            self._unknown_until = now + self._plane.lasting
        self._until = {key: at for key, at in self._until.items() if at > now}
        self._until |= dict.fromkeys(self._members - members, now + self._plane.lasting)

    def _tell_tried(self, revision: int) -> None:
        self._tried = revision
        self._moved.set()
        self._moved = anyio.Event()

    def _refused_for(self, troubles: tuple[Trouble, ...], pause: float | None) -> float:
        """Soon again at first, ever later as long as it is the same."""
        now = anyio.current_time()
        if self._refused is None or troubles != self.troubles:
            self._refused = now
        again = min(AGAIN, max(SOON, now - self._refused))
        return again if pause is None else min(again, pause)

    def _failed(self, reason: str, concerned: Iterable[str] = ()) -> float:
        self._failures += 1
        self._trouble((Trouble(reason), *(Trouble(reason, owner) for owner in concerned)))
        return delay(self._failures, self.name, first=0.1, limit=AGAIN)

    def _trouble(self, troubles: tuple[Trouble, ...]) -> None:
        """Told when it comes, when it changes, and when it is over."""
        reason = ""
        for one in troubles:
            if one.text not in reason:
                reason += f"; {one.text}" if reason else one.text
        before, self.troubles, self.failing = self.failing, troubles, reason
        if reason == before:
            return
        if reason:
            log.warning("traffic.refused", plane=self.name, reason=reason)
            self._tell(f"{self.name}.failed", reason)
        else:
            self._tell(f"{self.name}.restored", "")

    async def _listen(self, disturbed: Callable[[], Awaitable[None]]) -> None:
        failures = 0
        while True:
            try:
                await disturbed()
                failures = 0
            except Exception as error:
                failures += 1
                log.exception("traffic.deaf", plane=self.name, error=str(error))
                await anyio.sleep(delay(failures, self.name))
            self._spoiled = True
            self._woken.set()


def _sentence(error: ZlayerError) -> str:
    return f"{error.message}; {error.hint}" if error.hint else error.message


def _told(error: ZlayerError) -> tuple[Trouble, ...]:
    """By problem where it says whose each is; the hint goes with the whole, which is nobody's."""
    return Trouble(_sentence(error)), *(Trouble(one.message, one.path) for one in error.problems if one.path)
