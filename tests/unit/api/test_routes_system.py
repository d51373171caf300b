"""The daemon itself (zlayer.api.routes.system)."""

from __future__ import annotations

import pytest

from zlayer.testing.builders import spec_text

from .conftest import StackFactory

pytestmark = pytest.mark.anyio
V1 = "/api/v1"


async def test_status_counts_what_runs(stack: StackFactory) -> None:
    async with stack() as s:
        await s.deploy()
        status = (await s.client.request("GET", f"{V1}/status")).json()
        assert (status["deployments"], status["instances"]) == (1, {"running": 1, "total": 1})
        assert status["rss_bytes"] > 1 << 20


async def test_validate_tells_every_problem_and_keeps_nothing(stack: StackFactory) -> None:
    async with stack() as s:
        good = await s.client.request("POST", f"{V1}/validate", {"spec": spec_text("shop", web={})})
        assert good.json() == {"valid": True, "errors": []}
        bad = {"spec": "version: v1\ndeployment: shop\nservices:\n  web: {imag: x}\n  db: {bogus: 1}\n"}
        found = (await s.client.request("POST", f"{V1}/validate", bad)).json()
        assert not found["valid"]
        assert {error["line"] for error in found["errors"]} >= {4, 5}
        assert s.views.deployments() == []


async def test_validate_and_plan_agree_on_relative_sources(stack: StackFactory) -> None:
    mount = {"type": "bind", "source": "./data", "target": "/data"}
    text = spec_text("shop", web={"storage": [mount]})
    async with stack() as s:
        for file, good in (("/srv/shop.yml", True), ("shop.yml", False)):
            body = {"spec": text, "file": file}
            found = (await s.client.request("POST", f"{V1}/validate", body)).json()
            planned = await s.client.request("POST", f"{V1}/deployments:plan", body)
            assert found["valid"] == good == (planned.status == 200)
            assert good or found["errors"] == planned.json()["errors"]
