"""The SQLite store under kill -9, a torn log and a full disk."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path
from tempfile import mkdtemp

import anyio
import pytest

from zlayer.model.errors import Exhausted
from zlayer.store.contract import Item
from zlayer.store.sqlite import SqliteStore

pytestmark = pytest.mark.anyio

PARTS = ("a", "b", "c")
LIFE = 40
"""Batches after which one is deleted again."""
BUDGET = 12.0
"""Seconds of rounds."""


async def _write_for_ever(path: Path) -> None:
    """The victim: numbered batches of three keys, 16 at a time; each acknowledged one is told as `number revision`."""
    async with SqliteStore(path) as store:
        item = await store.get("/next")
        numbers = iter(range(int(item.value) if item else 0, 1 << 60))

        async def work() -> None:
            for number in numbers:
                old = [f"/{part}/{number - LIFE:09}" for part in PARTS]
                puts = {f"/{part}/{number:09}": b"%d" % number for part in PARTS}
                revision = await store.commit({**puts, "/next": b"%d" % (number + 1000)}, old if number % 3 else ())
                os.write(1, b"%d %d\n" % (number, revision))

        await asyncio.gather(*(work() for _ in range(16)))


def _killed_after(path: Path, seconds: float) -> dict[int, int]:
    """Run the victim, kill it; what it had acknowledged."""
    victim = subprocess.Popen([sys.executable, __file__, str(path)], stdout=subprocess.PIPE, pipesize=1 << 20)
    assert victim.stdout is not None
    try:
        # The first acknowledgement starts the clock, so that rounds hit commits and not the interpreter's start.
        first = victim.stdout.readline() if seconds > 0 else b""
        time.sleep(abs(seconds))
        victim.send_signal(signal.SIGKILL)
        told = first + victim.stdout.read()
    finally:
        victim.kill()
        victim.wait()
        victim.stdout.close()
    whole = told[: told.rfind(b"\n") + 1].decode()
    return {int(number): int(revision) for number, revision in (line.split() for line in whole.splitlines())}


def _batches(items: tuple[Item, ...]) -> dict[int, list[Item]]:
    found: dict[int, list[Item]] = {}
    for item in items:
        if item.key != "/next":
            found.setdefault(int(item.value), []).append(item)
    return found


def _assert_whole(batches: dict[int, list[Item]]) -> None:
    for number, items in batches.items():
        assert [item.key for item in items] == [f"/{part}/{number:09}" for part in PARTS]
        assert len({item.modified for item in items}) == 1


async def _replayed(store: SqliteStore, after: int, base: dict[str, Item], goal: int) -> dict[str, Item]:
    """`base` with everything the watch tells from `after` until it has told of `goal`."""
    state = dict(base)
    position = after
    async with aclosing(store.watch("/", after)) as stream:
        while position < goal:
            with anyio.fail_after(20):
                changes = await anext(stream)
            assert changes.revision > position
            position = changes.revision
            for change in changes.changes:
                state.pop(change.key, None)
                if change.item is not None:
                    state[change.key] = change.item
    return state


@pytest.mark.slow
async def test_kill_9_loses_nothing_acknowledged(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    seed = random.randrange(1 << 30)
    chance = random.Random(seed)
    before: dict[str, Item] = {}
    seen, acknowledged, rounds = 0, 0, 0
    until = time.monotonic() + BUDGET
    while time.monotonic() < until or rounds < 5 or acknowledged <= 500:
        # Every fourth round is killed while it starts or recovers; the others somewhere in their commits.
        pause = -chance.uniform(0.05, 0.5) if rounds % 4 == 3 else chance.expovariate(1 / 0.1)
        told = await anyio.to_thread.run_sync(_killed_after, path, pause)
        rounds += 1
        acknowledged += len(told)
        async with SqliteStore(path) as store:
            listing = await store.list("/")
            batches = _batches(listing.items)
            _assert_whole(batches)
            newest = max(batches, default=0)
            for number, revision in told.items():
                if number in batches:
                    assert batches[number][0].modified == revision, f"seed {seed}"
                else:
                    heir = number + LIFE  # the batch that deletes it
                    assert heir % 3, f"batch {number} is lost, seed {seed}"
                    assert heir <= newest, f"batch {number} is lost, seed {seed}"
            assert listing.revision >= max([seen, *told.values()])
            now = {item.key: item for item in listing.items}
            last = max([seen, *(item.modified for item in listing.items)])
            assert await _replayed(store, seen, before, last) == now
            before, seen = now, listing.revision


async def test_a_torn_log_ends_at_a_whole_commit(tmp_path: Path) -> None:
    """Power loss: the log cut or overwritten anywhere leaves the state after some commit, never half of one."""
    source, chance = tmp_path / "live.db", random.Random(7)
    states: list[dict[str, Item]] = [{}]
    async with SqliteStore(source) as store:
        for number in range(60):
            puts = {f"/{part}/{number:09}": b"%d" % number for part in PARTS}
            await store.commit(puts, [f"/{part}/{number - 7:09}" for part in PARTS])
            states.append({item.key: item for item in (await store.list("/")).items})
        image = (source.read_bytes(), Path(f"{source}-wal").read_bytes())
    assert len(image[1]) > 60 * 4096
    for number in range(30):
        path = tmp_path / f"{number}.db"
        cut = chance.randrange(len(image[1]))
        torn = image[1][:cut] + (chance.randbytes(len(image[1]) - cut) if number % 2 else b"")
        await anyio.to_thread.run_sync(_lay_out, path, image[0], torn)
        async with SqliteStore(path) as store:
            listing = await store.list("/")
            assert {item.key: item for item in listing.items} == states[listing.revision]
            assert await store.commit({"/on": b"1"}) == listing.revision + 1


def _lay_out(path: Path, file: bytes, log: bytes) -> None:
    path.write_bytes(file)
    Path(f"{path}-wal").write_bytes(log)


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A file system of 2 MiB."""
    where = Path(mkdtemp(prefix="zl", dir="/tmp"))
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m,mode=0700", "zlayer-test", where], check=True)
    try:
        yield where
    finally:
        subprocess.run(["umount", where], check=True)
        where.rmdir()


async def _fill(store: SqliteStore, size: int) -> dict[str, bytes]:
    """Commit pairs until the disk is full; what was acknowledged."""
    stored: dict[str, bytes] = {}
    for number in range(10_000):
        pair = {f"/fill/{size}/{number}/{side}": b"x" * size for side in "ab"}
        try:
            await store.commit(pair)
        except Exhausted:
            return stored
        stored |= pair
    raise AssertionError("the disk never filled")


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("mount") is None, reason="mounting a small disk needs root")
async def test_a_full_disk_refuses_and_recovers(small_disk: Path) -> None:
    path, ballast = small_disk / "state.db", small_disk / "ballast"
    ballast.write_bytes(b"x" * (1 << 20))
    async with SqliteStore(path) as store:
        stored = await _fill(store, 20_000) | await _fill(store, 300)
        revision = (await store.list("/")).revision
        assert {item.key: item.value for item in (await store.list("/")).items} == stored
        with pytest.raises(Exhausted, match="no space") as refused:
            await store.commit({"/large": b"x" * 500_000})
        assert "free space" in refused.value.hint
        assert (await store.list("/")).revision == revision
        await asyncio.to_thread(ballast.unlink)
        assert await store.commit({"/after": b"1"}) == revision + 1
    async with SqliteStore(path) as store:
        assert {item.key: item.value for item in (await store.list("/")).items} == {**stored, "/after": b"1"}


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("mount") is None, reason="mounting a small disk needs root")
async def test_one_commit_too_large_for_the_disk_does_not_fail_its_neighbours(small_disk: Path) -> None:
    async with SqliteStore(small_disk / "state.db") as store:
        large = {f"/large/{number}": b"x" * (1 << 20) for number in range(3)}
        results = await asyncio.gather(
            store.commit({"/before": b"1"}),
            store.commit(large),
            store.commit({"/after": b"1"}),
            return_exceptions=True,
        )
        assert isinstance(results[1], Exhausted)
        assert (results[0], results[2]) == (1, 2)
        assert [item.key for item in (await store.list("/")).items] == ["/after", "/before"]


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("mount") is None, reason="mounting a small disk needs root")
async def test_a_disk_full_from_the_start_is_told(small_disk: Path) -> None:
    (small_disk / "ballast").write_bytes(b"x" * ((2 << 20) - 4096))
    with pytest.raises(Exhausted):
        async with SqliteStore(small_disk / "state.db"):
            pass
    (small_disk / "ballast").unlink()
    async with SqliteStore(small_disk / "state.db") as store:
        assert await store.commit({"/a": b"1"}) == 1


if __name__ == "__main__":
    asyncio.run(_write_for_ever(Path(sys.argv[1])))
