"""One instance's loop: look, take one step, record it, tell the store; for as long as anything is left of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import anyio
import structlog
from anyio.abc import TaskGroup

from zlayer.agent import ends, journal, probes
from zlayer.agent.journal import Record
from zlayer.agent.perform import Machine, Steps, pause
from zlayer.agent.status import Haste, Mood, StatusWriter, status_of
from zlayer.agent.turns import Turns
from zlayer.model.errors import Deadline, Exhausted, NotFound, Unavailable, ZlayerError
from zlayer.model.instance import ONE_OFF, Instance, InstanceStatus, State
from zlayer.model.units import Seconds, Timestamp
from zlayer.plan.backoff import delay
from zlayer.plan.lifecycle import Do, Position, Rest, Stage, Verb, next_step
from zlayer.runtime.contract import Exit

log = structlog.get_logger(__name__)

_RECORDED = frozenset({Stage.CREATED, Stage.STARTED, Stage.ENDED, Stage.RELEASED})
"""Stages worth a line: what a new daemon cannot find out or redo by itself."""
TELL_PULL = 1.0
"""Seconds between two words on a pull that goes on."""
KILLED = 137
"""128 + SIGKILL."""
ATTACH_WITHIN = 60.0
"""Seconds an instance that waits for its client is kept before it is given up."""
_CANCELLED_BY_STOP: frozenset[Verb] = frozenset({"pull"})


@dataclass(frozen=True, slots=True)
class Shop:
    """What all instances of a node share. `turns` bound how many do a step at once; others are without bound.

    Each step has turns of its own: one prepares while others are created, and who is created starts at once.
    """

    machine: Machine
    writer: StatusWriter
    node: str
    runtime_name: str
    turns: Turns
    clock: Callable[[], float]


@dataclass(slots=True)
class _Trouble:
    """Failures in a row of the step that is next. `retry_at` is of the event loop's clock, which never goes back."""

    count: int = 0
    retry_at: float | None = None


@dataclass(slots=True)
class InstanceLoop:
    """`instance` is the latest wish, None once the store forgot it. Wake the loop after changing anything."""

    id: str
    shop: Shop
    instance: Instance | None
    record: Record
    steps: Steps
    mood: Mood = field(default_factory=Mood)
    attached: bool = False
    watched: bool = False
    settled: bool = False
    """Nothing of it is left, and no wish is: the agent may drop it."""
    _trouble: _Trouble = field(default_factory=_Trouble)
    _wake: anyio.Event = field(default_factory=anyio.Event)
    _moved: anyio.Event = field(default_factory=anyio.Event)
    _climb: anyio.CancelScope | None = None
    """Of the step that ends when the instance is no longer wanted."""
    _attach_by: float | None = None
    """Of the event loop's clock, as all that is waited for here."""
    _told: InstanceStatus | None = None
    _end_told: int = 0
    """The status writer's number of the first status that told the end."""
    _doubted: str = ""
    """What the runtime found wrong with it while it runs."""
    _end_unwritten: bool = False
    """The end is not in the journal: the disk refused it."""

    def wake(self) -> None:
        self._wake.set()

    def wish(self, instance: Instance | None) -> None:
        if instance is not None and self.instance is not None and instance.desired != self.instance.desired:
            self._trouble = _Trouble()
        self.instance = instance
        if self._climb is not None and (instance is None or instance.desired != "running"):
            self._climb.cancel()
        self.wake()

    async def moved(self) -> None:
        """Returns after the next recorded step."""
        await self._moved.wait()

    def position(self) -> Position:
        instance = self.instance
        desired = instance.desired if instance is not None else None
        if instance is not None and instance.remove_on_exit and self.record.stage >= Stage.ENDED:
            desired = "removed"
        return Position(
            stage=self.record.stage,
            desired=desired,
            created=self.record.created,
            grace=instance.spec.stop_grace if instance is not None else Seconds(10),
            await_attach=instance.await_attach if instance is not None else False,
            attached=self.attached,
            attach_by=self._attach_by,
            retry_at=self._trouble.retry_at,
        )

    async def run(self, tasks: TaskGroup) -> None:
        """Until the instance is gone. Watchers of its process live in `tasks`."""
        self.tell()
        while self.record.stage is not Stage.GONE:
            self._watch(tasks)
            if self.record.stage is Stage.CREATED and self._attach_by is None:
                self._attach_by = anyio.current_time() + ATTACH_WITHIN
            wake = self._wake = anyio.Event()
            step = next_step(self.position(), anyio.current_time())
            match step:
                case Rest(wake_at=None):
                    self.tell()
                    await wake.wait()
                case Rest(wake_at=float() as at):
                    self.tell()
                    await pause(at - anyio.current_time(), wake)
                case Do(verb=verb):
                    await self._step(verb)
        self.tell()
        self.settled = True

    async def _step(self, verb: Verb) -> None:
        before = self.record
        if verb == "stop":
            self.mood = replace(self.mood, stopping=True)
            self.tell()
        try:
            after = await self._call(verb)
        except ZlayerError as error:
            self._failed(verb, error)
            return
        except OSError as error:  # our own files: a full or read-only disk
            self._failed(verb, ends.exhausted(verb, error))
            return
        if after is None or self.record is not before:
            return  # cancelled by a stop, or the process ended meanwhile: decide again
        self._trouble = _Trouble()
        self.mood = replace(self.mood, reason="")
        self._advance(after)

    async def _call(self, verb: Verb) -> Record | None:
        perform = self.steps.perform
        if verb in ("release", "forget"):
            await self._keep_the_end(verb)
        if (turns := self.shop.turns.get(verb)) is not None:
            async with turns:
                return await perform(verb, self.instance, self.record)
        if verb in _CANCELLED_BY_STOP:
            return await self._cancellable(verb)
        if verb == "stop" and self.record.handle is not None:
            return await self._stoppable()
        return await perform(verb, self.instance, self.record)

    async def _stoppable(self) -> Record | None:
        """A stop under way, that ends sooner when the user's patience does."""
        done: Record | None = None
        error: ZlayerError | None = None
        async with anyio.create_task_group() as group:
            group.start_soon(self._hurry, self.instance.stop_grace if self.instance is not None else None)
            try:
                done = await self.steps.perform("stop", self.instance, self.record)
            except ZlayerError as caught:  # raised below: a task group would wrap it
                error = caught
            group.cancel_scope.cancel()
        if error is not None:
            raise error
        return done

    async def _hurry(self, grace: Seconds | None) -> None:
        """Kill after a grace that was given when the stop had begun."""
        handle = self.record.handle
        assert handle is not None
        while self.instance is None or self.instance.stop_grace in (None, grace):
            await self._wake.wait()
            self._wake = anyio.Event()
        await anyio.sleep(self.instance.stop_grace or 0)
        try:
            await self.shop.machine.runtime.signal(handle, "SIGKILL")
        except ZlayerError as error:  # the stop itself still kills, only later
            log.warning("stop.hurry_failed", instance=self.id, error=error.message)

    async def _keep_the_end(self, verb: Verb) -> None:
        """How it ended is written down before the last other trace of it goes: a new daemon could not find out."""
        if self.instance is None or self.instance.desired == "removed":
            return
        if verb == "forget":  # or one that vanishes by itself would be run again
            await self.shop.writer.committed(self._end_told)
        elif self._end_unwritten:
            journal.append(self.steps.directory, self.record)
            self._end_unwritten = False

    async def _tell_pull(self) -> None:
        """Once a pull takes its time, say so, and how much has come."""
        assert self.instance is not None
        while True:
            await anyio.sleep(TELL_PULL)
            self.mood = replace(self.mood, reason=self.steps.pulling(self.instance.spec.image))
            self.tell()

    async def _cancellable(self, verb: Verb) -> Record | None:
        """A long step on the way up, given up as soon as the instance is no longer wanted."""
        assert self.instance is not None
        with anyio.CancelScope() as self._climb:
            if await self.steps.at_hand(self.instance):
                return await self.steps.perform(verb, self.instance, self.record)
            return await self._long(verb)
        return None

    async def _long(self, verb: Verb) -> Record:
        """With a word now and then on how far it is."""
        done: Record | None = None
        error: ZlayerError | OSError | None = None
        async with anyio.create_task_group() as group:
            group.start_soon(self._tell_pull)
            try:
                done = await self.steps.perform(verb, self.instance, self.record)
            except (ZlayerError, OSError) as caught:  # raised below: a task group would wrap it
                error = caught
            group.cancel_scope.cancel()
        if error is not None:
            raise error
        assert done is not None
        return done

    def _failed(self, verb: Verb, error: ZlayerError) -> None:
        reason = f"{error.message}; {error.hint}" if error.hint else error.message
        down = self.record.stage >= Stage.ENDED or verb == "stop"
        passing = isinstance(error, (Unavailable, Deadline, Exhausted))
        one_off = self.instance is not None and self.instance.deployment == ONE_OFF
        if down or (passing and not one_off):
            self._trouble.count += 1
            wait = error.retry_after or delay(self._trouble.count, self.id)
            self._trouble.retry_at = anyio.current_time() + wait
            self.mood = replace(self.mood, reason=reason)
            log.warning("step.retry", step=verb, instance=self.id, error=reason, wait=round(wait, 1))
            self.tell()
            return
        log.warning("step.failed", step=verb, instance=self.id, error=reason)
        ended = Exit(ends.exit_code(verb, reason), False, Timestamp(self.shop.clock()))
        self._advance(self.record.at(Stage.ENDED, exit=ended, failed=True, reason=reason, created=True))

    def _advance(self, record: Record) -> None:
        if record.stage in _RECORDED and not (record.stage is Stage.RELEASED and self._leaves_nothing()):
            try:
                journal.append(self.steps.directory, record)
            except OSError as error:  # a step can be repeated, so a lost line costs work; an end cannot
                log.warning("journal.write_failed", instance=self.id, error=str(error))
                self._end_unwritten = record.stage is Stage.ENDED
        before, self.record = self.record, record
        if self.instance is not None:
            self._event(before.stage, record)
        if record.stage is Stage.STARTED or record.stage >= Stage.ENDED:
            self.tell()
        self._moved.set()
        self._moved = anyio.Event()

    def _leaves_nothing(self) -> bool:
        """Its directory is the next thing to go: a line in it would be wasted."""
        return self.position().desired in ("removed", None)

    def _event(self, before: Stage, record: Record) -> None:
        assert self.instance is not None
        if record.stage is before:
            return
        if record.stage is Stage.STARTED:
            self.shop.writer.event("instance.started", self.instance, "", self.shop.node)
        elif record.stage is Stage.ENDED:
            kind = "instance.failed" if record.failed else "instance.exited"
            self.shop.writer.event(kind, self.instance, self._how_it_ended(record), self.shop.node)

    def _how_it_ended(self, record: Record) -> str:
        assert self.instance is not None
        if record.reason:
            return record.reason
        if record.exit is not None and record.exit.oom:
            return "out of memory"
        code = record.exit.code if record.exit is not None else None
        if not self.mood.stopping:
            return f"exit code {code}"
        return f"stopped, killed after {self.instance.spec.stop_grace:g} s" if code == KILLED else "stopped"

    def _watch(self, tasks: TaskGroup) -> None:
        if self.record.stage is Stage.STARTED and not self.watched and self.record.handle is not None:
            self.watched = True
            tasks.start_soon(self._attend)

    async def _attend(self) -> None:
        """Watch it until it has ended; where watching fails, watch again."""
        failures = 0
        while self.record.stage is Stage.STARTED:
            try:
                await self._life()
            except Exception as error:
                failures += 1
                log.exception("watch.failed", instance=self.id, error=str(error))
                await anyio.sleep(delay(failures, self.id))
        self.wake()

    async def _life(self) -> None:
        """From start to end of the process, with its health checks beside it."""
        handle = self.record.handle
        assert handle is not None
        reason = ""
        async with anyio.create_task_group() as group:
            if self.instance is None or self.instance.spec.health is None:
                self._ready("none")
            else:
                group.start_soon(self._check)
            try:
                ended = await self.shop.machine.runtime.wait(handle, self._doubt)
            except NotFound as error:
                ended, reason = Exit(None, False, Timestamp(self.shop.clock())), error.message
            group.cancel_scope.cancel()
        if ended.code is None:
            reason = reason or self._doubted or ends.why_unknown(self.steps.directory)
        if self.record.stage is Stage.STARTED:
            self._advance(self.record.at(Stage.ENDED, exit=ended, reason=reason))

    def _doubt(self, reason: str) -> None:
        """What the runtime finds wrong with one that runs on."""
        self._doubted = reason
        if self.instance is not None:
            self.shop.writer.event("instance.unwatched", self.instance, reason, self.shop.node)
        self.tell()

    async def _check(self) -> None:
        assert self.instance is not None
        assert self.record.handle is not None
        assert self.instance.spec.health is not None
        if self.record.ready_at is None:
            self.mood = replace(self.mood, health="starting")
            self.tell()
        target = probes.Target(self.record.handle, self.instance.address)
        async for healthy, reason in probes.watch(self.instance.spec.health, target, self.shop.machine.runtime):
            if healthy:
                self._ready("healthy")
            else:
                self.mood = replace(self.mood, health="unhealthy", reason=reason)
                self.shop.writer.event("instance.unhealthy", self.instance, reason, self.shop.node)
                self.tell()

    def _ready(self, health: str) -> None:
        """`ready_at` starts anew after each break: whoever waits for a steady replica counts from then."""
        broken = self.mood.health == "unhealthy"
        self.mood = Mood("healthy" if health == "healthy" else "none", "", self.mood.stopping)
        if self.record.stage is Stage.STARTED and (self.record.ready_at is None or broken):
            self._advance(replace(self.record, ready_at=Timestamp(self.shop.clock())))
        else:
            self.tell()

    def tell(self) -> None:
        """Queue the status if it differs from what was last told."""
        if self.instance is None:
            return
        status = self._status()
        if status != self._told:
            self._told = status
            number = self.shop.writer.put(status, self._haste(status))
            self._end_told = self._end_told or (number if status.state.ended else 0)

    def _haste(self, status: InstanceStatus) -> Haste:
        """Nobody waits for steps on the way, nor for the start of what has a client at it, nor for the last but one."""
        assert self.instance is not None
        if status.released and not status.gone and self._leaves_nothing():
            return "none"
        one_off = self.instance.deployment == ONE_OFF
        if status.state is State.RUNNING and status.health != "unhealthy" and not one_off:
            return "none"  # that it is ready is the news, and mostly a moment away
        if status.state in (State.PREPARING, State.CREATED):
            return "soon" if status.reason else "none"
        if not status.state.ended and self.instance.await_attach:
            return "none"
        return "now" if one_off else "soon"

    def _status(self) -> InstanceStatus:
        assert self.instance is not None
        mood = replace(self.mood, reason=self.mood.reason or self._doubted)
        return status_of(self.instance, self.record, mood, node=self.shop.node, runtime=self.shop.runtime_name)
