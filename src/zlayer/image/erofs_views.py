"""EROFS image files as mounts that are nowhere: a descriptor each, for all containers of an image.

What is mounted once has one page cache. overlayfs takes such mounts as layers from Linux 6.15 on.
"""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path

from zlayer.image.mountapi import FsContext, MountError

_Identity = tuple[int, int]


class Views:
    """Of the files in use now. A file's is closed when the last who entered it leaves. Safe in several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: dict[_Identity, int] = {}
        self._users: dict[Path, _Identity] = {}

    def enter(self, user: Path, file: Path) -> int:
        """A descriptor of the root of what is in `file`, good until `leave`. FileNotFoundError, `MountError`."""
        with self._lock:
            image = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                status = os.fstat(image)
                identity = status.st_dev, status.st_ino  # nobody else's while it is mounted, even when it is deleted
                if identity not in self._open:
                    self._open[identity] = show(image)
            finally:
                os.close(image)
            self._leave(user, but=identity)
            self._users[user] = identity
            return self._open[identity]

    def leave(self, user: Path) -> None:
        """Whoever has not entered may leave."""
        with self._lock:
            self._leave(user)

    def _leave(self, user: Path, but: _Identity | None = None) -> None:
        identity = self._users.pop(user, None)
        if identity not in (None, but) and identity not in self._users.values():
            os.close(self._open.pop(identity))


def show(image: int) -> int:
    """Mount the image file, an open descriptor, nowhere: the mount ends with the descriptor that is returned."""
    try:
        with FsContext("erofs") as context:
            context.set_string("source", f"/proc/self/fd/{image}")  # paths may be longer than it takes
            return context.detached()
    except MountError as error:
        if error.errno == errno.ENODEV:
            raise MountError(errno.ENODEV, "the kernel has no erofs (modprobe erofs)") from error
        if error.errno == errno.ENOTBLK:
            needed = (
                "Linux 6.12 or newer with CONFIG_EROFS_FS_BACKED_BY_FILE, and a data directory on a disk (no tmpfs)"
            )
            raise MountError(errno.ENOTBLK, f"the kernel mounts no files here: it needs {needed}") from error
        raise
