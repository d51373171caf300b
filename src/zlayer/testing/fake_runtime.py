"""A runtime in memory, held to the same contract suite as the real driver. Its state lives in a `FakeMachine`."""

from __future__ import annotations

import signal as signals
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import anyio

from zlayer.model.errors import Invalid, NotFound
from zlayer.model.units import Bytes, Seconds, Timestamp
from zlayer.runtime.contract import (
    CreateRequest,
    Doubt,
    ExecRequest,
    Exit,
    Handle,
    LogLine,
    Observed,
    Probe,
    Session,
    Stats,
)
from zlayer.testing.fake_machine import Behaviour, FakeContainer, FakeMachine
from zlayer.testing.fake_session import FakeAttach, exec_session


@dataclass(slots=True)
class FakeRuntime:
    """FullRuntime and Freeze over a `FakeMachine`. Make a second one over the same machine to restart the daemon."""

    machine: FakeMachine = field(default_factory=FakeMachine)
    name: str = "fake"

    async def probe(self) -> Probe:
        return Probe(ok=True, engine="fake 1.0")

    def capabilities(self) -> frozenset[str]:
        return frozenset({"exec", "attach", "stats", "pause", "signal", "tty", "resources", "netns"})

    async def create(self, request: CreateRequest) -> Handle:
        if not request.argv:
            raise Invalid("argv is empty", hint="give a command, or use an image that has one")
        if found := self.machine.containers.get(request.id):
            return found.handle
        behaviour = self.machine.script(request)
        self.machine.fault("create", request.id, "before")
        await anyio.sleep(behaviour.create_seconds)
        if found := self.machine.containers.get(request.id):
            return found.handle
        self.machine.attempts[request.id] += 1
        limit = behaviour.create_failures
        if behaviour.create_error and (limit is None or self.machine.attempts[request.id] <= limit):
            raise behaviour.create_error
        handle = self._make(request, behaviour)
        self.machine.fault("create", request.id, "after")
        return handle

    def _make(self, request: CreateRequest, behaviour: Behaviour) -> Handle:
        machine = self.machine
        machine.next_pid += 2
        pid = machine.next_pid
        handle = Handle(
            driver=self.name,
            id=request.id,
            directory=str(request.directory),
            pid=pid,
            pid_start=pid,
            monitor_pid=pid + 1,
            monitor_start=pid,
            created_at=machine.now(),
        )
        machine.containers[request.id] = FakeContainer(handle, request, behaviour)
        machine.creates[request.id] += 1
        machine.logs.setdefault(str(request.directory), [])
        machine.took("create", request.id)
        return handle

    async def start(self, handle: Handle) -> None:
        container = self._find(handle)
        self.machine.fault("start", handle.id, "before")
        await anyio.sleep(container.behaviour.start_seconds)
        if container.phase() != "created":
            return
        if container.behaviour.start_error:
            raise container.behaviour.start_error
        self._begin(container)
        self.machine.fault("start", handle.id, "after")

    def _begin(self, container: FakeContainer) -> None:
        now, behaviour = anyio.current_time(), container.behaviour
        container.started_at = now
        if behaviour.exit_after is not None:
            container.ends_at = now + behaviour.exit_after
            container.exit_code, container.oom = behaviour.exit_code, behaviour.oom
        self.machine.starts[container.handle.id] += 1
        self.machine.took("start", container.handle.id)
        for stream, data in behaviour.output:
            self.machine.write(container, stream, data)
        container.touch()

    async def signal(self, handle: Handle, signal: str) -> None:
        container = self._find(handle)
        if signal not in signals.Signals.__members__:
            raise Invalid(f"unknown signal {signal!r}", hint="use a name such as SIGTERM")
        number = signals.Signals[signal]
        if container.phase() == "exited":
            return
        self.machine.took(f"signal {signal}", handle.id)
        if number == 9:
            container.end(137)
        elif number in (2, 3, 15) and not container.behaviour.ignore_term:
            container.end(128 + number, after=container.behaviour.stop_seconds)

    async def stop(self, handle: Handle, signal: str, grace: Seconds) -> Exit:
        if handle.id not in self.machine.containers:
            return Exit(None, oom=False, at=self.machine.now())
        self.machine.fault("stop", handle.id, "before")
        container = self._find(handle)
        container.paused = False
        if container.phase() == "created":
            container.end(137)
        await self.signal(handle, signal)
        with anyio.move_on_after(grace):
            await self.wait(handle)
        container.end(137)
        ended = await self.wait(handle)
        self.machine.took("stop", handle.id)
        self.machine.fault("stop", handle.id, "after")
        return ended

    async def remove(self, handle: Handle) -> None:
        self.machine.fault("remove", handle.id, "before")
        container = self.machine.containers.get(handle.id)
        if container is None:
            return
        container.end(137)
        del self.machine.containers[handle.id]
        self.machine.took("remove", handle.id)
        container.touch()
        self.machine.fault("remove", handle.id, "after")

    async def state(self, handle: Handle) -> Observed:
        container = self.machine.containers.get(handle.id)
        if container is None or container.handle.pid != handle.pid:
            return Observed("absent")
        phase = container.phase()
        return Observed(phase, None if phase == "exited" else container.handle.pid, container.exit())

    async def recover(self, handle: Handle) -> Observed:
        return await self.state(handle)

    async def wait(self, handle: Handle, doubt: Doubt | None = None) -> Exit:
        container = self._find(handle)
        while (ended := container.exit()) is None:
            if container.unwatched and doubt is not None:
                doubt("its monitor was killed: its exit code will not be known")
                doubt = None
            with anyio.move_on_at(container.ends_at):
                await container.changed.wait()
        return ended

    async def list(self) -> Sequence[Handle]:
        return [c.handle for _, c in sorted(self.machine.containers.items())]

    async def logs(
        self,
        directory: Path,
        *,
        tail: int | None = None,
        since: Timestamp | None = None,
        follow: bool = False,
    ) -> AsyncIterator[LogLine]:
        log = self.machine.logs.get(str(directory), [])
        shown = max(0, len(log) - tail) if tail is not None else 0
        while True:
            for line in log[shown:]:
                shown += 1
                if since is None or line.at >= since:
                    yield line
            container = next(
                (c for c in self.machine.containers.values() if c.handle.directory == str(directory)), None
            )
            if not follow or container is None:
                return
            if shown == len(log):
                await container.changed.wait()

    async def exec(self, handle: Handle, request: ExecRequest) -> Session:
        container = self._find(handle)
        if container.phase() != "running":
            raise NotFound(f"container {handle.id} is not running", hint="start it, or look at its logs")
        self.machine.took("exec", handle.id)
        answer = self.machine.on_exec(container, request)
        if not self.machine.ready(handle.id):
            answer = type(answer)(code=1)
        return exec_session(answer, container)

    async def attach(self, handle: Handle) -> Session:
        return FakeAttach(self.machine, self._find(handle))

    async def stats(self, handle: Handle) -> Stats:
        container = self._find(handle)
        if container.phase() == "exited":
            raise NotFound(f"container {handle.id} has ended", hint="statistics exist while it runs")
        limits = container.request.resources
        began = container.started_at if container.started_at is not None else anyio.current_time()
        return Stats(
            at=self.machine.now(),
            cpu_seconds=(anyio.current_time() - began) / 100,
            cpu_throttled_seconds=0.0,
            memory=Bytes(1 << 20),
            memory_peak=Bytes(1 << 20),
            memory_limit=Bytes(limits.memory or 0),
            oom_kills=0,
            pids=1,
            pids_limit=limits.pids or 0,
            io_read=Bytes(0),
            io_written=Bytes(0),
            net_received=Bytes(0),
            net_sent=Bytes(0),
        )

    async def pause(self, handle: Handle) -> None:
        self._find(handle).paused = True

    async def resume(self, handle: Handle) -> None:
        self._find(handle).paused = False

    def _find(self, handle: Handle) -> FakeContainer:
        container = self.machine.containers.get(handle.id)
        if container is None:
            raise NotFound(f"no container {handle.id}", hint="it was removed; create it again")
        return container
