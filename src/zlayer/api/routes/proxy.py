"""What the node's proxy goes by: every route, and every backend with its servers and counters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

from zlayer.api.answer import answer, documented
from zlayer.api.area import area
from zlayer.api.authorise import V1
from zlayer.api.objects import BackendItem, RouteItem
from zlayer.api.services import Api
from zlayer.model.routes import Backend, Listener, Route, RouteTable
from zlayer.proxy.contract import BackendStats

router = area(prefix=f"{V1}/proxy", tag="proxy")
Json = dict[str, Any]  # Any: JSON objects


@router.get(
    "/routes", summary="What the proxy listens on, and where each route leads", responses=documented(list[RouteItem])
)
async def routes(api: Api) -> Response:
    table = _table(api)
    backends = {backend.name: backend for backend in table.backends}
    return answer([_route(one, route, backends[route.backend]) for one in table.listeners for route in one.routes])


@router.get(
    "/backends", summary="Who answers for each endpoint, with counters", responses=documented(list[BackendItem])
)
async def backends(api: Api) -> Response:
    stats = await api.agent.traffic.backends() if api.agent.traffic is not None else {}
    return answer([_backend(backend, stats.get(backend.name)) for backend in _table(api).backends])


def _table(api: Api) -> RouteTable:
    return api.agent.traffic.routes() if api.agent.traffic is not None else RouteTable()


def _names(backend: str) -> Mapping[str, str]:
    return dict(zip(("deployment", "service", "endpoint"), backend.split("/", 2), strict=True))


def _route(listener: Listener, route: Route, backend: Backend) -> Json:
    return {
        **_names(route.backend),
        "listener": listener.name,
        "addresses": list(listener.addresses),
        "port": listener.port,
        "mode": listener.mode,
        "host": route.host,
        "path": route.path,
        "servers": len(backend.servers),
        "certificates": list(listener.certificates),
    }


def _backend(backend: Backend, stats: BackendStats | None) -> Json:
    counted = stats.servers if stats is not None else {}
    return {
        **_names(backend.name),
        "mode": backend.mode,
        "balance": backend.balance,
        "servers": [
            {
                "id": server.id,
                "address": server.address,
                "port": server.port,
                "weight": server.weight,
                "state": counted[server.id].state if server.id in counted else "unknown",
                "current": counted[server.id].current if server.id in counted else 0,
                "total": counted[server.id].total if server.id in counted else 0,
                "errors": counted[server.id].errors if server.id in counted else 0,
            }
            for server in backend.servers
        ],
        "requests": stats.requests if stats is not None else 0,
        "rate": stats.rate if stats is not None else 0,
        "responses": dict(stats.responses) if stats is not None else {},
        "queued": stats.queued if stats is not None else 0,
    }
