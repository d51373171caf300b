"""Services, and the single instances behind them (zlayer.api.routes.services)."""

from __future__ import annotations

import pytest

from .conftest import StackFactory

pytestmark = pytest.mark.anyio
V1 = "/api/v1"
SHOP = f"{V1}/deployments/shop"


async def test_services_of_a_deployment(stack: StackFactory) -> None:
    async with stack() as s:
        await s.deploy(web={}, db={})
        listed = (await s.client.request("GET", f"{SHOP}/services")).json()
        assert [one["name"] for one in listed] == ["db", "web"]
        one = (await s.client.request("GET", f"{SHOP}/services/web")).json()
        assert (one["desired"], one["running"], one["ready"], one["settled"]) == (1, 1, 1, True)
        assert (await s.client.request("GET", f"{SHOP}/services/absent")).status == 404
        assert (await s.client.request("GET", f"{SHOP}/services/absent/containers")).status == 404


@pytest.mark.parametrize("body", [{}, {"replicas": -1}, {"replicas": "many"}, {"replicas": 1, "wait": True}])
async def test_a_scale_that_says_nothing_sensible(stack: StackFactory, body: dict[str, object]) -> None:
    async with stack() as s:
        await s.deploy()
        assert (await s.client.request("POST", f"{SHOP}/services/web/scale", body)).status == 422
        assert (await s.client.request("POST", f"{SHOP}/scale", {"services": {"absent": 1}})).status == 404
        assert (await s.client.request("POST", f"{SHOP}/scale", {"services": {}})).status == 422


async def test_a_stop_passes_its_grace_on(stack: StackFactory) -> None:
    async with stack() as s:
        await s.deploy()
        reply = await s.client.request("POST", f"{SHOP}/stop", {"grace": 3})
        assert reply.status == 202
        await s.views.reached(2)
        assert s.views.picture().deployments["shop"].stop_grace == 3
        refused = await s.client.request("POST", f"{SHOP}/stop", {"grace": -1})
        assert refused.status == 422
