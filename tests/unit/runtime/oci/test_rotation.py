"""The two files of a log, and who outlives the next rotation."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from zlayer.runtime.oci.inotify import MODIFY, MOVED_TO, Inotify
from zlayer.runtime.oci.layout import Layout
from zlayer.runtime.oci.rotation import LogKeeper, begin_log, keep_newest, previous, segments

pytestmark = pytest.mark.anyio


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    made = Layout(tmp_path)
    made.prepare()
    begin_log(made)
    return made


def rotate(layout: Layout) -> None:
    """As conmon does."""
    fresh = layout.log.with_name("container.log.tmp")
    fresh.touch()
    fresh.rename(layout.log)


def test_the_first_file_survives_the_first_rotation(layout: Layout) -> None:
    assert segments(layout.log) == [layout.log]
    layout.log.write_text("old")
    rotate(layout)
    layout.log.write_text("new")
    assert [path.read_text() for path in segments(layout.log)] == ["old", "new"]


def test_keeping_the_newest_drops_the_old_and_can_be_done_twice(layout: Layout) -> None:
    layout.log.write_text("old")
    rotate(layout)
    layout.log.write_text("new")
    for _ in range(2):
        keep_newest(layout.log)
        assert segments(layout.log) == [layout.log]
        assert sorted(p.name for p in layout.log_dir.iterdir()) == ["container.log", "container.log.1"]
    rotate(layout)
    assert previous(layout.log).read_text() == "new"


def test_a_new_life_begins_with_an_empty_log(layout: Layout) -> None:
    layout.log.write_text("old")
    rotate(layout)
    begin_log(layout)
    assert [path.read_text() for path in segments(layout.log)] == [""]


def test_no_log_no_segments(tmp_path: Path) -> None:
    assert segments(tmp_path / "container.log") == []


async def test_the_keeper_moves_the_link_when_the_file_is_nearly_full(layout: Layout) -> None:
    inotify = Inotify()
    keeper = LogKeeper(inotify, layout, 1600)
    with anyio.fail_after(20), inotify.watch((layout.log_dir, MODIFY | MOVED_TO)) as changed:
        layout.log.write_text("a" * 800)
        rotate(layout)
        layout.log.write_text("b" * 720)
        while len(segments(layout.log)) == 2:
            await changed.wait()
            changed.clear()
        assert previous(layout.log).read_text() == "b" * 720
    keeper.close()
    inotify.close()


async def test_a_keeper_that_comes_late_finds_its_work(layout: Layout) -> None:
    layout.log.write_text("a" * 800)
    rotate(layout)
    layout.log.write_text("b" * 790)
    inotify = Inotify()
    LogKeeper(inotify, layout, 1600).close()
    assert segments(layout.log) == [layout.log]
    inotify.close()
