"""inotify: shared watches, and what ends them."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest

from zlayer.runtime.oci.inotify import CREATE, MODIFY, MOVED_TO, Inotify

pytestmark = pytest.mark.anyio


@pytest.fixture
async def inotify() -> AsyncIterator[Inotify]:
    made = Inotify()
    yield made
    made.close()
    made.close()


async def test_each_hears_only_its_own_kind(inotify: Inotify, tmp_path: Path) -> None:
    heard: list[str] = []
    kept = inotify.subscribe(tmp_path, CREATE, lambda: heard.append("create"))
    moved = inotify.subscribe(tmp_path, MOVED_TO, lambda: heard.append("moved"))
    with inotify.watch((tmp_path, CREATE | MOVED_TO)) as changed, anyio.fail_after(20):
        (tmp_path / "a").touch()
        await changed.wait()
        assert heard == ["create"]
        changed.clear()
        inotify.unsubscribe(kept)
        inotify.unsubscribe(kept)
        (tmp_path / "b").touch()
        (tmp_path / "b").rename(tmp_path / "c")
        while "moved" not in heard:
            await changed.wait()
            changed.clear()
    assert heard == ["create", "moved"]
    inotify.unsubscribe(moved)


async def test_a_watched_thing_that_goes_away_wakes_the_waiter(inotify: Inotify, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    with inotify.watch((gone, CREATE)) as changed, anyio.fail_after(20):
        gone.rmdir()
        await changed.wait()


async def test_nothing_to_watch(inotify: Inotify, tmp_path: Path) -> None:
    for path in (tmp_path / "no", Path("/dev/null/x")):
        with pytest.raises(FileNotFoundError), inotify.watch((path, MODIFY)):
            pass


async def test_closing_gives_the_descriptor_back() -> None:
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208  # names are wanted
    for _ in range(3):
        Inotify().close()
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208  # names are wanted
