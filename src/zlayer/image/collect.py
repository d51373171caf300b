"""What may go when an image goes: layers and blobs that no record stands on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from zlayer.image.blobs import BlobStore
from zlayer.image.layers import LayerStore
from zlayer.image.records import Record, Records


@dataclass(frozen=True, slots=True)
class Stores:
    """Where content lies."""

    blobs: BlobStore
    layers: LayerStore


@dataclass(frozen=True, slots=True)
class Garbage:
    """Diff ids and digests to delete."""

    layers: tuple[str, ...]
    blobs: tuple[str, ...]


def garbage(stores: Stores, records: Records, removed: Sequence[Record] | None) -> Garbage:
    """What `removed` records stood on and no other does; None for everything on disk that no record stands on.

    None is wrong while a pull is going on: its layers have no record yet.
    """
    if removed is None:
        layers, blobs = set(stores.layers.list()), set(stores.blobs.list()) | set(stores.blobs.partials())
    else:
        layers = {layer for record in removed for layer in record.image.layers}
        blobs = {blob for record in removed for blob in record.blobs}
    return Garbage(tuple(sorted(layers - records.layers())), tuple(sorted(blobs - records.blobs())))


def delete(stores: Stores, waste: Garbage) -> list[str]:
    """Delete; blocks. Returns what went, for people. Something gone already is not told."""
    layers = [diff_id for diff_id in waste.layers if stores.layers.has(diff_id)]
    for diff_id in layers:
        stores.layers.remove(diff_id)
    blobs = [digest for digest in waste.blobs if stores.blobs.remove(digest)]
    return [f"deleted layer: {diff_id}" for diff_id in layers] + [f"deleted blob: {digest}" for digest in blobs]
