"""What a change costs: a replica swapped, a route added, a reload; time until traffic flows by it, and processor time.

    python bench/proxy_changes.py [--services 200] [--routes 1000] [--changes 300]

A swap is measured from the call of `apply` to the first answer of the new replica, over a connection of its own. The
processor time is the proxy's own for one change, and beside it what our side spends.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import anyio

from zlayer.model.endpoint import Timeouts
from zlayer.model.routes import Backend, Listener, Route, RouteTable, Server
from zlayer.model.units import Seconds
from zlayer.proxy.haproxy import process
from zlayer.proxy.haproxy.driver import HaproxyEngine
from zlayer.testing.origins import free_port, origin


async def main(services: int, routes: int, changes: int) -> None:
    print(f"{'':44}{'median':>9}{'p95':>9}{'max':>9}  ms; CPU ms a change: proxy, ours (load {os.getloadavg()[0]:.1f})")
    async with origin("a") as first, origin("b") as second:
        for count in (services, routes):
            with tempfile.TemporaryDirectory(prefix="zlb", dir="/tmp") as name:
                await _measure(Path(name) / "proxy", count, changes, (first.port, second.port))


class Meter:
    """Spans of one kind of change, and the processor time that all of them took."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.spans: list[float] = []
        self._proxy, self._ours = self._spent(), time.process_time()

    def _spent(self) -> float:
        ticks = 0
        for pid in process.workers(self._directory):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    def show(self, title: str) -> None:
        ours, count = time.process_time() - self._ours, len(self.spans)
        proxy = (self._spent() - self._proxy) * 1000 / count
        ordered = sorted(self.spans)
        p95 = ordered[int(count * 0.95)]
        row = f"{statistics.median(ordered) * 1000:9.2f}{p95 * 1000:9.2f}{ordered[-1] * 1000:9.2f}"
        print(f"{title:44}{row}{proxy:12.2f}{ours * 1000 / count:8.2f}")


async def _measure(directory: Path, count: int, changes: int, ports: tuple[int, int]) -> None:
    engine = HaproxyEngine(directory)
    port = free_port()
    backends = [_backend(number, 0, ports) for number in range(count)]
    routes = [Route(backend.name, f"h{number}.test") for number, backend in enumerate(backends)]
    try:
        start = time.perf_counter()
        await engine.apply(_table(port, backends, routes))
        print(
            f"{count} services, two servers and a route each: started in {(time.perf_counter() - start) * 1000:.0f} ms"
        )
        await _swaps(engine, directory, port, (backends, routes), (changes, ports))
        await _routes(engine, directory, port, (backends, routes), changes)
        await _reloads(engine, directory, port, (backends, routes))
    finally:
        await engine.destroy()


async def _swaps(
    engine: HaproxyEngine,
    directory: Path,
    port: int,
    state: tuple[list[Backend], list[Route]],
    how: tuple[int, tuple[int, int]],
) -> None:
    backends, routes = state
    changes, ports = how
    applied, answered = Meter(directory), Meter(directory)
    for turn in range(1, changes + 1):
        which = turn % len(backends)
        backends[which] = _backend(which, turn, ports)
        start = time.perf_counter()
        await engine.apply(_table(port, backends, routes))
        applied.spans.append(time.perf_counter() - start)
        assert (await _get(port, f"h{which}.test")).startswith(b"HTTP/1.1 200")
        answered.spans.append(time.perf_counter() - start)
        if turn % 100 == 0:
            await engine._workers[0].tidy()
    applied.show("  a replica swapped: apply")
    answered.show("  a replica swapped: first answer")


async def _routes(
    engine: HaproxyEngine, directory: Path, port: int, state: tuple[list[Backend], list[Route]], changes: int
) -> None:
    backends, routes = state
    meter = Meter(directory)
    for turn in range(changes):
        more = [*routes, Route(backends[0].name, f"new{turn}.test")]
        start = time.perf_counter()
        await engine.apply(_table(port, backends, more))
        meter.spans.append(time.perf_counter() - start)
    meter.show("  a route added and another removed: apply")


async def _reloads(engine: HaproxyEngine, directory: Path, port: int, state: tuple[list[Backend], list[Route]]) -> None:
    backends, routes = state
    meter = Meter(directory)
    for turn in range(10):
        slower = replace(routes[0], timeouts=Timeouts(head=Seconds(11 + turn)))
        start = time.perf_counter()
        await engine.apply(_table(port, backends, [slower, *routes[1:]]))
        meter.spans.append(time.perf_counter() - start)
    meter.show("  another frontend, by a reload: apply")


def _backend(number: int, turn: int, ports: tuple[int, int]) -> Backend:
    servers = tuple(Server(f"s{number}-{turn}-{at}", "127.0.0.1", ports[turn % 2]) for at in range(2))
    return Backend(f"bench/s{number}/web", "http", servers)


def _table(port: int, backends: Sequence[Backend], routes: Sequence[Route]) -> RouteTable:
    return RouteTable(1, (Listener("web", ("127.0.0.1",), port, "http", tuple(routes)),), tuple(backends))


async def _get(port: int, host: str) -> bytes:
    async with await anyio.connect_tcp("127.0.0.1", port) as stream:
        await stream.send(f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        return await stream.receive()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--services", type=int, default=200)
    parser.add_argument("--routes", type=int, default=1000)
    parser.add_argument("--changes", type=int, default=300)
    given = parser.parse_args()
    anyio.run(main, given.services, given.routes, given.changes)
