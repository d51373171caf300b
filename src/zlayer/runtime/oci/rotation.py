"""Keeping a container's log under its cap without losing what fits, even while no daemon runs.

conmon starts a new file before the current one gets over half the cap, and renames it over the old. The old one lives
on as `container.log.1`, a hard link made when it was begun. So what is on disk never passes the cap, and nothing is
lost before the cap is reached, whether we run or not. To keep what is newest after that, the link is moved to the
current file when that is nearly full (`LogKeeper`); where nobody moved it, the oldest and the newest part stay.
conmon reads a pipe, so a line may come in two pieces and a rotation fall between them: what is kept over the cap may
begin with the end of a line whose beginning is gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from pathlib import Path

from zlayer.runtime.oci.inotify import MODIFY, MOVED_TO, Inotify, Subscription
from zlayer.runtime.oci.layout import Layout

_FASTEST = 256 << 20
"""Bytes a second a container may write: how long a file cannot possibly fill."""
_SHORTEST = 0.01


def previous(log: Path) -> Path:
    return log.with_name(log.name + ".1")


def begin_log(layout: Layout) -> None:
    """An empty log of a new container, linked as its own predecessor-to-be. Deletes the log of an earlier life."""
    if layout.log.exists():
        layout.log.unlink()
        previous(layout.log).unlink(missing_ok=True)
    layout.log.touch(mode=0o600)
    previous(layout.log).hardlink_to(layout.log)


def segments(log: Path) -> list[Path]:
    """Files of a log, oldest first, each once."""
    old = previous(log)
    with contextlib.suppress(FileNotFoundError):
        if old.samefile(log):
            return [log]
    return [path for path in (old, log) if path.exists()]


def keep_newest(log: Path) -> None:
    """Let the current file be what outlives the next rotation; the one before it is gone."""
    draft = log.with_name(log.name + ".link")
    draft.unlink(missing_ok=True)
    draft.hardlink_to(log)
    # POSIX: rename of two links to one file does nothing, and leaves the draft.
    draft.rename(previous(log))
    draft.unlink(missing_ok=True)


class LogKeeper:
    """Watches one running container's log. Sleeps until it rotates; after that wakes a few times a second at most."""

    def __init__(self, inotify: Inotify, layout: Layout, cap: int) -> None:
        self._inotify, self._log = inotify, layout.log
        self._full = cap // 2 * 7 // 8
        self._seen = 0
        self._rotated = inotify.subscribe(layout.log_dir, MOVED_TO, self._check)
        self._written: Subscription | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._check()

    def close(self) -> None:
        self._disarm()
        self._inotify.unsubscribe(self._rotated)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._written is not None:
            self._inotify.unsubscribe(self._written)
            self._written = None

    def _check(self) -> None:
        self._disarm()
        with contextlib.suppress(FileNotFoundError):
            if segments(self._log) == [self._log]:
                return
            size = os.stat(self._log).st_size  # noqa: PTH116  # often called
            if size >= self._full:
                keep_newest(self._log)
                return
            self._seen = size
            delay = max(_SHORTEST, (self._full - size) / _FASTEST)
            self._timer = asyncio.get_running_loop().call_later(delay, self._arm)

    def _arm(self) -> None:
        self._timer = None
        with contextlib.suppress(FileNotFoundError):
            self._written = self._inotify.subscribe(self._log, MODIFY, self._check)
            if os.stat(self._log).st_size != self._seen:  # noqa: PTH116  # often called
                self._check()
