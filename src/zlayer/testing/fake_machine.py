"""The world behind `FakeRuntime`: processes, logs and faults that outlive the runtime object, as a kernel would.

A daemon restart in a test is a new `FakeRuntime` over the same `FakeMachine`. Time is anyio's clock only, so a
virtual clock drives it; nothing runs in the background: what a container has become is computed from now.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from math import inf
from typing import Literal

import anyio

from zlayer.model.errors import ZlayerError
from zlayer.model.units import Timestamp
from zlayer.runtime.contract import CreateRequest, ExecRequest, Exit, Handle, LogLine, Phase, Stream

When = Literal["before", "after"]
EPOCH = 1_700_000_000.0


@dataclass(frozen=True, slots=True)
class Behaviour:
    """What one container does. Times are seconds; `exit_after` and `ready_after` count from its start.

    `ready_after`: exec answers 1 and `FakeMachine.ready` is False until then. `stop_seconds`: from TERM to the end.
    """

    exit_after: float | None = None
    exit_code: int = 0
    oom: bool = False
    ignore_term: bool = False
    stop_seconds: float = 0.0
    ready_after: float = 0.0
    create_seconds: float = 0.0
    start_seconds: float = 0.0
    create_error: ZlayerError | None = None
    create_failures: int | None = None
    """How many creates fail with `create_error` before one works; None is all of them."""
    start_error: ZlayerError | None = None
    output: tuple[tuple[Stream, bytes], ...] = ()
    echo: bool = False
    """Writes back to stdout what it reads from stdin, and ends with its end."""


@dataclass(frozen=True, slots=True)
class ExecAnswer:
    """What one exec does: `output` at once, then `code` after `seconds`. `echo` writes stdin back and ends with it."""

    code: int = 0
    output: tuple[tuple[Stream, bytes], ...] = ()
    seconds: float = 0.0
    echo: bool = False


@dataclass(slots=True)
class FakeContainer:
    """One container of the machine. `ends_at` and `exit_code` are decided early; they come true when the clock does."""

    handle: Handle
    request: CreateRequest
    behaviour: Behaviour
    started_at: float | None = None
    ends_at: float = inf
    exit_code: int = 0
    oom: bool = False
    paused: bool = False
    unwatched: bool = False
    """Its monitor was killed: it runs on, and its exit code will be unknown."""
    input: bytes = b""
    changed: anyio.Event = field(default_factory=anyio.Event)

    def touch(self) -> None:
        """Wake everyone who waits for this container to change."""
        self.changed.set()
        self.changed = anyio.Event()

    def phase(self) -> Phase:
        if self.ends_at <= anyio.current_time():
            return "exited"
        return "created" if self.started_at is None else "running"

    def exit(self) -> Exit | None:
        if self.phase() != "exited":
            return None
        code = None if self.unwatched else self.exit_code
        return Exit(code, self.oom, Timestamp(EPOCH + self.ends_at))

    def end(self, code: int, *, after: float = 0.0) -> None:
        """Decide the end, unless an earlier one is decided already."""
        at = anyio.current_time() + after
        if at < self.ends_at:
            self.ends_at, self.exit_code, self.oom = at, code, False
        self.touch()


@dataclass(slots=True)
class FakeMachine:
    """Shared by every `FakeRuntime` of one node. Tests script it, break it and count on it.

    `script` gives the behaviour of a container from its request; `on_exec` the answer to an exec; `fault` is called
    with (operation, id, "before" | "after") around every effect and may raise, which is how a test kills a daemon
    between an effect and its record, or makes an engine fail.
    """

    script: Callable[[CreateRequest], Behaviour] = lambda _request: Behaviour()
    on_exec: Callable[[FakeContainer, ExecRequest], ExecAnswer] = lambda _container, _request: ExecAnswer()
    fault: Callable[[str, str, When], None] = lambda _operation, _id, _when: None
    containers: dict[str, FakeContainer] = field(default_factory=dict)
    logs: dict[str, list[LogLine]] = field(default_factory=dict)
    calls: list[tuple[str, str]] = field(default_factory=list)
    """(operation, id) in order, as they took effect."""
    creates: Counter[str] = field(default_factory=Counter)
    """Processes ever made per id. Over 1 without a `remove` between is a second container: a bug of the caller."""
    starts: Counter[str] = field(default_factory=Counter)
    attempts: Counter[str] = field(default_factory=Counter)
    most_running: int = 0
    """The most containers that ever ran at one time."""
    next_pid: int = 1000

    def now(self) -> Timestamp:
        return Timestamp(EPOCH + anyio.current_time())

    def running(self) -> list[str]:
        """Ids of what runs right now, sorted."""
        return sorted(i for i, c in self.containers.items() if c.phase() == "running")

    def most_at_once(self, instance_id: str) -> int:
        """The most processes that ever existed at one time under an id: 0 or 1, or the caller has a bug."""
        alive = most = 0
        for operation, name in self.calls:
            if name == instance_id and operation in ("create", "remove"):
                alive = alive + 1 if operation == "create" else 0
                most = max(most, alive)
        return most

    def ready(self, instance_id: str) -> bool:
        """Whether a health check on it would succeed now."""
        found = self.containers.get(instance_id)
        if found is None or found.started_at is None or found.phase() != "running":
            return False
        return anyio.current_time() >= found.started_at + found.behaviour.ready_after

    def kill(self, instance_id: str, code: int = 137, *, oom: bool = False) -> None:
        """End a container from outside, as the kernel or an operator would."""
        found = self.containers[instance_id]
        found.end(code)
        found.oom = oom

    def kill_monitor(self, instance_id: str) -> None:
        """The monitor of a container is killed, not the container."""
        found = self.containers[instance_id]
        found.unwatched = True
        found.touch()

    def write(self, container: FakeContainer, stream: Stream, data: bytes) -> None:
        """Append to a container's log, one entry per line."""
        log = self.logs.setdefault(container.handle.directory, [])
        for line in data.splitlines(keepends=True):
            whole = line.endswith(b"\n")
            log.append(LogLine(self.now(), stream, line.removesuffix(b"\n"), partial=not whole))
        container.touch()

    def took(self, operation: str, instance_id: str) -> None:
        """Note that an operation took effect."""
        self.calls.append((operation, instance_id))
        self.most_running = max(self.most_running, len(self.running()))
