"""What the proxy goes by (zlayer.api.routes.proxy)."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from zlayer.agent.planes import Trouble
from zlayer.model.routes import Backend, Listener, Route, RouteTable, Server
from zlayer.proxy.contract import BackendStats, ServerStats

from .conftest import StackFactory

pytestmark = pytest.mark.anyio
NAME = "shop/web/http"
TABLE = RouteTable(
    listeners=(Listener("public-80", ("*",), 80, "http", (Route(NAME, "a.test"),)),),
    backends=(Backend(NAME, "http", (Server("i1", "10.64.0.2", 8080), Server("i2", "10.64.0.3", 8080))),),
)


class Traffic:
    def routes(self) -> RouteTable:
        return TABLE

    async def backends(self) -> Mapping[str, BackendStats]:
        return {NAME: BackendStats({"i1": ServerStats("up", 1, 7, 0)}, 7, 2, {"2xx": 7}, 0, 1, 1)}

    async def settled(self, revision: int) -> None:
        """At once."""

    def failing(self) -> Mapping[str, str]:
        return {}

    def troubles(self, deployment: str) -> list[Trouble]:
        return []


async def test_routes_and_backends(stack: StackFactory) -> None:
    async with stack() as s:
        s.services.agent.traffic = Traffic()
        [route] = (await s.client.request("GET", "/api/v1/proxy/routes")).json()
        assert (route["deployment"], route["service"], route["endpoint"]) == ("shop", "web", "http")
        assert (route["addresses"], route["port"], route["host"], route["servers"]) == (["*"], 80, "a.test", 2)
        [backend] = (await s.client.request("GET", "/api/v1/proxy/backends")).json()
        assert [(one["id"], one["state"], one["total"]) for one in backend["servers"]] == [
            ("i1", "up", 7), ("i2", "unknown", 0),
        ]  # fmt: skip
        assert (backend["requests"], backend["responses"]) == (7, {"2xx": 7})


async def test_without_traffic_there_is_nothing(stack: StackFactory) -> None:
    async with stack() as s:
        assert (await s.client.request("GET", "/api/v1/proxy/routes")).json() == []
        assert (await s.client.request("GET", "/api/v1/proxy/backends")).json() == []
