"""Is it alive, is it ready: for service managers, load balancers and `zlayer` itself. No token needed."""

from __future__ import annotations

import time

from starlette.responses import Response

from zlayer.api.answer import answer
from zlayer.api.answers import Alive
from zlayer.api.area import area
from zlayer.api.services import Api, Services

router = area(prefix="/health", tag="health")


@router.get("/live", summary="The process answers", responses={200: {"model": Alive}})
async def live(api: Api) -> Response:
    return answer(_alive(api, "ok"))


@router.get(
    "/ready",
    summary="It has adopted what runs and takes work",
    responses={200: {"model": Alive}, 503: {"model": Alive, "description": "Starting or stopping"}},
)
async def ready(api: Api) -> Response:
    if api.stopping.is_set():
        return answer(_alive(api, "stopping"), 503)
    if not api.ready.is_set():
        return answer(_alive(api, "starting"), 503)
    return answer(_alive(api, "ok"))


def _alive(api: Services, status: str) -> dict[str, object]:
    return {
        "status": status,
        "version": api.facts.version,
        "uptime_secs": round(time.time() - api.facts.started_at, 3),
        "runtime_name": api.facts.runtime,
    }
