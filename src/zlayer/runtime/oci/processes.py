"""Processes named by pid and start time, so that a pid used again is never mistaken for the one it was."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from zlayer.runtime.oci import smallfiles

_DEAD = "ZXx"
_NO_PROCESS = (errno.ESRCH, errno.EINVAL)
"""EINVAL: no pid at all, or one that has become a thread's (pidfd_open(2))."""


@dataclass(frozen=True, slots=True)
class Process:
    """`start` is field 22 of /proc/PID/stat, in clock ticks since boot."""

    pid: int
    start: int

    def alive(self) -> bool:
        """It runs: the same process, and no zombie. OSError as `opened`."""
        found = _stat(self.pid)
        return found is not None and found[1] == self.start and found[0] not in _DEAD

    @contextlib.contextmanager
    def opened(self) -> Iterator[int | None]:
        """A pidfd of exactly this process, readable once it has ended; None when it has. Closed afterwards.

        OSError where the machine cannot say (no descriptor left): that is never taken for an end.
        """
        try:
            fd = os.pidfd_open(self.pid)
        except OSError as error:
            if error.errno not in _NO_PROCESS:
                raise
            yield None
            return
        try:
            # Opened before it is looked at: what was looked at is what is held.
            yield fd if self.alive() else None
        finally:
            os.close(fd)

    def signal(self, number: int) -> bool:
        """Send a signal to exactly this process; False when it is gone."""
        with contextlib.suppress(ProcessLookupError), self.opened() as fd:
            if fd is not None:
                signal.pidfd_send_signal(fd, number)
                return True
        return False

    async def ended(self) -> None:
        """Return once it has ended, woken by its pidfd."""
        with self.opened() as fd:
            if fd is not None:
                await readable(fd)


def identify(pid: int) -> Process | None:
    """The process that has this pid now, unless it is dead."""
    found = _stat(pid)
    return Process(pid, found[1]) if found and found[0] not in _DEAD else None


def command_line(pid: int) -> list[bytes]:
    """The argv of a process; empty when it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[:-1]
    except OSError:
        return []


def executable(pid: int) -> str:
    """Device and inode of what a process executes; empty when it is gone. Changes with execve, which is the use."""
    try:
        found = os.stat(f"/proc/{pid}/exe")  # noqa: PTH116  # a magic link: resolving it is the point
    except OSError:
        return ""
    return f"{found.st_dev}:{found.st_ino}"


async def readable(*fds: int) -> None:
    """Return once one of them can be read. One waiter per descriptor, which stays open until this has returned."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[None] = loop.create_future()

    def ready() -> None:
        if not future.done():
            future.set_result(None)

    for fd in fds:
        loop.add_reader(fd, ready)
    try:
        await future
    finally:
        for fd in fds:
            loop.remove_reader(fd)


def children_of(pid: int) -> list[Process]:
    """The living children of a process. Looks at every process: for rare moments."""
    pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]  # noqa: PTH208  # names are wanted
    stats = [(each, _fields(each)) for each in pids]
    return [Process(p, int(s[19])) for p, s in stats if s and int(s[1]) == pid and s[0].decode() not in _DEAD]


def _stat(pid: int) -> tuple[str, int] | None:
    """(state letter, start time)."""
    fields = _fields(pid)
    return (fields[0].decode(), int(fields[19])) if fields else None


def _fields(pid: int) -> list[bytes]:
    """/proc/PID/stat from the state on. The command name may hold spaces and parentheses: split after the last one."""
    try:
        text = smallfiles.read(f"/proc/{pid}/stat")
    except (FileNotFoundError, ProcessLookupError):
        return []
    return text[text.rindex(b")") + 2 :].split()
