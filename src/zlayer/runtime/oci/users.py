"""Who a container runs as: names looked up in the image's own /etc/passwd and /etc/group, without leaving its root.

The files belong to the image, which may be hostile: they are opened with openat2(RESOLVE_IN_ROOT), where no symlink
leads out and no device is opened, and only their first megabytes are read. Syntax as in the OCI image config (`User`).
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from zlayer.model.errors import Invalid, Unsupported

_OPENAT2, _RESOLVE_IN_ROOT, _RESOLVE_NO_MAGICLINKS = 437, 0x10, 0x02
_LARGEST = 4 << 20
_MOST_ID = 2**32 - 2
_libc = ctypes.CDLL(None, use_errno=True)


class _How(ctypes.Structure):
    _fields_ = [("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64)]


@dataclass(frozen=True, slots=True)
class User:
    """Numbers for the kernel; `home` is what HOME becomes when the image does not say."""

    uid: int
    gid: int
    groups: tuple[int, ...] = ()
    home: str = "/"


def open_in_root(root: Path, path: str) -> int:
    """A read-only descriptor of `path` seen from `root` as its `/`: absolute links and `..` stay inside.

    Raises OSError as open does; `Unsupported` before Linux 5.6. Never blocks on a FIFO. The caller closes it.
    """
    directory = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
        how = _How(flags, 0, _RESOLVE_IN_ROOT | _RESOLVE_NO_MAGICLINKS)
        name = os.fsencode(path.lstrip("/") or ".")
        size = ctypes.c_size_t(ctypes.sizeof(how))
        fd = _libc.syscall(ctypes.c_long(_OPENAT2), directory, name, ctypes.byref(how), size)
        if fd >= 0:
            return int(fd)
        number = ctypes.get_errno()
        if number == errno.ENOSYS:
            raise Unsupported("this kernel has no openat2", hint="use Linux 5.6 or newer")
        raise OSError(number, os.strerror(number), path)
    finally:
        os.close(directory)


def read_in_root(root: Path, path: str) -> str:
    """Text of a regular file below `root`; empty when there is none."""
    try:
        fd = open_in_root(root, path)
    except OSError:
        return ""
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            return ""
        return os.read(fd, _LARGEST).decode(errors="replace")
    finally:
        os.close(fd)


def resolve(root: Path, user: str, extra_groups: tuple[str, ...] = ()) -> User:
    """`""`, `uid`, `name`, `uid:gid`, `name:group` and any mix. `Invalid` when a name is not in the image."""
    name, _, group = user.partition(":")
    passwd = _Lazy(lambda: read_in_root(root, "/etc/passwd"))
    groups = _Lazy(lambda: read_in_root(root, "/etc/group"))
    found = _passwd_entry(passwd, name or "0")
    if found is None and not name.isdigit() and name:
        raise Invalid(f"user {name!r} is not in the image", hint="use a name of its /etc/passwd, or a number")
    uid = found.uid if found else _number(name or "0", "user")
    gid = _gid(groups, group) if group else (found.gid if found else 0)
    more = [] if group or not found else _member_of(groups, found.name)
    more += [_gid(groups, extra) for extra in extra_groups]
    return User(uid, gid, tuple(dict.fromkeys(g for g in more if g != gid)), found.home if found else "/")


@dataclass(frozen=True, slots=True)
class _Entry:
    name: str
    uid: int
    gid: int
    home: str


class _Lazy:
    """Lines of a file that is read at most once, and only when someone asks."""

    def __init__(self, read: Callable[[], str]) -> None:
        self._read = read
        self._rows: list[list[str]] | None = None

    def rows(self, width: int) -> list[list[str]]:
        if self._rows is None:
            self._rows = [line.split(":") for line in self._read().splitlines() if not line.startswith("#")]
        return [row for row in self._rows if len(row) >= width]


def _passwd_entry(passwd: _Lazy, wanted: str) -> _Entry | None:
    for row in passwd.rows(6):
        if (row[0] == wanted or row[2] == wanted) and row[2].isdigit() and row[3].isdigit():
            return _Entry(row[0], _number(row[2], "user"), _number(row[3], "group"), row[5] or "/")
    return None


def _gid(groups: _Lazy, wanted: str) -> int:
    for row in groups.rows(3):
        if row[0] == wanted and row[2].isdigit():
            return _number(row[2], "group")
    if wanted.isdigit():
        return _number(wanted, "group")
    raise Invalid(f"group {wanted!r} is not in the image", hint="use a name of its /etc/group, or a number")


def _member_of(groups: _Lazy, name: str) -> list[int]:
    rows = groups.rows(4)
    return [_number(row[2], "group") for row in rows if row[2].isdigit() and name in row[3].split(",")]


def _number(text: str, what: str) -> int:
    value = int(text) if text.isdigit() else -1
    if not 0 <= value <= _MOST_ID:
        raise Invalid(f"{what} {text!r} is out of range", hint=f"use 0 to {_MOST_ID}")
    return value
