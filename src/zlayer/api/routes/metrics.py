"""Figures of this daemon and its deployments, for Prometheus."""

from __future__ import annotations

from starlette.responses import Response

from zlayer.api.answer import TEXT, documented
from zlayer.api.area import area
from zlayer.api.metrics.exposition import CONTENT_TYPE
from zlayer.api.metrics.scrape import scrape
from zlayer.api.services import Api

router = area(tag="metrics")


@router.get(
    "/metrics",
    summary="Figures in Prometheus' text format",
    responses=documented(TEXT, media_type="text/plain", what="Prometheus text exposition 0.0.4"),
)
async def metrics(api: Api) -> Response:
    return Response(await scrape(api), media_type=CONTENT_TYPE)
