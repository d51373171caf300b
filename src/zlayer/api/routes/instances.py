"""Single instances: every one the daemon has, of deployments and one-offs."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import Query, Request
from starlette.responses import Response

from zlayer.api.answer import answer, documented
from zlayer.api.answers import Removed, Stats
from zlayer.api.area import area
from zlayer.api.authorise import V1
from zlayer.api.logs import Window
from zlayer.api.objects import Container
from zlayer.api.routes.services import LOGS, Follow, Lines, Since, log_stream
from zlayer.api.services import Api
from zlayer.api.times import parse_since, rfc3339
from zlayer.model.instance import ONE_OFF

router = area(prefix=f"{V1}/instances", tag="instances")


@router.get("", summary="Instances, as `ps -c` shows them", responses=documented(list[Container], errors=(404,)))
async def instances(
    api: Api,
    deployment: Annotated[str | None, Query(description="Only of this one; `_run` are one-offs")] = None,
) -> Response:
    if deployment == ONE_OFF and ONE_OFF not in api.views.picture().instances:
        return answer([])
    return answer(api.views.instances(deployment or None))


@router.get("/{instance}", summary="One instance", responses=documented(Container, errors=(404,)))
async def instance_one(api: Api, instance: str) -> Response:
    return answer(api.views.instance(instance))


@router.delete(
    "/{instance}",
    status_code=202,
    summary="End and remove a one-off",
    responses=documented(Removed, status=202, errors=(404, 422)),
)
async def remove(api: Api, instance: str) -> Response:
    await api.wishes.remove_instance(instance)
    return answer({"instance": instance}, 202)


@router.get("/{instance}/stats", summary="Its counters and levels", responses=documented(Stats, errors=(404, 409)))
async def stats(api: Api, instance: str) -> Response:
    api.views.seen(instance)
    counters = await api.agent.stats(instance)
    return answer({**asdict(counters), "at": rfc3339(counters.at)})


@router.get("/{instance}/logs", summary="Its log", responses=LOGS)
async def logs(
    api: Api, request: Request, instance: str, lines: Lines = 100, follow: Follow = False, since: Since = None
) -> Response:
    api.views.seen(instance)

    def choose() -> list[dict[str, Any]]:  # Any: `ps -c` objects
        return [api.views.instance(instance)]

    return log_stream(api, request, choose, Window(lines, parse_since(since, time.time()), follow))
