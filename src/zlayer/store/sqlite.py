"""The store of one machine: a SQLite file with a write-ahead log, owned by one process.

Writes go through one thread (`sqlite_writer`), reads through another with a connection of its own; the event loop never
touches the disk. A commit becomes visible to readers only after SQLite has synced it (write-ahead log,
`synchronous=FULL`: https://www.sqlite.org/wal.html), so what is read is durable.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Self, TypeVar

import anyio

from zlayer.model.errors import Conflict, Unavailable
from zlayer.store import sqlite_schema as schema
from zlayer.store import sqlite_tables as tables
from zlayer.store.checks import check_prefix, checked
from zlayer.store.contract import Changes, Item, Lease, Listing
from zlayer.store.leases import HeldLease, Orphans
from zlayer.store.sqlite_errors import sqlite_errors
from zlayer.store.sqlite_lock import FileLock
from zlayer.store.sqlite_writer import Writer
from zlayer.store.watchers import Watchers

T = TypeVar("T")

KEEP_DELETIONS = 10_000
"""Deletions remembered for watches that start in the past: what bounds the file beside its live items."""
CLOSE_DEADLINE = 10.0
"""Seconds closing waits for the disk."""


class SqliteStore:
    """The `Store` in the file `path`, made with mode 0600 where it is missing (its directory must exist).

    Entering raises `Conflict` when another process has it open, `Corrupt` when the file is damaged or too new,
    `Denied` and `Exhausted` as the file system says. A full disk refuses commits with `Exhausted`, reading goes on,
    and commits succeed again once there is space.
    """

    def __init__(self, path: Path, *, keep_deletions: int = KEEP_DELETIONS) -> None:
        self._path = path
        self._keep = keep_deletions
        self._watchers = Watchers()
        self._orphans = Orphans(self.end)
        self._open: _Open | None = None

    async def __aenter__(self) -> Self:
        if self._open is not None:
            raise Conflict(f"{self._path} is already open", hint="a store is entered once at a time")
        reads = ThreadPoolExecutor(1, "zlayer-store-read")
        try:
            # Shielded: a half-opened file would keep its lock.
            with anyio.CancelScope(shield=True):
                files = await asyncio.get_running_loop().run_in_executor(reads, _open, self._path, self._keep)
        except BaseException:
            reads.shutdown(wait=False)
            raise
        self._watchers = Watchers()
        self._open = _Open(files, reads, Writer(files.tables, self._path, self._watchers.publish))
        for lease_id, ttl in files.orphans:
            self._orphans.add(lease_id, ttl)
        return self

    async def __aexit__(self, *exc: object) -> None:
        if self._open is None:
            return
        opened, self._open = self._open, None
        self._orphans.close()
        with anyio.move_on_after(CLOSE_DEADLINE, shield=True):
            await opened.writer.stop()
            await asyncio.get_running_loop().run_in_executor(opened.reads, opened.files.close)
        opened.reads.shutdown(wait=False)
        self._watchers.close(Unavailable("the store is closed", hint="it closes when its daemon stops; try again"))

    async def get(self, key: str) -> Item | None:
        check_prefix(key)
        return await self._read(lambda db: tables.find(db, key))

    async def list(self, prefix: str) -> Listing:
        check_prefix(prefix)
        return await self._read(lambda db: tables.listing(db, prefix))

    async def commit(
        self,
        puts: Mapping[str, bytes] | None = None,
        deletes: Sequence[str] = (),
        expect: Mapping[str, int] | None = None,
        lease: Lease | None = None,
    ) -> int:
        """As the contract says. A cancelled caller does not learn whether its batch was applied."""
        batch = checked(puts, deletes, expect, lease)
        return await self._submit(lambda rows: rows.commit(batch))

    def watch(self, prefix: str, after: int) -> AsyncGenerator[Changes, None]:
        check_prefix(prefix)
        return self._watchers.watch(prefix, after, self._since)

    async def compact(self, before: int) -> None:
        await self._submit(lambda rows: rows.compact(before))

    def hold(self, name: str, ttl: float) -> HeldLease:
        return HeldLease(self, name, ttl)

    async def grant(self, name: str, ttl: float) -> int:
        """For leases."""
        return await self._submit(lambda rows: rows.grant(name, ttl))

    def end(self, lease_id: int) -> asyncio.Future[None]:
        """For leases: delete what hangs on this one."""
        return self._submit(lambda rows: rows.end_lease(lease_id))

    def orphan(self, lease_id: int, ttl: float) -> None:
        """For leases: end this one in `ttl` seconds."""
        self._orphans.add(lease_id, ttl)

    async def _since(self, prefix: str, after: int) -> Changes:
        return await self._read(lambda db: tables.changed_since(db, prefix, after))

    def _submit(self, work: Callable[[tables.Tables], T]) -> asyncio.Future[T]:
        if self._open is not None:
            return self._open.writer.submit(work)
        refused: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        refused.set_exception(_not_open(self._path))
        return refused

    async def _read(self, query: Callable[[sqlite3.Connection], T]) -> T:
        if self._open is None:
            raise _not_open(self._path)

        reader = self._open.files.reader

        def run() -> T:
            with sqlite_errors(self._path):
                return query(reader)

        return await asyncio.get_running_loop().run_in_executor(self._open.reads, run)


@dataclass(frozen=True, slots=True)
class _Files:
    reader: sqlite3.Connection
    tables: tables.Tables
    orphans: Sequence[tuple[int, float]]
    close: Callable[[], None]


@dataclass(frozen=True, slots=True)
class _Open:
    files: _Files
    reads: ThreadPoolExecutor
    writer: Writer


def _open(path: Path, keep_deletions: int) -> _Files:
    """Lock, create or check, upgrade; on the reader's thread. Closing undoes it in reverse order."""
    with ExitStack() as stack, sqlite_errors(path):
        stack.callback(FileLock(path.with_name(f"{path.name}.lock"), guards=path).release)
        schema.create_file(path)
        # Closed last of the two connections, so that closing moves the log into the file and removes it.
        writer = schema.connect(path)
        stack.callback(writer.close)
        schema.ensure_schema(writer, path)
        schema.check_integrity(writer, path)
        reader = schema.connect(path, read_only=True)
        stack.callback(reader.close)
        rows = tables.Tables(writer, keep_deletions=keep_deletions)
        return _Files(reader, rows, rows.leases(), stack.pop_all().close)


def _not_open(path: Path) -> Unavailable:
    return Unavailable(f"{path} is not open", hint="the daemon is starting or stopping; try again")
