"""Group commit, seen through the tables it drives."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from zlayer.model.errors import Conflict, Exhausted, Unavailable
from zlayer.store import sqlite_schema as schema
from zlayer.store.checks import Batch
from zlayer.store.sqlite_tables import Tables, listing
from zlayer.store.sqlite_writer import Writer
from zlayer.store.watchers import Committed

pytestmark = pytest.mark.anyio


class Bench:
    """A writer whose thread can be held, so that a test decides what falls into one group."""

    def __init__(self, path: Path) -> None:
        self.db = schema.connect(path)
        schema.ensure_schema(self.db, path)
        self.reader = schema.connect(path, read_only=True)
        self.transactions: list[str] = []
        self.db.set_trace_callback(self._note)
        self.published: list[int] = []
        self.writer = Writer(Tables(self.db, keep_deletions=100), path, self._publish)
        self._busy, self._gate = threading.Event(), threading.Event()

    async def hold(self) -> asyncio.Future[None]:
        """Keep the thread busy with a group of its own until `let_go`."""
        held = self.writer.submit(lambda _: self._wait())
        await asyncio.to_thread(self._busy.wait, 20)
        return held

    def let_go(self) -> None:
        self._gate.set()

    def put(self, key: str, expect: int | None = None) -> asyncio.Future[int]:
        batch = Batch({key: b"1"}, (), {} if expect is None else {key: expect})
        return self.writer.submit(lambda tables: tables.commit(batch))

    def keys(self) -> list[str]:
        return [item.key for item in listing(self.reader, "/").items]

    def _wait(self) -> None:
        self._busy.set()
        assert self._gate.wait(20)

    def _note(self, statement: str) -> None:
        if statement in {"COMMIT", "ROLLBACK"}:
            self.transactions.append(statement)

    def _publish(self, commits: Sequence[Committed]) -> None:
        self.published += [commit.revision for commit in commits]


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    made = Bench(tmp_path / "state.db")
    yield made
    made.let_go()
    await made.writer.stop()
    made.reader.close()
    made.db.close()


async def test_what_waits_together_is_synced_together(bench: Bench) -> None:
    held = await bench.hold()
    puts = [bench.put(f"/{number}") for number in range(50)]
    bench.let_go()
    await held
    assert await asyncio.gather(*puts) == list(range(1, 51))
    assert bench.transactions == ["COMMIT", "COMMIT"]
    assert bench.published == list(range(1, 51))
    assert len(bench.keys()) == 50


async def test_a_conflict_in_a_group_is_its_own(bench: Bench) -> None:
    held = await bench.hold()
    puts = [bench.put("/a"), bench.put("/a", expect=0), bench.put("/a", expect=1), bench.put("/b", expect=5)]
    bench.let_go()
    await held
    told = await asyncio.gather(*puts, return_exceptions=True)
    assert [type(answer) for answer in told] == [int, Conflict, int, Conflict]
    assert bench.published == [1, 2]


async def test_a_full_disk_fails_only_the_job_that_does_not_fit(bench: Bench) -> None:
    def too_large(tables: Tables) -> int:
        tables.commit(Batch({"/half": b"1"}, (), {}))
        raise sqlite_error(sqlite3.SQLITE_FULL)

    held = await bench.hold()
    puts = [bench.put("/a"), bench.writer.submit(too_large), bench.put("/b")]
    bench.let_go()
    await held
    told = await asyncio.gather(*puts, return_exceptions=True)
    assert [told[0], type(told[1]), told[2]] == [1, Exhausted, 2]
    assert bench.keys() == ["/a", "/b"]
    assert bench.published == [1, 2]


async def test_after_a_failed_sync_nothing_is_acknowledged(bench: Bench) -> None:
    def unsynced(tables: Tables) -> int:
        raise sqlite_error(sqlite3.SQLITE_IOERR_FSYNC)

    assert await bench.put("/a") == 1
    with pytest.raises(Unavailable, match="failed"):
        await bench.writer.submit(unsynced)
    with pytest.raises(Unavailable):
        await bench.put("/b")
    assert bench.keys() == ["/a"]


async def test_a_cancelled_job_that_waits_is_not_done(bench: Bench) -> None:
    held = await bench.hold()
    dropped, kept = bench.put("/dropped"), bench.put("/kept")
    dropped.cancel()
    bench.let_go()
    await held
    assert await kept == 1
    assert bench.keys() == ["/kept"]


async def test_stopping_finishes_what_is_queued_and_refuses_the_rest(bench: Bench) -> None:
    held = await bench.hold()
    queued = [bench.put(f"/{number}") for number in range(1200)]
    stopping = asyncio.ensure_future(bench.writer.stop())
    await asyncio.sleep(0)
    late = bench.put("/late")
    bench.let_go()
    await held
    await stopping
    assert [await job for job in queued] == list(range(1, 1201))
    with pytest.raises(Unavailable):
        await late
    await bench.writer.stop()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
async def test_a_crash_of_the_thread_leaves_nobody_waiting(bench: Bench) -> None:
    def defect(tables: Tables) -> int:
        raise ZeroDivisionError

    held = await bench.hold()
    jobs = [bench.writer.submit(defect), bench.put("/a")]
    bench.let_go()
    await held
    for job in jobs:
        with pytest.raises(Unavailable, match="writer has ended"):
            await asyncio.wait_for(job, 20)
    with pytest.raises(Unavailable):
        await bench.put("/b")


async def test_the_log_is_moved_into_the_file_in_between(bench: Bench, tmp_path: Path) -> None:
    for number in range(600):
        await bench.put(f"/{number % 7}")
    assert (tmp_path / "state.db-wal").stat().st_size < 600 * 2 * 4096


def sqlite_error(code: int) -> sqlite3.Error:
    error = sqlite3.OperationalError("as the disk said")
    error.sqlite_errorcode = code
    return error
