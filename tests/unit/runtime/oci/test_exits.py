"""How the end is told: by conmon's file, by nobody, after a boot, or while someone removes."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from zlayer.model.errors import NotFound
from zlayer.runtime.contract import Exit, Handle
from zlayer.runtime.oci.cgroups.hierarchy import Hierarchies
from zlayer.runtime.oci.exits import exit_of, wait_exit
from zlayer.runtime.oci.inotify import Inotify
from zlayer.runtime.oci.layout import Layout, Record, boot_id, write_record, write_whole
from zlayer.runtime.oci.processes import identify

pytestmark = pytest.mark.anyio
NONE = Hierarchies()


@pytest.fixture
def children() -> Iterator[list[subprocess.Popen[bytes]]]:
    made = [subprocess.Popen(["sleep", "100"]) for _ in range(2)]
    yield made
    for child in made:
        child.kill()
        child.wait()


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    made = Layout(tmp_path / "c")
    made.prepare()
    return made


@pytest.fixture
def record(layout: Layout, children: list[subprocess.Popen[bytes]]) -> Record:
    process, monitor = (identify(child.pid) for child in children)
    assert process
    assert monitor
    handle = Handle("oci", "c", str(layout.directory), process.pid, process.start, monitor.pid, monitor.start)
    made = Record(handle, boot_id(), "", "/p/c", "runc", 1, tty=False, stdin=False)
    write_record(layout, made)
    return made


def kill(child: subprocess.Popen[bytes]) -> None:
    child.kill()
    child.wait()


async def waited(layout: Layout, record: Record, then: list[subprocess.Popen[bytes]] | str) -> Exit:
    """The end, when `then` happens while we wait: processes die, or the file appears with this text."""
    inotify, found = Inotify(), list[Exit]()

    async def wait() -> None:
        found.append(await wait_exit(inotify, layout, record, NONE))

    with anyio.fail_after(20):
        async with anyio.create_task_group() as group:
            group.start_soon(wait)
            await anyio.lowlevel.checkpoint()
            if isinstance(then, str):
                write_whole(layout.exit, then)
            else:
                for child in then:
                    kill(child)
    inotify.close()
    return found[0]


def test_while_both_live_there_is_no_end(layout: Layout, record: Record) -> None:
    assert exit_of(layout, record, NONE) is None


async def test_the_file_tells(layout: Layout, record: Record) -> None:
    assert (await waited(layout, record, "3")).code == 3


async def test_nobody_knows_when_the_monitor_died_first(
    layout: Layout, record: Record, children: list[subprocess.Popen[bytes]]
) -> None:
    kill(children[1])
    assert exit_of(layout, record, NONE) is None
    ended = await waited(layout, record, children[:1])
    assert ended.code is None
    assert exit_of(layout, record, NONE) == ended


async def test_a_monitor_that_is_killed_is_told_once_while_it_runs(
    layout: Layout, record: Record, children: list[subprocess.Popen[bytes]]
) -> None:
    inotify, doubts, told = Inotify(), list[str](), anyio.Event()

    def doubt(reason: str) -> None:
        doubts.append(reason)
        told.set()

    async def wait() -> None:
        assert (await wait_exit(inotify, layout, record, NONE, doubt)).code is None

    with anyio.fail_after(20):
        async with anyio.create_task_group() as group:
            group.start_soon(wait)
            await anyio.lowlevel.checkpoint()
            assert doubts == []
            kill(children[1])
            await told.wait()
            kill(children[0])
    inotify.close()
    assert len(doubts) == 1


async def test_after_a_boot_it_has_ended(layout: Layout, record: Record) -> None:
    ended = exit_of(layout, replace(record, boot="another"), NONE)
    assert ended is not None
    assert ended.code is None


async def test_oom_by_file_and_by_cgroup(layout: Layout, record: Record, tmp_path: Path) -> None:
    write_whole(layout.exit, "137")
    assert exit_of(layout, record, NONE) == Exit(137, oom=False, at=layout.exit.stat().st_mtime)  # type: ignore[arg-type]
    (tmp_path / "p/c").mkdir(parents=True)
    (tmp_path / "p/c/memory.events").write_text("oom_kill 1\n")
    seen = exit_of(layout, record, Hierarchies(v2=tmp_path))
    assert seen
    assert seen.oom
    layout.oom.touch()
    assert (exit_of(layout, record, NONE) or seen).oom
    write_whole(layout.exit, "0")
    survived = exit_of(layout, record, NONE)
    assert survived
    assert not survived.oom


async def test_removed_while_waiting_and_before(layout: Layout, record: Record) -> None:
    inotify, found = Inotify(), list[Exit]()

    async def wait() -> None:
        found.append(await wait_exit(inotify, layout, record, NONE))

    with anyio.fail_after(20):
        async with anyio.create_task_group() as group:
            group.start_soon(wait)
            await anyio.lowlevel.checkpoint()
            layout.discard()
    assert found[0].code is None
    with pytest.raises(NotFound):
        await wait_exit(inotify, layout, record, NONE)
    inotify.close()
