"""The runtime: what turns a prepared root file system and a process description into a running container.

Lifecycle of one container: create -> start -> (exec, stats, logs, signal)* -> stop -> remove, with `wait` at any
time. Every call is idempotent: "already done" is success, so a caller killed half-way just calls again. Containers
outlive the process that made them; a `Handle` is a plain value kept by the caller, and is all a new process needs.

Errors: `Invalid` (the request cannot be a container; the message names the field), `NotFound` (no such container),
`Failed` (the engine said no; its words are in the message, e.g. a missing binary in the image), `Unsupported`,
`Exhausted` (disk, pids, memory of the host), `Unavailable` (the engine is not usable here; the hint says why).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from zlayer.model.container import Device, Resources, Ulimit
from zlayer.model.units import Bytes, Seconds, Timestamp

Phase = Literal["created", "running", "exited", "absent"]
Stream = Literal["stdout", "stderr"]


@dataclass(frozen=True, slots=True)
class MountPoint:
    """A mount inside the container, ready to make: the source of a bind exists already.

    `type`: `bind` (source is an absolute host path to a file or directory) or `tmpfs`.
    """

    type: Literal["bind", "tmpfs"]
    target: str
    source: str = ""
    readonly: bool = False
    size: Bytes | None = None
    mode: int | None = None


@dataclass(frozen=True, slots=True)
class CreateRequest:
    """Everything about one container, resolved: image defaults merged, names looked up, units numbers.

    `directory` belongs to this container: the driver keeps its bundle, pid files, log and exit code below it
    and nothing elsewhere that `remove` does not take away. `rootfs` is mounted and writable by the container.
    `user` is as in the image config (`uid`, `name`, `uid:gid`, `name:group`), resolved in the rootfs by the driver.
    `netns` is the path of a network namespace to join; None is the host's. `stop_signal` is a name such as SIGTERM.
    `content` names what `rootfs` is a fresh copy of: with the same one, the same files are in it. Empty: unknown.
    """

    id: str
    directory: Path
    rootfs: Path
    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: str = "/"
    user: str = ""
    extra_groups: tuple[str, ...] = ()
    hostname: str = ""
    netns: Path | None = None
    content: str = ""
    mounts: tuple[MountPoint, ...] = ()
    devices: tuple[Device, ...] = ()
    resources: Resources = Resources()
    ulimits: tuple[Ulimit, ...] = ()
    cap_add: tuple[str, ...] = ()
    cap_drop: tuple[str, ...] = ()
    privileged: bool = False
    no_new_privileges: bool = True
    seccomp: Literal["default", "unconfined"] = "default"
    sysctls: Mapping[str, str] = field(default_factory=dict)
    read_only_root: bool = False
    pid_mode: Literal["private", "host"] = "private"
    ipc_mode: Literal["private", "host"] = "private"
    tty: bool = False
    stdin_open: bool = False
    stop_signal: str = "SIGTERM"
    log_max_size: Bytes = Bytes(100 * 1024 * 1024)
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Handle:
    """What adopts a container after a restart of ours. JSON-serialisable; `driver` names the driver that made it."""

    driver: str
    id: str
    directory: str
    pid: int
    pid_start: int = 0
    """Start time of `pid` in clock ticks since boot (field 22 of /proc/PID/stat): guards pid reuse. 0: unknown."""
    monitor_pid: int = 0
    monitor_start: int = 0
    """The same of the monitor."""
    created_at: Timestamp = Timestamp(0)


@dataclass(frozen=True, slots=True)
class Exit:
    """`code` is 128 + n for a signal, None when nobody could know. `oom`: the kernel killed it for memory."""

    code: int | None
    oom: bool
    at: Timestamp


@dataclass(frozen=True, slots=True)
class Observed:
    """What a container is right now; `absent` when the runtime knows nothing of it."""

    phase: Phase
    pid: int | None = None
    exit: Exit | None = None


@dataclass(frozen=True, slots=True)
class Stats:
    """Counters since start, levels now. Absent controllers give 0; `memory_limit` 0 means none."""

    at: Timestamp
    cpu_seconds: float
    cpu_throttled_seconds: float
    memory: Bytes
    """Working set: usage less inactive file cache, as kubelet and docker show it."""
    memory_peak: Bytes
    memory_limit: Bytes
    oom_kills: int
    pids: int
    pids_limit: int
    io_read: Bytes
    io_written: Bytes
    net_received: Bytes
    net_sent: Bytes


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line without its newline. `partial`: the writer has not ended the line yet (or it was over 16 KiB)."""

    at: Timestamp
    stream: Stream
    data: bytes
    partial: bool = False


@dataclass(frozen=True, slots=True)
class ExecRequest:
    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: str | None = None
    user: str | None = None
    tty: bool = False
    stdin: bool = False


Doubt = Callable[[str], None]
"""Takes one line for people."""


class Session(Protocol):
    """A live exec or attach. An async context manager; leaving it kills an exec that still runs, never a container.

    `output()` yields (stream, chunk) until the other side closes; with a tty all of it is stdout. `send(b"")` is
    nothing; `close_stdin` is end of file. `wait` gives the exit code (128 + n for a signal) once output ended.
    """

    async def __aenter__(self) -> Session: ...
    async def __aexit__(self, *exc: object) -> None: ...
    def output(self) -> AsyncIterator[tuple[Stream, bytes]]: ...
    async def send(self, data: bytes) -> None: ...
    async def close_stdin(self) -> None: ...
    async def resize(self, rows: int, columns: int) -> None: ...
    async def wait(self) -> int | None: ...


@dataclass(frozen=True, slots=True)
class Probe:
    """Whether this driver works here, found by trying. `engine` e.g. `runc 1.1.5`; `fix` a command or sentence."""

    ok: bool
    engine: str
    reason: str = ""
    fix: str = ""


class Runtime(Protocol):
    """The operations of the guide. Powers not every engine has are protocols of their own, told by `capabilities`."""

    name: str

    async def probe(self) -> Probe: ...

    def capabilities(self) -> frozenset[str]:
        """Of: `exec`, `attach`, `stats`, `pause`, `signal`, `tty`, `resources`, `netns`."""
        ...

    async def create(self, request: CreateRequest) -> Handle:
        """The process exists, stopped before its first instruction. Creating it again returns the same handle."""
        ...

    async def start(self, handle: Handle) -> None: ...

    async def signal(self, handle: Handle, signal: str) -> None:
        """Send `SIGHUP`-style names to the container's first process. An ended container is no error."""
        ...

    async def stop(self, handle: Handle, signal: str, grace: Seconds) -> Exit:
        """Send `signal`, wait `grace` seconds, then kill every process. Returns once it has ended."""
        ...

    async def remove(self, handle: Handle) -> None:
        """Take everything away but the log directory. Kills what still runs. Idempotent."""
        ...

    async def state(self, handle: Handle) -> Observed: ...

    async def wait(self, handle: Handle, doubt: Doubt | None = None) -> Exit:
        """Returns when the container has ended, at once if it had; woken by the kernel, never by polling.

        `doubt` is told, at most once, why the end of one that still runs will not be known (its monitor is gone).
        """
        ...

    def logs(
        self,
        directory: Path,
        *,
        tail: int | None = None,
        since: Timestamp | None = None,
        follow: bool = False,
    ) -> AsyncIterator[LogLine]:
        """Lines of the log below a container's `directory`, oldest first, rotated files included.

        Works while it runs and after `remove`. `follow` goes on until the caller stops or the container is removed.
        """
        ...

    async def list(self) -> Sequence[Handle]:
        """Every container of this daemon's data directory that the engine or its directories know of."""
        ...

    async def recover(self, handle: Handle) -> Observed:
        """Adopt after a restart of ours: what became of it, including the exit code of one that ended meanwhile."""
        ...


class Exec(Protocol):
    async def exec(self, handle: Handle, request: ExecRequest) -> Session: ...


class Attach(Protocol):
    async def attach(self, handle: Handle) -> Session:
        """Stdio of the first process. `wait` gives the container's exit code. Attach before `start` to miss nothing."""
        ...


class Measure(Protocol):
    async def stats(self, handle: Handle) -> Stats: ...


class Freeze(Protocol):
    async def pause(self, handle: Handle) -> None: ...
    async def resume(self, handle: Handle) -> None: ...


class FullRuntime(Runtime, Exec, Attach, Measure, Protocol):
    """A runtime with the powers `zlayer exec`, `run -it` and `stats` ask for; `oci` and the fake have them."""
