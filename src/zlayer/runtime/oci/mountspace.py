"""Starting programs in a mount namespace of their own, which holds little more than what they need.

An engine reads the whole mount table several times per container; ours has two mounts per replica, so the two-hundredth
would cost 5 ms more than the first. And crun refuses hybrid cgroups: it works where the v2 mount is out of sight. One
thread does this: a thread may be in a namespace that its process is not in, and what it starts is born there.
ADR 0008. Sources: mount_namespaces(7), setns(2), open_tree(2), move_mount(2).
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import errno
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import anyio

from zlayer.runtime.oci.mounttable import to_drop

_CLONE_FS, _CLONE_NEWNS = 0x200, 0x20000
_OPEN_TREE, _MOVE_MOUNT, _AT_FDCWD, _AT_RECURSIVE = 428, 429, -100, 0x8000
_TREE_CLONE, _TREE_CLOEXEC = 1, 0o2000000
_FROM_EMPTY_PATH, _TO_SYMLINKS = 0x04, 0x10
_MS_NOSUID, _MS_NODEV, _MS_NOEXEC, _MS_REC, _MS_PRIVATE, _MS_SLAVE = 2, 4, 8, 0x4000, 1 << 18, 1 << 19
_MNT_DETACH = 2
_OWN = "/proc/thread-self/ns/mnt"

T = TypeVar("T")
_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


@dataclass(frozen=True, slots=True)
class View:
    """What a program is to see of the mounts. `carry`: these paths, with what is mounted on and below them now.

    `whole`: everything the daemon sees, besides. `covered`: a mount point that shows an empty file system instead.
    """

    carry: Sequence[Path] = ()
    whole: bool = False
    covered: Path | None = None


class MountSpace:
    """`keep` are paths programs need besides the system's own directories. `close` ends the thread."""

    def __init__(self, keep: Sequence[Path]) -> None:
        self._keep = tuple(keep)
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="zlayer-launch")
        self._home = self._small = -1

    async def run(self, work: Callable[[], T], view: View) -> T:
        """`work` in that namespace, where it starts a program and returns; its errors come through.

        `MountSpaceError` when the kernel does not give us the namespace. Takes milliseconds and is not cancelled.
        """
        with anyio.CancelScope(shield=True):  # or nobody would know of what was started
            started = await asyncio.get_running_loop().run_in_executor(self._executor, self._do, work, view)
        return started  # noqa: RET504  (mypy: a cancel scope may swallow what it ends)

    def close(self) -> None:
        """The last call; what was started goes on in its namespace."""
        self._executor.shutdown(wait=True)
        for fd in (self._home, self._small):
            if fd >= 0:
                os.close(fd)
        self._home = self._small = -1

    # below: in the thread

    def _do(self, work: Callable[[], T], view: View) -> T:
        try:
            self._enter(view)
            return work()
        finally:
            if self._home >= 0:
                _check(_libc.setns(self._home, _CLONE_NEWNS), "cannot leave a mount namespace")

    def _enter(self, view: View) -> None:
        if self._home < 0:
            _check(_libc.unshare(_CLONE_FS), "cannot give a thread its own root")
            self._home = os.open(_OWN, os.O_RDONLY | os.O_CLOEXEC)
        if view.whole or not self._carried(view.carry):
            _check(_libc.setns(self._home, _CLONE_NEWNS), "cannot leave a mount namespace")
            separate()
        if view.covered is not None:
            cover(view.covered)

    def _carried(self, paths: Sequence[Path]) -> bool:
        """Into a copy of the small namespace, with `paths`. False where one has no place there, or is missing."""
        with _trees(paths) as trees:
            if len(trees) < len(paths):
                return False  # the engine will say so better
            if self._small < 0:
                self._small = self._make_small()
            _check(_libc.setns(self._small, _CLONE_NEWNS), "cannot enter a mount namespace")
            _check(_libc.unshare(_CLONE_NEWNS), "cannot make a mount namespace")
            return all(_put(tree, path) for tree, path in zip(trees, paths, strict=True))

    def _make_small(self) -> int:
        """A namespace without what no engine needs: the root, the kernel's file systems, the system's directories."""
        separate(_MS_PRIVATE)
        table = Path("/proc/thread-self/mountinfo").read_text()
        for point in reversed(to_drop(table, self._keep)):
            _libc.umount2(os.fsencode(point), _MNT_DETACH)  # one under another that is gone already is no error
        return os.open(_OWN, os.O_RDONLY | os.O_CLOEXEC)


class MountSpaceError(OSError):
    """The kernel refused; `strerror` says what."""


def _check(result: int, what: str) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise MountSpaceError(code, f"{what}: {os.strerror(code)}")
    return result


def separate(propagation: int = _MS_SLAVE) -> None:
    """Give the calling thread a mount namespace of its own, a copy of the one it is in.

    As a slave: where the host shares its mounts, it can still unmount them everywhere.
    """
    _check(_libc.unshare(_CLONE_NEWNS), "cannot make a mount namespace")
    _check(_libc.mount(None, b"/", None, _MS_REC | propagation, None), "cannot set a namespace's propagation")


def cover(point: Path) -> None:
    """Hide a mount point of the calling thread's namespace behind an empty file system."""
    flags = _MS_NOSUID | _MS_NODEV | _MS_NOEXEC
    done = _libc.mount(b"tmpfs", os.fsencode(point), b"tmpfs", flags, b"mode=755,size=1m")
    _check(done, f"cannot cover {point}")


@contextlib.contextmanager
def _trees(paths: Sequence[Path]) -> Iterator[list[int]]:
    """Detached copies of the mounts at and below each path, as descriptors; ends at a path that is missing."""
    opened: list[int] = []
    flags = _TREE_CLONE | _TREE_CLOEXEC | _AT_RECURSIVE
    try:
        for path in paths:
            fd = _libc.syscall(_OPEN_TREE, _AT_FDCWD, os.fsencode(path), flags)
            if fd < 0 and ctypes.get_errno() in (errno.ENOENT, errno.ENOTDIR):
                break
            opened.append(_check(fd, f"cannot copy the mount of {path}"))
        yield opened
    finally:
        for fd in opened:
            os.close(fd)


def _put(tree: int, path: Path) -> bool:
    flags = _FROM_EMPTY_PATH | _TO_SYMLINKS
    return bool(_libc.syscall(_MOVE_MOUNT, tree, b"", _AT_FDCWD, os.fsencode(path), flags) == 0)
