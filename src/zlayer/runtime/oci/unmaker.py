"""Taking containers away, whole or half-made, so that nothing of them is left on the machine."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import time
from collections.abc import Iterator, Sequence

import anyio
import anyio.to_thread

from zlayer.model.errors import Failed
from zlayer.runtime.oci import conmon
from zlayer.runtime.oci.engine import Engine
from zlayer.runtime.oci.layout import Layout, Record, boot_id, read_number
from zlayer.runtime.oci.processes import Process, identify
from zlayer.runtime.oci.site import Site

_CLEAN_SECONDS = 30.0
_MONITOR_SECONDS = 5.0
_AGAIN = 0.01


async def clear(site: Site, layout: Layout, container: str) -> None:
    """Take away what a create that did not finish has left: monitor, engine, processes, cgroup, state, bundle."""
    engines = site.engines_with(container)
    if not layout.bundle.exists() and not engines:
        return
    await _stop_makers(layout)
    await unmake(site, layout, container, site.engines_with(container), identify(read_number(layout.pid_file) or 0))


async def take_apart(site: Site, layout: Layout, record: Record) -> None:
    """Take away a container that was made, killing what runs of it."""
    same_boot = record.boot == boot_id()
    if same_boot:
        if record.process.alive():
            site.hierarchies.thaw(record.cgroup)
            record.process.signal(signal.SIGKILL)
        # conmon writes the last of the log before it ends; its files go after that.
        with anyio.move_on_after(_MONITOR_SECONDS):
            await record.monitor.ended()
        record.monitor.signal(signal.SIGKILL)
    process = record.process if same_boot else None
    await unmake(site, layout, record.handle.id, [site.engine(record.engine)], process)


async def unmake(
    site: Site, layout: Layout, container: str, engines: Sequence[Engine], process: Process | None
) -> None:
    """End what runs, then delete cgroup, engine state and bundle: what the engine's `delete` does, without it.

    If anything stays, `delete --force` is asked. Idempotent. `Failed` when a process cannot be killed.
    """
    cgroup = site.cgroup_of(container)
    if process is not None and process.signal(signal.SIGKILL):
        site.hierarchies.thaw(cgroup)
        with anyio.move_on_after(_CLEAN_SECONDS):
            await process.ended()
    if await anyio.to_thread.run_sync(_take_away, site, layout, container, engines):
        return
    words = ""
    for engine in engines:
        words += (await engine.run("delete", "--force", container, timeout=_CLEAN_SECONDS)).output
    if not await anyio.to_thread.run_sync(_take_away, site, layout, container, engines):
        raise Failed(
            f"{container} cannot be removed: {words.strip() or 'its cgroup is busy'}",
            hint="a process of it does not end (see dmesg); it is tried again",
        )


def _take_away(site: Site, layout: Layout, container: str, engines: Sequence[Engine]) -> bool:
    """Blocking half of `unmake`. Kills by cgroup first: what is in the host's pid namespace outlives its init."""
    cgroup = site.cgroup_of(container)
    for pid in site.hierarchies.processes(cgroup):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    if site.hierarchies.remove(cgroup):
        return False
    for engine in engines:
        shutil.rmtree(engine.container_state(container), ignore_errors=True)
    layout.discard()
    return True


async def _stop_makers(layout: Layout) -> None:
    """Kill conmon and engine of a create that was killed. While one lives it holds the lock, and may fork."""
    deadline = time.monotonic() + _CLEAN_SECONDS
    while _is_locked(layout) and time.monotonic() < deadline:
        for pid in await anyio.to_thread.run_sync(conmon.find, layout):
            if process := identify(pid):
                process.signal(signal.SIGKILL)
        await anyio.sleep(_AGAIN)  # a lock cannot be waited for and cancelled; this path is rare


@contextlib.contextmanager
def locked(layout: Layout) -> Iterator[int]:
    """The container's lock; whoever inherits the descriptor holds it too. BlockingIOError when one does."""
    fd = os.open(layout.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield fd
    finally:
        os.close(fd)


def _is_locked(layout: Layout) -> bool:
    try:
        with locked(layout):
            return False
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
