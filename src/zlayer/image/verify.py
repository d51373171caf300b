"""Whether what is kept is whole: blobs by their digests, images by their documents, unpacked layers by their seals.

In the worker process; it only reads, so it may die anywhere.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

from zlayer.image import manifest as formats
from zlayer.image.blobs import BlobStore
from zlayer.image.contract import Fault
from zlayer.image.layers import LayerStore
from zlayer.image.manifest import Manifest
from zlayer.image.pull import without_repeats
from zlayer.image.pull_layer import Report
from zlayer.image.registry import MAX_MANIFEST
from zlayer.image.verify_order import Findings, Kept, VerifyOrder, fault
from zlayer.model.errors import ZlayerError
from zlayer.model.units import Bytes

MISSING = "it is missing"
_CHUNK = 1 << 20


def verify(order: VerifyOrder, report: Report) -> Findings:
    """Every fault of the images of the order, or of all that is kept. Errors: `Failed` when the disk cannot be read."""
    return _Look(order, report).run()


class _Look:
    def __init__(self, order: VerifyOrder, report: Report) -> None:
        self._order, self._report = order, report
        self._blobs, self._layers = BlobStore(order.root / "blobs"), LayerStore(order.root / "layers")
        self._bad: dict[str, str] = {}
        """Of blobs and layers that were looked at: what is wrong, or nothing."""
        self._size = 0

    def run(self) -> Findings:
        images, everything = self._order.images, self._order.everything
        digests = list(dict.fromkeys(blob for image in images for blob in image.blobs))
        digests += sorted(set(self._blobs.list()) - set(digests)) if everything else []
        diff_ids = list(dict.fromkeys(layer for image in images for layer in image.layers))
        diff_ids += sorted(set(self._layers.list()) - set(diff_ids)) if everything else []
        for digest in digests:
            self._bad[digest] = self._blob_fault(digest)
        for diff_id in diff_ids:
            self._report(diff_id, "checking", 0, 0)
            self._bad[diff_id] = self._layers.fault(diff_id)
            self._report(diff_id, "done", 0, 0)
        faults = [*self._content(digests, diff_ids), *(f for image in images for f in self._image(image))]
        return Findings(tuple(faults), len(digests), len(diff_ids), Bytes(self._size))

    def _content(self, digests: Sequence[str], diff_ids: Sequence[str]) -> Iterator[Fault]:
        images = self._order.images
        for digest in digests:
            if problem := self._bad[digest]:
                owners = [image for image in images if digest in image.blobs]
                away = problem == MISSING and all(self._may_be_away(image, digest) for image in owners)
                yield fault("packed" if away else "blob", digest, problem, [one.name for one in owners])
        for diff_id in diff_ids:
            if problem := self._bad[diff_id]:
                yield fault("layer", diff_id, problem, [one.name for one in images if diff_id in one.layers])

    def _may_be_away(self, image: Kept, digest: str) -> bool:
        """A packed layer whose tree is here may have been given back for its space."""
        manifest = self._manifest(image)
        if manifest is None or digest not in {layer.digest for layer in manifest.layers}:
            return False
        return not any(self._bad[layer] for layer in image.layers)

    def _image(self, image: Kept) -> Iterator[Fault]:
        """Its documents, read as a pull reads them, and whether its record says the same. Damage is told elsewhere."""
        try:
            manifest = self._manifest(image)
            if manifest is None or self._bad.get(manifest.config.digest):
                return
            stated = {manifest.config.digest, *(layer.digest for layer in manifest.layers)}
            config = self._blobs.read(manifest.config.digest, formats.MAX_CONFIG)
            if config is None:
                yield fault("image", image.digest, "its config is not here, or too long", [image.name])
                return
            diff_ids = formats.read_config(config, len(manifest.layers), image.name).diff_ids
            if not stated <= set(image.blobs) or without_repeats(diff_ids) != image.layers:
                yield fault("image", image.digest, "its record names other layers than its documents", [image.name])
        except ZlayerError as error:
            yield fault("image", image.digest, str(error), [image.name])

    def _manifest(self, image: Kept) -> Manifest | None:
        """None: damaged or missing, which the blob's own fault says."""
        if image.digest not in self._bad:
            self._bad[image.digest] = self._blob_fault(image.digest)
        body = None if self._bad[image.digest] else self._blobs.read(image.digest, MAX_MANIFEST)
        document = formats.read_manifest(body, "", image.name) if body is not None else None
        return document if isinstance(document, Manifest) else None

    def _blob_fault(self, digest: str) -> str:
        found = hashlib.new(digest.partition(":")[0])
        try:
            with self._blobs.path(digest).open("rb") as file:
                total, done = file.seek(0, 2), 0
                file.seek(0)
                while data := file.read(_CHUNK):
                    found.update(data)
                    done += len(data)
                    self._report(digest, "checking", done, total)
        except FileNotFoundError:
            return MISSING
        except OSError as error:
            return f"it cannot be read: {error.strerror}"
        self._size += total
        self._report(digest, "done", total, total)
        return "" if found.hexdigest() == digest.partition(":")[2] else "its content is not what its digest says"
