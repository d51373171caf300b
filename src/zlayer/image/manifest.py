"""Manifests, indexes and image configs: OCI image-spec 1.1 and Docker schema 2, read with suspicion.

Everything here comes from a registry, so each field is checked before it is used; a fault is `Corrupt`, what is
well-formed but not a container image is `Unsupported`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from zlayer.image.platform import Platform, normal
from zlayer.image.reference import is_digest
from zlayer.model.errors import Corrupt, NotFound, Unsupported

INDEXES = ("application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json")
MANIFESTS = ("application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json")
CONFIGS = ("application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json")
SCHEMA1 = "application/vnd.docker.distribution.manifest.v1"
MAX_CONFIG = 8 * 1024 * 1024
MAX_DEPTH = 64
MAX_LAYERS = 500
"""The kernel's own limit on overlay lower directories."""
MAX_SIZE = 1 << 50

Json = dict[str, Any]  # Any: a JSON document


@dataclass(frozen=True, slots=True)
class Descriptor:
    """A reference to content: what it is, its digest, and its size in bytes."""

    media_type: str
    digest: str
    size: int


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of an index. `platform` None: the index does not say."""

    descriptor: Descriptor
    platform: Platform | None


@dataclass(frozen=True, slots=True)
class Index:
    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class Manifest:
    media_type: str
    config: Descriptor
    layers: tuple[Descriptor, ...]


@dataclass(frozen=True, slots=True)
class Config:
    """What a pull needs of an image config: where it runs, what its layers unpack to, and the part `config` whole."""

    platform: Platform
    diff_ids: tuple[str, ...]
    defaults: Json


def read_manifest(body: bytes, media_type: str, what: str) -> Manifest | Index:
    """An image manifest or an index, by its own `mediaType`, else by what the registry called it, else by its shape."""
    document = _document(body, what)
    kind = document.get("mediaType") or media_type
    if not isinstance(kind, str):
        raise _corrupt(what, "its mediaType is not text")
    if kind.startswith(SCHEMA1) or (document.get("schemaVersion") == 1):
        raise Unsupported(
            f"{what} is in Docker's schema 1 format, which registries gave up in 2017",
            hint="push it again with a current tool: skopeo copy, docker push",
        )
    if kind in INDEXES or (kind not in MANIFESTS and "manifests" in document):
        return Index(tuple(_entry(raw, what) for raw in _list(document, "manifests", what) if _is_image(raw)))
    if kind not in MANIFESTS and "layers" not in document:
        raise Unsupported(f"{what} is no container image but {kind or 'of unknown type'}", hint="check the reference")
    config = _descriptor(document.get("config"), what)
    if config.media_type not in CONFIGS:
        raise Unsupported(
            f"{what} is an artifact of type {config.media_type}, not a container image", hint="check the reference"
        )
    layers = tuple(_descriptor(raw, what) for raw in _list(document, "layers", what))
    if len(layers) > MAX_LAYERS:
        raise Unsupported(f"{what} has {len(layers)} layers; the kernel stacks {MAX_LAYERS}", hint="flatten the image")
    return Manifest(kind if kind in MANIFESTS else MANIFESTS[0], config, layers)


def read_config(body: bytes, layers: int, what: str) -> Config:
    """The image config. It must name exactly one sha256 diff id per layer."""
    document = _document(body, what)
    rootfs = document.get("rootfs")
    diff_ids = rootfs.get("diff_ids") if isinstance(rootfs, dict) else None
    if not isinstance(diff_ids, list) or not all(isinstance(d, str) and is_digest(d) for d in diff_ids):
        raise _corrupt(what, "its config names no proper layers")
    if len(diff_ids) != layers:
        raise _corrupt(what, f"its manifest has {layers} layers, its config {len(diff_ids)}")
    if not all(d.startswith("sha256:") for d in diff_ids):
        raise Unsupported(f"{what} names layers by another hash than sha256", hint="build it with sha256 digests")
    defaults = document.get("config") or {}
    if not isinstance(defaults, dict):
        raise _corrupt(what, "its config is malformed")
    names = (document.get("os"), document.get("architecture"), document.get("variant"))
    os_name, architecture, variant = (name if isinstance(name, str) else "" for name in names)
    return Config(normal(os_name or "linux", architecture, variant), tuple(diff_ids), defaults)


def choose(index: Index, wanted: Platform, what: str) -> Descriptor:
    """The entry that fits best: the wanted variant, then older ones, then entries that do not say.

    Errors: `NotFound`, naming the platforms there are.
    """
    for platform in wanted.acceptable():
        for entry in index.entries:
            if entry.platform == platform:
                return entry.descriptor
    for entry in index.entries:
        if entry.platform is None:
            return entry.descriptor
    there = ", ".join(sorted({str(e.platform) for e in index.entries})) or "none at all"
    raise NotFound(f"{what} is not there for {wanted}", hint=f"ask for one of its platforms: {there}")


def _document(body: bytes, what: str) -> Json:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as fault:
        raise _corrupt(what, "it is not JSON") from fault
    if not isinstance(document, dict):
        raise _corrupt(what, "it is not a JSON object")
    if _deeper(document, MAX_DEPTH):
        raise _corrupt(what, f"it is nested deeper than {MAX_DEPTH} levels")
    if not is_unicode(document):
        raise _corrupt(what, "it holds half of a surrogate pair, which is no Unicode text")
    return document


def is_unicode(document: Any) -> bool:  # Any: JSON
    """Whether all its texts can be written as UTF-8. JSON's `\\ud800` alone cannot: nobody could be sent it."""
    try:
        json.dumps(document, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


def _deeper(document: Any, limit: int) -> bool:  # Any: JSON
    """Whether the document nests deeper than `limit`; level by level, without recursion."""
    level = [document]
    for _ in range(limit):
        level = [
            child
            for value in level
            for child in (value.values() if isinstance(value, dict) else value)
            if isinstance(child, dict | list)
        ]
        if not level:
            return False
    return True


def _list(document: Json, key: str, what: str) -> Sequence[Any]:  # Any: JSON
    value = document.get(key)
    if not isinstance(value, list):
        raise _corrupt(what, f"its {key!r} is not a list")
    return value


def _descriptor(raw: Any, what: str) -> Descriptor:  # Any: JSON
    if not isinstance(raw, dict):
        raise _corrupt(what, "a descriptor is not an object")
    media_type, digest, size = raw.get("mediaType"), raw.get("digest"), raw.get("size")
    if not isinstance(media_type, str) or not isinstance(digest, str) or not is_digest(digest):
        raise _corrupt(what, "a descriptor has no proper type or digest")
    if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size <= MAX_SIZE:
        raise _corrupt(what, f"the descriptor of {digest} has no proper size")
    return Descriptor(media_type, digest, size)


def _is_image(raw: Any) -> bool:  # Any: JSON
    """Not an attestation: BuildKit lists those beside images, for the platform unknown/unknown."""
    if not isinstance(raw, dict):
        return True  # `_entry` says what is wrong with it
    platform, notes = raw.get("platform"), raw.get("annotations")
    unknown = isinstance(platform, dict) and platform.get("os") == "unknown"
    return not unknown and not (isinstance(notes, dict) and "vnd.docker.reference.type" in notes)


def _entry(raw: Any, what: str) -> Entry:  # Any: JSON
    descriptor = _descriptor(raw, what)
    platform = raw.get("platform")
    if not isinstance(platform, dict) or not platform.get("architecture"):
        return Entry(descriptor, None)
    names = (platform.get("os"), platform.get("architecture"), platform.get("variant"))
    return Entry(descriptor, normal(*(name if isinstance(name, str) else "" for name in names)))


def _corrupt(what: str, fault: str) -> Corrupt:
    return Corrupt(f"{what} is malformed: {fault}", hint="pull again; if it stays, push the image again")
