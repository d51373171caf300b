"""What belongs to an image at its registry: listing it, attaching to it, showing its SBOM. In the worker process."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path

from zlayer.image import manifest as formats
from zlayer.image import platform as platforms
from zlayer.image.artifact_contract import Attached, Document, Referrer
from zlayer.image.artifact_order import ArtifactOrder, Json
from zlayer.image.blobs import BlobStore, digest_of, disk_error
from zlayer.image.manifest import MANIFESTS, Descriptor, Index
from zlayer.image.reference import is_digest, parse
from zlayer.image.registry import Fetched, Registry
from zlayer.image.registry_push import Source, push_blob, push_manifest
from zlayer.image.registry_referrers import enlist, referrers
from zlayer.model.errors import Corrupt, NotFound, ZlayerError

EMPTY = "application/vnd.oci.empty.v1+json"
SBOMS = (
    "application/spdx+json", "text/spdx+json", "text/spdx", "application/spdx+xml",
    "application/vnd.cyclonedx+json", "application/vnd.cyclonedx+xml", "application/vnd.cyclonedx",
)  # fmt: skip
MAX_SBOM = 32 << 20
_CHUNK = 1 << 20


def attend(order: ArtifactOrder, environ: Mapping[str, str]) -> Json:
    """What the daemon wants to know. Errors: those of `image.contract`."""
    reference = parse(order.reference, order.settings.default_registry)
    rights = "pull,push" if order.job == "attach" else "pull"
    registry = Registry(reference, order.settings, environ, rights=rights)
    try:
        if order.job == "attach":
            return asdict(_attach(registry, order))
        if order.job == "sbom":
            return asdict(_sbom(registry, _listed(registry, ""), order))
        return {"referrers": [asdict(one) for one in _listed(registry, order.kind)]}
    finally:
        registry.close()


def _listed(registry: Registry, kind: str) -> list[Referrer]:
    top = registry.manifest(registry.reference.locator)
    return [one for digest in _subjects(top, registry) for one in referrers(registry, digest, kind)]


def _subjects(top: Fetched, registry: Registry) -> Iterator[str]:
    """What the name stands for, and this machine's image when that is an index."""
    yield top.digest
    name = registry.reference.familiar
    try:
        document = formats.read_manifest(top.body, top.media_type, name)
    except ZlayerError:
        return  # no container image: it may have referrers all the same
    if isinstance(document, Index):
        with contextlib.suppress(NotFound):
            yield formats.choose(document, platforms.own(), name).digest


def _attach(registry: Registry, order: ArtifactOrder) -> Attached:
    subject = registry.manifest(registry.reference.locator)
    with _spooled(order) as (path, content):
        push_blob(registry, Source(content, path))
    with _spooled(order, b"{}") as (path, empty):
        push_blob(registry, Source(empty, path))
    notes = {_CREATED: time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}
    title = {"org.opencontainers.image.title": order.name} if order.name else {}
    document: Json = {
        "schemaVersion": 2,
        "mediaType": MANIFESTS[0],
        "artifactType": order.kind,
        "config": _descriptor(EMPTY, empty.digest, empty.size),
        "layers": [{**_descriptor(order.kind, content.digest, content.size), "annotations": title}],
        "subject": _descriptor(subject.media_type or MANIFESTS[0], subject.digest, len(subject.body)),
        "annotations": notes,
    }
    body = json.dumps(document, separators=(",", ":")).encode()
    digest = digest_of(body, "sha256:")
    if push_manifest(registry, digest, body, MANIFESTS[0]) == subject.digest:
        return Attached(digest, subject.digest, "api")
    entry = {**_descriptor(MANIFESTS[0], digest, len(body)), "artifactType": order.kind, "annotations": notes}
    enlist(registry, subject.digest, entry)
    return Attached(digest, subject.digest, "tag")


def _sbom(registry: Registry, found: list[Referrer], order: ArtifactOrder) -> Document:
    """Of several, the one made last; registries append, so in doubt the last in the list."""
    wanted = [one for one in found if one.type in ((order.kind,) if order.kind else SBOMS)]
    if not wanted:
        there = ", ".join(sorted({one.type or "?" for one in found})) or "nothing"
        raise NotFound(
            f"no SBOM is attached to {registry.reference.familiar}; attached is {there}",
            hint="zlayer image attach IMAGE FILE --type application/spdx+json",
        )
    _, chosen = max(enumerate(wanted), key=lambda at: (at[1].annotations.get(_CREATED, ""), at[0]))
    body = registry.manifest(chosen.digest).body
    try:
        layer = json.loads(body)["layers"][0]
        digest, size = str(layer["digest"]), int(layer["size"])
        if not is_digest(digest) or not 0 <= size <= MAX_SBOM:
            raise ValueError(digest)
        text = registry.document(digest, size).decode()
    except (ValueError, LookupError, TypeError, RecursionError) as fault:
        raise Corrupt(f"{chosen.digest} is no SBOM: it has no text", hint="attach it again") from fault
    return Document(chosen.digest, chosen.type, text)


_CREATED = "org.opencontainers.image.created"


@contextlib.contextmanager
def _spooled(order: ArtifactOrder, body: bytes | None = None) -> Iterator[tuple[Path, Descriptor]]:
    """A file of `body`, or of what comes down the descriptor, for as long as it is needed."""
    scratch = BlobStore(order.root / "blobs").root / "tmp"
    path = scratch / f"{os.getpid()}-{secrets.token_hex(8)}"
    found, size = hashlib.sha256(), 0
    try:
        try:
            scratch.mkdir(mode=0o700, parents=True, exist_ok=True)
            with path.open("xb") as file:
                pieces = [body] if body is not None else iter(lambda: os.read(order.descriptor, _CHUNK), b"")
                for piece in pieces:
                    found.update(piece)
                    size += file.write(piece)
        except OSError as error:
            raise disk_error(error, path) from error
        kind = order.kind if body is None else EMPTY
        yield path, Descriptor(kind, f"sha256:{found.hexdigest()}", size)
    finally:
        path.unlink(missing_ok=True)


def _descriptor(media_type: str, digest: str, size: int) -> Json:
    return {"mediaType": media_type, "digest": digest, "size": size}
