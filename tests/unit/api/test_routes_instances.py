"""Single instances (zlayer.api.routes.instances)."""

from __future__ import annotations

import pytest

from .conftest import StackFactory

pytestmark = pytest.mark.anyio
INSTANCES = "/api/v1/instances"
FIELDS = {
    "deployment", "service", "replica", "id", "node", "state", "health", "image", "ip", "ports", "pid", "restarts",
    "created_at", "started_at", "exit_code", "reason",
}  # fmt: skip


async def test_the_list_has_the_promised_fields(stack: StackFactory) -> None:
    async with stack() as s:
        await s.deploy("shop")
        await s.deploy("other")
        rows = (await s.client.request("GET", INSTANCES)).json()
        assert {row["deployment"] for row in rows} == {"shop", "other"}
        assert all(set(row) == FIELDS for row in rows)
        only = (await s.client.request("GET", f"{INSTANCES}?deployment=shop")).json()
        assert [row["deployment"] for row in only] == ["shop"]
        assert (await s.client.request("GET", f"{INSTANCES}?deployment=absent")).status == 404
        assert (await s.client.request("GET", f"{INSTANCES}?deployment=_run")).json() == []


async def test_one_by_id_with_its_counters(stack: StackFactory) -> None:
    async with stack() as s:
        await s.deploy()
        [row] = s.views.instances()
        assert (await s.client.request("GET", f"{INSTANCES}/{row['id']}")).json() == row
        stats = (await s.client.request("GET", f"{INSTANCES}/{row['id']}/stats")).json()
        assert stats["memory"] > 0
        await s.services.wishes.stop("shop")
        await s.until(lambda: s.views.deployment("shop")["status"] == "stopped")
        assert (await s.client.request("GET", f"{INSTANCES}/{row['id']}/stats")).status == 409


async def test_a_replica_of_a_deployment_is_not_removed_by_hand(stack: StackFactory) -> None:
    async with stack() as s:
        await s.deploy()
        [row] = s.views.instances()
        reply = await s.client.request("DELETE", f"{INSTANCES}/{row['id']}")
        assert reply.status == 422
        assert "zlayer scale" in reply.json()["hint"]
