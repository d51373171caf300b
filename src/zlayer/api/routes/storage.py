"""What images take on disk, how they came to be, and giving space back."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import Query
from starlette.responses import Response

from zlayer.api.answer import answer, documented
from zlayer.api.answers import DiskUsage, OriginItem, Reclaimed, TrustReport
from zlayer.api.area import area
from zlayer.api.authorise import V1
from zlayer.api.bodies import PruneBody
from zlayer.api.services import Api
from zlayer.api.tiers import standing
from zlayer.api.times import rfc3339
from zlayer.image.contract import Usage, Want
from zlayer.store.pins import pinned_images

router = area(prefix=V1, tag="storage")


@router.get("/system/df", summary="Bytes on disk, image by image", responses=documented(DiskUsage))
async def usage(api: Api) -> Response:
    pinned = await pinned_images(api.store, api.views.picture())
    return answer(_usage(await api.agent.images.stock.usage(pinned)))


@router.post(
    "/system/prune",
    summary="Give back what nothing needs: never what runs, or what a roll-back needs",
    responses=documented(Reclaimed, errors=(422,)),
)
async def prune(api: Api, body: PruneBody) -> Response:
    pinned = await pinned_images(api.store, api.views.picture())
    want = Want(unused=body.unused, older_than=body.older_than)
    pieces = await api.agent.images.stock.reclaim(pinned, want, dry_run=body.dry_run)
    freed = sum(piece.size for piece in pieces)
    return answer({"pieces": [asdict(piece) for piece in pieces], "bytes": freed, "dry_run": body.dry_run})


@router.get(
    "/images/history", summary="How an image came to be", responses=documented(list[OriginItem], errors=(404, 422))
)
async def history(api: Api, reference: Annotated[str, Query()]) -> Response:
    return answer([asdict(origin) for origin in await api.agent.images.stock.history(reference)])


@router.get(
    "/images/trust",
    summary="Which policy is for an image, whether it may run, and by which signature",
    responses=documented(TrustReport, errors=(403, 404, 422, 503)),
)
async def trust(api: Api, reference: Annotated[str, Query()]) -> Response:
    """Of a local image without the network, when its signature is kept; else its mirrors and its registry are asked."""
    return answer(asdict(await api.agent.images.trust(reference)))


def _usage(found: Usage) -> dict[str, Any]:  # Any: a JSON object
    images = [{**asdict(one), "used_at": rfc3339(one.used_at)} for one in found.images]
    return {**asdict(found), "images": images, "s3": standing(found.s3)}
