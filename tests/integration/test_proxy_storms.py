"""A real HAProxy under load and under fire: nothing lost in changes, and it comes back from every death."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

from zlayer.model.endpoint import Timeouts
from zlayer.model.routes import Backend, Listener, Route, RouteTable, Server
from zlayer.model.units import Seconds
from zlayer.proxy.haproxy import accesslog, master, process
from zlayer.proxy.haproxy.difference import Command
from zlayer.proxy.haproxy.driver import HaproxyEngine
from zlayer.proxy.haproxy.settings import Settings
from zlayer.testing.http2 import Http2
from zlayer.testing.origins import free_port
from zlayer.testing.proxied import Proxied, proxied

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(shutil.which("haproxy") is None, reason="haproxy is not installed"),
]


@pytest.fixture
async def proxy() -> AsyncIterator[Proxied]:
    async with proxied() as made:
        yield made


class Load:
    """Closed-loop clients of every kind. `lost` says what each failure was; `done` counts by kind."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.done: Counter[str] = Counter()
        self.lost: list[str] = []
        self.stopping = False

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        kinds: list[Callable[[], Awaitable[None]]] = [self.fresh, self.fresh, self.kept, self.kept, self.http2]
        async with anyio.create_task_group() as tasks:
            for kind in kinds:
                tasks.start_soon(self._loop, kind)
            tasks.start_soon(self._loop, self.websocket)
            yield
            self.stopping = True

    async def _loop(self, kind: Callable[[], Awaitable[None]]) -> None:
        while not self.stopping:
            try:
                await kind()
            except (OSError, EOFError, AssertionError) as error:
                self.lost.append(f"{kind.__name__}: {type(error).__name__} {error}")

    async def fresh(self) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        with contextlib.closing(writer):
            writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            answer = await reader.read()
            assert answer.startswith(b"HTTP/1.1 200 "), answer[:60]
        self.done["fresh"] += 1

    async def kept(self) -> None:
        """Up to 50 requests on a connection, as long as the proxy keeps it."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        with contextlib.closing(writer):
            for _ in range(50):
                writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                head = await reader.readuntil(b"\r\n\r\n")
                assert head.startswith(b"HTTP/1.1 200 "), head[:60]
                fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:] if b": " in line)
                await reader.readexactly(int(fields[b"content-length"]))
                self.done["kept"] += 1
                if self.stopping or fields.get(b"connection") == b"close":
                    return
                await anyio.sleep(0.001)

    async def http2(self) -> None:
        """Up to 50 requests on a connection; after GOAWAY a new one, as the protocol says."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        with contextlib.closing(writer):
            client = Http2(reader, writer)
            for _ in range(50):
                status = await client.get("x")
                assert status in {200, None}, status
                self.done["http2"] += status == 200
                if self.stopping or not client.going:
                    return

    async def websocket(self) -> None:
        """One that lives as long as the load, and loses no byte."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        with contextlib.closing(writer):
            writer.write(
                b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
            )
            await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(1)
            while not self.stopping:
                writer.write(b"ping")
                while (await reader.readexactly(1)) != b"g":
                    pass
                self.done["websocket"] += 1
                await anyio.sleep(0.005)


async def gone(proxy: Proxied, server: Server) -> None:
    """Until nothing is under way at a server that left: then its replica may be stopped."""
    while (await proxy.engine.in_flight([server.id]))[server.id]:  # noqa: ASYNC110  # another process acts
        await anyio.sleep(0.01)


async def test_swaps_and_reloads_lose_nothing(proxy: Proxied) -> None:
    _, first = await proxy.origin("r0")
    await proxy.engine.apply(proxy.table(Backend("b", "http", (first,))))
    load = Load(proxy.port)
    async with load.running():
        for number in range(1, 61):
            _, server = await proxy.origin(f"r{number}")
            head = Timeouts(head=Seconds(10 + number // 10))  # every tenth takes a reload
            await proxy.engine.apply(proxy.table(Backend("b", "http", (server,)), routes=[Route("b", timeouts=head)]))
            await anyio.sleep(0.02)
    assert load.lost == [], (load.lost[:5], len(load.lost), load.done)
    assert all(load.done[kind] > 20 for kind in ("fresh", "kept", "http2", "websocket")), load.done
    assert (proxy.directory / "structure-7.json").exists()


async def test_a_replica_stopped_after_its_drain_loses_nothing(proxy: Proxied) -> None:
    """The order of an update: out of the table, applied, drained, stopped (its connections are cut then)."""
    stacks: list[contextlib.AsyncExitStack] = []
    load = Load(proxy.port)
    before: Server | None = None
    plain = [load.fresh, load.kept, load.http2]
    async with contextlib.AsyncExitStack() as rest, anyio.create_task_group() as tasks:
        for number in range(30):
            stack = await rest.enter_async_context(contextlib.AsyncExitStack())
            stacks.append(stack)
            proxy.stack, kept = stack, proxy.stack
            _, server = await proxy.origin(f"r{number}")
            proxy.stack = kept
            await proxy.engine.apply(proxy.table(Backend("b", "http", (server,))))
            if number == 0:
                for kind in plain:
                    tasks.start_soon(load._loop, kind)
            elif before is not None:
                await gone(proxy, before)
                await stacks[number - 1].aclose()
            before = server
            await anyio.sleep(0.01)
        load.stopping = True
    assert load.lost == [], (load.lost[:5], len(load.lost), load.done)
    assert load.done["kept"] > 50, load.done


@pytest.mark.parametrize("which", ["master", "worker", "all"])
async def test_it_comes_back_from_a_kill(proxy: Proxied, which: str) -> None:
    _, server = await proxy.origin("one")
    await proxy.engine.apply(proxy.table(Backend("b", "http", (server,))))
    found = await master.processes(proxy.directory)
    victims = {"master": [found.master], "worker": list(found.workers), "all": [found.master, *found.workers]}
    for pid in victims[which]:
        process.kill(pid, proxy.directory, signal.SIGKILL)
    for pid in victims[which]:
        await process.ended(pid, proxy.directory)
    while not proxy.told:  # noqa: ASYNC110  # told by the driver's own task
        await anyio.sleep(0.005)
    assert proxy.told == ["the proxy ended and was started again"]
    assert (await proxy.get())[0] == 200
    assert (await proxy.engine.stats())["b"].servers["one"].state == "up"


async def test_killed_while_no_daemon_was_there_it_starts_with_the_next_table(proxy: Proxied) -> None:
    _, server = await proxy.origin("one")
    await proxy.engine.apply(proxy.table(Backend("b", "http", (server,))))
    proxy.scope.cancel()
    for pid in process.workers(proxy.directory):
        process.kill(pid, proxy.directory, signal.SIGKILL)
    proxy.restart()
    await proxy.engine.apply(proxy.table(Backend("b", "http", (server,))))
    assert (await proxy.get())[0] == 200


async def test_a_driver_killed_half_way_is_followed_by_one_that_mends_it(proxy: Proxied) -> None:
    """Cancelled at any point, an apply leaves an engine that the next driver understands."""
    _, one = await proxy.origin("one")
    _, two = await proxy.origin("two")
    await proxy.engine.apply(proxy.table(Backend("b", "http", (one,))))
    for number in range(20):
        wanted = proxy.table(
            Backend("b", "http", (two if number % 2 else one,)), Backend(f"n{number}", "http", (one,)),
            routes=[Route("b", timeouts=Timeouts(head=Seconds(10 + number % 3))), Route(f"n{number}", f"h{number}")],
        )  # fmt: skip
        with anyio.move_on_after(0.001 + number * 0.004):
            await proxy.engine.apply(wanted)
        if number % 3 == 0:
            proxy.restart()
        await proxy.engine.apply(wanted)
        assert (await proxy.get())[1].split()[0] == ("two" if number % 2 else "one")
        assert (await proxy.get(f"h{number}"))[0] == 200


async def test_somebody_elses_commands_are_mended(proxy: Proxied) -> None:
    _, one = await proxy.origin("one")
    _, two = await proxy.origin("two")
    await proxy.engine.apply(proxy.table(Backend("b", "http", (one,))))
    worker = proxy.engine._workers[0]
    commands = ["set server be0/one state maint", "del server be0/one", "clear map state.map"]
    await worker.ask([Command(text) for text in commands])
    await proxy.engine.apply(proxy.table(Backend("b", "http", (one, two))))
    await proxy.engine.apply(proxy.table(Backend("b", "http", (two,))))
    assert (await proxy.get())[1].split()[0] == "two"


async def test_servers_that_left_are_deleted(proxy: Proxied) -> None:
    _, one = await proxy.origin("one")
    _, two = await proxy.origin("two")
    await proxy.engine.apply(proxy.table(Backend("b", "http", (one,))))
    await proxy.get()
    await proxy.engine.apply(proxy.table(Backend("b", "http", (two,))))
    while "one" in str(await proxy.engine._workers[0].ask([Command("show servers state be0")])):  # noqa: ASYNC110
        await anyio.sleep(0.05)
    assert (await proxy.get())[0] == 200


async def test_more_backends_than_slots(proxy: Proxied) -> None:
    _, server = await proxy.origin("one")
    for count in (1, 40, 80, 200, 3):
        backends = [Backend(f"d/{number}/http", "http", (server,)) for number in range(count)]
        routes = [Route(backend.name, f"h{number}.test") for number, backend in enumerate(backends)]
        await proxy.engine.apply(proxy.table(*backends, routes=routes))
        assert [(await proxy.get(f"h{number}.test"))[0] for number in (0, count - 1)] == [200, 200]
        assert (await proxy.get(f"h{count}.test"))[0] == 404


async def test_a_taken_port_is_had_once_it_is_free(proxy: Proxied) -> None:
    _, server = await proxy.origin("one")
    other = free_port()
    table = proxy.table(Backend("b", "http", (server,)))
    both = RouteTable(
        1, (*table.listeners, Listener("o", ("127.0.0.1",), other, "http", (Route("b"),))), table.backends
    )
    async with await asyncio.start_server(lambda *_: None, "127.0.0.1", other):
        with pytest.raises(Exception, match=f"127.0.0.1:{other}: in use by another program"):
            await proxy.engine.apply(both)
        assert (await proxy.get())[0] == 200
    await proxy.engine.apply(both)
    proxy.port = other
    assert (await proxy.get())[0] == 200


async def test_every_address_and_one_of_them_beside(proxy: Proxied) -> None:
    """A public listener on `*` and an internal one on the same port of one address: the closer one is asked."""
    _, public = await proxy.origin("public")
    _, inner = await proxy.origin("inner")
    backends = (Backend("p", "http", (public,)), Backend("i", "http", (inner,)))
    everywhere = Listener("p", ("*",), proxy.port, "http", (Route("p"),))
    here = Listener("i", ("127.0.0.2",), proxy.port, "http", (Route("i"),))
    for listeners in ((everywhere,), (everywhere, here), (here, everywhere), (everywhere,)):
        await proxy.engine.apply(RouteTable(1, listeners, backends))
        assert (await proxy.get())[1].split()[0] == "public"
        reader, writer = await asyncio.open_connection("127.0.0.2", proxy.port)
        writer.write(b"GET / HTTP/1.0\r\nHost: x\r\n\r\n")
        said = (await reader.read()).partition(b"\r\n\r\n")[2]
        writer.close()
        assert said.startswith(b"inner" if here in listeners else b"public")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: HAProxy gives its rights up")
async def test_workers_have_no_rights(proxy: Proxied) -> None:
    _, server = await proxy.origin("one")
    await proxy.engine.apply(proxy.table(Backend("b", "http", (server,))))
    (worker,) = (await master.processes(proxy.directory)).workers
    with open(f"/proc/{worker}/status") as file:  # noqa: ASYNC230, PTH123  # procfs does not block
        status = dict(line.split(":\t", 1) for line in file.read().splitlines() if ":\t" in line)
    assert status["Uid"].split()[0] != "0"
    assert int(status["CapEff"], 16) == 0
    assert status["NoNewPrivs"] == "1"
    assert Path(f"/proc/{worker}/root").readlink() == proxy.directory / "empty"


async def test_a_log_at_its_bound_costs_lines_and_no_requests(proxy: Proxied) -> None:
    """As while no daemon rotates it: the kernel stops its growth, and HAProxy does not mind."""
    _, server = await proxy.origin("one")
    await proxy.engine.apply(proxy.table(Backend("b", "http", (server,))))
    log, bound = proxy.directory / "access.log", accesslog.bound(Settings())
    proxy.scope.cancel()
    os.truncate(log, bound - 500)  # a hole: it takes no room
    assert {(await proxy.get())[0] for _ in range(20)} == {200}
    assert log.stat().st_size <= bound


async def test_two_drivers_over_two_directories_do_not_touch(proxy: Proxied) -> None:
    _, server = await proxy.origin("one")
    await proxy.engine.apply(proxy.table(Backend("b", "http", (server,))))
    other = HaproxyEngine(proxy.directory.parent / "other")
    with pytest.raises(Exception, match="in use by another program"):
        await other.apply(proxy.table(Backend("b", "http")))
    await other.destroy()
    assert (await proxy.get())[0] == 200
