"""The node's proxy: a whole table in, traffic flows by it when the call returns.

Lifecycle: the first table with a listener starts the engine, which then outlives the daemon: a new driver over the
same directory adopts it, whatever it was told before it was killed. A table without listeners may leave it idle.
`close` lets it run on; `destroy` ends it.

Guarantees: no table that follows another loses a request, whether a server, route, certificate or listener comes or
goes. A server that is no longer in the table gets nothing new from the moment `apply` returns; what it has under way
goes on until it is done. A dead engine is started again by the driver itself, with the last table. Calls take turns;
the last table wins.

Errors: `Unavailable` (no engine here, or it does not answer; the hint says how to get one), `Conflict` (an address is
in use by another program: the message names it, port and all; one of `problems` for each service that wants it, its
path `deployment/service`), `Invalid` (a certificate is no good, or a listener's
address is none): the rest of the table is applied all the same. `Failed`: the engine refuses; its reason is told.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Protocol

from zlayer.model.routes import RouteTable


@dataclass(frozen=True, slots=True)
class ProxyProbe:
    """`engine` is name and version. Where `ok` is False, `reason` and `fix` are for people."""

    ok: bool
    engine: str
    reason: str = ""
    fix: str = ""


@dataclass(frozen=True, slots=True)
class ServerStats:
    """Of one server of a backend. `current` requests or connections are under way; the others count since it came."""

    state: str
    """`up`, `draining` or `down`."""
    current: int
    total: int
    errors: int


@dataclass(frozen=True, slots=True)
class BackendStats:
    """`requests`, `responses` by class (`2xx`…) and `errors` (connections to servers that failed, answers that were
    none) count since the engine started or reloaded; `rate` is requests a second. `current` are under way, also at
    servers that have left."""

    servers: Mapping[str, ServerStats]
    requests: int
    rate: int
    responses: Mapping[str, int]
    queued: int
    errors: int
    current: int


class Proxy(Protocol):
    async def probe(self) -> ProxyProbe: ...

    async def run(self) -> None:
        """Until cancelled: start the engine again when it has died, and tidy up after servers that left.

        One at a time, in its owner's task group. Everything else works without it.
        """
        ...

    async def apply(self, table: RouteTable) -> None:
        """Returns when traffic flows by `table`, and by nothing older. Equal to the last one: nothing happens."""
        ...

    async def in_flight(self, servers: Collection[str]) -> Mapping[str, int]:
        """Requests and connections under way per server id, over all backends, also of servers that have left the
        table. An id nobody knows has 0."""
        ...

    async def stats(self) -> Mapping[str, BackendStats]:
        """By backend name; empty while no engine runs."""
        ...

    async def close(self) -> None:
        """Stop watching the engine; it goes on by its last table."""
        ...

    async def destroy(self) -> None:
        """End the engine and take its files away. Idempotent."""
        ...
