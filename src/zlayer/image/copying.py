"""Copy files with all that containers depend on, and lay a layer's tree over another the way overlayfs shows it."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from contextlib import ExitStack, suppress
from pathlib import Path

from zlayer.image.trees import remove_at

_FICLONE = 0x40049409
"""<linux/fs.h>: the new file shares the old one's blocks until one of them is written (XFS, btrfs)."""
_NO_CLONE = (errno.EOPNOTSUPP, errno.EXDEV, errno.EINVAL, errno.ENOTTY, errno.ENOSYS)
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_CHUNK = 1 << 30

Links = dict[tuple[int, int], bytes]
"""(device, inode) of a file with several names: the path, below the target's root, of its first copy."""


class Overlaying:
    """Lays directory trees over the directory `target` (a descriptor). Raises OSError; what is half done stays.

    A whiteout deletes, an opaque directory replaces, a directory over a directory merges, anything else takes the
    name. Kept: data with its holes, owner, mode, times, xattrs but overlayfs's own, devices, hard links within a tree.
    """

    def __init__(self, target: int) -> None:
        self._target = target

    def lay(self, source: int) -> None:
        """`source` is a directory's descriptor; nobody may write to it meanwhile."""
        if _is_opaque(_proc(source)):
            _empty(self._target)
        self._merge(source, self._target, b"", {})
        _describe(_proc(source), _proc(self._target), os.fstat(source))

    def _merge(self, source: int, target: int, prefix: bytes, links: Links) -> None:
        for name in map(os.fsencode, os.listdir(source)):
            status = os.stat(name, dir_fd=source, follow_symlinks=False)
            if stat.S_ISDIR(status.st_mode):
                self._directory(source, target, prefix, name, links)
                continue
            remove_at(target, name)
            if stat.S_ISCHR(status.st_mode) and status.st_rdev == 0:
                continue
            seen = links.get((status.st_dev, status.st_ino))
            if seen is not None:
                os.link(seen, name, src_dir_fd=self._target, dst_dir_fd=target, follow_symlinks=False)
                continue
            _make(source, target, name, status)
            _describe(_proc(source, name), _proc(target, name), status)
            if status.st_nlink > 1:
                links[status.st_dev, status.st_ino] = prefix + name

    def _directory(self, source: int, target: int, prefix: bytes, name: bytes, links: Links) -> None:
        with ExitStack() as stack:
            below = os.open(name, _DIRECTORY, dir_fd=source)
            stack.callback(os.close, below)
            if _is_opaque(_proc(below)) or not _is_directory(target, name):
                remove_at(target, name)
                os.mkdir(name, 0o700, dir_fd=target)
            made = os.open(name, _DIRECTORY, dir_fd=target)
            stack.callback(os.close, made)
            self._merge(below, made, prefix + name + b"/", links)
            _describe(_proc(below), _proc(made), os.fstat(below))


def _make(source: int, target: int, name: bytes, status: os.stat_result) -> None:
    if stat.S_ISLNK(status.st_mode):
        os.symlink(os.readlink(name, dir_fd=source), name, dir_fd=target)
    elif stat.S_ISREG(status.st_mode):
        _copy_file(source, target, name, status.st_size)
    else:
        os.mknod(name, stat.S_IFMT(status.st_mode) | 0o600, status.st_rdev, dir_fd=target)


def _copy_file(source: int, target: int, name: bytes, size: int) -> None:
    with ExitStack() as stack:
        old = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=source)
        stack.callback(os.close, old)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        new = os.open(name, flags, 0o600, dir_fd=target)
        stack.callback(os.close, new)
        if size and not _cloned(old, new):
            _copy_extents(old, new, size)


def _cloned(old: int, new: int) -> bool:
    try:
        fcntl.ioctl(new, _FICLONE, old)
    except OSError as error:
        if error.errno in _NO_CLONE:
            return False
        raise
    return True


def _copy_extents(old: int, new: int, size: int) -> None:
    """Data only; holes stay holes."""
    os.ftruncate(new, size)
    end = 0
    while end < size:
        try:
            start = os.lseek(old, end, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # a hole up to the end
                return
            raise
        end = os.lseek(old, start, os.SEEK_HOLE)
        _copy_range(old, new, start, end)


def _copy_range(old: int, new: int, start: int, end: int) -> None:
    while start < end:
        wanted = min(end - start, _CHUNK)
        try:
            copied = os.copy_file_range(old, new, wanted, start, start)
        except OSError as error:
            if error.errno not in _NO_CLONE:
                raise
            os.lseek(new, start, os.SEEK_SET)
            copied = os.sendfile(new, old, start, wanted)
        if not copied:
            raise OSError(errno.EIO, "a layer's file ended early")
        start += copied


def _describe(source: bytes, target: bytes, status: os.stat_result) -> None:
    """chown first: it clears setuid and capabilities. A descriptor's path ends in `/.`, so it is never a link."""
    os.chown(target, status.st_uid, status.st_gid, follow_symlinks=False)
    wanted = [name for name in os.listxattr(source, follow_symlinks=False) if not name.startswith("trusted.overlay.")]
    for name in os.listxattr(target, follow_symlinks=False):
        if name not in wanted and not name.startswith("security."):
            os.removexattr(target, name, follow_symlinks=False)
    for name in wanted:
        value = os.getxattr(source, name, follow_symlinks=False)
        os.setxattr(target, name, value, follow_symlinks=False)
    if not stat.S_ISLNK(status.st_mode):
        Path(os.fsdecode(target)).chmod(stat.S_IMODE(status.st_mode))
    os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns), follow_symlinks=False)


def describe(source: int, target: int) -> None:
    """Give the open directory `target` owner, mode, times and xattrs of the open directory `source`. Raises OSError."""
    _describe(_proc(source), _proc(target), os.fstat(source))


def _proc(directory: int, name: bytes = b".") -> bytes:
    return b"/proc/self/fd/%d/%s" % (directory, name)


def _is_directory(parent: int, name: bytes) -> bool:
    with suppress(FileNotFoundError):
        return stat.S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode)
    return False


def _is_opaque(path: bytes) -> bool:
    try:
        return os.getxattr(path, "trusted.overlay.opaque") == b"y"
    except OSError as error:
        if error.errno in (errno.ENODATA, errno.ENOTSUP):
            return False
        raise


def _empty(directory: int) -> None:
    for name in os.listdir(directory):
        remove_at(directory, os.fsencode(name))
