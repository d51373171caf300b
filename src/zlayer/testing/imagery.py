"""Real OCI images made without a daemon: layers, configs, manifests, indexes (OCI image-spec 1.1).

Values only: `imagery_samples` has ready ones, `imagery_push` sends them to a registry.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import zstandard

from zlayer.testing.imagery_tar import Tar, tar_of_tree

Compression = Literal["gzip", "zstd", "none"]
Json = Mapping[str, Any]  # Any: a JSON document

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar"
_DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"
_SUFFIX = {"gzip": "+gzip", "zstd": "+zstd", "none": ""}


@dataclass(frozen=True, slots=True)
class Blob:
    """Content by its digest; in memory, or in a file when it is big."""

    content: bytes | Path
    digest: str
    size: int
    media_type: str

    @property
    def descriptor(self) -> dict[str, Any]:  # Any: JSON
        return {"mediaType": self.media_type, "digest": self.digest, "size": self.size}

    def read(self) -> bytes:
        return self.content if isinstance(self.content, bytes) else self.content.read_bytes()


@dataclass(frozen=True, slots=True)
class Layer:
    """`blob` is compressed as it travels; `diff_id` is the digest of the raw archive."""

    blob: Blob
    diff_id: str


@dataclass(frozen=True, slots=True)
class OciImage:
    """One platform's image."""

    layers: tuple[Layer, ...]
    config: Blob
    manifest: Blob
    platform: str

    @property
    def digest(self) -> str:
        return self.manifest.digest

    @property
    def document(self) -> Json:
        """The manifest, parsed: to check what a client reports against it."""
        document: Json = json.loads(self.manifest.read())
        return document

    def blobs(self) -> Iterator[Blob]:
        yield from (layer.blob for layer in self.layers)
        yield self.config


@dataclass(frozen=True, slots=True)
class OciIndex:
    """Several platforms under one name."""

    images: tuple[OciImage, ...]
    manifest: Blob

    @property
    def digest(self) -> str:
        return self.manifest.digest


def blob(content: bytes, media_type: str, algorithm: str = "sha256") -> Blob:
    digest = f"{algorithm}:{hashlib.new(algorithm, content).hexdigest()}"
    return Blob(content, digest, len(content), media_type)


def sha256(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def layer(archive: Tar | bytes, compression: Compression = "gzip", algorithm: str = "sha256") -> Layer:
    """A layer of a tar archive. `algorithm` names its blob; the diff id is always sha256."""
    raw = archive.finish() if isinstance(archive, Tar) else archive
    return Layer(blob(compress(raw, compression), _LAYER + _SUFFIX[compression], algorithm), sha256(raw))


def layer_from_tree(root: Path, compression: Compression = "gzip") -> Layer:
    """A layer of a directory, which may be an overlayfs upper."""
    return layer(tar_of_tree(root), compression)


def layer_from_file(archive: Path, diff_id: str, digest: str) -> Layer:
    """A gzip layer that lies compressed in a file, its digests known."""
    return Layer(Blob(archive, digest, archive.stat().st_size, f"{_LAYER}+gzip"), diff_id)


def compress(raw: bytes, compression: Compression) -> bytes:
    """The same bytes give the same bytes: no time stamps."""
    if compression == "gzip":
        packer = zlib.compressobj(6, zlib.DEFLATED, 31)
        return packer.compress(raw) + packer.flush()
    if compression == "zstd":
        return zstandard.ZstdCompressor(level=3).compress(raw)
    return raw


def image(
    layers: Sequence[Layer],
    config: Json | None = None,
    *,
    platform: str = "linux/amd64",
    docker: bool = False,
    algorithm: str = "sha256",
) -> OciImage:
    """An image of `layers`, base first. `config` is the OCI `config` object: `{"Cmd": [...], "Env": [...]}`.

    `docker` writes Docker's schema 2 media types instead of OCI's; `algorithm` names config and manifest.
    """
    os_name, architecture, *variant = platform.split("/")
    document = {
        "created": "2023-11-14T22:13:20Z",
        "os": os_name,
        "architecture": architecture,
        **({"variant": variant[0]} if variant else {}),
        "config": dict(config or {}),
        "rootfs": {"type": "layers", "diff_ids": [each.diff_id for each in layers]},
        "history": [{"created_by": "zlayer.testing.imagery"} for _ in layers],
    }
    packed = blob(_json(document), DOCKER_CONFIG if docker else OCI_CONFIG, algorithm)
    descriptors = [each.blob.descriptor for each in layers]
    if docker:
        descriptors = [{**each, "mediaType": _DOCKER_LAYER} for each in descriptors]
    media_type = DOCKER_MANIFEST if docker else OCI_MANIFEST
    manifest = {
        "schemaVersion": 2, "mediaType": media_type, "config": packed.descriptor, "layers": descriptors,
    }  # fmt: skip
    return OciImage(tuple(layers), packed, blob(_json(manifest), media_type, algorithm), platform)


def index(images: Sequence[OciImage], *, docker: bool = False) -> OciIndex:
    """A manifest list. An image of platform `unknown/unknown` stands in it as build attestations do."""
    entries = []
    for each in images:
        os_name, architecture, *variant = each.platform.split("/")
        platform = {"os": os_name, "architecture": architecture, **({"variant": variant[0]} if variant else {})}
        entries.append({**each.manifest.descriptor, "platform": platform})
    media_type = DOCKER_INDEX if docker else OCI_INDEX
    document = {"schemaVersion": 2, "mediaType": media_type, "manifests": entries}
    return OciIndex(tuple(images), blob(_json(document), media_type))


def _json(document: Json) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()
