"""History, the way back, and what a service waits for (zlayer.api.routes.updates)."""

from __future__ import annotations

import pytest

from zlayer.plan.actions import Wait

from .conftest import StackFactory

pytestmark = pytest.mark.anyio
SHOP = "/api/v1/deployments/shop"


async def test_history_and_why(stack: StackFactory) -> None:
    async with stack(waits=lambda _: (Wait("web", 1, "on trial", 5.0),)) as s:
        await s.deploy()
        [revision] = (await s.client.request("GET", f"{SHOP}/history")).json()
        assert revision["revision"] == 1
        assert revision["status"] in ("updating", "current")
        [wait] = (await s.client.request("GET", f"{SHOP}/services/web/why")).json()
        assert (wait["replica"], wait["reason"]) == (1, "on trial")
        assert (await s.client.request("GET", f"{SHOP}/services/none/why")).status == 404


async def test_traffic_that_is_not_in_force_is_told(stack: StackFactory) -> None:
    async with stack() as s:
        await s.deploy("shop", web={}, db={})
        s.troubles["shop"] = [("web", "cannot listen on 0.0.0.0:80")]
        assert (await s.client.request("GET", SHOP)).json()["trouble"] == [
            {"service": "web", "reason": "cannot listen on 0.0.0.0:80"}
        ]
        [found] = (await s.client.request("GET", f"{SHOP}/services/web/why")).json()
        assert found == {"replica": 0, "reason": "cannot listen on 0.0.0.0:80", "until": None}
        assert (await s.client.request("GET", f"{SHOP}/services/db/why")).json() == []


async def test_there_must_be_something_to_steer_or_to_go_back_to(stack: StackFactory) -> None:
    async with stack() as s:
        await s.deploy()
        assert (await s.client.request("POST", f"{SHOP}/abort")).status in (404, 409)
        assert (await s.client.request("POST", f"{SHOP}/rollback", {"to": 9})).status in (404, 409)
        assert (await s.client.request("POST", f"{SHOP}/rollback", {"to": 0})).status == 422
