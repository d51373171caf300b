"""Images from one node to another without a registry. Part of `image.contract`.

The sending node tells what an image stands on (`parcel`) and reads it out; the receiving one says what it lacks of it,
takes that blob by blob, from where an earlier try broke off, and then makes an image of it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from zlayer.model.units import Bytes

if TYPE_CHECKING:
    from zlayer.image.contract import Image, Progress


@dataclass(frozen=True, slots=True)
class Part:
    """A blob that an image stands on. `here`: how many of its bytes have arrived, where that is asked."""

    digest: str
    size: Bytes
    here: Bytes = Bytes(0)


@dataclass(frozen=True, slots=True)
class Parcel:
    """An image as it travels. `platform`: the one it was chosen by, of an index. `parts`: documents, then layers."""

    reference: str
    digest: str
    index_digest: str
    platform: str
    parts: tuple[Part, ...]


class Parcels(Protocol):
    async def parcel(self, reference: str) -> Parcel:
        """What a local image stands on. Packed layers that were given back for their space are fetched again.

        Errors: `NotFound`; those of a pull where something had to be fetched.
        """
        ...

    def read(self, digest: str, offset: int = 0) -> AsyncIterator[bytes]:
        """A blob of a local image, from that byte on. Errors: `NotFound`, before the first byte."""
        ...

    async def missing(self, parcel: Parcel) -> Sequence[Part]:
        """What is not here of it, and what there is of that. It is kept from collection for a while.

        Errors: `Denied` (its policy refuses the image by its name), `Exhausted` (the disk has no room for it).
        """
        ...

    async def take(self, part: Part, pieces: AsyncIterator[bytes]) -> Bytes:
        """Take a blob in from byte `part.here` on; how many bytes are here now, all of them verified if it is whole.

        What came before it broke off stays. Errors: `Conflict` (other bytes come next), `Unavailable` (it is being
        taken in already), `Corrupt` (not what its digest says; nothing of it stays), `Exhausted`, `Deadline` (silent).
        """
        ...

    async def accept(self, parcel: Parcel, *, on_progress: Callable[[Progress], None] | None = None) -> Image:
        """Unpack what was taken in and give it its name, which what had it before loses.

        Errors: `Denied`, `Invalid` (a name that pins another digest), `Conflict` (a part is not here any more: ask
        what is missing again), `Corrupt`, `Exhausted`.
        """
        ...
