"""What the SQLite store has beside the contract (tests/contract/test_store.py)."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import anyio
import pytest

from zlayer.model.errors import Conflict, Corrupt, Denied, NotFound, Unavailable
from zlayer.store.sqlite import SqliteStore

pytestmark = pytest.mark.anyio


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.db"


async def test_one_process_at_a_time(path: Path) -> None:
    async with SqliteStore(path) as store:
        with pytest.raises(Conflict, match=f"process {os.getpid()}"):
            await SqliteStore(path).__aenter__()
        code = (
            "import asyncio, sys; from pathlib import Path; from zlayer.store.sqlite import SqliteStore\n"
            "try: asyncio.run(SqliteStore(Path(sys.argv[1])).__aenter__())\n"
            "except Exception as e: print(type(e).__name__, e)"
        )
        other = await anyio.run_process([sys.executable, "-c", code, str(path)], stderr=subprocess.PIPE)
        assert other.stdout.decode().strip() == f"Conflict {path} is in use by process {os.getpid()}"
        assert await store.commit({"/a": b"1"}) == 1
    async with SqliteStore(path) as store:
        assert await store.get("/a") is not None


async def test_entering_twice_is_refused(path: Path) -> None:
    async with SqliteStore(path) as store:
        with pytest.raises(Conflict):
            await store.__aenter__()
        assert await store.commit({"/a": b"1"}) == 1


async def test_it_leaves_one_private_file_and_a_lock(path: Path) -> None:
    async with SqliteStore(path) as store:
        await store.commit({"/a": b"1"})
    assert sorted(entry.name for entry in path.parent.iterdir()) == ["state.db", "state.db.lock"]
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("content", [b"this is not a database" * 300, b"SQLite format 3\0" + b"\xff" * 8000])
async def test_a_damaged_file_is_told_and_left_alone(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    for _ in range(2):
        with pytest.raises(Corrupt, match=r"state\.db") as refused:
            await SqliteStore(path).__aenter__()
        assert "backup" in refused.value.hint
    assert path.read_bytes() == content


async def test_damaged_pages_are_found_at_open(path: Path) -> None:
    async with SqliteStore(path) as store:
        for number in range(50):
            await store.commit({f"/{number}": b"x" * 2000})
    raw = bytearray(path.read_bytes())
    raw[40_000:60_000] = b"\x5a" * 20_000
    path.write_bytes(raw)
    with pytest.raises(Corrupt, match="damaged"):
        await SqliteStore(path).__aenter__()


async def test_a_missing_directory_is_told(tmp_path: Path) -> None:
    with pytest.raises(NotFound) as refused:
        await SqliteStore(tmp_path / "none" / "state.db").__aenter__()
    assert "mkdir" in refused.value.hint


async def test_a_directory_in_its_place_is_told(path: Path) -> None:
    path.mkdir()
    with pytest.raises(Denied):
        await SqliteStore(path).__aenter__()


async def test_a_failed_open_frees_the_lock_and_its_thread(path: Path) -> None:
    path.write_bytes(b"junk" * 1000)
    with pytest.raises(Corrupt):
        await SqliteStore(path).__aenter__()
    path.unlink()
    async with SqliteStore(path) as store:
        assert await store.commit({"/a": b"1"}) == 1
    for thread in threading.enumerate():
        if thread.name.startswith("zlayer-store"):
            thread.join(20)  # told to end, not waited for
            assert not thread.is_alive()


async def test_another_program_may_read_it(path: Path) -> None:
    async with SqliteStore(path) as store:
        await store.commit({"/a": b"1"})
        with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as outside:
            assert outside.execute("SELECT key, value FROM item").fetchall() == [("/a", b"1")]
        outside.close()


async def test_the_loop_is_never_blocked_by_the_disk(path: Path) -> None:
    """While another program holds the file's write lock, a commit waits and the loop goes on."""
    outside = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    async with SqliteStore(path) as store:
        await store.commit({"/a": b"1"})
        outside.execute("BEGIN IMMEDIATE")
        waiting = asyncio.ensure_future(store.commit({"/a": b"2"}))
        for _ in range(20):
            await anyio.sleep(0.001)
            assert await store.get("/a") is not None
        assert not waiting.done()
        outside.execute("ROLLBACK")
        outside.close()
        assert await waiting == 2


async def test_leaving_in_a_cancelled_scope_still_closes(path: Path) -> None:
    with anyio.CancelScope() as scope:
        async with SqliteStore(path) as store:
            await store.commit({"/a": b"1"})
            scope.cancel()
            await anyio.sleep_forever()
    async with SqliteStore(path) as store:
        assert (await store.list("/")).revision == 1


async def test_commits_in_flight_at_the_end_are_finished_or_refused(path: Path) -> None:
    async def commit(number: int) -> int | None:
        try:
            return await store.commit({f"/{number}": b"1"})
        except Unavailable:
            return None

    async with SqliteStore(path) as store:
        calls = [asyncio.ensure_future(commit(number)) for number in range(100)]
        await asyncio.sleep(0)
    told = await asyncio.gather(*calls)
    async with SqliteStore(path) as store:
        stored = {item.key: item.modified for item in (await store.list("/")).items}
    assert stored == {f"/{number}": revision for number, revision in enumerate(told) if revision}
    assert len(stored) == 100


async def test_an_abandoned_lease_takes_its_keys_along(path: Path) -> None:
    async with SqliteStore(path) as store:
        lease = store.hold("node", 0.02)
        await lease.__aenter__()
        await store.commit({"/alive": b"1"}, lease=lease)
        stream = store.watch("/", 1)
        lease.abandon()
        with anyio.fail_after(10):
            assert (await anext(stream)).changes[0].item is None
        await stream.aclose()


async def test_the_file_does_not_grow_with_changes(path: Path) -> None:
    async with SqliteStore(path, keep_deletions=50) as store:
        sizes = []
        for _ in range(4):
            for _ in range(10):
                await asyncio.gather(*(store.commit({f"/{n}": b"x" * 500}) for n in range(100)))
                await asyncio.gather(*(store.commit(deletes=[f"/{n}"]) for n in range(100)))
            sizes.append(path.stat().st_size + path.with_name("state.db-wal").stat().st_size)
        assert sizes[3] < 8 << 20
        assert sizes[3] <= sizes[1] * 1.5
