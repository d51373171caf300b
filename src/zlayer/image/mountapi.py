"""The kernel's mount calls, by ctypes: fsopen and friends (Linux 5.2), mount(2) before, umount2 and syncfs.

Numbers from <asm-generic/unistd.h> (the same on every architecture for calls this young) and <linux/mount.h>.
"""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Sequence
from pathlib import Path

_FSOPEN, _FSCONFIG, _FSMOUNT, _MOVE_MOUNT = 430, 431, 432, 429
_SET_STRING, _SET_FD, _CMD_CREATE = 1, 5, 6
_CLOEXEC = 1
_FROM_EMPTY_PATH, _TO_EMPTY_PATH = 0x04, 0x40
_AT_FDCWD = -100
_MS_BIND = 4096
MNT_DETACH, UMOUNT_NOFOLLOW = 2, 8

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


class MountError(OSError):
    """What the kernel refused; `strerror` carries its own words from the fs context when it gave any."""


def _check(result: int, what: str, context: int = -1) -> int:
    if result >= 0:
        return result
    number = ctypes.get_errno()
    words = _words(context) if context >= 0 else ""
    raise MountError(number, f"{what}: {words or os.strerror(number)}")


def _words(context: int) -> str:
    """The messages waiting in an fs context, each prefixed `e `, `w ` or `i ` by the kernel."""
    said = []
    while True:
        try:
            said.append(os.read(context, 4096).decode(errors="replace").strip()[2:])
        except OSError:
            return "; ".join(said)


class FsContext:
    """A file system being configured. Close it, or use it in `with`; what was mounted stays mounted."""

    def __init__(self, fstype: str) -> None:
        self.descriptor = _check(_libc.syscall(_FSOPEN, fstype.encode(), _CLOEXEC), f"fsopen {fstype}")

    def __enter__(self) -> FsContext:
        return self

    def __exit__(self, *exception: object) -> None:
        os.close(self.descriptor)

    def set_string(self, key: str, value: str | bytes) -> None:
        """Values are capped at 255 bytes by the kernel."""
        data = os.fsencode(value)
        self._configure(_SET_STRING, key, ctypes.c_char_p(data), 0)

    def set_descriptor(self, key: str, descriptor: int) -> None:
        self._configure(_SET_FD, key, None, descriptor)

    def mount(self, target: int) -> None:
        """Make the file system and put it on the directory `target` (a descriptor, O_PATH will do)."""
        mounted = self.detached()
        try:
            attach(mounted, target)
        finally:
            os.close(mounted)

    def detached(self) -> int:
        """Make the file system; a descriptor of its mount, which is nowhere and ends with the descriptor."""
        self._configure(_CMD_CREATE, None, None, 0)
        return _check(_libc.syscall(_FSMOUNT, self.descriptor, _CLOEXEC, 0), "fsmount", self.descriptor)

    def _configure(self, command: int, key: str | None, value: object, extra: int) -> None:
        name = None if key is None else key.encode()
        result = _libc.syscall(_FSCONFIG, self.descriptor, command, name, value, extra)
        _check(result, f"fsconfig {key or 'create'}", self.descriptor)


def attach(mounted: int, target: int) -> None:
    """Put the detached mount on the directory `target`; both are descriptors."""
    flags = _FROM_EMPTY_PATH | _TO_EMPTY_PATH
    _check(_libc.syscall(_MOVE_MOUNT, mounted, b"", target, b"", flags), "move_mount")


def mount_with_options(fstype: str, source: str, target: int, options: Sequence[str]) -> None:
    """mount(2), for kernels whose overlayfs knows no `lowerdir+`. All options fit one page (4095 bytes)."""
    data = ",".join(options).encode()
    if len(data) > 4095:
        raise MountError(errno.E2BIG, f"mount {fstype}: {len(data)} bytes of options do not fit one page")
    where = f"/proc/self/fd/{target}".encode()
    _check(_libc.mount(source.encode(), where, fstype.encode(), 0, data), f"mount {fstype}")


def bind(source: Path, target: Path) -> None:
    """Show the directory `source` at `target` as well."""
    result = _libc.mount(os.fsencode(source), os.fsencode(target), None, _MS_BIND, None)
    _check(result, f"bind {source}")


def unmount(target: Path) -> bool:
    """Unmount what is on `target`, lazily when it is busy. False: nothing was mounted, or no such path."""
    for flags in (UMOUNT_NOFOLLOW, UMOUNT_NOFOLLOW | MNT_DETACH):
        if _libc.umount2(os.fsencode(target), flags) == 0:
            return True
        number = ctypes.get_errno()
        if number in (errno.EINVAL, errno.ENOENT):
            return False
        if number != errno.EBUSY:
            break
    raise MountError(number, f"umount {target}: {os.strerror(number)}")


def syncfs(path: Path) -> None:
    """Write out everything of the file system `path` is on; its write errors are raised as OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _check(_libc.syncfs(descriptor), f"syncfs {path}")
    finally:
        os.close(descriptor)
