"""A proxy in memory, held to the same suite as HAProxy. Its traffic lives in a `FakeEngine`, as in a process."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace

import anyio
import anyio.lowlevel

from zlayer.model.errors import Conflict, Problem
from zlayer.model.routes import Backend, Listener, Route, RouteTable, Server
from zlayer.proxy.contract import BackendStats, ProxyProbe, ServerStats

EMPTY = RouteTable()


@dataclass(slots=True, eq=False)
class FakeRequest:
    """A request under way at a server, until `finish` or the engine ends."""

    server: str
    backend: str
    ended: str = ""
    """`done` or `cut`; empty while under way."""

    def finish(self) -> None:
        self.ended = self.ended or "done"


@dataclass(slots=True)
class FakeEngine:
    """What outlives a driver. `fault` is called before every apply and may raise; `taken` are ports of others."""

    fault: Callable[[RouteTable], None] = lambda _table: None
    apply_seconds: float = 0.0
    taken: set[int] = field(default_factory=set)
    table: RouteTable | None = None
    """None: it does not run."""
    applied: list[RouteTable] = field(default_factory=list)
    """Every table that changed something, in order."""
    requests: list[FakeRequest] = field(default_factory=list)
    served: Counter[tuple[str, str]] = field(default_factory=Counter)
    turns: Counter[str] = field(default_factory=Counter)
    refused: frozenset[int] = frozenset()
    died: anyio.Event = field(default_factory=anyio.Event)

    def kill(self) -> None:
        """As a crash: what was under way is lost."""
        self.table = None
        for request in self.requests:
            request.ended = request.ended or "cut"
        self.died.set()

    def open(self, port: int, host: str, path: str = "/") -> FakeRequest | int:
        """A request that arrives now: under way at a server, or the status it is refused with (0: nobody listens)."""
        listener = self._listener(port)
        if self.table is None or listener is None:
            return 0
        prefix = "/.well-known/acme-challenge/"
        if path.startswith(prefix) and path.removeprefix(prefix) in self.table.challenges:
            return 200
        route = chosen(listener, host, path)
        if route is None:
            return 404
        backend = next((b for b in self.table.backends if b.name == route.backend), None)
        server = self._next(backend) if backend else None
        if backend is None or server is None:
            return 503
        self.served[backend.name, server.id] += 1
        request = FakeRequest(server.id, backend.name)
        self.requests.append(request)
        return request

    def _listener(self, port: int) -> Listener | None:
        if self.table is None or port in self.refused:
            return None
        return next((listener for listener in self.table.listeners if listener.port == port), None)

    def _next(self, backend: Backend) -> Server | None:
        usable = [server for server in backend.servers if server.weight > 0]
        if not usable:
            return None
        self.turns[backend.name] += 1
        return usable[self.turns[backend.name] % len(usable)]


@dataclass(slots=True)
class FakeProxy:
    """Implements `Proxy` over a `FakeEngine`. Make a second one over the same engine to restart the daemon."""

    engine: FakeEngine = field(default_factory=FakeEngine)
    _last: RouteTable | None = None

    async def probe(self) -> ProxyProbe:
        return ProxyProbe(True, "fake 1.0")

    async def run(self) -> None:
        while True:
            await self.engine.died.wait()
            self.engine.died = anyio.Event()
            if self._last is not None:
                self.engine.table = self._last

    async def apply(self, table: RouteTable) -> None:
        engine = self.engine
        engine.fault(table)
        await anyio.sleep(engine.apply_seconds)
        self._last = table
        if engine.table is None and not table.listeners:
            return
        if engine.table is None or replace(engine.table, revision=table.revision) != table:
            engine.applied.append(table)
        engine.table = table
        engine.refused = frozenset(listener.port for listener in table.listeners) & engine.taken
        if engine.refused:
            told = f"cannot listen on 127.0.0.1:{min(engine.refused)}: in use by another program"
            owners = {r.owner for one in table.listeners if one.port in engine.refused for r in one.routes}
            raise Conflict(told, problems=tuple(Problem(told, path=owner) for owner in sorted(owners)))

    async def in_flight(self, servers: Collection[str]) -> Mapping[str, int]:
        await anyio.lowlevel.checkpoint()
        under_way = Counter(request.server for request in self.engine.requests if not request.ended)
        return {server: under_way[server] for server in servers}

    async def stats(self) -> Mapping[str, BackendStats]:
        await anyio.lowlevel.checkpoint()
        if self.engine.table is None:
            return {}
        return {backend.name: self._stats(backend) for backend in self.engine.table.backends}

    def _stats(self, backend: Backend) -> BackendStats:
        engine = self.engine
        current = Counter(r.server for r in engine.requests if r.backend == backend.name and not r.ended)
        servers = {
            server.id: ServerStats(
                "up" if server.weight else "draining", current[server.id], engine.served[backend.name, server.id], 0
            )
            for server in backend.servers
        }
        total = sum(count for (name, _), count in engine.served.items() if name == backend.name)
        return BackendStats(servers, total, 0, {"2xx": total}, 0, 0, sum(current.values()))

    async def close(self) -> None:
        await anyio.lowlevel.checkpoint()

    async def destroy(self) -> None:
        await anyio.lowlevel.checkpoint()
        self._last = None
        self.engine.kill()


def chosen(listener: Listener, host: str, path: str) -> Route | None:
    """The most specific route that matches: exact host, longest suffix, any host; then the longest path."""
    name = host.lower().rsplit(":", 1)[0] if not host.endswith("]") else host.lower()
    found = [route for route in listener.routes if _host_matches(route.host, name) and _path_matches(route.path, path)]
    return max(found, key=lambda route: (_weight(route.host), len(route.path.strip("/"))), default=None)


def _host_matches(wanted: str | None, name: str) -> bool:
    if wanted is None:
        return True
    wanted = wanted.lower()
    return name.endswith(wanted[1:]) if wanted.startswith("*.") else name == wanted


def _path_matches(prefix: str, path: str) -> bool:
    bare = prefix.strip("/")
    return not bare or f"{path}/".startswith(f"/{bare}/")


def _weight(host: str | None) -> tuple[int, int]:
    return (0, 0) if host is None else (1, len(host)) if host.startswith("*.") else (2, 0)
