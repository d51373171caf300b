"""What belongs to images at their registries: lists of it, attaching to them, their SBOMs."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from typing import Annotated

from fastapi import Query
from starlette.requests import Request
from starlette.responses import Response

from zlayer.api.answer import answer, documented
from zlayer.api.answers import AttachedItem, ReferrerItem, SbomItem
from zlayer.api.area import area
from zlayer.api.authorise import V1
from zlayer.api.pipes import fed
from zlayer.api.services import Api

router = area(prefix=f"{V1}/images", tag="images")
ATTACH = f"{V1}/images/attach"


@router.get(
    "/referrers",
    summary="What is attached to an image at its registry",
    responses=documented(list[ReferrerItem], errors=(404, 422)),
)
async def referrers(api: Api, reference: Annotated[str, Query()], type: Annotated[str, Query()] = "") -> Response:  # noqa: A002  # the query's own word
    found = await api.agent.images.artifacts.referrers(reference, kind=type)
    return answer([asdict(one) for one in found])


@router.post(
    "/attach",
    summary="Attach a file to an image at its registry",
    responses=documented(AttachedItem, errors=(404, 422)),
)
async def attach(
    api: Api,
    request: Request,
    reference: Annotated[str, Query()],
    type: Annotated[str, Query()],  # noqa: A002  # the query's own word
    name: Annotated[str, Query()] = "",
) -> Response:
    """The body is the file, as it is."""
    work = partial(_attach, api, reference, type, name)
    return answer(await fed(request, work))


async def _attach(api: Api, reference: str, kind: str, name: str, source: int) -> dict[str, str]:
    return asdict(await api.agent.images.artifacts.attach(reference, source, kind=kind, name=name))


@router.get(
    "/sbom", summary="The SBOM attached to an image at its registry", responses=documented(SbomItem, errors=(404, 422))
)
async def sbom(api: Api, reference: Annotated[str, Query()], type: Annotated[str, Query()] = "") -> Response:  # noqa: A002  # the query's own word
    return answer(asdict(await api.agent.images.artifacts.sbom(reference, kind=type)))
