"""The services of a deployment: how they stand, their containers, logs, scale and exec."""

from __future__ import annotations

import time
from typing import Annotated, Any

from fastapi import Query, Request, WebSocket
from starlette.responses import Response

from zlayer.api.answer import answer, documented, ref
from zlayer.api.answers import Accepted, ExecResult, LogItem
from zlayer.api.area import area
from zlayer.api.authorise import DEPLOYMENT, SERVICE
from zlayer.api.bodies import ExecBody, ExecStart, ReplicasBody
from zlayer.api.channel import Channel, first_message
from zlayer.api.execute import collect, exec_request
from zlayer.api.logs import Choose, Window, plain, send_logs
from zlayer.api.objects import Container, ServiceSummary
from zlayer.api.routes.deployments import accepted
from zlayer.api.services import Api, Services
from zlayer.api.streams import NDJSON, Emit, Stream, while_connected
from zlayer.api.times import parse_since
from zlayer.api.wellformed import check_exec

router = area(tag="services")

Lines = Annotated[int, Query(ge=0, le=1_000_000, description="The newest so many; 0 is none of the past")]
Follow = Annotated[bool, Query(description="Go on with what is written from now on")]
Since = Annotated[str | None, Query(description="A time, or how long ago: 10m")]
Slot = Annotated[int | None, Query(ge=1, description="Only this replica")]
LOGS = documented(ref(LogItem), media_type=NDJSON, what="One line per line, oldest first", errors=(404, 422))


@router.get(
    f"{DEPLOYMENT}/services",
    summary="Services of a deployment",
    responses=documented(list[ServiceSummary], errors=(404,)),
)
async def services(api: Api, deployment: str) -> Response:
    return answer(api.views.deployment(deployment)["services"])


@router.get(SERVICE, summary="One service", responses=documented(ServiceSummary, errors=(404,)))
async def service_one(api: Api, deployment: str, service: str) -> Response:
    return answer(api.views.service(deployment, service))


@router.get(
    f"{SERVICE}/containers",
    summary="Instances of a service",
    responses=documented(list[Container], errors=(404,)),
)
async def containers(api: Api, deployment: str, service: str) -> Response:
    api.views.service(deployment, service)
    return answer(api.views.instances(deployment, service))


@router.post(
    f"{SERVICE}/scale",
    status_code=202,
    summary="Set its replicas",
    responses=documented(Accepted, status=202, errors=(404, 422)),
)
async def scale(api: Api, deployment: str, service: str, body: ReplicasBody) -> Response:
    return await accepted(api, await api.wishes.scale(deployment, {service: body.replicas}))


@router.get(f"{DEPLOYMENT}/logs", summary="Log of all services, merged", responses=LOGS)
async def deployment_logs(
    api: Api, request: Request, deployment: str, lines: Lines = 100, follow: Follow = False, since: Since = None
) -> Response:
    api.views.deployment(deployment)

    def choose() -> list[dict[str, Any]]:
        return api.views.instances(deployment)

    return log_stream(api, request, choose, Window(lines, parse_since(since, time.time()), follow))


@router.get(f"{SERVICE}/logs", summary="Log of a service", responses=LOGS)
async def service_logs(  # noqa: PLR0913, PLR0917 - each is a query parameter
    api: Api,
    request: Request,
    deployment: str,
    service: str,
    lines: Lines = 100,
    follow: Follow = False,
    since: Since = None,
    instance: Slot = None,
) -> Response:
    api.views.check_service(deployment, service)
    if instance is not None:
        api.views.of_service(deployment, service, instance)

    def choose() -> list[dict[str, Any]]:
        rows = api.views.instances(deployment, service)
        return [row for row in rows if instance in {None, row["replica"]}]

    return log_stream(api, request, choose, Window(lines, parse_since(since, time.time()), follow))


@router.post(
    f"{SERVICE}/exec",
    summary="Run a command in a replica and wait for it",
    responses=documented(ExecResult, errors=(404, 409, 422)),
)
async def exec_once(api: Api, request: Request, deployment: str, service: str, body: ExecBody) -> Response:
    check_exec(body)
    target = api.views.resolve(deployment, service, body.slot)

    async def work() -> dict[str, object]:
        async with await api.agent.exec(target, exec_request(body)) as session:
            return await collect(session)

    return answer(await while_connected(request, work))


@router.websocket(f"{SERVICE}/exec")
async def exec_live(api: Api, websocket: WebSocket, deployment: str, service: str) -> None:
    """First message: an ExecStart as JSON. Then frames as `channel` describes; last `{"exit_code": n}`."""
    api.views.check_service(deployment, service)
    start = await first_message(websocket, ExecStart)
    check_exec(start)
    target = api.views.resolve(deployment, service, start.slot)
    async with await api.agent.exec(target, exec_request(start)) as session:
        channel = Channel(websocket, api.stopping)
        if start.tty and start.rows and start.columns:
            await session.resize(start.rows, start.columns)
        if not start.stdin:
            await session.close_stdin()
        code = await channel.pump(session)
        await channel.end({"exit_code": code})


def log_stream(api: Services, request: Request, choose: Choose, window: Window) -> Response:
    async def produce(emit: Emit) -> None:
        await send_logs(api, choose, window, emit)

    if "text/plain" in request.headers.get("accept", ""):
        return Stream(produce, stopping=api.stopping, encode=plain, media_type="text/plain")
    return Stream(produce, stopping=api.stopping)
