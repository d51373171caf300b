"""The node's data plane: what the proxy has counted for each endpoint, and which parts are not as wanted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from zlayer.api.metrics.exposition import Family, counter, gauge
from zlayer.proxy.contract import BackendStats

PLANES = ("network", "routes", "names")
SERVER_STATES = ("up", "draining", "down")


def planes(failing: Mapping[str, str]) -> Iterator[Family]:
    """The reasons are for `zlayer status`: a label with them would never be the same twice."""
    yield gauge(
        "zlayer_plane_failing",
        "1 where a part of the data plane is not as wanted; zlayer status says why.",
        [({"plane": name}, int(name in failing)) for name in dict.fromkeys((*PLANES, *sorted(failing)))],
    )


def proxy(stats: Mapping[str, BackendStats]) -> Iterator[Family]:
    """By endpoint. Counters start again when the proxy reloads."""
    rows = [(_labels(name), backend) for name, backend in sorted(stats.items())]
    yield counter(
        "zlayer_proxy_requests_total",
        "HTTP requests, or connections of tcp endpoints, that were for this endpoint.",
        [(labels, one.requests) for labels, one in rows],
    )
    yield counter(
        "zlayer_proxy_responses_total",
        "HTTP answers by the first digit of their status.",
        [(labels | {"code": code}, count) for labels, one in rows for code, count in sorted(one.responses.items())],
    )
    yield counter(
        "zlayer_proxy_errors_total",
        "Connections to replicas that failed, and answers of replicas that were none.",
        [(labels, one.errors) for labels, one in rows],
    )
    yield gauge(
        "zlayer_proxy_requests_in_flight",
        "Requests or connections under way, those at replicas that leave too.",
        [(labels, one.current) for labels, one in rows],
    )
    yield gauge(
        "zlayer_proxy_requests_queued",
        "Requests or connections that wait for a free replica.",
        [(labels, one.queued) for labels, one in rows],
    )
    yield gauge(
        "zlayer_proxy_servers",
        "Replicas behind the endpoint, by their state for the proxy.",
        [(labels | {"state": state}, count) for labels, one in rows for state, count in _states(one)],
    )


def _labels(backend: str) -> dict[str, str]:
    return dict(zip(("deployment", "service", "endpoint"), backend.split("/", 2), strict=True))


def _states(backend: BackendStats) -> Iterator[tuple[str, int]]:
    found = Counter(server.state for server in backend.servers.values())
    for state in SERVER_STATES:
        yield state, found[state]
