from __future__ import annotations

import errno
import sqlite3
from pathlib import Path

import pytest

from zlayer.model.errors import Corrupt, Denied, Exhausted, Failed, NotFound, Unavailable, ZlayerError
from zlayer.store.sqlite_errors import sqlite_errors, sync_failed, translated

PATH = Path("/data/state.db")


def failure(code: int) -> sqlite3.Error:
    error = sqlite3.OperationalError("it failed")
    error.sqlite_errorcode = code
    return error


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (sqlite3.SQLITE_FULL, Exhausted),
        (sqlite3.SQLITE_IOERR_SHMSIZE, Exhausted),
        (sqlite3.SQLITE_CORRUPT, Corrupt),
        (sqlite3.SQLITE_CORRUPT_INDEX, Corrupt),
        (sqlite3.SQLITE_NOTADB, Corrupt),
        (sqlite3.SQLITE_BUSY, Unavailable),
        (sqlite3.SQLITE_BUSY_SNAPSHOT, Unavailable),
        (sqlite3.SQLITE_READONLY_DBMOVED, Denied),
        (sqlite3.SQLITE_CANTOPEN, Denied),
        (sqlite3.SQLITE_IOERR_READ, Unavailable),
        (sqlite3.SQLITE_ERROR, Failed),
    ],
)
def test_each_code_names_what_to_do(code: int, kind: type[ZlayerError]) -> None:
    error = translated(failure(code), PATH)
    assert type(error) is kind
    assert str(PATH) in error.message
    assert error.hint


def test_an_error_of_the_python_module_has_no_code() -> None:
    assert isinstance(translated(sqlite3.ProgrammingError("closed"), PATH), Failed)


def test_a_failed_sync_is_told_apart() -> None:
    assert sync_failed(failure(sqlite3.SQLITE_IOERR_FSYNC))
    assert not sync_failed(failure(sqlite3.SQLITE_IOERR_WRITE))
    assert not sync_failed(sqlite3.ProgrammingError("closed"))


@pytest.mark.parametrize(
    ("raised", "kind"),
    [
        (failure(sqlite3.SQLITE_FULL), Exhausted),
        (OSError(errno.ENOSPC, "No space left on device"), Exhausted),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), Exhausted),
        (FileNotFoundError(errno.ENOENT, "No such file"), NotFound),
        (PermissionError(errno.EACCES, "Permission denied"), Denied),
    ],
)
def test_the_border_lets_no_foreign_error_out(raised: Exception, kind: type[ZlayerError]) -> None:
    with pytest.raises(kind) as told, sqlite_errors(PATH):
        raise raised
    assert told.value.__cause__ is raised
