"""The master process: which workers there are, and a reload that hands the listening sockets to a new one."""

from __future__ import annotations

import contextlib
from pathlib import Path

import anyio

from zlayer.model.errors import Deadline, Failed, Unavailable
from zlayer.model.units import Seconds
from zlayer.proxy.haproxy import reading, text
from zlayer.proxy.haproxy.difference import Command
from zlayer.proxy.haproxy.process import MASTER, STATS, is_ours, last_words
from zlayer.proxy.haproxy.reading import Processes
from zlayer.proxy.haproxy.runtime import ask

PATIENCE = Seconds(30)
PAUSE = Seconds(0.005)
"""Between two looks at a master that starts: it has no way to tell when it is done."""


async def processes(directory: Path) -> Processes:
    """What the master runs. `Unavailable`: it does not answer."""
    (answer,) = await ask(directory / MASTER, [Command("show proc")], master=True)
    found = reading.processes(answer)
    if found is None:
        raise Unavailable("the proxy's master gives no list of its workers", retry_after=1)
    return found


async def settled(directory: Path, master: int) -> Processes:
    """As `processes`, once this master has workers that answer: it may be in the middle of a reload."""
    with anyio.move_on_after(PATIENCE):
        while is_ours(master, directory):
            with contextlib.suppress(Unavailable):
                found = await processes(directory)
                if found.workers and await info(directory, found.workers[0]):
                    return found
            await anyio.sleep(PAUSE)
    raise Unavailable(f"the proxy's master gives no list of its workers: {last_words(directory)}", retry_after=1)


async def info(directory: Path, worker: int) -> dict[str, str]:
    """`show info` of a worker, asked through the master."""
    (answer,) = await ask(directory / MASTER, [Command("show info")], master=True, worker=worker)
    return reading.info(answer)


async def started(directory: Path, master: int, generation: int) -> Processes:
    """Wait for a fresh master's worker to answer. `Failed`, with its last words, when it ended instead."""
    with anyio.move_on_after(PATIENCE):
        while is_ours(master, directory):
            try:
                found = await processes(directory)
                if found.workers and await _serves(directory, found.workers[0], generation):
                    await ask(directory / STATS, [])
                    return found
            except Unavailable:
                pass
            await anyio.sleep(PAUSE)
        raise Failed(f"HAProxy did not start: {last_words(directory)}")
    raise Deadline(f"HAProxy did not start within {PATIENCE:.0f} seconds: {last_words(directory)}")


async def reload(directory: Path, generation: int) -> Processes:
    """Have a new worker take over from what is in `directory`; returns when no older one listens any more.

    `Failed`, with the reason, when the new one could not start: then all is as it was.
    """
    before = await processes(directory)
    with contextlib.suppress(Unavailable):  # before 2.7 the master goes without an answer
        await ask(directory / MASTER, [Command("reload")], master=True)
    with anyio.move_on_after(PATIENCE):
        while True:
            try:
                if found := await _reloaded(directory, before, generation):
                    return found
            except Unavailable:
                pass
            await anyio.sleep(PAUSE)
    raise Deadline(f"HAProxy did not reload within {PATIENCE:.0f} seconds: {last_words(directory)}")


async def _reloaded(directory: Path, before: Processes, generation: int) -> Processes | None:
    found = await processes(directory)
    if found.failed > before.failed:
        raise Failed(f"HAProxy refused its configuration: {last_words(directory)}")
    if found.reloads <= before.reloads or not found.workers or set(found.workers) & set(before.workers):
        return None
    if not await _serves(directory, found.workers[0], generation):
        return None
    for pid in found.old:
        if not await _stopping(directory, pid):
            return None
    return found


async def _serves(directory: Path, worker: int, generation: int) -> bool:
    return (await info(directory, worker)).get("description") == text.tag(generation)


async def _stopping(directory: Path, worker: int) -> bool:
    """Whether it has given its listening sockets up; one that has ended meanwhile has too."""
    try:
        return (await info(directory, worker)).get("Stopping") == "1"
    except Unavailable:
        return not is_ours(worker, directory)
