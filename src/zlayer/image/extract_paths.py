"""Names out of an archive, and the open directories they lead to: below one root, never through a link."""

from __future__ import annotations

import errno
import functools
import os
import stat

from zlayer.image.extract_meta import OPAQUE
from zlayer.image.tar_reader import Member, shown
from zlayer.model.errors import Corrupt

_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_CACHED = 256
DEPTH = 256
"""Directories within each other; Linux paths of 4096 bytes could hold eight times that, images never do."""
WHITEOUT = b".wh."
_UNPLAIN = (b"", b".", b"..")
_HINT = "The layer was made wrongly or to do harm: build it anew, or do not use it."


def clean_path(name: bytes) -> bytes:
    """`name` relative to the layer's root, without `.` and doubled slashes; empty for the root itself.

    A leading slash means the layer's root, as everywhere in OCI layers. `Corrupt` for `..`, for names the file
    system cannot hold, and for paths nested deeper than `DEPTH`.
    """
    above, slash, last = name.rpartition(b"/")
    if last in _UNPLAIN or len(name) > 4095 or len(last) > 255:
        return _clean(name)
    if not slash:
        return last
    # Files come by the directory, so what lies above is nearly always that of the one before.
    above = _clean_above(above)
    return above + b"/" + last if above else last


def _clean(name: bytes, depth: int = DEPTH) -> bytes:
    parts = [part for part in name.split(b"/") if part and part != b"."]
    if b".." in parts:
        raise Corrupt(f"{shown(name)} climbs with '..'", hint=_HINT)
    if len(parts) > depth or len(name) > 4095:
        raise Corrupt(f"{shown(name)} is nested deeper than {DEPTH} directories or too long", hint=_HINT)
    if parts and len(max(parts, key=len)) > 255:
        raise Corrupt(f"{shown(name)} has a name of more than 255 bytes", hint=_HINT)
    return b"/".join(parts)


@functools.lru_cache(maxsize=64)
def _clean_above(name: bytes) -> bytes:
    return _clean(name, DEPTH - 1)


class Directories:
    """The directories below `root`, each opened component by component with O_NOFOLLOW and kept open for a while.

    `made` notes what metadata each directory gets in the end, in order: its member's, or None when no member
    described it. Descriptors are good until the next `trim`.
    """

    def __init__(self, root: str | bytes | os.PathLike[str]) -> None:
        self._root = os.open(root, _FLAGS)
        self._open: dict[bytes, int] = {}
        self.made: dict[bytes, Member | None] = {}
        self.hiding = False
        """Whether some directory was made opaque."""

    def close(self) -> None:
        self._close(list(self._open))
        os.close(self._root)

    def trim(self) -> None:
        """Close all but the directories used last. Between two members."""
        if len(self._open) > _CACHED:
            self._close(list(self._open)[: -_CACHED // 2])

    def open(self, path: bytes, *, make: bool = True) -> int:
        """A descriptor of the directory `path`, made with its parents when missing, if `make`.

        `Corrupt` when a component is a link or another file. Without `make` a missing one is `FileNotFoundError`.
        """
        if not path:
            return self._root
        found = self._open.pop(path, None)
        if found is None:
            parent_path, _, name = path.rpartition(b"/")
            found = self._enter(self.open(parent_path, make=make), name, path, make=make)
        self._open[path] = found
        return found

    def forget(self, path: bytes) -> None:
        """Close `path` and all below it: it is about to be removed."""
        below = path + b"/"
        self._close([known for known in self._open if known == path or known.startswith(below)])

    def make(self, parent: int, name: bytes, path: bytes, *, opaque: bool = False) -> None:
        """Make the directory `path`; if `opaque`, hide at once what lower layers have there."""
        os.mkdir(name, 0o755, dir_fd=parent)
        self.made[path] = None
        if opaque:
            self.hide(path)

    def hide(self, path: bytes) -> None:
        """Make the directory opaque: what lower layers have in it is not seen."""
        os.setxattr(self.open(path), *OPAQUE)
        self.hiding = True

    def _enter(self, parent: int, name: bytes, path: bytes, *, make: bool) -> int:
        try:
            return os.open(name, _FLAGS, dir_fd=parent)
        except FileNotFoundError:
            if not make:
                raise
            self.make(parent, name, path)
        except OSError as error:
            if error.errno not in (errno.ENOTDIR, errno.ELOOP):
                raise
            if not make or not is_whiteout(parent, name):
                what = "a link" if is_link(parent, name) else "no directory"
                raise Corrupt(f"a path goes through {shown(path)}, which is {what}", hint=_HINT) from None
            os.unlink(name, dir_fd=parent)
            self.make(parent, name, path, opaque=True)
            return self._open.pop(path)
        return os.open(name, _FLAGS, dir_fd=parent)

    def _close(self, paths: list[bytes]) -> None:
        for path in paths:
            os.close(self._open.pop(path))


def is_whiteout(parent: int, name: bytes) -> bool:
    """A character device 0/0: what overlayfs takes for "deleted here"."""
    status = os.stat(name, dir_fd=parent, follow_symlinks=False)
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0


def is_opaque(directory: int) -> bool:
    """Whether an open directory hides what lower layers have in it."""
    try:
        return os.getxattr(directory, OPAQUE[0]) == OPAQUE[1]
    except OSError as error:
        if error.errno in (errno.ENODATA, errno.ENOTSUP):
            return False
        raise


def is_directory(parent: int, name: bytes) -> bool:
    return stat.S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode)


def is_link(parent: int, name: bytes) -> bool:
    return stat.S_ISLNK(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode)
