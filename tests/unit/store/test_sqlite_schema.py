from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from zlayer.model.errors import Corrupt
from zlayer.store import sqlite_schema as schema

STEPS = (*schema.STEPS, "ALTER TABLE item ADD COLUMN colour TEXT NOT NULL DEFAULT 'red';")
BROKEN = (*schema.STEPS, "ALTER TABLE item ADD COLUMN colour TEXT; ALTER TABLE no_such_table ADD COLUMN x;")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.db"


Connect = Callable[[], sqlite3.Connection]


@pytest.fixture
def connect(path: Path) -> Iterator[Connect]:
    opened: list[sqlite3.Connection] = []

    def open_one() -> sqlite3.Connection:
        opened.append(schema.connect(path))
        return opened[-1]

    yield open_one
    for connection in opened:
        connection.close()


def test_the_file_and_its_logs_are_private(path: Path, connect: Connect) -> None:
    path.touch(0o644)
    schema.create_file(path)
    db = connect()
    schema.ensure_schema(db, path)
    for name in (path.name, f"{path.name}-wal", f"{path.name}-shm"):
        assert path.with_name(name).stat().st_mode & 0o777 == 0o600


def test_commits_are_synced(connect: Connect) -> None:
    db = connect()
    assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert db.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL: https://www.sqlite.org/pragma.html


def test_a_reader_cannot_write(path: Path, connect: Connect) -> None:
    schema.ensure_schema(connect(), path)
    with closing(schema.connect(path, read_only=True)) as reader, pytest.raises(sqlite3.OperationalError):
        reader.execute("DELETE FROM item")


def test_an_older_file_is_upgraded_and_kept_as_it_was(path: Path, connect: Connect) -> None:
    db = connect()
    schema.ensure_schema(db, path)
    db.execute("INSERT INTO item VALUES ('/a', '1', 1, 1, NULL)")
    schema.ensure_schema(db, path, STEPS)
    assert db.execute("SELECT key, colour FROM item").fetchall() == [("/a", "red")]
    schema.ensure_schema(db, path, STEPS)
    kept = path.with_name("state.db.v1")
    assert kept.stat().st_mode & 0o777 == 0o600
    with closing(sqlite3.connect(kept)) as old:
        schema.ensure_schema(old, kept)
        assert old.execute("SELECT * FROM item").fetchall() == [("/a", "1", 1, 1, None)]


def test_an_upgrade_that_fails_changes_nothing(path: Path, connect: Connect) -> None:
    schema.ensure_schema(connect(), path)
    db = connect()
    with pytest.raises(sqlite3.OperationalError):
        schema.ensure_schema(db, path, BROKEN)
    db.close()
    db = connect()
    assert db.execute("PRAGMA user_version").fetchone() == (1,)
    assert "colour" not in {row[1] for row in db.execute("PRAGMA table_info(item)")}


def test_a_newer_file_is_refused_with_a_way_out(path: Path, connect: Connect) -> None:
    db = connect()
    schema.ensure_schema(db, path, STEPS)
    with pytest.raises(Corrupt, match="has schema 2, this zlayer knows 1") as refused:
        schema.ensure_schema(db, path)
    assert "state.db.v1" in refused.value.hint


def test_another_programs_file_is_refused(path: Path, connect: Connect) -> None:
    db = connect()
    db.execute("CREATE TABLE recipes (name TEXT)")
    with pytest.raises(Corrupt, match="not a zlayer store"):
        schema.ensure_schema(db, path)
    assert [row[0] for row in db.execute("SELECT name FROM sqlite_master")] == ["recipes"]


def test_damage_inside_is_found(path: Path, connect: Connect) -> None:
    db = connect()
    schema.ensure_schema(db, path)
    db.executemany("INSERT INTO item VALUES (?, ?, 1, 1, NULL)", [(f"/{n}", "x" * 500) for n in range(400)])
    schema.check_integrity(db, path)
    db.close()
    raw = bytearray(path.read_bytes())
    raw[40_000:48_000] = b"\x5a" * 8_000
    path.write_bytes(raw)
    with pytest.raises(Corrupt, match="is damaged") as refused:
        schema.check_integrity(connect(), path)
    assert "backup" in refused.value.hint
