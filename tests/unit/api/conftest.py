"""A whole daemon without a machine: real controllers, agent and API over fakes, in this process."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import anyio
import pytest
from starlette.types import ASGIApp

from zlayer.agent.agent import Agent
from zlayer.agent.perform import Machine
from zlayer.api.app import core_app, guarded
from zlayer.api.authorise import Claims
from zlayer.api.services import Facts, Services
from zlayer.control.controllers import Controllers
from zlayer.control.views import Views
from zlayer.control.wishes import Wishes
from zlayer.model.errors import Denied
from zlayer.model.paths import Paths
from zlayer.model.units import Timestamp
from zlayer.runtime.contract import CreateRequest
from zlayer.store.memory import MemoryStore
from zlayer.store.view import View
from zlayer.testing.asgi import AsgiClient
from zlayer.testing.builders import node, spec_text
from zlayer.testing.fake_images import FakeImages
from zlayer.testing.fake_machine import EPOCH, Behaviour, FakeMachine
from zlayer.testing.fake_network import FakeFabric, FakeNetwork
from zlayer.testing.fake_runtime import FakeRuntime
from zlayer.testing.fake_snapshots import FakeSnapshots

TOKENS = {role: Claims(f"{role}@test", frozenset({role})) for role in ("admin", "operator", "reader")}
Script = Callable[[CreateRequest], Behaviour]


def now() -> float:
    return EPOCH + anyio.current_time()


def verify(token: str) -> Claims:
    if token not in TOKENS:
        raise Denied("the token is not valid")
    return TOKENS[token]


@dataclass(slots=True)
class Stack:
    """`client` is on the trusted socket; `door(role)` is on TCP with that role's token, or none."""

    services: Services
    machine: FakeMachine
    images: FakeImages
    views: Views
    app: ASGIApp
    tcp: ASGIApp
    troubles: dict[str, list[tuple[str, str]]]
    """By deployment: what of its traffic is not in force, as (service, reason)."""

    @property
    def client(self) -> AsgiClient:
        return AsgiClient(self.app)

    def door(self, token: str | None) -> AsgiClient:
        headers = {"authorization": f"Bearer {token}"} if token is not None else {}
        return AsgiClient(self.tcp, headers=headers)

    async def deploy(self, name: str = "shop", **services: dict[str, Any]) -> None:
        """Deploy and wait until it runs."""
        body = {"spec": spec_text(name, **(services or {"web": {}})), "file": "shop.yml"}
        reply = await self.client.request("POST", "/api/v1/deployments", body)
        assert reply.status == 202, reply.body
        await self.until(lambda: self.views.deployment(name)["status"] == "running")

    async def until(self, true: Callable[[], bool]) -> None:
        with anyio.fail_after(10):
            while True:
                revision = self.views.revision
                if true():
                    return
                await self.views.changed(revision)


StackFactory = Callable[..., Any]


@pytest.fixture
def stack(tmp_path: Path) -> StackFactory:
    """`async with stack() as s`; `script` says what each container does, `changes` replace parts of `Services`."""

    @asynccontextmanager
    async def make(
        script: Script = lambda _request: Behaviour(),
        **changes: Any,  # Any: fields of Services
    ) -> AsyncIterator[Stack]:
        machine, images = FakeMachine(script=script), FakeImages()
        async with MemoryStore() as store, View(store) as view:
            troubles: dict[str, list[tuple[str, str]]] = {}
            views = Views(store, view, lambda name: troubles.get(name, ()))
            real = Machine(
                runtime=FakeRuntime(machine),
                images=images,
                snapshots=FakeSnapshots({}),
                network=FakeNetwork(FakeFabric()),
                paths=Paths.of(tmp_path),
                clock=now,
            )
            agent = Agent(store, node("n1", subnet="10.77.1.0/24"), real)
            services = Services(
                wishes=Wishes(store, environ=os.environ, clock=now),
                views=views,
                agent=agent,
                store=store,
                facts=_facts(tmp_path),
                verify=verify,
                probe_runtimes=_probe,
                ready=agent.recovered,
                stopping=anyio.Event(),
            )
            services = replace(services, **changes)
            core = core_app(services)
            trusted, tcp = (guarded(core, services, trusted=one) for one in (True, False))
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(agent.run)
                tasks.start_soon(Controllers(store, clock=now).run)
                await agent.recovered.wait()
                yield Stack(services, machine, images, views, trusted, tcp, troubles)
                tasks.cancel_scope.cancel()

    return make


def _facts(root: Path) -> Facts:
    return Facts(
        version="0.0.0",
        pid=os.getpid(),
        data_dir=str(root),
        socket=str(root / "zlayer.sock"),
        bind="off",
        node="n1",
        runtime="fake",
        started_at=Timestamp(EPOCH),
    )


async def _probe() -> list[dict[str, Any]]:
    return [{"name": "fake", "ok": True, "engine": "fake 1.0", "reason": "", "fix": "", "selected": True}]
