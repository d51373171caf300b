"""Deployments: what is asked for, planned, changed and taken back."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from starlette.responses import Response

from zlayer.api.answer import TEXT, answer, documented
from zlayer.api.answers import Accepted, Plan
from zlayer.api.area import area
from zlayer.api.authorise import V1
from zlayer.api.bodies import DeployBody, PlanBody, ScaleBody, StartBody, StopBody
from zlayer.api.objects import DeploymentSummary
from zlayer.api.progress import follow_deployment
from zlayer.api.services import Api, Services
from zlayer.api.streams import SSE, Stream, sse

if TYPE_CHECKING:
    from zlayer.control.updates import Deployed
    from zlayer.control.wishes import PlanView

router = area(prefix=V1, tag="deployments")
NAMED = "/deployments/{deployment}"
NOTHING = "/-/"
"""A prefix without keys: listing it costs nothing and gives the store's revision."""


@router.post("/deployments:plan", summary="What deploying this would change", responses=documented(Plan, errors=(422,)))
async def plan(api: Api, body: PlanBody) -> Response:
    return answer(plan_json(await api.wishes.plan(body.spec, file=body.file, pull=body.pull)))


@router.post(
    "/deployments",
    status_code=202,
    summary="Deploy: create or update",
    responses=documented(Accepted, status=202, errors=(409, 422)),
)
async def deploy(api: Api, body: DeployBody) -> Response:
    return await _deploy(api, body)


@router.post(
    "/deploy",
    status_code=202,
    summary="The same as POST /deployments",
    responses=documented(Accepted, status=202, errors=(409, 422)),
)
async def deploy_alias(api: Api, body: DeployBody) -> Response:
    return await _deploy(api, body)


@router.put(
    NAMED,
    status_code=202,
    summary="Deploy under this name and no other",
    responses=documented(Accepted, status=202, errors=(409, 422)),
)
async def put(api: Api, deployment: str, body: DeployBody) -> Response:
    return await _deploy(api, body, deployment)


async def _deploy(api: Services, body: DeployBody, name: str | None = None) -> Response:
    done = await api.wishes.deploy(body.spec, file=body.file, expect_revision=body.revision, pull=body.pull, name=name)
    return await accepted(api, done)


@router.get("/deployments", summary="All deployments", responses=documented(list[DeploymentSummary]))
async def deployments(api: Api) -> Response:
    return answer(api.views.deployments())


@router.get(NAMED, summary="One deployment", responses=documented(DeploymentSummary, errors=(404,)))
async def deployment_one(api: Api, deployment: str) -> Response:
    return answer(api.views.deployment(deployment))


@router.delete(
    NAMED,
    status_code=202,
    summary="Wish it gone, with all of its instances",
    responses=documented(Accepted, status=202, errors=(404,)),
)
async def remove(api: Api, deployment: str) -> Response:
    return await accepted(api, await api.wishes.remove(deployment))


@router.get(
    f"{NAMED}/spec",
    summary="The YAML as it was sent",
    responses=documented(TEXT, media_type="application/yaml", errors=(404,)),
)
async def spec(api: Api, deployment: str) -> Response:
    return Response(api.views.spec(deployment), media_type="application/yaml")


@router.get(
    f"{NAMED}/events",
    summary="Follow its progress",
    description="Server-sent events: `event: status` with the deployment summary at once and on each change, and "
    "unnamed ones `{kind, message, service, instance, at}` for what happens. Ends when the client hangs up or the "
    "deployment is gone.",
    responses=documented(TEXT, media_type=SSE, errors=(404,)),
)
async def events(api: Api, deployment: str) -> Response:
    api.views.deployment(deployment)
    produce = follow_deployment(api, deployment)
    return Stream(produce, stopping=api.stopping, encode=sse, media_type=SSE)


@router.post(
    f"{NAMED}/stop",
    status_code=202,
    summary="Stop it or one service; instances are kept",
    responses=documented(Accepted, status=202, errors=(404, 422)),
)
async def stop(api: Api, deployment: str, body: StopBody | None = None) -> Response:
    wish = body or StopBody()
    return await accepted(api, await api.wishes.stop(deployment, wish.service, grace=wish.grace))


@router.post(
    f"{NAMED}/start",
    status_code=202,
    summary="Start what was stopped",
    responses=documented(Accepted, status=202, errors=(404, 422)),
)
async def start(api: Api, deployment: str, body: StartBody | None = None) -> Response:
    return await accepted(api, await api.wishes.start(deployment, (body or StartBody()).service))


@router.post(
    f"{NAMED}/scale",
    status_code=202,
    summary="Set the replicas of services",
    responses=documented(Accepted, status=202, errors=(404, 422)),
)
async def scale(api: Api, deployment: str, body: ScaleBody) -> Response:
    return await accepted(api, await api.wishes.scale(deployment, body.services))


async def accepted(api: Services, done: Deployed) -> Response:
    """The answer to a wish. Our own views show it by now: a client that looks next sees what it asked for."""
    await api.views.reached((await api.store.list(NOTHING)).revision)
    return answer({"deployment": done.name, "revision": done.revision, "changed": done.changed}, 202)


def plan_json(view: PlanView) -> dict[str, Any]:  # Any: a JSON object
    changes = [{**asdict(change), "instance": change.instance or None} for change in view.differences]
    summary = Counter(change.action for change in view.differences)
    return {
        "deployment": view.name,
        "revision": view.revision,
        "changes": changes,
        "summary": {action: summary[action] for action in ("create", "start", "replace", "remove", "keep")},
    }
