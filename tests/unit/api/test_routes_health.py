"""Alive and ready (zlayer.api.routes.health)."""

from __future__ import annotations

import pytest

from .conftest import StackFactory

pytestmark = pytest.mark.anyio
V1 = "/api/v1"


async def test_health_says_ready_once_recovered_and_stopping_when_told(stack: StackFactory) -> None:
    async with stack() as s:
        ready = await s.client.request("GET", "/health/ready")
        assert (ready.status, ready.json()["status"]) == (200, "ok")
        s.services.stopping.set()
        assert (await s.client.request("GET", "/health/ready")).status == 503
        assert (await s.client.request("GET", "/health/live")).status == 200
