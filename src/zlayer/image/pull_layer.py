"""One layer: downloaded, verified by both digests and extracted in one pass, or taken from what is already here."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from zlayer.image.blobs import BlobStore, Partial
from zlayer.image.layers import LayerStore
from zlayer.image.manifest import Descriptor
from zlayer.image.registry_download import Download, Source
from zlayer.image.unpack import Unpack, unpack_here
from zlayer.model.errors import Corrupt, Exhausted, Unavailable, Unsupported, ZlayerError

PROGRESS_EVERY = 0.1
"""Seconds between two reports of one layer's bytes."""

Report = Callable[[str, str, int, int], None]
"""Digest, phase, bytes done, bytes in all."""


@dataclass(frozen=True, slots=True)
class Workshop:
    """What all layers of one pull share."""

    source: Source
    blobs: BlobStore
    layers: LayerStore
    report: Report
    extractions: threading.Semaphore
    packed: bool = False
    """Whether the compressed blob is wanted too where the layer is here."""
    unpack: Unpack = unpack_here
    ended: threading.Event = field(default_factory=threading.Event)
    """Set at the first fault: the other layers stop at their next bytes."""

    def here(self, blob: Descriptor, diff_id: str) -> bool:
        return self.layers.has(diff_id) and (not self.packed or self.blobs.has(blob.digest, blob.size))


def fetch_layer(shop: Workshop, blob: Descriptor, diff_id: str) -> None:
    """Make the layer present. Idempotent; of several processes and threads at one blob, one works and the rest wait.

    Errors: those of the download; `Corrupt` also for a bad archive or another diff id, and then nothing is kept.
    """
    if shop.here(blob, diff_id):
        shop.report(blob.digest, "exists", blob.size, blob.size)
        return
    shop.report(blob.digest, "waiting", 0, blob.size)
    with shop.blobs.partial(blob.digest) as partial:
        if shop.here(blob, diff_id):
            shop.report(blob.digest, "exists", blob.size, blob.size)
            return
        if shop.blobs.has(blob.digest, blob.size):
            # The layer went, its blob stayed: take it back as a download that is complete.
            partial.adopt()
        _LayerJob(shop, blob, diff_id, partial).run()
    shop.report(blob.digest, "done", blob.size, blob.size)


class _LayerJob:
    def __init__(self, shop: Workshop, blob: Descriptor, diff_id: str, partial: Partial) -> None:
        self._shop, self._blob, self._diff_id, self._partial = shop, blob, diff_id, partial
        self._phase = "downloading"
        self._reported = 0.0

    def run(self) -> None:
        resumed = self._partial.size
        try:
            while True:
                try:
                    self._fetch()
                except (Corrupt, Unsupported):
                    # The fault may sit in what an earlier pull, cut short, left behind, or a mirror sent.
                    if not self._shop.source.distrust(self._blob.digest) and not resumed:
                        raise
                    resumed = 0
                    self._partial.reset()
                else:
                    return
        except (Corrupt, Exhausted, Unsupported):
            self._partial.discard()
            raise

    def _fetch(self) -> None:
        """Extract while downloading when a place to extract is free; else download first and extract then."""
        self._phase = "downloading"
        if self._shop.layers.has(self._diff_id):
            self._download_only()
            self._commit()
            return
        whole = False
        if not self._shop.extractions.acquire(blocking=False):
            self._download_only()
            whole = True
            self._phase = "extracting"
            self._shop.extractions.acquire()
        try:
            self._extract(whole=whole)
        finally:
            self._shop.extractions.release()

    def _download_only(self) -> None:
        download = self._download()
        try:
            download.drain()
        finally:
            download.close()

    def _download(self) -> Download:
        return Download(self._shop.source, self._blob, self._partial, self._progress)

    def _extract(self, *, whole: bool) -> None:
        """`whole`: the blob is here and its digest has been seen to be right."""
        download = None if whole else self._download()
        temporary = self._shop.layers.begin()
        try:
            unpacked = self._shop.unpack(self._partial, download, temporary, self._unpacking)
            if unpacked.diff_id != self._diff_id:
                raise Corrupt(
                    f"layer {self._blob.digest} unpacks to {unpacked.diff_id}, its image says {self._diff_id}",
                    hint="push the image again",
                )
            self._shop.layers.commit(temporary, self._diff_id, unpacked.marks, unpacked.seal)
            self._commit()
        except Corrupt:
            self._shop.layers.discard(temporary)
            if download is not None:
                download.drain()  # a wrong digest is the better explanation of a bad archive
            raise
        except ZlayerError:
            self._shop.layers.discard(temporary)
            raise
        finally:
            if download is not None:
                download.close()

    def _commit(self) -> None:
        self._partial.commit()
        self._shop.source.kept(self._blob.digest, self._blob.size)

    def _unpacking(self, done: int) -> None:
        self._phase = "extracting"
        self._progress(done)

    def _progress(self, done: int) -> None:
        if self._shop.ended.is_set():
            raise Unavailable("the pull has ended", hint="pull again")
        now = time.monotonic()
        if now - self._reported >= PROGRESS_EVERY:
            self._reported = now
            self._shop.report(self._blob.digest, self._phase, done, self._blob.size)
