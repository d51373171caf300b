"""What the SQLite store costs here: `python bench/store.py [ROUNDS]`. Prints medians; promises nothing.

Documents are 1 KiB, about what an instance has. Beside it, in the same run, what the disk needs for one bare
`fdatasync`: no durable commit can be faster.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from pathlib import Path

from zlayer.store.mirror import Mirror
from zlayer.store.sqlite import SqliteStore

DOCUMENT = b'"' + b"x" * 1022 + b'"'


async def commits(store: SqliteStore, writers: int, each: int) -> float:
    """Commits per second."""

    async def write(number: int) -> None:
        for turn in range(each):
            await store.commit({f"/bench/{number}-{turn % 20}": DOCUMENT})

    start = time.perf_counter()
    await asyncio.gather(*(write(number) for number in range(writers)))
    return writers * each / (time.perf_counter() - start)


async def processor_per_commit(store: SqliteStore) -> float:
    """Microseconds of processor, all threads, at 64 writers."""
    start = time.process_time()
    await commits(store, 64, 30)
    return (time.process_time() - start) / (64 * 30) * 1e6


async def acknowledged_to_watcher(store: SqliteStore) -> float:
    """Microseconds from a commit's return until a watcher holds it; below 0 where the watcher had it first."""
    late = []
    async with aclosing(store.watch("/watched/", (await store.list("/watched/")).revision)) as stream:
        for number in range(100):
            woken: list[float] = []

            async def follow(told: list[float] = woken) -> None:
                await anext(stream)
                told.append(time.perf_counter())

            task = asyncio.ensure_future(follow())
            await store.commit({f"/watched/{number % 5}": DOCUMENT})
            done = time.perf_counter()
            await task
            late.append(woken[0] - done)
    return statistics.median(late) * 1e6


async def read_own_write(store: SqliteStore) -> float:
    """Microseconds from calling `commit` until a mirror of 1,000 keys shows it."""
    await store.commit({f"/mirror/{number}": DOCUMENT for number in range(1000)})
    took = []
    async with Mirror(store, "/mirror/", len) as mirror:
        for number in range(100):
            start = time.perf_counter()
            await mirror.wait_for(await store.commit({f"/mirror/{number}": DOCUMENT}))
            mirror.snapshot()
            took.append(time.perf_counter() - start)
    return statistics.median(took) * 1e6


async def reads(store: SqliteStore) -> float:
    """Microseconds per `get`."""
    start = time.perf_counter()
    for number in range(300):
        await store.get(f"/mirror/{number}")
    return (time.perf_counter() - start) / 300 * 1e6


async def reopening(path: Path) -> float:
    """Milliseconds to open a store of about 10,000 documents, its integrity check included."""
    async with SqliteStore(path) as store:
        for start in range(0, 10_000, 1000):
            await store.commit({f"/big/{number}": DOCUMENT for number in range(start, start + 1000)})
    begun = time.perf_counter()
    async with SqliteStore(path):
        return (time.perf_counter() - begun) * 1e3


def bare_sync(path: Path) -> float:
    """Microseconds of one write and fdatasync."""
    took = []
    fd = os.open(path, os.O_WRONLY | os.O_CREAT)
    try:
        for number in range(100):
            start = time.perf_counter()
            os.pwrite(fd, DOCUMENT * 4, number * 4096)
            os.fdatasync(fd)
            took.append(time.perf_counter() - start)
    finally:
        os.close(fd)
    return statistics.median(took) * 1e6


async def one_round(directory: Path) -> dict[str, float]:
    figures = {"bare fdatasync, µs": bare_sync(directory / "sync")}
    async with SqliteStore(directory / "state.db") as store:
        await commits(store, 8, 20)
        figures["commits/s, 1 writer"] = await commits(store, 1, 300)
        figures["commits/s, 64 writers"] = await commits(store, 64, 50)
        others: list[tuple[str, Callable[[SqliteStore], Awaitable[float]]]] = [
            ("processor per commit, 64 writers, µs", processor_per_commit),
            ("watcher after acknowledgement, µs", acknowledged_to_watcher),
            ("commit until mirrored, µs", read_own_write),
            ("get, µs", reads),
        ]
        for name, measure in others:
            figures[name] = await measure(store)
    figures["open with 10,000 documents, ms"] = await reopening(directory / "big.db")
    return figures


def main(rounds: int) -> None:
    found: dict[str, list[float]] = {}
    for _ in range(rounds):
        with tempfile.TemporaryDirectory(prefix="zl") as directory:
            for name, figure in asyncio.run(one_round(Path(directory))).items():
                found.setdefault(name, []).append(figure)
    for name, figures in found.items():
        print(f"{name:40} {statistics.median(figures):12,.1f}   ({min(figures):,.1f} to {max(figures):,.1f})")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
