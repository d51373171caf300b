"""What images take on a node's disk, and giving it back."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import anyio
from anyio import to_thread

from zlayer.image.collect import Stores, delete, garbage
from zlayer.image.contract import ImageUsage, Origin, Piece, Totals, Usage, Want
from zlayer.image.manifest import MAX_CONFIG, Descriptor, Manifest, read_manifest
from zlayer.image.reclaim import Held, Holdings, contents, plan
from zlayer.image.records import Record, Records
from zlayer.image.registry import MAX_MANIFEST
from zlayer.image.s3.standing import Standing
from zlayer.model.errors import Corrupt, NotFound
from zlayer.model.units import Bytes, Timestamp

Json = dict[str, Any]  # Any: a JSON document
Find = Callable[[str], Record]
Alone = Callable[[], bool]


class Stock:
    """Over the stores of a `LocalImages`, which lends its lock. `alone`: no pull or import is under way."""

    def __init__(
        self,
        stores: Stores,
        records: Records,
        writing: anyio.Lock,
        *,
        find: Find,
        alone: Alone,
        tier: Callable[[], Awaitable[Standing]] | None = None,
    ) -> None:
        self._stores, self._records, self._writing = stores, records, writing
        self._find, self._alone = find, alone
        self._tier = tier
        self._used: dict[str, float] = {}
        self._sizes: dict[str, int] = {}
        """Of layers: they never change, and a walk over one costs."""
        self._reclaimed = 0

    def touch(self, digest: str) -> None:
        """An instance is made of it."""
        self._used[digest] = time.time()

    async def usage(self, in_use: Collection[str]) -> Usage:
        holdings = await self._holdings(in_use)
        users = holdings.users()
        shared = {content for content, count in users.items() if count > 1}
        disk = os.statvfs(self._existing())
        images = tuple(
            ImageUsage(
                reference=one.reference,
                size=Bytes(sum(holdings.sizes.get(c, 0) for c in set(contents(one)))),
                alone=Bytes(holdings.alone(one, users)),
                shared=Bytes(sum(holdings.sizes.get(c, 0) for c in set(contents(one)) & shared)),
                in_use=one.in_use,
                used_at=one.used_at,
            )
            for one in holdings.images
        )
        layers = sum(size for name, size in holdings.sizes.items() if name in self._sizes)
        return Usage(
            images=images,
            layers=Bytes(layers),
            blobs=Bytes(sum(holdings.sizes.values()) - layers),
            reclaimable=Bytes(sum(piece.size for piece in plan(holdings, Want(unused=True), self._now()))),
            free=Bytes(disk.f_bavail * disk.f_frsize),
            disk=Bytes(disk.f_blocks * disk.f_frsize),
            s3=await self.tier(),
        )

    async def totals(self) -> Totals:
        """Cancelled, it goes on walking: the next one will find what this one did not wait for."""
        layers, blobs = await to_thread.run_sync(self._sums, abandon_on_cancel=True)
        return Totals(len(self._records.all()), layers, blobs, Bytes(self._reclaimed), await self.tier())

    async def tier(self) -> Standing | None:
        return await self._tier() if self._tier else None

    async def reclaim(self, in_use: Collection[str], want: Want, *, dry_run: bool = False) -> Sequence[Piece]:
        async with self._writing:
            pieces = plan(await self._holdings(in_use), want, self._now())
            if not dry_run:
                await to_thread.run_sync(self._carry_out, pieces)
                self._reclaimed += sum(piece.size for piece in pieces)
            return pieces

    async def history(self, reference: str) -> Sequence[Origin]:
        record = self._find(reference)
        return await to_thread.run_sync(self._history, record)

    def _carry_out(self, pieces: Sequence[Piece]) -> None:
        """Names first: what is cut off half-way leaves content without a name, which the next one finds."""
        named = {piece.name for piece in pieces if piece.kind == "image"}
        removed = [record for record in self._records.all() if record.image.reference in named]
        for record in removed:
            self._records.drop(record)
        for piece in pieces:
            if piece.kind == "packed":
                self._stores.blobs.remove(piece.name)
        orphans = any(piece.kind == "orphan" for piece in pieces) and self._alone()
        waste = garbage(self._stores, self._records, None if orphans else removed)
        delete(self._stores, waste)
        for diff_id in waste.layers:
            self._sizes.pop(diff_id, None)

    async def _holdings(self, in_use: Collection[str]) -> Holdings:
        return await to_thread.run_sync(self._look, frozenset(in_use))

    def _look(self, in_use: Collection[str]) -> Holdings:
        images = tuple(self._held(record, in_use) for record in self._records.all())
        sizes = self._layer_sizes() | self._blob_sizes()
        used = {content for one in images for content in contents(one)}
        orphans = {name for name in sizes if name not in used} if self._alone() else set()
        return Holdings(images, sizes, orphans)

    def _sums(self) -> tuple[Bytes, Bytes]:
        return Bytes(sum(self._layer_sizes().values())), Bytes(sum(self._blob_sizes().values()))

    def _layer_sizes(self) -> dict[str, int]:
        sizes = {}
        for diff_id in self._stores.layers.list():
            size = self._sizes.get(diff_id)
            if size is None:
                size = tree_size(self._stores.layers.path(diff_id))
                if self._stores.layers.has(diff_id):  # else it went meanwhile, and what was counted is a part of it
                    self._sizes[diff_id] = size
            sizes[diff_id] = size
        return sizes

    def _blob_sizes(self) -> dict[str, int]:
        """Those that are here whole, and those that have begun to arrive."""
        blobs = self._stores.blobs
        return {digest: blobs.taken(digest) for digest in {*blobs.list(), *blobs.partials()}}

    def _held(self, record: Record, in_use: Collection[str]) -> Held:
        image = record.image
        documents = {image.digest, image.index_digest}
        packed = tuple(blob for blob in record.blobs if blob not in documents and self._is_layer(record, blob))
        used = max(image.pulled_at, self._used.get(image.digest, 0.0))
        return Held(
            reference=image.reference,
            layers=image.layers,
            packed=packed,
            documents=tuple(blob for blob in record.blobs if blob not in packed),
            used_at=Timestamp(used),
            in_use=bool(documents & set(in_use)),
            superseded=record.superseded,
        )

    def _is_layer(self, record: Record, blob: str) -> bool:
        """A record lists documents first, then one blob for each different layer."""
        return blob in record.blobs[-len(set(record.image.layers)) :] if record.image.layers else False

    def _history(self, record: Record) -> Sequence[Origin]:
        name = record.image.reference
        body = self._stores.blobs.read(record.image.digest, MAX_MANIFEST)
        if body is None:
            raise NotFound(f"the manifest of {name} is not here any more", hint="pull the image again")
        manifest = read_manifest(body, "", name)
        assert isinstance(manifest, Manifest), "a record is of one platform"
        config = self._stores.blobs.read(manifest.config.digest, MAX_CONFIG)
        try:
            steps = json.loads(config or b"{}").get("history") or []
        except (ValueError, AttributeError) as fault:
            raise Corrupt(f"the config of {name} is malformed", hint="pull the image again") from fault
        layers = iter(manifest.layers)
        return [_origin(step, layers) for step in steps if isinstance(step, dict)]

    def _existing(self) -> Path:
        path = self._stores.layers.root
        while not path.exists():
            path = path.parent
        return path

    def _now(self) -> Timestamp:
        return Timestamp(time.time())


def _origin(step: Json, layers: Iterator[Descriptor]) -> Origin:
    empty = step.get("empty_layer") is True
    layer = None if empty else next(layers, None)
    return Origin(
        created=str(step.get("created") or ""),
        by=str(step.get("created_by") or ""),
        comment=str(step.get("comment") or ""),
        digest=layer.digest if layer is not None else "",
        size=Bytes(layer.size if layer is not None else 0),
    )


def tree_size(root: Path) -> int:
    """Bytes the files below take on disk; what vanishes meanwhile takes none."""
    total, left = 0, [os.fspath(root)]
    while left:
        try:
            with os.scandir(left.pop()) as entries:
                for entry in entries:
                    status = entry.stat(follow_symlinks=False)
                    total += status.st_blocks * 512 // max(1, status.st_nlink if not entry.is_dir() else 1)
                    if entry.is_dir(follow_symlinks=False):
                        left.append(entry.path)
        except OSError:
            continue
    return total
