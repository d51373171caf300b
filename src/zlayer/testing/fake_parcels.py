"""Parcels in memory: an image is one part, which is its own reference."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from hashlib import sha256

from zlayer.image.contract import Image, ImageConfig, Progress
from zlayer.image.parcel_contract import Parcel, Part
from zlayer.model.errors import Conflict, Corrupt, NotFound
from zlayer.model.units import Bytes, Timestamp


class FakeParcels:
    """`content` are blobs whole or not, by digest; `local` the images by name."""

    def __init__(self, local: dict[str, Image], content: dict[str, bytes]) -> None:
        self._local, self._content = local, content

    async def parcel(self, reference: str) -> Parcel:
        if reference not in self._local:
            raise NotFound(f"no image {reference}", hint="pull it")
        body = reference.encode()
        digest = f"sha256:{sha256(body).hexdigest()}"
        self._content[digest] = body
        image = self._local[reference]
        return Parcel(reference, image.digest, "", image.platform, (Part(digest, Bytes(len(body))),))

    async def read(self, digest: str, offset: int = 0) -> AsyncIterator[bytes]:
        if digest not in self._content:
            raise NotFound(f"no image stands on {digest}", hint="pull it")
        yield self._content[digest][offset:]

    async def missing(self, parcel: Parcel) -> Sequence[Part]:
        here = {part.digest: Bytes(len(self._content.get(part.digest, b""))) for part in parcel.parts}
        return [Part(p.digest, p.size, here[p.digest]) for p in parcel.parts if here[p.digest] != p.size]

    async def take(self, part: Part, pieces: AsyncIterator[bytes]) -> Bytes:
        before = self._content.get(part.digest, b"")
        if len(before) != part.here:
            raise Conflict(f"{len(before)} bytes are here, not {part.here}", hint="send it again")
        body = before + b"".join([piece async for piece in pieces])
        if len(body) >= part.size and f"sha256:{sha256(body).hexdigest()}" != part.digest:
            raise Corrupt(f"it is not {part.digest}", hint="send it again")
        self._content[part.digest] = body
        return Bytes(len(body))

    async def accept(self, parcel: Parcel, *, on_progress: Callable[[Progress], None] | None = None) -> Image:
        if await self.missing(parcel):
            raise Conflict("a part is not here", hint="ask what is missing again")
        for part in parcel.parts:
            if on_progress is not None:
                on_progress(Progress(part.digest, "done", part.size, part.size))
        image = Image(parcel.reference, parcel.digest, ImageConfig(), (), parcel.platform, Bytes(1), Timestamp(0))
        self._local[parcel.reference] = image
        return image
