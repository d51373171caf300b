"""One image: its manifest for one platform, its config, and its layers, several at a time, the largest first.

Runs in the worker process. What it leaves behind when it dies at any point is whole blobs, whole layers, partial
downloads that the next pull goes on with, and temporary directories that `LayerStore.sweep` deletes.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import closing
from dataclasses import asdict
from threading import Semaphore
from typing import TYPE_CHECKING

from zlayer.image import manifest as formats
from zlayer.image import platform as platforms
from zlayer.image.blobs import BlobStore
from zlayer.image.layers import LayerStore
from zlayer.image.manifest import Config, Descriptor, Index, Manifest
from zlayer.image.mirrors import registry_of
from zlayer.image.platform import Platform
from zlayer.image.pull_layer import Report, Workshop, fetch_layer
from zlayer.image.pull_order import Pulled, PullOrder
from zlayer.image.reference import is_digest, parse
from zlayer.image.registry import MAX_MANIFEST, Fetched, Offline, Registry
from zlayer.image.registry_retry import Pause
from zlayer.image.registry_retry import wait as pause_for
from zlayer.image.unpack import Unpack, unpack_here
from zlayer.model.errors import Corrupt, Exhausted, NotFound

if TYPE_CHECKING:
    from zlayer.image.s3.tier import Tier
    from zlayer.image.trust_proof import Proof

MAX_NESTING = 4


def pull(
    order: PullOrder,
    environ: Mapping[str, str],
    report: Report,
    *,
    unpack: Unpack = unpack_here,
    pause: Pause = pause_for,
) -> Pulled:
    """Make the image present below `order.root`. Errors: see `image.contract`."""
    reference = parse(order.reference, order.settings.default_registry)
    registry: Registry
    if order.offline:
        registry = Offline(reference, order.settings, environ, pause=pause)
    else:
        registry = registry_of(
            reference, order.settings, environ, lambda name, did: report(f"mirror {name}", did, 0, 0), pause=pause
        )
    try:
        if order.resolve_only:
            return Pulled(digest=registry.digest(reference.locator))
        if order.known and registry.digest(reference.locator) in order.known:
            return Pulled(unchanged=True)
        if order.offline or order.settings.s3 is None:
            return _Pull(order, registry, registry, report, unpack).run()
        from zlayer.image.s3.tier import tier_of

        with closing(tier_of(registry, order.settings.s3, order.root, environ, report)) as tier:
            return _Pull(order, registry, tier, report, unpack).run()
    finally:
        registry.close()


class _Pull:
    """Over the registry, for what only it knows, and the `source` of everything named by a digest."""

    def __init__(
        self, order: PullOrder, registry: Registry, source: Registry | Tier, report: Report, unpack: Unpack
    ) -> None:
        self._order = order
        self._registry = registry
        self._source = source
        self._name = registry.reference.familiar
        self._blobs = BlobStore(order.root / "blobs")
        extractions = Semaphore(order.settings.extractions)
        layers = LayerStore(order.root / "layers")
        self._shop = Workshop(source, self._blobs, layers, report, extractions, order.packed, unpack)
        self._documents: list[str] = []

    def run(self) -> Pulled:
        wanted = platforms.parse(self._order.platform) if self._order.platform else platforms.own()
        manifest, digest, index_digest = self._resolve(wanted)
        proof = self._prove(tuple(filter(None, (index_digest, digest))))
        config = formats.read_config(self._config(manifest.config), len(manifest.layers), self._name)
        self._check_platform(config, wanted)
        pairs = dict(zip(config.diff_ids, manifest.layers, strict=True))
        self._fetch_all(pairs)
        return Pulled(
            digest=digest,
            index_digest=index_digest,
            media_type=manifest.media_type,
            platform=str(config.platform),
            size=sum(layer.size for layer in manifest.layers),
            layers=without_repeats(config.diff_ids),
            blobs=(*self._documents, *dict.fromkeys(layer.digest for layer in manifest.layers)),
            config=config.defaults,
            proof=asdict(proof) if proof else None,
        )

    def _prove(self, digests: tuple[str, ...]) -> Proof | None:
        """Before a byte of the image itself is fetched. What follows hangs on these digests, and on no tag."""
        if self._order.rule is None:
            return None
        from zlayer.image.trust_search import prove

        return prove(self._registry, self._order.rule, digests)

    def _resolve(self, wanted: Platform) -> tuple[Manifest, str, str]:
        """The manifest for the platform, its digest, and that of the index it was found by, if any."""
        fetched, index_digest = self._manifest(self._registry.reference.locator), ""
        for _ in range(MAX_NESTING):
            document = formats.read_manifest(fetched.body, fetched.media_type, self._name)
            if not isinstance(document, Index):
                return document, fetched.digest, index_digest
            index_digest = index_digest or fetched.digest
            chosen = formats.choose(document, wanted, self._name)
            fetched = self._manifest(chosen.digest, chosen.media_type)
            if len(fetched.body) != chosen.size:
                raise Corrupt(f"manifest {chosen.digest} has another size than its index says", hint="push it again")
        raise Corrupt(f"{self._name} is an index of indexes without end", hint="push the image again")

    def _manifest(self, locator: str, media_type: str = "") -> Fetched:
        """By digest from the disk when it is there; what comes from the registry is kept."""
        body = self._blobs.read(locator, MAX_MANIFEST) if is_digest(locator) else None
        fetched = Fetched(body, locator, media_type) if body is not None else self._source.manifest(locator)
        if body is None:
            self._blobs.write(fetched.digest, fetched.body)
            self._source.kept(fetched.digest, len(fetched.body), fetched.media_type)
        self._documents.append(fetched.digest)
        return fetched

    def _config(self, blob: Descriptor) -> bytes:
        if blob.size > formats.MAX_CONFIG:
            raise Corrupt(f"the config of {self._name} is larger than {formats.MAX_CONFIG} bytes", hint="push it again")
        self._documents.append(blob.digest)
        body = self._blobs.read(blob.digest, formats.MAX_CONFIG)
        if body is None:
            body = self._source.document(blob.digest, formats.MAX_CONFIG)
            if len(body) != blob.size:
                raise Corrupt(f"the config of {self._name} has another size than its manifest says", hint="pull again")
            self._blobs.write(blob.digest, body)
            self._source.kept(blob.digest, blob.size)
        return body

    def _check_platform(self, config: Config, wanted: Platform) -> None:
        """A single manifest names its platform only in its config. One that does not say is taken as it is."""
        there = config.platform
        if there.architecture and all(
            (there.os, there.architecture) != (p.os, p.architecture) for p in wanted.acceptable()
        ):
            raise NotFound(f"{self._name} is not there for {wanted}", hint=f"ask for its only platform: {there}")

    def _fetch_all(self, pairs: Mapping[str, Descriptor]) -> None:
        """The first fault ends the pull; a full disk also takes the partial downloads of this pull with it."""
        missing = {d: blob for d, blob in pairs.items() if not self._shop.here(blob, d)}
        self._check_space(sum(blob.size for blob in missing.values()))
        ordered = sorted(pairs.items(), key=lambda pair: -pair[1].size)
        pool = ThreadPoolExecutor(self._order.settings.downloads, thread_name_prefix="layer")
        futures = [pool.submit(fetch_layer, self._shop, blob, diff_id) for diff_id, blob in ordered]
        done, _ = wait(futures, return_when=FIRST_EXCEPTION)
        self._shop.ended.set()
        pool.shutdown(wait=False, cancel_futures=True)
        try:
            for future in done:
                if not future.cancelled():
                    future.result()
        except Exhausted:
            for blob in missing.values():
                self._blobs.remove(blob.digest)
            raise

    def _check_space(self, needed: int) -> None:
        """Refuse at once what cannot fit even compressed."""
        self._order.root.mkdir(parents=True, exist_ok=True)
        disk = os.statvfs(self._order.root)
        free = disk.f_bavail * disk.f_frsize
        if needed > free:
            raise Exhausted(
                f"{self._name} needs at least {needed} bytes, the disk of {self._order.root} has {free} free",
                hint="free disk space (zlayer image rm), or move the data directory",
            )


def without_repeats(layers: Sequence[str]) -> tuple[str, ...]:
    """Each layer once, where it stands highest: what a lower copy of it holds, the higher one holds over it again.

    The kernel refuses one directory twice in a stack, and builders repeat the empty layer often.
    """
    return tuple(reversed(dict.fromkeys(reversed(layers))))
