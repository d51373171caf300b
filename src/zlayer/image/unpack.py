"""One layer's archive unpacked while it arrives, with the digest of what came out and the seal of its tree.

The extractor and the decompressors are loaded with the first layer: a pull that unpacks in other processes needs none.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from zlayer.image.marks import Marks

if TYPE_CHECKING:
    from zlayer.image.blobs import Partial
    from zlayer.image.inflate import Bytestream

Json = dict[str, Any]  # Any: a JSON document


@dataclass(frozen=True, slots=True)
class Unpacked:
    """`diff_id` of the whole uncompressed archive; `seal` and `marks` as `LayerStore.commit` takes them."""

    diff_id: str
    seal: Json
    marks: Marks


class Arriving(Protocol):
    """The rest of a blob on its way to a partial: `readinto` fetches some more of it; 0: it is whole and right."""

    def readinto(self, buffer: memoryview, /) -> int: ...


class Unpack(Protocol):
    """Unpacks a blob into an empty directory.

    `arriving`: what makes the partial grow; None when it is whole and has been verified. `unpacked_so_far` is told the
    bytes of the blob that are unpacked, once all have arrived. Errors: those of `extract_layer`, `Inflated` and
    `arriving`; when they are raised nobody writes to the directory any more.
    """

    def __call__(
        self, partial: Partial, arriving: Arriving | None, target: Path, unpacked_so_far: Callable[[int], None], /
    ) -> Unpacked: ...


def unpack_here(
    partial: Partial, arriving: Arriving | None, target: Path, unpacked_so_far: Callable[[int], None], /
) -> Unpacked:
    """In this thread; a download goes through it byte for byte."""
    return unpacked(arriving or _Whole(partial, unpacked_so_far), target)


def unpacked(stream: Bytestream, target: Path) -> Unpacked:
    """Read to the end, also what follows the last frame: it counts for the blob's digest."""
    from zlayer.image.extract import extract_layer
    from zlayer.image.inflate import Inflated
    from zlayer.image.layer_seal import seal

    inflated = Inflated(stream)
    result = extract_layer(inflated, target)
    rest = memoryview(bytearray(64 * 1024))
    while stream.readinto(rest):
        pass
    return Unpacked(inflated.diff_id, seal(target), result.marks)


class _Whole:
    def __init__(self, partial: Partial, unpacked_so_far: Callable[[int], None]) -> None:
        self._partial, self._tell = partial, unpacked_so_far
        self._at = 0

    def readinto(self, buffer: memoryview, /) -> int:
        count = self._partial.readinto(buffer, self._at)
        self._at += count
        self._tell(self._at)
        return count
