"""Images of this node: list, inspect, pull, push, name, export, import, remove."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from typing import Annotated, Any

from fastapi import Query
from starlette.requests import Request
from starlette.responses import Response

from zlayer.api.answer import answer, documented
from zlayer.api.answers import Deleted, ImageDetails, ImageItem
from zlayer.api.area import area
from zlayer.api.authorise import V1
from zlayer.api.bodies import PullBody, PushBody, TagBody, VerifyBody
from zlayer.api.oneoff import blob
from zlayer.api.pipes import Piped, fed
from zlayer.api.pulls import pull, push, verify
from zlayer.api.services import Api
from zlayer.api.streams import NDJSON, Emit, Stream
from zlayer.api.times import rfc3339
from zlayer.image.contract import Compression, Image, Progress
from zlayer.model.errors import NotFound
from zlayer.store.pins import running_images

router = area(prefix=f"{V1}/images", tag="images")
IMPORT = f"{V1}/images/import"
TAR = "application/x-tar"
_PUSHED = {"type": "object", "description": "A blob's progress, then `{pushed}` or `{error}`"}
_VERIFIED = {"type": "object", "description": "What is looked at, then `{verified}` or `{error}`"}
_PULLED = {"type": "object", "description": "A blob's progress, then `{image}` or `{error}`"}


@router.get("", summary="Local images", responses=documented(list[ImageItem]))
async def images(api: Api) -> Response:
    return answer([image_item(image) for image in await api.agent.images.list()])


@router.post(
    "/pull",
    summary="Pull an image",
    responses=documented(_PULLED, media_type=NDJSON, what="Progress, line by line", errors=(422,)),
)
async def pull_image(api: Api, body: PullBody) -> Response:
    async def produce(emit: Emit) -> None:
        async def tell(progress: Progress) -> None:
            await emit(blob(progress))

        images = api.agent.images
        image = await pull(
            images, body.reference, policy=body.policy, platform=body.platform, limit_rate=body.limit_rate, tell=tell
        )
        await emit({"image": image_item(image)})

    return Stream(produce, stopping=api.stopping)


@router.post(
    "/push",
    summary="Push a local image to its registry, or under another name",
    responses=documented(_PUSHED, media_type=NDJSON, what="Progress, line by line", errors=(422,)),
)
async def push_image(api: Api, body: PushBody) -> Response:
    async def produce(emit: Emit) -> None:
        async def tell(progress: Progress) -> None:
            await emit(blob(progress))

        pushed = await push(api.agent.images, body.reference, body.target, tell=tell)
        await emit({"pushed": asdict(pushed)})

    return Stream(produce, stopping=api.stopping)


@router.post(
    "/verify",
    summary="Look whether images, or all that is kept of them, are whole",
    responses=documented(_VERIFIED, media_type=NDJSON, what="Progress, line by line", errors=(422,)),
)
async def verify_images(api: Api, body: VerifyBody) -> Response:
    """With `repair`, what is bad is dropped and pulled again; what an instance runs on stays."""

    async def produce(emit: Emit) -> None:
        async def tell(progress: Progress) -> None:
            await emit(blob(progress))

        def in_use() -> set[str]:
            return running_images(api.views.picture())

        found = await verify(api.agent.images, body.references, repair=body.repair, in_use=in_use, tell=tell)
        faults = [{**asdict(one), "bad": one.bad} for one in found.faults]
        await emit({"verified": {**asdict(found), "faults": faults}})

    return Stream(produce, stopping=api.stopping)


@router.post("/tag", summary="Give an image another name", responses=documented(ImageItem, errors=(404, 422)))
async def tag_image(api: Api, body: TagBody) -> Response:
    return answer(image_item(await api.agent.images.tag(body.source, body.target)))


@router.get(
    "/export",
    summary="Images as one tar: an OCI layout that docker loads too",
    responses=documented({"type": "string", "format": "binary"}, media_type=TAR, what="The archive", errors=(404,)),
)
async def export_images(
    api: Api, reference: Annotated[list[str], Query()], compression: Annotated[Compression, Query()] = ""
) -> Response:
    images = api.agent.images
    for one in reference:
        if await images.find(one) is None:
            raise NotFound(f"no local image {one}", hint=f"zlayer pull {one}")
    return Piped(partial(images.export, reference, compression=compression), TAR)


@router.post(
    "/import",
    summary="Take in an archive of images, or a plain root file system",
    responses=documented(list[ImageItem], errors=(422,)),
)
async def import_images(
    api: Api,
    request: Request,
    name: Annotated[str, Query()] = "",
    rootfs: Annotated[bool, Query()] = False,
    platform: Annotated[str | None, Query()] = None,
) -> Response:
    """The body is the tar, plain or packed with gzip or zstd."""
    work = partial(api.agent.images.import_archive, name=name, rootfs=rootfs, platform=platform)
    return answer([image_item(image) for image in await fed(request, work)])


@router.get(
    "/{reference:path}",
    summary="One image, by name, digest or the start of a digest",
    responses=documented(ImageDetails, errors=(404, 422)),
)
async def image_one(api: Api, reference: str) -> Response:
    image = await api.agent.images.find(reference)
    if image is None:
        raise NotFound(f"no local image {reference}", hint=f"zlayer pull {reference}")
    return answer(image_details(image))


@router.delete(
    "/{reference:path}",
    summary="Forget a name and what only it needs; never an image in use",
    responses=documented(Deleted, errors=(404, 409, 422)),
)
async def remove(api: Api, reference: str) -> Response:
    in_use = sorted(running_images(api.views.picture()))
    deleted = await api.agent.images.remove(reference, in_use=in_use)
    return answer({"deleted": list(deleted)})


def image_item(image: Image) -> dict[str, Any]:  # Any: a JSON object
    return {
        "reference": image.reference,
        "digest": image.digest,
        "index_digest": image.index_digest,
        "platform": image.platform,
        "size": image.size,
        "layers": len(image.layers),
        "pulled_at": rfc3339(image.pulled_at),
    }


def image_details(image: Image) -> dict[str, Any]:
    config = asdict(image.config)
    return {**image_item(image), "diff_ids": list(image.layers), "config": config}
