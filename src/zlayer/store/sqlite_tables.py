"""The store's rows: what a commit, a lease and a compaction do to them, and how they are read."""

from __future__ import annotations

import sqlite3
from typing import NamedTuple

from zlayer.model.errors import Compacted, Conflict
from zlayer.store.checks import Batch, refuse_unexpected
from zlayer.store.contract import Change, Changes, Item, Listing
from zlayer.store.watchers import Committed

_ITEM = "SELECT key, value, created, modified FROM item"
_PUT = """INSERT INTO item (key, value, created, modified, lease) VALUES (?, ?, ?, ?, ?) ON CONFLICT (key) DO UPDATE
    SET value = excluded.value, modified = excluded.modified, lease = excluded.lease"""


class _State(NamedTuple):
    revision: int
    floor: int
    deletions: int


class Tables:
    """The rows as the one writer changes them, inside a transaction begun and ended here.

    Every refusal is raised before the first change of its job, so one job's refusal leaves the others' work intact;
    an `sqlite3.Error` spoils the whole transaction, which must then be `roll_back`ed.
    """

    def __init__(self, connection: sqlite3.Connection, *, keep_deletions: int) -> None:
        self._db = connection
        self._keep = keep_deletions
        self._state = self._saved = self._stored()
        self._commits: list[Committed] = []

    def begin(self) -> None:
        self._saved = self._state
        self._db.execute("BEGIN IMMEDIATE")

    def end(self) -> list[Committed]:
        """Make the transaction durable; its commits, for the watchers."""
        if self._state != self._saved:
            self._db.execute("UPDATE state SET revision = ?, floor = ?", self._state[:2])
        self._db.execute("COMMIT")
        commits, self._commits = self._commits, []
        return commits

    def roll_back(self) -> None:
        self._state = self._saved
        self._commits.clear()
        if self._db.in_transaction:
            self._db.execute("ROLLBACK")

    def checkpoint(self) -> None:
        """Move what the write-ahead log holds into the file, as far as readers allow."""
        self._db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()

    def commit(self, batch: Batch) -> int:
        known = {key: row for key in batch.touched() if (row := self._revisions(key))}
        refuse_unexpected(batch.expect, {key: modified for key, (_, modified) in known.items()})
        if batch.lease is not None and not self._holds(batch.lease):
            raise Conflict(f"lease {batch.lease} has ended", hint="what it guarded may be someone else's by now")
        revision, changes = self._state.revision + 1, []
        for key, value in batch.puts.items():
            created = known[key][0] if key in known else revision
            self._db.execute(_PUT, (key, value, created, revision, batch.lease))
            if key not in known:
                self._state = self._state._replace(deletions=self._state.deletions - self._revive(key))
            changes.append(Change(key, Item(key, value, created, revision)))
        for key in batch.deletes:
            if key in known:
                self._db.execute("DELETE FROM item WHERE key = ?", (key,))
                self._db.execute("INSERT INTO deletion VALUES (?, ?)", (key, revision))
                self._state = self._state._replace(deletions=self._state.deletions + 1)
                changes.append(Change(key, None))
        self._state = self._state._replace(revision=revision)
        self._commits.append(Committed(revision, tuple(changes)))
        if self._state.deletions > self._keep * 5 // 4:  # slack, so that not every commit forgets
            self._forget_oldest()
        return revision

    def compact(self, before: int) -> None:
        floor = max(self._state.floor, min(before, self._state.revision + 1))
        gone = self._db.execute("DELETE FROM deletion WHERE revision < ?", (floor,)).rowcount
        self._state = self._state._replace(floor=floor, deletions=self._state.deletions - gone)

    def grant(self, name: str, ttl: float) -> int:
        granted = self._db.execute("INSERT INTO lease (name, ttl) VALUES (?, ?)", (name, ttl)).lastrowid
        assert granted is not None
        return granted

    def end_lease(self, lease_id: int) -> None:
        """Delete the lease and, as one commit, its keys. Idempotent."""
        self._db.execute("DELETE FROM lease WHERE id = ?", (lease_id,))
        keys = tuple(row[0] for row in self._db.execute("SELECT key FROM item WHERE lease = ?", (lease_id,)))
        if keys:
            self.commit(Batch({}, keys, {}))

    def leases(self) -> list[tuple[int, float]]:
        """Id and ttl of each. At open these belong to a process that is gone."""
        return self._db.execute("SELECT id, ttl FROM lease").fetchall()

    def _stored(self) -> _State:
        revision, floor = self._db.execute("SELECT revision, floor FROM state").fetchone()
        return _State(revision, floor, self._db.execute("SELECT count(*) FROM deletion").fetchone()[0])

    def _revisions(self, key: str) -> tuple[int, int] | None:
        row: tuple[int, int] | None = self._db.execute(
            "SELECT created, modified FROM item WHERE key = ?", (key,)
        ).fetchone()
        return row

    def _holds(self, lease_id: int) -> bool:
        return self._db.execute("SELECT 1 FROM lease WHERE id = ?", (lease_id,)).fetchone() is not None

    def _revive(self, key: str) -> int:
        if not self._state.deletions:
            return 0
        return self._db.execute("DELETE FROM deletion WHERE key = ?", (key,)).rowcount

    def _forget_oldest(self) -> None:
        newest_gone = self._db.execute(
            "SELECT revision FROM deletion ORDER BY revision DESC LIMIT 1 OFFSET ?", (self._keep,)
        ).fetchone()[0]
        self.compact(newest_gone + 1)


def find(db: sqlite3.Connection, key: str) -> Item | None:
    row = db.execute(f"{_ITEM} WHERE key = ?", (key,)).fetchone()
    return Item(*row) if row else None


def listing(db: sqlite3.Connection, prefix: str) -> Listing:
    db.execute("BEGIN")  # one snapshot for both statements
    try:
        revision = db.execute("SELECT revision FROM state").fetchone()[0]
        rows = db.execute(f"{_ITEM} WHERE key >= ? AND key < ? ORDER BY key", (prefix, _end(prefix)))
        return Listing(tuple(Item(*row) for row in rows), revision)
    finally:
        db.execute("COMMIT")


def changed_since(db: sqlite3.Connection, prefix: str, after: int) -> Changes:
    """What became of each key that changed, in order of last changes; `Compacted` when deletions are forgotten."""
    span = (after, prefix, _end(prefix))
    db.execute("BEGIN")
    try:
        revision, floor = db.execute("SELECT revision, floor FROM state").fetchone()
        if after + 1 < floor:
            raise Compacted(f"changes after {after} are no longer kept", hint="list again and watch from there")
        # The `+` keeps SQLite on the index by revision: far fewer rows than the prefix has.
        items = db.execute(f"{_ITEM} WHERE modified > ? AND +key >= ? AND +key < ?", span)
        found = [(row[3], Change(row[0], Item(*row))) for row in items]
        gone = db.execute("SELECT revision, key FROM deletion WHERE revision > ? AND +key >= ? AND +key < ?", span)
        found += [(at, Change(key, None)) for at, key in gone]
    finally:
        db.execute("COMMIT")
    found.sort(key=lambda entry: entry[0])
    return Changes(revision, tuple(change for _, change in found))


def _end(prefix: str) -> str:
    """The first key after every key with this prefix: keys are ASCII, so the last character can be counted up."""
    return prefix[:-1] + chr(ord(prefix[-1]) + 1)
