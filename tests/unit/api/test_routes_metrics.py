"""A whole scrape as it is answered (zlayer.api.routes.metrics, zlayer.api.metrics.node, zlayer.api.process)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import anyio
import pytest

from zlayer.agent.planes import Trouble
from zlayer.api.metrics import scrape
from zlayer.api.metrics.exposition import CONTENT_TYPE
from zlayer.api.process import taken
from zlayer.model.errors import Unavailable
from zlayer.model.routes import RouteTable
from zlayer.model.units import Seconds
from zlayer.proxy.contract import BackendStats, ServerStats
from zlayer.testing.prometheus import Metric, parse

from .conftest import Stack, StackFactory

pytestmark = pytest.mark.anyio
NAME = "shop/web/http"


class Traffic:
    """`seconds` until it answers; `fault` instead of an answer."""

    def __init__(self, seconds: float = 0.0, fault: Exception | None = None) -> None:
        self.seconds, self.fault = seconds, fault

    def routes(self) -> RouteTable:
        return RouteTable()

    async def backends(self) -> Mapping[str, BackendStats]:
        await anyio.sleep(self.seconds)
        if self.fault is not None:
            raise self.fault
        return {NAME: BackendStats({"i1": ServerStats("up", 1, 7, 0)}, 7, 2, {"2xx": 7}, 0, 0, 1)}

    async def settled(self, revision: int) -> None:
        """At once."""

    def failing(self) -> Mapping[str, str]:
        return {"names": "no answer"}

    def troubles(self, deployment: str) -> list[Trouble]:
        return []


async def scraped(s: Stack, role: str | None = None) -> dict[str, Metric]:
    client = s.client if role is None else s.door(role)
    reply = await client.request("GET", "/metrics")
    assert (reply.status, reply.headers["content-type"]) == (200, CONTENT_TYPE)
    return parse(reply.body.decode())


async def test_it_tells_of_everything(stack: StackFactory) -> None:
    async with stack() as s:
        s.services.agent.traffic = Traffic()
        await s.deploy()
        found = await scraped(s)
        assert found["zlayer_service_replicas_ready"].value(deployment="shop", service="web") == 1
        assert found["zlayer_instances"].value(state="running") == 1
        assert found["zlayer_proxy_requests_total"].value(deployment="shop", service="web", endpoint="http") == 7
        assert found["zlayer_plane_failing"].value(plane="names") == 1
        assert found["zlayer_images"].value() == 1
        assert found["zlayer_store_revision"].value() == s.views.revision
        assert found["zlayer_data_size_bytes"].value() >= found["zlayer_data_free_bytes"].value() > 0
        assert found["zlayer_build_info"].labels("version") == {"0.0.0"}
        assert found["zlayer_s3_failing"].value() == 0
        assert (found["zlayer_s3_waiting_blobs"].value(), found["zlayer_s3_waiting_bytes"].value()) == (1, 5)
        assert {found["zlayer_scrape_part_failed"].value(part=part) for part in ("proxy", "images", "disk")} == {0}


async def test_every_role_may_read_it_and_nobody_without_a_token(stack: StackFactory) -> None:
    async with stack() as s:
        for role in ("admin", "operator", "reader"):
            assert "zlayer_build_info" in await scraped(s, role)
        assert (await s.door(None).request("GET", "/metrics")).status == 401
        assert (await s.door("wrong").request("GET", "/metrics")).status == 401
        assert (await s.client.request("POST", "/metrics", {})).status == 405


@pytest.mark.parametrize("bad", [Traffic(fault=Unavailable("HAProxy does not answer")), Traffic(seconds=60)])
async def test_a_proxy_that_does_not_tell_is_left_out(
    stack: StackFactory, monkeypatch: pytest.MonkeyPatch, bad: Traffic
) -> None:
    monkeypatch.setattr(scrape, "PATIENCE", Seconds(0.05))
    async with stack() as s:
        s.services.agent.traffic = bad
        found = await scraped(s)
        assert "zlayer_proxy_requests_total" not in found
        assert found["zlayer_scrape_part_failed"].value(part="proxy") == 1
        assert found["zlayer_plane_failing"].value(plane="names") == 1
        assert found["zlayer_scrape_part_failed"].value(part="images") == 0


async def test_without_traffic_nobody_is_asked_for_it(stack: StackFactory) -> None:
    async with stack() as s:
        found = await scraped(s)
        assert "zlayer_plane_failing" not in found
        assert found["zlayer_scrape_part_failed"].labels("part") == {"images", "disk"}


async def test_the_reference_page_names_every_metric_and_no_other(stack: StackFactory) -> None:
    page = (Path(__file__).parents[3] / "docs" / "reference-api.md").read_text()
    section = page.partition("\n## Metrics\n")[2].partition("\n## ")[0]
    async with stack() as s:
        s.services.agent.traffic = Traffic()
        known = set(await scraped(s))
    assert set(re.findall(r"`((?:zlayer|process)_[a-z0-9_]+)", section)) == known


def test_the_process_is_this_one() -> None:
    found = taken()
    assert found.cpu_seconds > 0
    assert found.resident > 1 << 20
    assert 3 <= found.descriptors <= found.most_descriptors
