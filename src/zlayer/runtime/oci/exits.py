"""How a container ended, and waiting for it: told by the kernel through inotify and pidfds, never polled.

conmon renames the exit code into place just before it ends itself. So: the file is there, or conmon lives and will
write it, or conmon is gone and nobody ever will; then the container's own end is waited for and the code is unknown.
"""

from __future__ import annotations

import asyncio
import contextlib
import time

from zlayer.model.errors import NotFound
from zlayer.model.units import Timestamp
from zlayer.runtime.contract import Doubt, Exit
from zlayer.runtime.oci.cgroups.hierarchy import Hierarchies
from zlayer.runtime.oci.inotify import DELETE, MOVED_FROM, MOVED_TO, Inotify
from zlayer.runtime.oci.layout import Layout, Record, boot_id, exit_seen, write_whole

UNKNOWN = "unknown"
UNWATCHED = "its monitor (conmon) is gone: it runs on, but its output is lost and its exit code will not be known"


def exit_of(layout: Layout, record: Record, hierarchies: Hierarchies) -> Exit | None:
    """The end, if it is known by now; None while the container or its monitor still lives."""
    if (seen := exit_seen(layout)) is not None:
        code, at = seen
        return Exit(code, was_oom(layout, record, hierarchies, code), Timestamp(at))
    if record.boot == boot_id() and (record.monitor.alive() or record.process.alive()):
        return None
    if (seen := exit_seen(layout)) is not None:
        return Exit(seen[0], was_oom(layout, record, hierarchies, seen[0]), Timestamp(seen[1]))
    return Exit(None, was_oom(layout, record, hierarchies, None), Timestamp(_noted(layout)))


def was_oom(layout: Layout, record: Record, hierarchies: Hierarchies, code: int | None) -> bool:
    """The kernel killed a process of it for memory, and it did not survive that."""
    return code != 0 and (layout.oom.exists() or hierarchies.oom_kills(record.cgroup) > 0)


def _noted(layout: Layout) -> float:
    """When an end without a witness was first seen: kept in a file, so that it is always told the same."""
    note = layout.bundle / UNKNOWN
    with contextlib.suppress(OSError):
        if not note.exists():
            write_whole(note, "")
        return note.stat().st_mtime
    return time.time()


async def wait_exit(
    inotify: Inotify, layout: Layout, record: Record, hierarchies: Hierarchies, doubt: Doubt | None = None
) -> Exit:
    """Returns when it has ended. One removed meanwhile ended with an unknown code, if it was not seen in time."""
    if exit_seen(layout) is not None and (known := exit_of(layout, record, hierarchies)) is not None:
        return known
    try:
        # Of a deleted bundle only its parent tells: the monitor works in it, so it lives on without a name.
        with inotify.watch((layout.bundle, MOVED_TO), (layout.directory, MOVED_FROM | DELETE)) as changed:
            while (ended := exit_of(layout, record, hierarchies)) is None:
                if not layout.record.exists():
                    return Exit(None, oom=False, at=Timestamp(time.time()))
                if doubt is not None and not record.monitor.alive() and record.process.alive():
                    doubt(UNWATCHED)
                    doubt = None
                await _change(changed, record)
            return ended
    except FileNotFoundError as error:
        raise NotFound(f"no container {record.handle.id}", hint="it was removed") from error


async def _change(changed: asyncio.Event, record: Record) -> None:
    """Something was heard, or the monitor is gone, or it was already and now the container is."""
    witness = record.monitor if record.monitor.alive() else record.process
    with witness.opened() as fd:
        if fd is not None:
            asyncio.get_running_loop().add_reader(fd, changed.set)
            try:
                await changed.wait()
            finally:
                asyncio.get_running_loop().remove_reader(fd)
        changed.clear()
