"""What the contract suite cannot see of the rows: transactions, rolling back, what is kept."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from zlayer.model.errors import Compacted, Conflict
from zlayer.store import sqlite_schema as schema
from zlayer.store.checks import Batch
from zlayer.store.sqlite_tables import Tables, changed_since, find, listing


@pytest.fixture
def db(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    connection = schema.connect(tmp_path / "state.db")
    schema.ensure_schema(connection, tmp_path / "state.db")
    yield connection
    connection.close()


def put(*keys: str, expect: dict[str, int] | None = None) -> Batch:
    return Batch(dict.fromkeys(keys, b"1"), (), expect or {})


def commit(tables: Tables, *batches: Batch) -> list[int]:
    tables.begin()
    revisions = [tables.commit(batch) for batch in batches]
    assert [told.revision for told in tables.end()] == revisions
    return revisions


def test_a_transaction_carries_many_commits(db: sqlite3.Connection) -> None:
    tables = Tables(db, keep_deletions=10)
    assert commit(tables, put("/a"), put("/b", expect={"/a": 1}), Batch({}, ("/a",), {})) == [1, 2, 3]
    assert listing(db, "/").revision == 3
    assert find(db, "/a") is None


def test_a_refused_commit_leaves_its_neighbours(db: sqlite3.Connection) -> None:
    tables = Tables(db, keep_deletions=10)
    tables.begin()
    tables.commit(put("/a"))
    with pytest.raises(Conflict):
        tables.commit(put("/b", expect={"/a": 9}))
    with pytest.raises(Conflict):
        tables.commit(Batch({"/c": b"1"}, ("/a",), {}, lease=77))
    tables.commit(put("/d"))
    assert [told.revision for told in tables.end()] == [1, 2]
    assert [item.key for item in listing(db, "/").items] == ["/a", "/d"]


def test_rolling_back_forgets_revisions_and_deletions(db: sqlite3.Connection) -> None:
    tables = Tables(db, keep_deletions=1)
    commit(tables, put("/a", "/b"))
    for _ in range(5):
        tables.begin()
        tables.commit(Batch({"/c": b"1"}, ("/a", "/b"), {}))
        tables.roll_back()
    assert commit(tables, put("/d")) == [2]
    assert [item.key for item in listing(db, "/").items] == ["/a", "/b", "/d"]
    assert changed_since(db, "/", 0).revision == 2


def test_rolling_back_twice_is_no_error(db: sqlite3.Connection) -> None:
    tables = Tables(db, keep_deletions=1)
    tables.begin()
    tables.roll_back()
    tables.roll_back()
    assert commit(tables, put("/a")) == [1]


def test_a_transaction_that_could_not_begin_loses_nothing(db: sqlite3.Connection, tmp_path: Path) -> None:
    tables = Tables(db, keep_deletions=1)
    commit(tables, put("/a"))
    db.execute("PRAGMA busy_timeout = 0")
    with closing(schema.connect(tmp_path / "state.db")) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            tables.begin()
        tables.roll_back()
    assert commit(tables, put("/b")) == [2]


def test_the_newest_deletions_are_kept_and_no_more(db: sqlite3.Connection) -> None:
    tables = Tables(db, keep_deletions=8)
    for number in range(50):
        commit(tables, put(f"/{number}"), Batch({}, (f"/{number}",), {}))
        assert db.execute("SELECT count(*) FROM deletion").fetchone()[0] <= 10
    assert len(changed_since(db, "/", 100 - 16).changes) == 8
    with pytest.raises(Compacted):
        changed_since(db, "/", 1)


def test_one_commit_may_delete_more_than_is_kept(db: sqlite3.Connection) -> None:
    tables = Tables(db, keep_deletions=3)
    keys = tuple(f"/{number}" for number in range(20))
    assert commit(tables, put(*keys), Batch({}, keys, {})) == [1, 2]
    with pytest.raises(Compacted):
        changed_since(db, "/", 1)
    assert changed_since(db, "/", 2).changes == ()


def test_a_key_that_came_back_is_not_told_as_deleted(db: sqlite3.Connection) -> None:
    tables = Tables(db, keep_deletions=8)
    commit(tables, put("/a"), Batch({}, ("/a",), {}), put("/a"))
    (change,) = changed_since(db, "/", 1).changes
    assert change.item is not None
    assert (change.item.created, change.item.modified) == (3, 3)
    assert db.execute("SELECT count(*) FROM deletion").fetchone() == (0,)


def test_leases_are_rows(db: sqlite3.Connection) -> None:
    tables = Tables(db, keep_deletions=8)
    tables.begin()
    one, two = tables.grant("one", 5), tables.grant("two", 6)
    tables.commit(Batch({"/a": b"1", "/b": b"1"}, (), {}, lease=one))
    assert tables.leases() == [(one, 5.0), (two, 6.0)]
    tables.end_lease(one)
    tables.end_lease(one)
    tables.end_lease(two)
    assert [[change.key for change in told.changes] for told in tables.end()] == [["/a", "/b"], ["/a", "/b"]]
    assert tables.leases() == []
    tables.begin()
    assert tables.grant("three", 1) > two
    tables.end()


def test_replaying_uses_the_index_by_revision(db: sqlite3.Connection) -> None:
    plan = db.execute(
        "EXPLAIN QUERY PLAN SELECT key FROM item WHERE modified > 1 AND +key >= '/a' AND +key < '/b'"
    ).fetchall()
    assert "item_by_modified" in plan[0][3]
