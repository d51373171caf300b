from __future__ import annotations

import os
import threading
from pathlib import Path

import anyio
import anyio.from_thread
import anyio.lowlevel
import pytest

from zlayer.network import netns
from zlayer.network.thread import Host, KernelThread

pytestmark = [pytest.mark.anyio, pytest.mark.root]


def here(_: Host) -> tuple[int, int]:
    return threading.get_ident(), Path("/proc/thread-self/ns/net").stat().st_ino


async def test_work_runs_in_one_thread_in_the_namespace_given(host: Path) -> None:
    thread = KernelThread(host)
    try:
        seen = {await thread.run(here) for _ in range(3)}
    finally:
        thread.close()
    assert len(seen) == 1
    ((ident, namespace),) = seen
    assert ident != threading.get_ident()
    assert namespace == host.stat().st_ino


async def test_every_job_starts_at_home_whatever_the_last_one_did(host: Path) -> None:
    thread = KernelThread(host)

    def stray(_: Host) -> None:
        descriptor = os.open("/proc/self/ns/net", os.O_RDONLY)
        try:
            netns.enter(descriptor)
        finally:
            os.close(descriptor)
        raise KeyError("lost")

    try:
        with pytest.raises(KeyError):
            await thread.run(stray)
        assert (await thread.run(here))[1] == host.stat().st_ino
    finally:
        thread.close()


async def test_a_cancelled_caller_leaves_the_work_to_finish_before_the_next(host: Path) -> None:
    thread, go, order = KernelThread(host), threading.Event(), list[str]()
    started = anyio.Event()
    loop_token = anyio.lowlevel.current_token()

    def slow(_: Host) -> None:
        anyio.from_thread.run_sync(started.set, token=loop_token)
        go.wait(30)
        order.append("slow")

    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(thread.run, slow)
            await started.wait()
            tasks.cancel_scope.cancel()
        go.set()
        await thread.run(lambda _: order.append("next"))
    finally:
        go.set()
        thread.close()
    assert order == ["slow", "next"]


async def test_close_gives_every_descriptor_back_and_can_be_repeated(host: Path) -> None:
    before = sum(1 for _ in Path("/proc/self/fd").iterdir())
    thread = KernelThread(host)
    await thread.run(here)
    thread.close()
    thread.close()
    assert sum(1 for _ in Path("/proc/self/fd").iterdir()) <= before


async def test_a_namespace_that_is_not_there_is_an_error_each_time(directory: Path) -> None:
    thread = KernelThread(directory / "nosuch")
    try:
        for _ in range(2):
            with pytest.raises(FileNotFoundError):
                await thread.run(here)
    finally:
        thread.close()
