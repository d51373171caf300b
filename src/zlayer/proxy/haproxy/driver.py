"""`HaproxyEngine`: the proxy contract over HAProxy. What changes, and how, is decided by the pure modules beside it."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from pathlib import Path

import anyio
import structlog

from zlayer.model.errors import Failed, Unavailable, ZlayerError
from zlayer.model.routes import RouteTable
from zlayer.model.units import Seconds
from zlayer.proxy.contract import BackendStats, ProxyProbe
from zlayer.proxy.haproxy import accesslog, files, master, process, statistics
from zlayer.proxy.haproxy.binds import somebody
from zlayer.proxy.haproxy.certificates import Wallet, digest
from zlayer.proxy.haproxy.difference import difference
from zlayer.proxy.haproxy.frontend import list_of
from zlayer.proxy.haproxy.intent import Intent, intend, refused, same
from zlayer.proxy.haproxy.picture import Picture, server_names, texts, wanted
from zlayer.proxy.haproxy.probing import probe
from zlayer.proxy.haproxy.proving import SHOWS
from zlayer.proxy.haproxy.redrawn import Drawn, redrawn
from zlayer.proxy.haproxy.settings import Settings
from zlayer.proxy.haproxy.structure import Structure, assign, grown
from zlayer.proxy.haproxy.text import tag
from zlayer.proxy.haproxy.worker import Worker

log = structlog.get_logger()

TIDY, REST = Seconds(1), Seconds(15)
"""Between two looks at what the engine writes and at what leaves it; where there is none."""
_TRIES = 5
LONGEST_PAUSE = Seconds(30)
"""Between two tries to start an engine that does not stay up."""
Tell = Callable[[str], None]
Apart = Callable[[int], None]
Holder = Callable[[int, Collection[int]], str]
"""Who listens at a port, for a message; the pids are ours, and not meant."""


class HaproxyEngine:
    """`directory` is the engine's own (`run/proxy`): two drivers over one directory at once are a fault.

    `apart` puts a process outside the daemon's cgroup; `tell` hears, as a sentence, what happened to the engine;
    `holder` knows whose a port is that we cannot have.
    `run` watches it, and must be running for it to be started again, for left servers to be deleted and for the
    access log to be rotated.
    """

    def __init__(
        self,
        directory: Path,
        settings: Settings | None = None,
        *,
        apart: Apart = lambda _: None,
        tell: Tell = lambda _: None,
        holder: Holder = lambda port, _: somebody(port),
    ) -> None:
        self._directory = directory
        self._settings = settings or Settings()
        self._apart, self._tell, self._holder = apart, tell, holder
        self._turn = anyio.Lock()
        self._wallet = Wallet()
        self._table: RouteTable | None = None
        self._clean = False
        self._drawn: Drawn | None = None
        """What the last table was taken for, as far as that holds for others."""
        self._master: int | None = None
        self._child: subprocess.Popen[bytes] | None = None
        self._workers: list[Worker] = []
        self._adopted = False
        self._outdated = False
        self._key = ""
        self._changed = anyio.Event()

    async def probe(self) -> ProxyProbe:
        return await anyio.to_thread.run_sync(probe, self._settings.program)

    async def apply(self, table: RouteTable) -> None:
        async with self._turn:
            await self._adopt()
            if self._clean and self._table is not None and same(self._table, table) and self._alive():
                return
            self._clean = False
            self._table = table
            drawn = self._redraw(table)
            intent = drawn.intent if drawn is not None else await self._intend(table)
            await self._pursue(intent, drawn)
            self._clean = not intent.refusals and not intent.faults
        if intent.refusals:
            raise refused(intent)
        if intent.faults:
            raise intent.faults[0]

    async def in_flight(self, servers: Collection[str]) -> Mapping[str, int]:
        async with self._turn:
            await self._adopt()
            found = dict.fromkeys(servers, 0)
            owners = {name: server for server in servers for name in server_names(server)}
            for worker in await self._living():
                places = set(worker.places(owners))
                for count in await self._counts(worker, {slot for slot, _ in places}):
                    if (count.slot, count.server) in places:
                        found[owners[count.server]] += count.current + count.queued
            return found

    async def stats(self) -> Mapping[str, BackendStats]:
        async with self._turn:
            await self._adopt()
            workers = await self._living()
            if not workers or self._table is None:
                return {}
            older = [await self._counts(worker, None) for worker in workers[1:]]
            current, counts = workers[0], await self._counts(workers[0], None)
            return statistics.summary(self._table, current.picture, counts, current.before, older)

    async def run(self) -> None:
        """Keep the engine up and tidy until cancelled. One at a time."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._watch)
            tasks.start_soon(self._tidy)

    async def close(self) -> None:
        async with self._turn:
            self._workers, self._master, self._adopted, self._clean = [], None, False, False
            self._reap()

    async def destroy(self) -> None:
        async with self._turn:
            self._table, self._workers, self._master, self._clean = None, [], None, False
            await process.end(self._directory)
            self._reap()
            await anyio.to_thread.run_sync(files.destroy, self._directory)

    # What is wanted, and how it is reached.

    async def _intend(self, table: RouteTable) -> Intent:
        if not self._workers:
            await process.released(self._directory)
        structure = self._workers[0].picture.structure if self._workers else Structure()
        ours = {worker.pid for worker in self._workers}

        def who(port: int) -> str:
            return self._holder(port, ours)

        return await anyio.to_thread.run_sync(intend, table, structure, self._wallet, who)

    async def _pursue(self, intent: Intent, drawn: Drawn | None) -> None:
        if not self._workers:
            if intent.doors:
                await self._start(intent)
            return
        current = self._workers[0]
        drawn = drawn or self._draw(intent, current.picture)
        if drawn is None or self._outdated:
            await self._reload(intent)
            return
        try:
            await current.begin(drawn.slots)
            await self._follow(current, drawn)
        except (Failed, Unavailable) as error:
            await self._recover(intent, error)
        else:
            self._drawn = drawn

    def _redraw(self, table: RouteTable) -> Drawn | None:
        last, self._drawn = self._drawn, None
        return redrawn(last, table, self._workers[0].picture.structure) if last is not None and self._workers else None

    def _draw(self, intent: Intent, picture: Picture) -> Drawn | None:
        """None where it takes a reload."""
        slots = assign(intent.table, picture.structure, picture.slots)
        if intent.structural or None in slots.values():
            return None
        return Drawn(intent, slots, self._wanted(intent, picture.structure, slots))

    def _wanted(self, intent: Intent, structure: Structure, slots: Mapping[str, int | None]) -> Picture:
        return wanted(intent.table, structure, slots, {name: digest(pem) for name, pem in intent.pems.items()})

    async def _follow(self, worker: Worker, drawn: Drawn) -> None:
        pems = texts(drawn.intent.table, drawn.intent.pems)
        if not worker.sure:
            await worker.read()
        if not self._key:
            self._key = files.cookie_key(self._directory, self._settings)
        await worker.follow(list(difference(worker.known, drawn.want, pems, self._key)), drawn.want)

    async def _recover(self, intent: Intent, error: ZlayerError) -> None:
        """The engine is not what we thought: it has gone, or somebody else told it something. Start from its files."""
        log.warning("proxy.unexpected", reason=error.message)
        if not self._alive():
            await self._start(intent)
        else:
            await self._reload(intent)

    async def _start(self, intent: Intent) -> None:
        if process.living(self._directory) is not None or process.listeners(self._directory):
            await process.end(self._directory)
        self._reap()
        self._workers, self._master = [], None
        structure, slots = grown(Structure(), intent.table, intent.doors, {})
        want = self._wanted(intent, structure, slots)
        await anyio.to_thread.run_sync(self._write, want, intent)
        self._child = process.launch(self._directory, self._settings.program, accesslog.bound(self._settings))
        self._master = self._child.pid
        found = await master.started(self._directory, self._master, structure.generation)
        self._place([self._master, *found.workers])
        self._workers = [Worker(self._directory, found.workers[0], want)]
        self._changed.set()

    async def _reload(self, intent: Intent) -> None:
        current = self._workers[0]
        structure, slots = grown(current.picture.structure, intent.table, intent.doors, current.picture.slots)
        want = self._wanted(intent, structure, slots)
        await anyio.to_thread.run_sync(self._write, want, intent)
        self._adopted = False  # should we be stopped in the middle, the engine itself says where it is
        found = await master.reload(self._directory, structure.generation)
        self._place(found.workers)
        for worker in self._workers:
            worker.current = False
            with suppress(Unavailable):  # it had nothing left to do
                await worker.hand_over()
        self._outdated = False
        self._workers.insert(0, Worker(self._directory, found.workers[0], want))
        self._adopted = True
        log.info("proxy.reloaded", generation=structure.generation, workers=len(self._workers))

    def _write(self, picture: Picture, intent: Intent) -> None:
        files.prepare(self._directory)
        pems = texts(intent.table, intent.pems)
        files.write(self._directory, picture, pems, self._settings)
        alive = [worker.picture.structure.generation for worker in self._workers]
        lists = [list_of(name) for name in (SHOWS, *(door.name for door in picture.structure.doors))]
        files.forget(self._directory, [*alive, picture.structure.generation], [*picture.maps, *pems, *lists])

    def _place(self, pids: Collection[int]) -> None:
        for pid in pids:
            self._apart(pid)

    # What is there.

    def _alive(self) -> bool:
        return self._master is not None and process.is_ours(self._master, self._directory)

    async def _living(self) -> list[Worker]:
        """The current worker and those it replaced that still live. One look at the master, if there are such."""
        if len(self._workers) > 1:
            with suppress(Unavailable):
                alive = await master.processes(self._directory)
                self._workers = [w for w in self._workers if w.current or w.pid in alive.old]
        return self._workers if self._alive() else []

    async def _counts(self, worker: Worker, slots: Collection[int] | None) -> list[statistics.Count]:
        try:
            return await worker.counts(slots)
        except Unavailable:
            return []  # it has ended meanwhile, and with it all it had under way

    async def _adopt(self) -> None:
        """Once: find the engine a driver before us left, and learn what it goes by from itself."""
        if self._adopted:
            return
        self._workers, self._master = [], process.living(self._directory)
        if self._master is None:
            self._adopted = True
            return
        for _ in range(_TRIES):
            with suppress(Unavailable):
                await self._meet(self._master)
                break
        else:
            log.error("proxy.not-adopted", pid=self._master, hint="it is ended, and started again with the next table")
            await process.end(self._directory)
            self._master = None
        self._adopted = True
        self._changed.set()

    async def _meet(self, pid: int) -> None:
        """Learn what each worker goes by; it may be in the middle of a reload that its driver did not live to see."""
        found = await master.settled(self._directory, pid)
        workers = [await self._met(found.workers[0], current=True)]
        for old in found.old:
            with suppress(Unavailable):  # it has just ended
                workers.append(await self._met(old, current=False))
        self._workers = workers

    async def _met(self, pid: int, *, current: bool) -> Worker:
        said = (await master.info(self._directory, pid)).get("description", "")
        generation = int(said.rpartition("-")[2]) if said.rpartition("-")[2].isdigit() else -1
        structure = files.structure(self._directory, generation) or Structure(max(generation, 0))
        self._outdated = self._outdated or (current and said != tag(generation))
        empty = wanted(RouteTable(), structure, {}, {})
        worker = Worker(self._directory, pid, empty, current)
        await worker.read()
        if not current:
            await worker.hand_over()
        return worker

    def _reap(self) -> None:
        if self._child is not None:
            self._child.poll()

    # The watch.

    async def _watch(self) -> None:
        pause = Seconds(0.1)
        while True:
            async with self._turn:
                await self._adopt()
            if not self._alive() and not await self._revive():
                await anyio.sleep(pause)
                pause = min(Seconds(pause * 2), LONGEST_PAUSE)
                continue
            await self._until_it_ends()
            pause = Seconds(0.1)

    async def _until_it_ends(self) -> None:
        if self._master is None or not self._alive():
            await self._changed.wait()
            self._changed = anyio.Event()
            return
        await process.ended(self._master, self._directory)

    async def _revive(self) -> bool:
        """Whether there is nothing to do any more: it runs, or nobody wants it to."""
        async with self._turn:
            self._reap()
            if self._alive() or self._table is None or self._master is None:
                return True
            try:
                intent = await self._intend(self._table)
                await self._start(intent)
            except ZlayerError as error:
                self._tell(f"the proxy ended and does not start: {error.message}")
                return False
            self._tell("the proxy ended and was started again")
            return True

    async def _tidy(self) -> None:
        while True:
            await anyio.sleep(TIDY if self._workers else REST)
            await anyio.to_thread.run_sync(accesslog.rotate, self._directory, self._settings)
            if self._workers and self._workers[0].leaving:
                async with self._turn:
                    with suppress(ZlayerError):
                        await self._workers[0].tidy()
