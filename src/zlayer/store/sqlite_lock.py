"""One process per store file.

flock on a file beside it, never on the database itself: SQLite keeps POSIX locks on that one, and those are lost when
any other descriptor of the file is closed. The kernel frees the lock however its holder ends.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from zlayer.model.errors import Conflict


class FileLock:
    """Held from construction to `release`. The file names the holder's pid; it is left behind on purpose."""

    def __init__(self, path: Path, *, guards: Path) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(self._fd, 32).decode(errors="replace").strip()
            os.close(self._fd)
            raise Conflict(
                f"{guards} is in use by {f'process {holder}' if holder.isdigit() else 'another process'}",
                hint="one daemon per data directory: stop that one, or choose another with --data-dir",
            ) from None
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, b"%d\n" % os.getpid(), 0)

    def release(self) -> None:
        """The pid is wiped first, so that a reader never sees one that no longer holds it."""
        os.ftruncate(self._fd, 0)
        os.close(self._fd)
