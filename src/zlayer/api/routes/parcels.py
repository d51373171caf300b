"""Images from one node to another: what is missing there, blob by blob, then the image."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import asdict
from typing import Annotated

from fastapi import Query
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse

from zlayer.api.answer import answer, documented
from zlayer.api.answers import Answer
from zlayer.api.area import area
from zlayer.api.arriving import Arriving
from zlayer.api.authorise import V1
from zlayer.api.bodies import DIGEST, ParcelBody
from zlayer.api.oneoff import blob
from zlayer.api.pulls import accept
from zlayer.api.routes.images import image_item
from zlayer.api.services import Api
from zlayer.api.streams import NDJSON, Emit, Stream
from zlayer.image.contract import Progress
from zlayer.image.parcel_contract import Part
from zlayer.model.errors import Deadline, ZlayerError
from zlayer.model.units import Bytes

router = area(prefix=f"{V1}/images", tag="images")
BLOBS = f"{V1}/images/blobs"
RAW = "application/octet-stream"
Digest = Annotated[str, Query(pattern=DIGEST)]
Size = Annotated[int, Query(ge=0, lt=2**63)]
_ACCEPTED = {"type": "object", "description": "A layer's progress, then `{image}` or `{error}`"}


class PartItem(Answer):
    """A blob; `here`: how many of its bytes have arrived."""

    digest: str
    size: int
    here: int


class ParcelItem(Answer):
    """An image as it travels to another node: all the blobs it stands on."""

    reference: str
    digest: str
    index_digest: str
    platform: str
    parts: list[PartItem]


class MissingItem(Answer):
    missing: list[PartItem]


@router.get(
    "/parcel",
    summary="All that a local image stands on, to send it to another node",
    responses=documented(ParcelItem, errors=(404, 422)),
)
async def parcel(api: Api, reference: Annotated[str, Query()]) -> Response:
    return answer(asdict(await api.agent.images.parcels.parcel(reference)))


@router.get(
    "/blobs",
    summary="A blob of a local image",
    responses=documented({"type": "string", "format": "binary"}, media_type=RAW, what="The blob", errors=(404, 422)),
)
async def read(api: Api, digest: Digest, offset: Size = 0) -> Response:
    """From byte `offset` on."""
    pieces = api.agent.images.parcels.read(digest, offset)
    first = await anext(pieces, b"")  # what is not there is told before the answer begins
    return StreamingResponse(_with(first, pieces), media_type=RAW, headers={"Cache-Control": "no-store"})


@router.post(
    "/missing",
    summary="What this node lacks of an image of another",
    responses=documented(MissingItem, errors=(422,)),
)
async def missing(api: Api, body: ParcelBody) -> Response:
    """Names the blobs that are not here, with how much of each has arrived. They are expected for ten minutes."""
    lacks = await api.agent.images.parcels.missing(body.parcel())
    return answer({"missing": [asdict(one) for one in lacks]})


@router.post("/blobs", summary="Take in a blob", responses=documented(PartItem, errors=(409, 422, 503)))
async def take(api: Api, request: Request, digest: Digest, size: Size, offset: Size = 0) -> Response:
    """The body is the blob from byte `offset` on. One that broke off goes on where it did; ask what is missing."""
    arriving = Arriving(request)
    try:
        here = await api.agent.images.parcels.take(Part(digest, Bytes(size), Bytes(offset)), arriving.pieces())
    except Deadline:
        raise
    except ZlayerError:
        await arriving.drain()
        raise
    except ClientDisconnect:
        return Response(status_code=400)  # nobody reads it
    return answer({"digest": digest, "size": size, "here": here})


@router.post(
    "/accept",
    summary="Make an image of blobs that were sent",
    responses=documented(_ACCEPTED, media_type=NDJSON, what="Progress, line by line", errors=(422,)),
)
async def accept_image(api: Api, body: ParcelBody) -> Response:
    async def produce(emit: Emit) -> None:
        async def tell(progress: Progress) -> None:
            await emit(blob(progress))

        image = await accept(api.agent.images, body.parcel(), tell=tell)
        await emit({"image": image_item(image)})

    return Stream(produce, stopping=api.stopping)


async def _with(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for piece in rest:
        yield piece
