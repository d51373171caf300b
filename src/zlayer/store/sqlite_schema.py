"""The store's file: how it is opened, checked and brought to the current schema.

Deletions are logged, puts are not: an item knows the revision of its last put, which is all that a watch from the past
may tell (see docs/adr/0002-store.md). So history costs nothing per put, and its bound is a bound on deletions.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Sequence
from pathlib import Path

from zlayer.model.errors import Corrupt, Unsupported
from zlayer.store.sqlite_errors import damaged

APPLICATION_ID = 0x5A4C5952
"""`ZLYR`, in the header of the file (https://www.sqlite.org/fileformat.html, offset 68)."""

BUSY = 5.0
"""Seconds to wait for a lock another program (a backup, the sqlite3 shell) holds."""

STEPS: Sequence[str] = (
    """
    CREATE TABLE item (
        key TEXT PRIMARY KEY NOT NULL,
        value BLOB NOT NULL,
        created INTEGER NOT NULL,
        modified INTEGER NOT NULL,
        lease INTEGER
    );
    CREATE INDEX item_by_modified ON item (modified);
    CREATE INDEX item_by_lease ON item (lease) WHERE lease IS NOT NULL;
    CREATE TABLE deletion (key TEXT PRIMARY KEY NOT NULL, revision INTEGER NOT NULL) WITHOUT ROWID;
    CREATE INDEX deletion_by_revision ON deletion (revision);
    CREATE TABLE lease (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL, ttl REAL NOT NULL);
    CREATE TABLE state (one INTEGER PRIMARY KEY CHECK (one = 1), revision INTEGER NOT NULL, floor INTEGER NOT NULL);
    INSERT INTO state VALUES (1, 0, 1);
    """,
)
"""Step n leads from schema n to n + 1, `PRAGMA user_version` says which a file has. Only ever append."""


def create_file(path: Path) -> None:
    """Make the file with mode 0600 (SQLite gives its -wal and -shm the same), durably."""
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    path.chmod(0o600)
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def connect(path: Path, *, read_only: bool = False) -> sqlite3.Connection:
    """A connection for one thread at a time, whichever; transactions are begun by hand."""
    connection = sqlite3.connect(path, timeout=BUSY, isolation_level=None, check_same_thread=False)
    try:
        mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
        if mode != "wal":
            raise Unsupported(f"{path} cannot use a write-ahead log", hint="keep the data directory on a local disk")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA wal_autocheckpoint = 0")  # the writer does it after it has acknowledged
        connection.execute("PRAGMA journal_size_limit = 4194304")
        connection.execute("PRAGMA temp_store = MEMORY")
        connection.execute(f"PRAGMA query_only = {'ON' if read_only else 'OFF'}")
    except BaseException:
        connection.close()
        raise
    return connection


def ensure_schema(connection: sqlite3.Connection, path: Path, steps: Sequence[str] = STEPS) -> None:
    """Bring an empty or older file to the newest schema, each step whole; refuse a foreign or newer one."""
    owner = connection.execute("PRAGMA application_id").fetchone()[0]
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if tables and owner != APPLICATION_ID:
        raise Corrupt(f"{path} is not a zlayer store", hint="it belongs to another program: choose another path")
    if version > len(steps):
        raise Corrupt(
            f"{path} has schema {version}, this zlayer knows {len(steps)}",
            hint=f"a newer zlayer wrote it: run that one, or put back {path.name}.v{len(steps)}, made by its upgrade",
        )
    if 0 < version < len(steps):
        _back_up(connection, path.with_name(f"{path.name}.v{version}"))
    for number in range(version, len(steps)):
        connection.executescript(
            f"BEGIN IMMEDIATE; {steps[number]}"
            f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {number + 1}; COMMIT;"
        )


def _back_up(connection: sqlite3.Connection, target: Path) -> None:
    """A copy from before the upgrade, the way back to the older zlayer."""
    target.unlink(missing_ok=True)
    create_file(target)  # for its mode: VACUUM INTO takes an empty file
    connection.execute("VACUUM INTO ?", (str(target),))


def check_integrity(connection: sqlite3.Connection, path: Path) -> None:
    """`Corrupt` where pages, indexes or rows contradict each other. Reads the whole file once."""
    found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if found != "ok":
        raise damaged(path, found)
