"""What is told of the data plane (zlayer.api.metrics.traffic)."""

from __future__ import annotations

from zlayer.api.metrics.exposition import exposition
from zlayer.api.metrics.traffic import planes, proxy
from zlayer.proxy.contract import BackendStats, ServerStats
from zlayer.testing.prometheus import parse

HTTP = {"deployment": "shop", "service": "web", "endpoint": "http"}


def test_each_endpoint_has_its_counters() -> None:
    servers = {
        "i1": ServerStats("up", 1, 4, 0),
        "i2": ServerStats("up", 0, 3, 2),
        "i3": ServerStats("draining", 1, 9, 0),
    }
    stats = {
        "shop/web/http": BackendStats(servers, 20, 2, {"2xx": 15, "5xx": 5}, 3, 2, 6),
        "shop/db/sql": BackendStats({}, 1, 0, {}, 0, 0, 0),
    }
    found = parse(exposition(proxy(stats)).decode())
    assert found["zlayer_proxy_requests_total"].value(**HTTP) == 20
    assert found["zlayer_proxy_responses_total"].value(**HTTP, code="5xx") == 5
    assert found["zlayer_proxy_errors_total"].value(**HTTP) == 2
    assert found["zlayer_proxy_requests_in_flight"].value(**HTTP) == 6
    assert found["zlayer_proxy_requests_queued"].value(**HTTP) == 3
    states = [found["zlayer_proxy_servers"].value(**HTTP, state=state) for state in ("up", "draining", "down")]
    assert states == [2, 1, 0]
    assert found["zlayer_proxy_requests_total"].value(deployment="shop", service="db", endpoint="sql") == 1


def test_no_engine_has_no_samples() -> None:
    assert all(not metric.samples for metric in parse(exposition(proxy({})).decode()).values())


def test_planes_have_no_reasons() -> None:
    body = exposition(planes({"routes": "port 80 is taken by nginx, pid 7"})).decode()
    found = parse(body)["zlayer_plane_failing"]
    assert {name: found.value(plane=name) for name in ("network", "routes", "names")} == {
        "network": 0, "routes": 1, "names": 0,
    }  # fmt: skip
    assert "nginx" not in body
