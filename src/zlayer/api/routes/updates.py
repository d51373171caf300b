"""Updates: their history, the way back, pause, resume and abort; and what a service waits for."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from zlayer.api.answer import answer, documented
from zlayer.api.answers import Accepted
from zlayer.api.area import area
from zlayer.api.authorise import DEPLOYMENT, SERVICE
from zlayer.api.bodies import RollbackBody
from zlayer.api.objects import RevisionItem, WaitItem
from zlayer.api.routes.deployments import accepted
from zlayer.api.services import Api
from zlayer.api.times import rfc3339

router = area(tag="updates")
ERRORS = (404, 409)


@router.get(
    f"{DEPLOYMENT}/history",
    summary="Its revisions, newest first",
    responses=documented(list[RevisionItem], errors=(404,)),
)
async def history(api: Api, deployment: str) -> Response:
    listed = await api.wishes.updates.history(deployment)
    return answer(
        [
            {
                "revision": one.revision,
                "status": status,
                "at": rfc3339(one.at),
                "what": one.note.what,
                "reason": one.note.failed or one.note.reason,
            }
            for one, status in listed
        ]
    )


@router.post(
    f"{DEPLOYMENT}/rollback",
    status_code=202,
    summary="Go back to a revision, else to the last good one",
    responses=documented(Accepted, status=202, errors=(*ERRORS, 422)),
)
async def rollback(api: Api, deployment: str, body: RollbackBody | None = None) -> Response:
    wish = body or RollbackBody()
    return await accepted(api, await api.wishes.updates.rollback(deployment, wish.to, expect=wish.revision))


@router.post(
    f"{DEPLOYMENT}/pause",
    status_code=202,
    summary="Hold the update under way",
    responses=documented(Accepted, status=202, errors=ERRORS),
)
async def pause(api: Api, deployment: str) -> Response:
    return await accepted(api, await api.wishes.updates.pause(deployment))


@router.post(
    f"{DEPLOYMENT}/resume",
    status_code=202,
    summary="Go on with it, or with the next step of a canary",
    responses=documented(Accepted, status=202, errors=ERRORS),
)
async def resume(api: Api, deployment: str) -> Response:
    return await accepted(api, await api.wishes.updates.resume(deployment))


@router.post(
    f"{DEPLOYMENT}/abort",
    status_code=202,
    summary="Go back to the last good revision now",
    responses=documented(Accepted, status=202, errors=ERRORS),
)
async def abort(api: Api, deployment: str) -> Response:
    return await accepted(api, await api.wishes.updates.abort(deployment))


@router.get(f"{SERVICE}/why", summary="What its replicas wait for", responses=documented(list[WaitItem], errors=(404,)))
async def why(api: Api, deployment: str, service: str) -> Response:
    api.views.check_service(deployment, service)
    found: list[dict[str, Any]] = [  # Any: a JSON object
        {"replica": wait.slot, "reason": wait.reason, "until": rfc3339(wait.until) if wait.until else None}
        for wait in api.waits(deployment)
        if wait.service == service
    ]
    found += [
        {"replica": one["replica"], "reason": one["reason"], "until": None}
        for one in api.views.instances(deployment, service)
        if one["reason"] and one["state"] not in ("exited", "failed", "lost")
    ]
    found += [{"replica": 0, "reason": reason, "until": None} for reason in api.views.troubles(deployment, service)]
    return answer(found)
