"""The daemon of a data directory as a process: is it there, and ask it to end."""

from __future__ import annotations

import fcntl
import os
import select
import signal

from zlayer.model.errors import Deadline, Denied
from zlayer.model.paths import Paths


def holder(paths: Paths) -> int | None:
    """Pid of the daemon that holds the data directory now, or None. The lock is asked, never the pid file alone."""
    try:
        descriptor = os.open(paths.lock, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        text = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
        return int(text) if text.isdigit() else None
    finally:
        os.close(descriptor)
    return None


def stop(paths: Paths, timeout: float = 30.0) -> int | None:
    """End the daemon and wait until it has; its containers go on. Gives its pid, or None when none ran.

    Raises `Denied` when it is another user's, `Deadline` when it does not end within `timeout` seconds.
    """
    pid = holder(paths)
    if pid is None:
        return None
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return None
    try:
        if holder(paths) != pid:  # it ended between the two looks, and the pid may be somebody else's by now
            return None
        signal.pidfd_send_signal(descriptor, signal.SIGTERM)
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        if not poll.poll(timeout * 1000):
            raise Deadline(
                f"the daemon (pid {pid}) did not end within {timeout:g} seconds",
                hint=f"look at {paths.log}; `kill -9 {pid}` is safe: containers go on and are adopted",
            )
    except PermissionError as error:
        raise Denied(f"the daemon (pid {pid}) belongs to another user", hint="run as its user") from error
    finally:
        os.close(descriptor)
    return pid
