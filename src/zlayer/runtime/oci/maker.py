"""Making a container once: from nothing, from what a killed create left, or finding it made already."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass

import anyio
import anyio.to_thread

from zlayer.model.base import Timestamp
from zlayer.model.errors import Failed
from zlayer.runtime.contract import CreateRequest, Handle
from zlayer.runtime.oci import conmon, spawn
from zlayer.runtime.oci.cgroups.hierarchy import Hierarchies
from zlayer.runtime.oci.config import Place, config_of
from zlayer.runtime.oci.layout import Layout, Record, boot_id, read_number, read_record, write_record
from zlayer.runtime.oci.probe import Tools
from zlayer.runtime.oci.processes import Process, executable, identify
from zlayer.runtime.oci.rotation import begin_log

_CREATE_SECONDS = 60.0
_CLEAN_SECONDS = 30.0
_AGAIN = 0.01
DRIVER = "oci"


@dataclass(frozen=True, slots=True)
class Maker:
    """Makes and unmakes containers with one set of tools. Calls for one id must not overlap: the driver sees to it."""

    tools: Tools
    hierarchies: Hierarchies
    cgroup_parent: str

    def cgroup_of(self, container: str) -> str:
        return f"/{self.cgroup_parent}/{container}"

    async def make(self, request: CreateRequest) -> Record:
        """The record of the container, made now if it was not. Killed anywhere, calling again is safe.

        No record means nothing of the image ever ran, so whatever is there is cleared away first.
        """
        layout = Layout(request.directory)
        if (record := read_record(layout)) is not None:
            return record
        config = config_of(request, Place(self.cgroup_of(request.id), self.hierarchies))
        await self.clear(layout, request.id)
        layout.prepare()
        layout.config.write_text(json.dumps(config))
        try:
            with _locked(layout) as lock:
                return await self._create(request, layout, lock)
        except BaseException:
            with anyio.CancelScope(shield=True):
                await self.clear(layout, request.id)
            raise

    async def _create(self, request: CreateRequest, layout: Layout, lock: int) -> Record:
        what = conmon.Monitored(
            request.id,
            layout,
            tty=request.tty,
            stdin=request.stdin_open or request.tty,
            log_segment=max(1, request.log_max_size // 2),
        )
        tools = self.tools
        begin_log(layout)
        pid = await conmon.launch(tools.conmon, tools.engine, what, lock=lock, timeout=_CREATE_SECONDS)
        process = identify(pid)
        monitor = identify(read_number(layout.monitor_pid_file) or 0)
        if process is None or monitor is None:
            raise Failed(f"{request.id} ended while it was created", hint="it is tried again")
        handle = Handle(
            driver=DRIVER,
            id=request.id,
            directory=str(request.directory),
            pid=pid,
            pid_start=process.start,
            monitor_pid=monitor.pid,
            monitor_start=monitor.start,
            created_at=Timestamp(time.time()),
        )
        record = Record(
            handle=handle,
            boot=boot_id(),
            init=executable(pid),
            cgroup=self.cgroup_of(request.id),
            engine=tools.engine.name,
            log_max_size=int(request.log_max_size),
            tty=request.tty,
            stdin=what.stdin,
        )
        write_record(layout, record)
        return record

    async def clear(self, layout: Layout, container: str) -> None:
        """Take away whatever a create that did not finish has left: monitor, processes, cgroup, state, bundle."""
        state = self.tools.engine.container_state(container)
        if not layout.bundle.exists() and not state.exists():
            return
        await self._stop_makers(layout)
        await self.unmake(layout, container, identify(read_number(layout.pid_file) or 0))

    async def _stop_makers(self, layout: Layout) -> None:
        """Kill conmon and engine of a create that was killed. While one lives it holds the lock, and may fork."""
        deadline = time.monotonic() + _CLEAN_SECONDS
        while _is_locked(layout) and time.monotonic() < deadline:
            for pid in await anyio.to_thread.run_sync(conmon.find, layout):
                if process := identify(pid):
                    process.signal(signal.SIGKILL)
            await anyio.sleep(_AGAIN)  # a lock cannot be waited for and cancelled; this path is rare

    async def unmake(self, layout: Layout, container: str, process: Process | None) -> None:
        """End what runs, then delete cgroup, engine state and bundle: what `delete` of the engine does, without it.

        If anything stays, the engine's own `delete --force` is asked. Idempotent.
        """
        cgroup = self.cgroup_of(container)
        if process is not None and process.signal(signal.SIGKILL):
            self.hierarchies.thaw(cgroup)
            with anyio.move_on_after(_CLEAN_SECONDS):
                await process.ended()
        if await anyio.to_thread.run_sync(_take_away, self, layout, container, cgroup):
            return
        argv = self.tools.engine.argv("delete", "--force", container)
        done = await spawn.run(argv, timeout=_CLEAN_SECONDS)
        if not await anyio.to_thread.run_sync(_take_away, self, layout, container, cgroup):
            raise Failed(
                f"{container} cannot be removed: {done.output.strip() or 'its cgroup is busy'}",
                hint="a process of it does not end (see dmesg); it is tried again",
            )


def _take_away(maker: Maker, layout: Layout, container: str, cgroup: str) -> bool:
    """Blocking half of `unmake`. Kills by cgroup first: a container in the host's pid namespace outlives its init."""
    hierarchies = maker.hierarchies
    for pid in hierarchies.processes(cgroup):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    if hierarchies.remove(cgroup):
        return False
    shutil.rmtree(maker.tools.engine.container_state(container), ignore_errors=True)
    layout.discard()
    return True


@contextlib.contextmanager
def _locked(layout: Layout) -> Iterator[int]:
    """The container's lock; whoever inherits the descriptor holds it too. BlockingIOError when one does."""
    fd = os.open(layout.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield fd
    finally:
        os.close(fd)


def _is_locked(layout: Layout) -> bool:
    try:
        with _locked(layout):
            return False
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
