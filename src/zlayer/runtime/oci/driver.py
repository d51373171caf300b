"""`OciRuntime`: the runtime contract over an OCI engine and conmon."""

from __future__ import annotations

import contextlib
import re
import signal as signals
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import anyio
import anyio.to_thread

from zlayer.model.errors import Corrupt, Failed, Invalid, NotFound, ZlayerError
from zlayer.model.units import Seconds, Timestamp
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
from zlayer.runtime.oci.attach import open_attach
from zlayer.runtime.oci.cgroups.hierarchy import children, mounted
from zlayer.runtime.oci.cgroups.meter import read_stats
from zlayer.runtime.oci.exec import end_stale_execs, open_exec
from zlayer.runtime.oci.exits import exit_of, wait_exit
from zlayer.runtime.oci.inotify import Inotify
from zlayer.runtime.oci.layout import Layout, Record, layout_of, read_record
from zlayer.runtime.oci.logs import read_logs
from zlayer.runtime.oci.maker import DRIVER, Maker
from zlayer.runtime.oci.mountspace import MountSpace
from zlayer.runtime.oci.probe import find_tools
from zlayer.runtime.oci.rotation import LogKeeper
from zlayer.runtime.oci.site import Site
from zlayer.runtime.oci.starter import start, waits_for_start
from zlayer.runtime.oci.unmaker import clear, take_apart

_ID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,199}")
_KILL_SECONDS = 30.0
_ENGINE_SECONDS = 20.0


class OciRuntime:
    """FullRuntime and Freeze. `close` when done: containers go on, watching them ends.

    `containers` holds one directory per container and is what `list` reads; `run` is for the engine's state;
    `cgroup_parent` is a plain name. Calls for different containers go side by side; for one they take turns.
    """

    name = DRIVER

    def __init__(self, containers: Path, run: Path, cgroup_parent: str, engine: str = "auto") -> None:
        self._containers, self._wanted = containers, engine
        self._hierarchies = mounted()
        self._space = MountSpace((containers, run))
        self._site = Site(run, cgroup_parent, self._hierarchies, self._space)
        self._found: Maker | None = None
        self._finding = anyio.Lock()
        self._inotify: Inotify | None = None
        self._keepers: dict[str, LogKeeper] = {}
        self._turns: dict[str, anyio.Lock] = {}
        self._records: dict[str, Record] = {}

    async def close(self) -> None:
        """Stop watching, and delete the parent cgroups if no container is left in them. Idempotent."""
        for keeper in self._keepers.values():
            keeper.close()
        self._keepers.clear()
        if self._inotify is not None:
            self._inotify.close()
            self._inotify = None
        self._space.close()
        await anyio.to_thread.run_sync(_remove_parents, self._site)

    async def probe(self) -> Probe:
        try:
            maker = await self._maker()
        except ZlayerError as error:
            return Probe(ok=False, engine="", reason=error.message, fix=error.hint)
        return Probe(ok=True, engine=str(maker.tools.engine))

    def capabilities(self) -> frozenset[str]:
        return frozenset({"exec", "attach", "stats", "pause", "signal", "tty", "resources", "netns"})

    async def create(self, request: CreateRequest) -> Handle:
        if not _ID.fullmatch(request.id):
            raise Invalid(f"{request.id!r} cannot be a container id", hint="use letters, digits, _ . and -")
        maker = await self._maker()
        async with self._turn(request.id):
            record = await maker.make(request)
            self._records[request.id] = record
        self._keep_log(record)
        return record.handle

    async def start(self, handle: Handle) -> None:
        record = self._load(handle)
        async with self._turn(handle.id):
            await start(self._site.engine(record.engine), record)

    async def signal(self, handle: Handle, signal: str) -> None:
        number = signal_number(signal)
        self._load(handle).process.signal(number)

    async def stop(self, handle: Handle, signal: str, grace: Seconds) -> Exit:
        number = signal_number(signal)
        try:
            record = self._load(handle)
        except NotFound:
            return Exit(None, oom=False, at=handle.created_at)
        layout = layout_of(handle.directory)
        if (ended := exit_of(layout, record, self._hierarchies)) is not None:
            return ended
        if not waits_for_start(self._site.engine(record.engine), record):
            self._hierarchies.thaw(record.cgroup)
            record.process.signal(number)
            with anyio.move_on_after(grace):
                return await self._ended(handle, record)
        self._hierarchies.thaw(record.cgroup)
        record.process.signal(signals.SIGKILL)
        try:
            with anyio.fail_after(_KILL_SECONDS):
                return await self._ended(handle, record)
        except TimeoutError as error:
            raise Failed(
                f"{handle.id} does not die of SIGKILL", hint="it hangs in the kernel: see its stack in /proc, and dmesg"
            ) from error

    async def _ended(self, handle: Handle, record: Record) -> Exit:
        """As `wait`, for one whose directory may have been deleted: the process is what counts then."""
        try:
            return await self.wait(handle)
        except NotFound:
            await record.process.ended()
            return Exit(None, oom=False, at=Timestamp(time.time()))

    async def remove(self, handle: Handle) -> None:
        layout = layout_of(handle.directory)
        async with self._turn(handle.id):
            if (keeper := self._keepers.pop(handle.id, None)) is not None:
                keeper.close()
            self._records.pop(handle.id, None)
            try:
                record = read_record(layout)
            except Corrupt:  # taken apart like one that was never finished
                record = None
            if record is None:
                await clear(self._site, layout, handle.id)
            else:
                await take_apart(self._site, layout, record)
        if not self._turn(handle.id).statistics().tasks_waiting:
            self._turns.pop(handle.id, None)

    async def state(self, handle: Handle) -> Observed:
        try:
            record = self._load(handle)
        except NotFound:
            return Observed("absent")
        if (ended := exit_of(layout_of(handle.directory), record, self._hierarchies)) is not None:
            return Observed("exited", exit=ended)
        waits = waits_for_start(self._site.engine(record.engine), record)
        return Observed("created" if waits else "running", pid=record.handle.pid)

    async def recover(self, handle: Handle) -> Observed:
        observed = await self.state(handle)
        if observed.phase in ("created", "running"):
            record = self._load(handle)
            self._keep_log(record)
            end_stale_execs(layout_of(handle.directory), self._hierarchies.processes(record.cgroup))
        return observed

    async def wait(self, handle: Handle, doubt: Doubt | None = None) -> Exit:
        record = self._load(handle)
        return await wait_exit(self._watcher(), layout_of(handle.directory), record, self._hierarchies, doubt)

    async def logs(
        self,
        directory: Path,
        *,
        tail: int | None = None,
        since: Timestamp | None = None,
        follow: bool = False,
    ) -> AsyncIterator[LogLine]:
        lines = read_logs(self._watcher(), Layout(directory), tail=tail, since=since, follow=follow)
        async with contextlib.aclosing(lines):
            async for line in lines:
                yield line

    async def list(self) -> Sequence[Handle]:
        return await anyio.to_thread.run_sync(_handles, self._containers)

    async def exec(self, handle: Handle, request: ExecRequest) -> Session:
        record = self._load(handle)
        layout, engine = layout_of(handle.directory), self._site.engine(record.engine)
        if exit_of(layout, record, self._hierarchies) is not None or waits_for_start(engine, record):
            raise NotFound(f"container {handle.id} is not running", hint="start it, or look at its logs")
        return await open_exec(engine, layout, record, request, self._watcher())

    async def attach(self, handle: Handle) -> Session:
        record = self._load(handle)

        async def code() -> int | None:
            return (await self.wait(handle)).code

        return await open_attach(layout_of(handle.directory), record, code)

    async def stats(self, handle: Handle) -> Stats:
        record = self._load(handle)
        if not record.process.alive():
            raise NotFound(f"container {handle.id} has ended", hint="statistics exist while it runs")
        return read_stats(self._hierarchies, record.cgroup, handle.pid)

    async def pause(self, handle: Handle) -> None:
        await self._freeze(handle, "pause", "paused")

    async def resume(self, handle: Handle) -> None:
        await self._freeze(handle, "resume", "not paused")

    async def _freeze(self, handle: Handle, verb: str, already: str) -> None:
        engine = self._site.engine(self._load(handle).engine)
        done = await engine.run(verb, handle.id, timeout=_ENGINE_SECONDS)
        if done.code != 0 and already not in done.output:
            raise engine.refusal(verb, done.output)

    def _load(self, handle: Handle) -> Record:
        if (record := self._records.get(handle.id)) is None or record.handle != handle:
            record = read_record(layout_of(handle.directory))
        if record is None or record.handle.id != handle.id or record.handle.pid_start != handle.pid_start:
            raise NotFound(f"no container {handle.id}", hint="it was removed; create it again")
        self._records[handle.id] = record
        return record

    async def _maker(self) -> Maker:
        async with self._finding:
            if self._found is None:
                tools = await find_tools(self._site, self._wanted)
                tools.engine.state.mkdir(parents=True, exist_ok=True, mode=0o700)
                self._found = Maker(self._site, tools)
            return self._found

    def _watcher(self) -> Inotify:
        if self._inotify is None:
            self._inotify = Inotify()
        return self._inotify

    def _keep_log(self, record: Record) -> None:
        if record.handle.id not in self._keepers:
            layout = layout_of(record.handle.directory)
            with contextlib.suppress(FileNotFoundError):
                self._keepers[record.handle.id] = LogKeeper(self._watcher(), layout, record.log_max_size)

    def _turn(self, container: str) -> anyio.Lock:
        return self._turns.setdefault(container, anyio.Lock())


def signal_number(name: str) -> int:
    """`SIGTERM`, `TERM` or `15`, as a number; `SIGRTMIN+3` too, which systemd images stop on. `Invalid` otherwise."""
    plain = name.upper().removeprefix("SIG")
    if plain.startswith("RTMIN+") and plain[6:].isdigit():
        return signals.SIGRTMIN + int(plain[6:])
    found = signals.Signals.__members__.get(f"SIG{plain}")
    if found is not None:
        return int(found)
    if plain.isdigit() and 0 < int(plain) < signals.NSIG:
        return int(plain)
    raise Invalid(f"unknown signal {name!r}", hint="use a name such as SIGTERM")


def _remove_parents(site: Site) -> None:
    """Delete our own parent cgroups, unless a container or a monitor is still in them."""
    for cgroup in (site.cgroup_of(""), site.monitors):
        for path in site.hierarchies.directories(cgroup):
            with contextlib.suppress(OSError):
                path.rmdir()


def _handles(containers: Path) -> list[Handle]:
    """Every container below a directory that was made and not removed."""
    found = []
    for path in children(containers):
        with contextlib.suppress(ZlayerError):
            if (record := read_record(Layout(path))) is not None:
                found.append(record.handle)
    return sorted(found, key=lambda handle: handle.id)
