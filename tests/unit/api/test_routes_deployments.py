"""Deployments over the trusted door, from plan to gone (zlayer.api.routes.deployments)."""

from __future__ import annotations

import pytest

from zlayer.testing.builders import spec_text

from .conftest import StackFactory

pytestmark = pytest.mark.anyio
V1 = "/api/v1"


async def test_a_deployment_from_plan_to_gone(stack: StackFactory) -> None:
    async with stack() as s:
        body = {"spec": spec_text("shop", web={"scale": {"mode": "fixed", "replicas": 2}}), "file": "shop.yml"}
        plan = (await s.client.request("POST", f"{V1}/deployments:plan", body)).json()
        assert plan["summary"] == {"create": 2, "start": 0, "replace": 0, "remove": 0, "keep": 0}
        done = await s.client.request("POST", f"{V1}/deployments", {**body, "revision": plan["revision"]})
        assert (done.status, done.json()) == (202, {"deployment": "shop", "revision": 1, "changed": True})
        listed = (await s.client.request("GET", f"{V1}/deployments")).json()
        assert [one["name"] for one in listed] == ["shop"]  # what was answered is seen at once
        await s.until(lambda: s.views.deployment("shop")["status"] == "running")
        again = (await s.client.request("PUT", f"{V1}/deployments/shop", body)).json()
        assert again == {"deployment": "shop", "revision": 1, "changed": False}
        rows = (await s.client.request("GET", f"{V1}/deployments/shop/services/web/containers")).json()
        assert [row["replica"] for row in rows] == [1, 2]
        assert (await s.client.request("DELETE", f"{V1}/deployments/shop")).status == 202
        await s.until(lambda: not s.views.deployments())
        assert (await s.client.request("GET", f"{V1}/deployments/shop")).status == 404


async def test_stop_start_scale_and_the_spec_text(stack: StackFactory) -> None:
    async with stack() as s:
        await s.deploy(web={"scale": {"mode": "manual"}})
        text = await s.client.request("GET", f"{V1}/deployments/shop/spec")
        assert text.headers["content-type"].startswith("application/yaml")
        assert b"example.test/app:1" in text.body
        scaled = await s.client.request("POST", f"{V1}/deployments/shop/scale", {"services": {"web": 3}})
        assert scaled.status == 202
        await s.until(lambda: s.views.service("shop", "web")["ready"] == 3)
        one = await s.client.request("POST", f"{V1}/deployments/shop/services/web/scale", {"replicas": 1})
        assert one.status == 202
        assert (await s.client.request("POST", f"{V1}/deployments/shop/stop", {"service": "web"})).status == 202
        await s.until(lambda: s.views.service("shop", "web")["running"] == 0)
        assert (await s.client.request("POST", f"{V1}/deployments/shop/start")).status == 202
        await s.until(lambda: s.views.service("shop", "web")["ready"] == 1)


async def test_a_revision_that_is_not_the_latest_is_a_conflict(stack: StackFactory) -> None:
    async with stack() as s:
        await s.deploy()
        body = {"spec": spec_text("shop", web={}), "revision": 7}
        reply = await s.client.request("POST", f"{V1}/deployments", body)
        assert (reply.status, reply.json()["code"]) == (409, "conflict")
        wrong_name = await s.client.request("PUT", f"{V1}/deployments/other", {"spec": spec_text("shop", web={})})
        assert wrong_name.status == 422
