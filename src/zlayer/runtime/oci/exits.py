"""How a container ended, and waiting for it: told by the kernel through inotify and pidfds, never polled.

conmon renames the exit code into place just before it ends itself. So: the file is there, or conmon lives and will
write it, or conmon is gone and nobody ever will; then the container's own end is waited for and the code is unknown.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Awaitable, Callable
from functools import partial

import anyio

from zlayer.model.base import Timestamp
from zlayer.model.errors import NotFound
from zlayer.runtime.contract import Exit
from zlayer.runtime.oci.cgroups.hierarchy import Hierarchies
from zlayer.runtime.oci.inotify import MOVED_FROM, MOVED_TO, Inotify
from zlayer.runtime.oci.layout import Layout, Record, boot_id, exit_seen, write_whole

UNKNOWN = "unknown"


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
    note = layout.persist / UNKNOWN
    with contextlib.suppress(OSError):
        if not note.exists():
            write_whole(note, "")
        return note.stat().st_mtime
    return time.time()


async def wait_exit(inotify: Inotify, layout: Layout, record: Record, hierarchies: Hierarchies) -> Exit:
    """Returns when it has ended. One removed meanwhile ended with an unknown code, if it was not seen in time."""
    try:
        with inotify.watch((layout.persist, MOVED_TO), (layout.directory, MOVED_FROM)) as changed:
            while (ended := exit_of(layout, record, hierarchies)) is None:
                if not layout.record.exists():
                    return Exit(None, oom=False, at=Timestamp(time.time()))
                await _any_of(changed.wait, partial(_last_word, record))
                changed.clear()
            return ended
    except FileNotFoundError as error:
        raise NotFound(f"no container {record.handle.id}", hint="it was removed") from error


async def _last_word(record: Record) -> None:
    """The monitor is gone, or it was already and the container is."""
    if record.monitor.alive():
        await record.monitor.ended()
    else:
        await record.process.ended()


async def _any_of(*waits: Callable[[], Awaitable[object]]) -> None:
    """Return with the first of them; the others are cancelled."""
    async with anyio.create_task_group() as group:

        async def one(wait: Callable[[], Awaitable[object]]) -> None:
            await wait()
            group.cancel_scope.cancel()

        for wait in waits:
            group.start_soon(one, wait)
