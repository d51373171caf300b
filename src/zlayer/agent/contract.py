"""What the API may ask of the node an instance runs on: its output, its stdio, its counters, its images."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Protocol

from zlayer.agent.planes import Trouble
from zlayer.image.contract import Images
from zlayer.model.routes import RouteTable
from zlayer.model.units import Timestamp
from zlayer.proxy.contract import BackendStats
from zlayer.runtime.contract import ExecRequest, LogLine, Session, Stats


class NodeTraffic(Protocol):
    """What the node's traffic goes by now."""

    def routes(self) -> RouteTable:
        """The table in force; an empty one before the first."""
        ...

    async def backends(self) -> Mapping[str, BackendStats]:
        """Counters of the proxy by backend name; empty while no engine runs."""
        ...

    async def settled(self, revision: int) -> None:
        """Returns once all of it goes by that store revision or a later one, or has tried to and is failing."""
        ...

    def troubles(self, deployment: str) -> Sequence[Trouble]:
        """What of a deployment's traffic is not as wanted now: ports it cannot have, all of it with no proxy."""
        ...

    def failing(self) -> Mapping[str, str]:
        """Parts of the data plane that are not as wanted (routes, names, network), each with the reason."""
        ...


class NodeAgent(Protocol):
    """Errors: `NotFound` (no such instance here), `Conflict` (not running; the message says its state)."""

    images: Images
    traffic: NodeTraffic | None

    def logs(
        self,
        instance_id: str,
        *,
        tail: int | None = None,
        since: Timestamp | None = None,
        follow: bool = False,
    ) -> AsyncIterator[LogLine]:
        """As `Runtime.logs`. `follow` waits for an instance that has not started yet, and ends when it is gone."""
        ...

    async def exec(self, instance_id: str, request: ExecRequest) -> Session: ...

    async def attach(self, instance_id: str) -> Session:
        """Waits until it is created; an instance with `await_attach` starts once this has returned."""
        ...

    async def stats(self, instance_id: str) -> Stats: ...

    async def signal(self, instance_id: str, signal: str) -> None: ...
