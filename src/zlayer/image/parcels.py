"""Parcels over the stores of a `LocalImages`: blobs go out as they lie there, and come in beside those of pulls.

Bytes are hashed and written in threads, a piece at a time: however large a blob is, a piece of it is in memory.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from anyio import to_thread

from zlayer.image.blobs import BlobStore, Partial
from zlayer.image.contract import Image, OnProgress
from zlayer.image.parcel_contract import Parcel, Part
from zlayer.image.pull_order import Pulled, PullOrder
from zlayer.image.pull_process import run_pull
from zlayer.image.records import Record
from zlayer.image.reference import Reference
from zlayer.image.settings import RegistrySettings
from zlayer.model.errors import Conflict, Corrupt, Exhausted, Invalid, NotFound
from zlayer.model.units import Bytes, Seconds

PIECE = 1 << 20
LEASE = Seconds(600)
"""How long what has arrived waits for the rest before it is content of no image."""
_HINT = "send it again"


Outcome = list[tuple[Reference, Pulled]]


@dataclass(frozen=True, slots=True)
class Yard:
    """What a `LocalImages` lends. `admit` is its gate, by name; `settle` records what a worker unpacked."""

    root: Path
    blobs: BlobStore
    settings: RegistrySettings
    own: str
    find: Callable[[str], Record]
    held: Callable[[], set[str]]
    repack: Callable[[Record], Awaitable[None]]
    admit: Callable[[str], Reference]
    settle: Callable[[Callable[[], Awaitable[Outcome]], str], Awaitable[Sequence[Image]]]


class LocalParcels:
    """Implements `Parcels`. For one event loop."""

    def __init__(self, yard: Yard, now: Callable[[], float] = time.monotonic) -> None:
        self._yard, self._blobs, self._now = yard, yard.blobs, now
        self._leases: dict[str, tuple[float, frozenset[str]]] = {}
        """By manifest digest: until when its parts stay."""
        self._taking = 0

    @property
    def expecting(self) -> bool:
        """Whether content is here, or coming, that no record stands on yet."""
        self._leases = {key: lease for key, lease in self._leases.items() if lease[0] > self._now()}
        return bool(self._taking or self._leases)

    async def parcel(self, reference: str) -> Parcel:
        record = self._yard.find(reference)
        await self._yard.repack(record)
        image = record.image
        parts = tuple(Part(digest, Bytes(self._size(digest))) for digest in dict.fromkeys(record.blobs))
        platform = record.asked_platform or self._yard.own
        return Parcel(image.reference, image.digest, image.index_digest, platform, parts)

    async def read(self, digest: str, offset: int = 0) -> AsyncIterator[bytes]:
        self._blobs.path(digest)  # it is a digest
        if digest not in self._yard.held():
            raise NotFound(f"no image on this node stands on {digest}", hint="`zlayer image ls` shows what is here")
        self._size(digest)
        with self._blobs.path(digest).open("rb", buffering=0) as file:
            file.seek(offset)
            while piece := await to_thread.run_sync(file.read, PIECE):
                yield piece

    async def missing(self, parcel: Parcel) -> Sequence[Part]:
        self._yard.admit(parcel.reference)
        lacks = await to_thread.run_sync(self._lacks, parcel)
        self._room(sum(one.size - one.here for one in lacks), parcel.reference)
        self._leases[parcel.digest] = (self._now() + LEASE, frozenset(part.digest for part in parcel.parts))
        return lacks

    async def take(self, part: Part, pieces: AsyncIterator[bytes]) -> Bytes:
        self._renew(part.digest)
        self._taking += 1
        try:
            with self._blobs.partial(part.digest, wait=False) as partial:
                if self._blobs.has(part.digest, part.size):
                    return part.size
                if partial.size > part.size:
                    partial.reset()
                if partial.size != part.here:
                    raise Conflict(f"{partial.size} bytes of {part.digest} are here, not {part.here}", hint=_HINT)
                self._room(part.size - partial.size, part.digest)
                return await _Arrival(part, partial).run(pieces)
        finally:
            self._taking -= 1
            self._renew(part.digest)

    async def accept(self, parcel: Parcel, *, on_progress: OnProgress | None = None) -> Image:
        reference = self._yard.admit(parcel.reference)
        if reference.digest and reference.digest not in (parcel.digest, parcel.index_digest):
            raise Invalid(f"{parcel.reference} names another digest than {parcel.digest}", hint="send it by a tag")
        for part in parcel.parts:
            if not self._blobs.has(part.digest, part.size):
                raise Conflict(f"{part.digest} of {parcel.reference} is not here", hint="ask what is missing again")
        asked = "" if parcel.platform == self._yard.own else parcel.platform
        pinned = f"{reference.name}@{parcel.index_digest or parcel.digest}"
        order = PullOrder(self._yard.root, pinned, asked or None, self._yard.settings, offline=True)

        async def work() -> Outcome:
            try:
                pulled = await run_pull(order, on_progress or (lambda _progress: None))
            except (Corrupt, Exhausted):
                self._leases.pop(parcel.digest, None)  # what is here will not do
                raise
            if pulled.digest != parcel.digest:
                raise Corrupt(f"its index leads to {pulled.digest}, not to {parcel.digest}", hint=_HINT)
            return [(reference, pulled)]

        [image] = await self._yard.settle(work, asked)
        self._leases.pop(parcel.digest, None)
        return image

    def _size(self, digest: str) -> int:
        try:
            return self._blobs.path(digest).stat().st_size
        except FileNotFoundError:
            hint = "pull the image again: zlayer pull --policy always"
            raise NotFound(f"{digest} is not on this node any more", hint=hint) from None

    def _lacks(self, parcel: Parcel) -> list[Part]:
        lacking = [part for part in parcel.parts if not self._blobs.has(part.digest, part.size)]
        return [Part(part.digest, part.size, self._arrived(part)) for part in lacking]

    def _arrived(self, part: Part) -> Bytes:
        here = self._blobs.arrived(part.digest)
        return here if here <= part.size else Bytes(0)

    def _room(self, needed: int, what: str) -> None:
        """Refuse at once what cannot fit even packed."""
        self._yard.root.mkdir(parents=True, exist_ok=True)
        disk = os.statvfs(self._yard.root)
        free = disk.f_bavail * disk.f_frsize
        if needed > free:
            raise Exhausted(
                f"{what} needs at least {needed} bytes more, the disk of {self._yard.root} has {free} free",
                hint="free disk space there: zlayer system prune",
            )

    def _renew(self, digest: str) -> None:
        until = self._now() + LEASE
        self._leases = {k: (until if digest in one[1] else one[0], one[1]) for k, one in self._leases.items()}


class _Arrival:
    """One blob on its way in."""

    def __init__(self, part: Part, partial: Partial) -> None:
        self._part, self._partial = part, partial
        self._algorithm = part.digest.partition(":")[0]
        self._hash = hashlib.new(self._algorithm)

    async def run(self, pieces: AsyncIterator[bytes]) -> Bytes:
        try:
            await to_thread.run_sync(self._recall)
            await self._fill(pieces)
            if self._partial.size < self._part.size:
                return Bytes(self._partial.size)
            await to_thread.run_sync(self._finish)
        except (Corrupt, Exhausted):
            self._partial.discard()
            raise
        return self._part.size

    async def _fill(self, pieces: AsyncIterator[bytes]) -> None:
        """Batches large enough for a thread to be worth its while; of what breaks off, the last one is lost."""
        batch: list[bytes] = []
        size = 0
        async for piece in pieces:
            batch.append(piece)
            size += len(piece)
            if size >= PIECE:
                full, batch, size = batch, [], 0
                await to_thread.run_sync(self._write, full)
        await to_thread.run_sync(self._write, batch)

    def _recall(self) -> None:
        """Of what an earlier try brought, the hash must be taken anew."""
        buffer = memoryview(bytearray(PIECE))
        at = 0
        while count := self._partial.readinto(buffer, at):
            self._hash.update(buffer[:count])
            at += count

    def _write(self, batch: list[bytes]) -> None:
        if self._partial.size + sum(map(len, batch)) > self._part.size:
            raise Corrupt(f"{self._part.digest} is longer than the {self._part.size} bytes it should be", hint=_HINT)
        for piece in batch:
            self._partial.append(memoryview(piece))
            self._hash.update(piece)

    def _finish(self) -> None:
        real = f"{self._algorithm}:{self._hash.hexdigest()}"
        if real != self._part.digest:
            raise Corrupt(f"what came as {self._part.digest} is in truth {real}", hint=_HINT)
        self._partial.commit()
