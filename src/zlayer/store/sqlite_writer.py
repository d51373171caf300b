"""The one thread that writes, with group commit.

Whatever is queued when the thread looks is applied in one transaction: one sync of the disk for all of it. A job that
is refused (a conflict) does not disturb its neighbours; when the transaction itself fails (disk full), each of its jobs
is tried again alone, so that a large one does not fail the small ones. Nobody hears of success before it is durable.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from zlayer.model.errors import Unavailable, ZlayerError
from zlayer.store.sqlite_errors import sync_failed, translated
from zlayer.store.sqlite_tables import Tables
from zlayer.store.watchers import Committed

T = TypeVar("T")

MAX_GROUP = 512
"""Jobs in one transaction."""
CHECKPOINT_EVERY = 256
"""Jobs between checkpoints: about 1,000 pages of log, as SQLite's own default."""


@dataclass(frozen=True, slots=True)
class _Job:
    work: Callable[[Tables], Any]  # Any: each job has its own result, typed by `submit`
    done: asyncio.Future[Any]


@dataclass(frozen=True, slots=True)
class _Outcome:
    job: _Job
    result: Any = None
    error: ZlayerError | None = None

    def tell(self) -> None:
        if self.job.done.done():
            return  # the caller was cancelled meanwhile
        if self.error is not None:
            self.job.done.set_exception(self.error)
        else:
            self.job.done.set_result(self.result)


class Writer:
    """Owns `tables`. Constructed, used and stopped on the event loop's thread; `publish` is called there too."""

    def __init__(self, tables: Tables, path: Path, publish: Callable[[Sequence[Committed]], None]) -> None:
        self._tables = tables
        self._path = path
        self._publish = publish
        self._loop = asyncio.get_running_loop()
        self._queue: SimpleQueue[_Job | None] = SimpleQueue()
        self._ended = self._loop.create_future()
        self._closed: ZlayerError | None = None
        self._stopping = False
        self._since_checkpoint = 0
        threading.Thread(target=self._run, name="zlayer-store-write", daemon=True).start()

    def submit(self, work: Callable[[Tables], T]) -> asyncio.Future[T]:
        """Queue a job; its future resolves once the result is durable. Jobs are applied in this order."""
        done: asyncio.Future[T] = self._loop.create_future()
        if self._closed is not None:
            done.set_exception(self._closed)
        else:
            self._queue.put(_Job(work, done))
        return done

    async def stop(self) -> None:
        """Finish what is queued, refuse what comes after."""
        if not self._stopping:
            self._stopping = True
            closed = Unavailable("the store is closed", hint="it closes when its daemon stops; try again")
            self._closed = self._closed or closed
            self._queue.put(None)
        await asyncio.shield(self._ended)

    def _run(self) -> None:
        group: list[_Job] = []
        try:
            while group := self._next_group():
                self._settle(group)
        finally:
            with suppress(RuntimeError):  # the loop is closed: nobody is left to tell
                self._loop.call_soon_threadsafe(self._finish, group)

    def _next_group(self) -> list[_Job]:
        """Wait for a job, then take what else is there; empty when the writer is to stop."""
        group: list[_Job] = []
        job = self._queue.get()
        with suppress(Empty):
            while job is not None:
                group.append(job)
                if len(group) == MAX_GROUP:
                    return group
                job = self._queue.get_nowait()
            if group:
                self._queue.put(None)  # finish this group first; `submit` queues nothing after the end
        return group

    def _settle(self, group: Sequence[_Job]) -> None:
        live = [job for job in group if not job.done.cancelled()]
        commits, outcomes = self._transact(live)
        self._loop.call_soon_threadsafe(self._deliver, commits, outcomes)
        self._since_checkpoint += len(live)
        if self._since_checkpoint >= CHECKPOINT_EVERY:
            self._checkpoint()

    def _transact(self, jobs: Sequence[_Job]) -> tuple[list[Committed], list[_Outcome]]:
        try:
            self._tables.begin()
            outcomes = [self._attempt(job) for job in jobs]
            return self._tables.end(), outcomes
        except sqlite3.Error as error:
            self._tables.roll_back()
            failure = translated(error, self._path)
            if sync_failed(error):
                self._closed = failure
            if self._closed is not None or len(jobs) == 1:
                return [], [_Outcome(job, error=failure) for job in jobs]
        self._checkpoint()  # a full disk may still have room once the log can start over
        alone = [self._transact([job]) for job in jobs]
        return [c for commits, _ in alone for c in commits], [o for _, outcomes in alone for o in outcomes]

    def _attempt(self, job: _Job) -> _Outcome:
        try:
            return _Outcome(job, job.work(self._tables))
        except ZlayerError as refusal:
            return _Outcome(job, error=refusal)

    def _checkpoint(self) -> None:
        self._since_checkpoint = 0
        with suppress(sqlite3.Error):  # what it could not move stays in the log and is tried again
            self._tables.checkpoint()

    def _deliver(self, commits: Sequence[Committed], outcomes: Sequence[_Outcome]) -> None:
        self._publish(commits)
        for outcome in outcomes:
            outcome.tell()

    def _finish(self, unsettled: Sequence[_Job]) -> None:
        """On the loop, as the thread's last act: after a crash of the thread nobody must wait for ever."""
        lost = Unavailable("the store's writer has ended", hint="restart the daemon and look at its log")
        self._closed = self._closed or lost
        with suppress(Empty):
            while True:
                job = self._queue.get_nowait()
                if job is not None:
                    unsettled = [*unsettled, job]
        for job in unsettled:
            _Outcome(job, error=lost).tell()
        if not self._ended.done():
            self._ended.set_result(None)
