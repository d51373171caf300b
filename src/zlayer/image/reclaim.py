"""What of the images may go, and in which order. Pure: from what there is to a list of pieces.

Never what an instance runs or a kept revision names. First what nobody stands on, then images that lost their name,
then packed layers (their unpacked twins stay, so nothing stops running; a push or export must fetch them again), then
unused images, the one that was used longest ago first: its value is what it costs to get again over its size and age,
and cost and size go together.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from zlayer.image.contract import Piece, Want
from zlayer.model.units import Bytes, Timestamp


@dataclass(frozen=True, slots=True)
class Held:
    """An image of the node. `packed` are its compressed layers; `documents` its manifests and config."""

    reference: str
    layers: tuple[str, ...]
    packed: tuple[str, ...]
    documents: tuple[str, ...]
    used_at: Timestamp
    in_use: bool = False
    superseded: bool = False


@dataclass(frozen=True, slots=True)
class Holdings:
    """All images; bytes on disk of each layer and blob; layers and blobs that no image stands on."""

    images: tuple[Held, ...]
    sizes: Mapping[str, int]
    orphans: Collection[str] = ()

    def users(self) -> Counter[str]:
        """How many images stand on each content."""
        return Counter(content for one in self.images for content in set(contents(one)))

    def alone(self, image: Held, users: Mapping[str, int]) -> int:
        """Bytes that only this image stands on, by `users`."""
        return sum(self.sizes.get(content, 0) for content in set(contents(image)) if users[content] == 1)


def contents(image: Held) -> Iterator[str]:
    yield from (*image.layers, *image.packed, *image.documents)


def plan(holdings: Holdings, want: Want, now: Timestamp) -> list[Piece]:
    """Pieces in the order in which they are to go. With `want.bytes` the list ends when these are free."""
    chosen: list[Piece] = []
    freed = 0
    for piece in _candidates(holdings, want, now):
        if want.bytes is not None and freed >= want.bytes:
            break
        chosen.append(piece)
        freed += piece.size
    return chosen


def _candidates(holdings: Holdings, want: Want, now: Timestamp) -> Iterator[Piece]:
    for orphan in sorted(holdings.orphans):
        yield Piece("orphan", orphan, Bytes(holdings.sizes.get(orphan, 0)), "nothing stands on it")
    left = _Left(holdings)
    unused = [one for one in holdings.images if not one.in_use]
    for image in (one for one in unused if one.superseded):
        yield left.without(image, "its name has moved on")
    if want.bytes is not None:
        for piece in _packed(holdings):
            yield piece
            left.packed.add(piece.name)
    if not want.unused and want.bytes is None:
        return
    for image in sorted((one for one in unused if not one.superseded), key=lambda one: one.used_at):
        if now - image.used_at >= want.older_than:
            days = (now - image.used_at) / 86400
            yield left.without(image, f"not used for {days:.1f} days")


class _Left:
    """What is left while pieces go. `packed` are layers in their packed form that have gone.

    A name takes all its platforms with it. Counted once for all images: to look at all others for each would take
    seconds for a thousand.
    """

    def __init__(self, holdings: Holdings) -> None:
        self._holdings, self._users = holdings, holdings.users()
        self._named: dict[str, list[Held]] = defaultdict(list)
        for image in holdings.images:
            self._named[image.reference].append(image)
        self.packed: set[str] = set()

    def without(self, image: Held, why: str) -> Piece:
        """The piece that an image is; it goes."""
        others = self._named.pop(image.reference, [])
        itself = 1 if others else 0
        mine = {one for one in contents(image) if self._users[one] == itself} - self.packed
        size = sum(self._holdings.sizes.get(one, 0) for one in mine)
        for one in others:
            self._users.subtract(set(contents(one)))
        return Piece("image", image.reference, Bytes(size), why)


def _packed(holdings: Holdings) -> Iterator[Piece]:
    """The largest first."""
    users = Counter(packed for image in holdings.images for packed in image.packed)
    for packed in sorted(users, key=lambda one: -holdings.sizes.get(one, 0)):
        if size := holdings.sizes.get(packed, 0):
            yield Piece("packed", packed, Bytes(size), "its layer is unpacked")
