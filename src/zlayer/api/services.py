"""What the routes need from the daemon, as one value made by the composition root."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import anyio
from fastapi import Depends
from starlette.requests import HTTPConnection

from zlayer.api.authorise import Claims
from zlayer.model.units import Timestamp

if TYPE_CHECKING:  # names only: FastAPI need not resolve them, and tests bring their own
    from zlayer.agent.contract import NodeAgent
    from zlayer.control.views import Views
    from zlayer.control.wishes import Wishes
    from zlayer.plan.actions import Wait
    from zlayer.store.contract import Store


@dataclass(frozen=True, slots=True)
class Facts:
    """What does not change while a daemon runs. `bind` is where TCP really listens, `off`, or why it does not."""

    version: str
    pid: int
    data_dir: str
    socket: str
    bind: str
    node: str
    runtime: str
    started_at: Timestamp
    rootfs: str = ""
    """The driver that makes root file systems."""


@dataclass(frozen=True, slots=True)
class Services:
    """`verify` turns a bearer token into claims or raises `Denied`. `probe_runtimes` tries every known runtime.

    `ready` is set once the agent has adopted what runs; `stopping` when the daemon ends: streams close on it.
    """

    wishes: Wishes
    views: Views
    agent: NodeAgent
    store: Store
    facts: Facts
    verify: Callable[[str], Claims]
    probe_runtimes: Callable[[], Awaitable[Sequence[Mapping[str, Any]]]]  # Any: JSON values
    ready: anyio.Event
    stopping: anyio.Event
    waits: Callable[[str], Sequence[Wait]] = lambda _deployment: ()
    """What controllers hold back of a deployment, and why."""


async def services_of(connection: HTTPConnection) -> Services:
    found: Services = connection.app.state.services
    return found


Api = Annotated[Services, Depends(services_of)]
