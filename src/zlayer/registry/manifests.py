"""Manifests as clients push them: checked before they are kept, and what each of them stands on.

Source: OCI image-spec 1.1 (manifest.md, image-index.md), distribution-spec 1.1 (referrers), Docker schema 2.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from zlayer.image.manifest import INDEXES, MANIFESTS, MAX_SIZE
from zlayer.image.reference import is_digest
from zlayer.registry.faults import Refusal, bad_manifest

MAX_BYTES = 4 * 1024 * 1024
MAX_ENTRIES = 10_000
KINDS = (*MANIFESTS, *INDEXES)

Json = dict[str, Any]  # Any: a JSON document


@dataclass(frozen=True, slots=True)
class Part:
    """A descriptor in a manifest. `foreign`: it names where else to get it, and need not be here."""

    digest: str
    size: int
    foreign: bool = False


@dataclass(frozen=True, slots=True)
class Parsed:
    """What a manifest stands on. `listing` is what a list of referrers says of it, without digest and size."""

    media_type: str
    blobs: tuple[Part, ...] = ()
    children: tuple[Part, ...] = ()
    subject: str = ""
    listing: Json = field(default_factory=dict)

    @property
    def references(self) -> set[str]:
        """Digests of all that must stay for it."""
        return {part.digest for part in (*self.blobs, *self.children)}


def parse(body: bytes, content_type: str) -> Parsed:
    """A manifest or index, checked. `content_type` is the request's header; empty where the body alone is known.

    Raises `Refusal`: 415 for a type that is none of ours, 413 for one too large, 400 for the rest.
    """
    if len(body) > MAX_BYTES:
        raise too_large()
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        raise bad_manifest("the manifest is not JSON") from None
    if not isinstance(document, dict):
        raise bad_manifest("the manifest is not a JSON object")
    kind = _kind(document, content_type.partition(";")[0].strip().lower())
    blobs: tuple[Part, ...] = ()
    children: tuple[Part, ...] = ()
    if kind in INDEXES:
        children = _parts(document, "manifests")
    else:
        blobs = (_part(document.get("config"), "config"), *_parts(document, "layers"))
    subject = document.get("subject")
    return Parsed(
        kind,
        blobs,
        children,
        _part(subject, "subject").digest if subject is not None else "",
        _listing(document, kind),
    )


def too_large() -> Refusal:
    return Refusal(413, "MANIFEST_INVALID", f"a manifest has at most {MAX_BYTES} bytes")


def _kind(document: Json, content_type: str) -> str:
    own = document.get("mediaType", "")
    if not isinstance(own, str):
        raise bad_manifest("mediaType is not text")
    if document.get("schemaVersion") != 2:
        raise bad_manifest("schemaVersion is not 2: push with a current tool")
    if own and content_type and own != content_type:
        raise bad_manifest("mediaType and the Content-Type header differ", mediaType=own[:200])
    kind = content_type or own or (INDEXES[0] if "manifests" in document else MANIFESTS[0])
    if kind not in KINDS:
        raise Refusal(415, "MANIFEST_INVALID", f"{kind[:200]} is no manifest this registry takes", {"known": KINDS})
    return kind


def _parts(document: Json, key: str) -> tuple[Part, ...]:
    listed = document.get(key)
    if not isinstance(listed, list) or len(listed) > MAX_ENTRIES:
        raise bad_manifest(f"{key} is not a list of at most {MAX_ENTRIES}")
    return tuple(_part(raw, key) for raw in listed)


def _part(raw: Any, where: str) -> Part:  # Any: JSON
    if not isinstance(raw, dict):
        raise bad_manifest(f"{where}: a descriptor is not an object")
    digest, size, urls = raw.get("digest"), raw.get("size"), raw.get("urls")
    if not isinstance(raw.get("mediaType"), str):
        raise bad_manifest(f"{where}: a descriptor has no mediaType")
    if not isinstance(digest, str) or not is_digest(digest):
        raise bad_manifest(f"{where}: a descriptor has no proper digest")
    if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size <= MAX_SIZE:
        raise bad_manifest(f"{where}: the descriptor of {digest} has no proper size")
    return Part(digest, size, foreign=isinstance(urls, list) and bool(urls))


def _listing(document: Json, kind: str) -> Json:
    """Media type, artifact type (the config's where the manifest has none) and annotations."""
    config, notes = document.get("config"), document.get("annotations")
    artifact = document.get("artifactType") or (config.get("mediaType") if isinstance(config, dict) else "")
    if not isinstance(artifact or "", str):
        raise bad_manifest("artifactType is not text")
    if notes is not None and not (isinstance(notes, dict) and all(isinstance(v, str) for v in notes.values())):
        raise bad_manifest("annotations are not texts by name")
    said: Json = {"mediaType": kind}
    if artifact:
        said["artifactType"] = artifact
    if notes:
        said["annotations"] = notes
    return said
