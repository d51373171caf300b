"""One image to a registry: its blobs several at a time, the largest first, then its manifest. In the worker process.

A tag moves last, so who pulls sees the old image or the new one.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait

from zlayer.image import manifest as formats
from zlayer.image.blobs import BlobStore
from zlayer.image.contract import Pushed
from zlayer.image.manifest import Descriptor, Index, Manifest
from zlayer.image.pull_layer import PROGRESS_EVERY, Report
from zlayer.image.push_order import PushOrder
from zlayer.image.reference import parse
from zlayer.image.registry import MAX_MANIFEST, Registry
from zlayer.image.registry_push import Source, push_blob, push_manifest
from zlayer.image.registry_retry import Pause
from zlayer.image.registry_retry import wait as pause_for
from zlayer.model.errors import Failed, Unsupported


def push(order: PushOrder, environ: Mapping[str, str], report: Report, *, pause: Pause = pause_for) -> Pushed:
    """Errors: `Denied`, `Unavailable`, `Deadline`, `Failed` (refused, or blobs of the image are not here any more)."""
    reference = parse(order.reference, order.settings.default_registry)
    also = tuple(f"repository:{path}:pull" for path in order.mount_from)
    registry = Registry(reference, order.settings, environ, rights="pull,push", also=also, pause=pause)
    try:
        return _Push(order, registry, report).run()
    finally:
        registry.close()


class _Push:
    def __init__(self, order: PushOrder, registry: Registry, report: Report) -> None:
        self._order, self._registry, self._report = order, registry, report
        self._blobs = BlobStore(order.root / "blobs")
        self._lock = threading.Lock()
        self._counts = {"exists": 0, "mounted": 0, "done": 0}
        self._sent = 0

    def run(self) -> Pushed:
        body = self._blobs.read(self._order.digest, MAX_MANIFEST)
        name = self._registry.reference.familiar
        if body is None:
            raise missing(self._order.digest)
        document = formats.read_manifest(body, "", name)
        if not isinstance(document, Manifest):
            raise Unsupported(f"{name} is an index here", hint="push the image of one platform")
        blobs = {blob.digest: blob for blob in (document.config, *document.layers)}
        for blob in blobs.values():
            if not self._blobs.has(blob.digest, blob.size):
                raise missing(blob.digest)
        self._push_all(sorted(blobs.values(), key=lambda blob: -blob.size))
        for locator in self._locators():
            push_manifest(self._registry, locator, body, document.media_type)
        return Pushed(
            reference=str(self._registry.reference), digest=self._order.digest, sent=self._sent,
            there=self._counts["exists"], mounted=self._counts["mounted"],
            platform=self._order.platform, left=self._left(),
        )  # fmt: skip

    def _left(self) -> tuple[str, ...]:
        """Platforms of the image's index that did not go: a node keeps one of them."""
        digest = self._order.index_digest
        body = self._blobs.read(digest, MAX_MANIFEST) if digest else None
        document = formats.read_manifest(body, "", digest) if body is not None else None
        entries = document.entries if isinstance(document, Index) else ()
        others = (entry for entry in entries if entry.descriptor.digest != self._order.digest)
        return tuple(dict.fromkeys(str(entry.platform or "unknown") for entry in others))

    def _locators(self) -> list[str]:
        """Under its digest first where the tag would not tell it: registries name a tag's manifest by sha256."""
        tag, digest = self._registry.reference.tag, self._order.digest
        return [tag] if tag and digest.startswith("sha256:") else [digest, *([tag] if tag else [])]

    def _push_all(self, blobs: list[Descriptor]) -> None:
        """The first fault ends the push."""
        pool = ThreadPoolExecutor(self._order.settings.downloads, thread_name_prefix="push")
        futures = [pool.submit(self._push, blob) for blob in blobs]
        done, _ = wait(futures, return_when=FIRST_EXCEPTION)
        pool.shutdown(wait=False, cancel_futures=True)
        for future in done:
            if not future.cancelled():
                future.result()

    def _push(self, blob: Descriptor) -> None:
        last = 0.0

        def told(sent: int) -> None:
            nonlocal last
            if (now := time.monotonic()) - last >= PROGRESS_EVERY:
                last = now
                self._report(blob.digest, "uploading", sent, blob.size)

        self._report(blob.digest, "waiting", 0, blob.size)
        how = push_blob(self._registry, Source(blob, self._blobs.path(blob.digest), self._order.mount_from), told)
        with self._lock:
            self._counts[how] += 1
            self._sent += blob.size if how == "done" else 0
        self._report(blob.digest, how, blob.size, blob.size)


def missing(digest: str) -> Failed:
    """The error for a blob that an image stands on and that has gone."""
    return Failed(
        f"{digest} of the image is not on this node any more", hint="pull the image again: zlayer pull --policy always"
    )
