"""SQLite's result codes as our errors (https://www.sqlite.org/rescode.html)."""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from zlayer.model.errors import Corrupt, Denied, Exhausted, Failed, NotFound, Unavailable, ZlayerError

_DENIED = {sqlite3.SQLITE_PERM, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_AUTH}
_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_NO_SPACE = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_SHMSIZE}
_UNSYNCED = {sqlite3.SQLITE_IOERR_FSYNC, sqlite3.SQLITE_IOERR_DIR_FSYNC}


def translated(error: sqlite3.Error, path: Path) -> ZlayerError:
    """What a caller of the store gets for `error`."""
    code = _code(error)
    kind = code & 0xFF
    if code in _NO_SPACE:
        return Exhausted(
            f"no space left for {path}", hint="nothing was written; free space on that file system and try again"
        )
    if kind in _DAMAGED:
        return damaged(path, str(error))
    if kind in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
        return Unavailable(f"{path} is locked by another program", hint="close whatever has it open", retry_after=1.0)
    if kind in _DENIED:
        return Denied(f"{path}: {error}", hint="the daemon's user must own the file and its directory")
    if kind == sqlite3.SQLITE_IOERR:
        return Unavailable(f"{path}: {error}", hint="the disk failed; look at the kernel's log (dmesg)")
    return Failed(f"{path}: {error}", hint="this is a defect in zlayer: please report it")


def damaged(path: Path, what: str) -> Corrupt:
    return Corrupt(
        f"{path} is damaged: {what}",
        hint=f"stop the daemon, move {path} and its -wal aside, then put a backup in its place, or what "
        f"`sqlite3 {path.name} .recover | sqlite3 new.db` saves; containers that run are not touched",
    )


def sync_failed(error: sqlite3.Error) -> bool:
    """Whether the kernel refused to sync: it may have dropped the pages, so nothing after may be acknowledged."""
    return _code(error) in _UNSYNCED


@contextmanager
def sqlite_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise translated(error, path) from error
    except OSError as error:
        raise _refused(error, path) from error


def _refused(error: OSError, path: Path) -> ZlayerError:
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return Exhausted(f"no space left for {path}", hint="free space on that file system and try again")
    if isinstance(error, FileNotFoundError):
        return NotFound(f"the directory of {path} does not exist", hint=f"mkdir -p {path.parent}")
    return Denied(f"{path}: {error.strerror}", hint="the daemon's user must own the file and its directory")


def _code(error: sqlite3.Error) -> int:
    code = getattr(error, "sqlite_errorcode", None)  # absent on errors the Python module raises itself
    return code if isinstance(code, int) else -1
