"""An archive of images on its way into the blob store: OCI layouts and what `docker save` writes, in one pass.

Nothing in the archive chooses a path: blobs go by their digest, and everything else is kept under a random name until
the archive's own documents say what it was. Every digest is computed here.
"""

from __future__ import annotations

import hashlib
import json
import os
import posixpath
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from zlayer.image import manifest as formats
from zlayer.image import tar_header as tar
from zlayer.image.blobs import BlobStore, disk_error, sync_directory
from zlayer.image.reference import is_digest
from zlayer.image.tar_reader import Archive, Limits, Member, shown
from zlayer.image.tar_source import Stream
from zlayer.model.errors import Corrupt, Invalid

Json = dict[str, Any]  # Any: a JSON document
SMALL = 8 << 20
"""Bytes up to which a file is taken for a document."""
ENTRIES = 100_000
_HINT = "export or save it again"
_NAMES = ("io.containerd.image.name", "org.opencontainers.image.ref.name")


@dataclass(frozen=True, slots=True)
class Found:
    """An image or index in the archive: its digest, and the names it has there."""

    digest: str
    names: tuple[str, ...] = ()


@dataclass(slots=True)
class _Files:
    """What the archive held besides blobs: the digest and size of each file, by its name there; links by theirs."""

    digests: dict[str, tuple[str, int]] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)

    def of(self, name: str) -> tuple[str, int]:
        """`Corrupt` when it is not there. Links lead to other members only, and end."""
        for _ in range(8):
            if name in self.digests:
                return self.digests[name]
            if name not in self.links:
                break
            name = self.links[name]
        raise Corrupt(f"the archive has no {name!r}, which its manifest names", hint=_HINT)


def receive(stream: Stream, store: BlobStore, limits: Limits | None = None) -> list[Found]:
    """Take all of it in. Blobs stay in the store, whatever is in them; nothing else does.

    `Corrupt` for a damaged archive or a blob that is not what its name says; `Invalid` for no archive of images;
    `Exhausted` when the disk or a limit is full.
    """
    archive = Archive(stream, limits or Limits(entries=ENTRIES))
    files = _Files()
    for member in archive.members():
        _take(archive, member, store, files)
    if "index.json" in files.digests and (found := list(_of_index(store, files))):
        return found
    if "manifest.json" in files.digests:
        return [_of_docker(store, files, one) for one in _list(_document(store, files, "manifest.json"))]
    raise Invalid(
        "it is no archive of images: neither index.json nor manifest.json is in it",
        hint="a plain root file system is imported with --rootfs",
    )


def _take(archive: Archive, member: Member, store: BlobStore, files: _Files) -> None:
    name = posixpath.normpath(member.header.name.decode("utf-8", "surrogateescape")).lstrip("/")
    if member.header.kind in (tar.SYMLINK, tar.HARDLINK):
        link = member.header.link.decode("utf-8", "surrogateescape")
        base = posixpath.dirname(name) if member.header.kind == tar.SYMLINK else ""
        files.links[name] = posixpath.normpath(posixpath.join(base, link)).lstrip("/")
        return
    if member.header.kind != tar.REGULAR:
        return
    folder, _, digits = name.rpartition("/")
    algorithm = folder.removeprefix("blobs/")
    claimed = f"{algorithm}:{digits}"
    stated = folder.startswith("blobs/") and is_digest(claimed)
    digest = spool(archive, member, store, algorithm if stated else "sha256")
    if stated and claimed != digest:
        store.remove(digest)
        raise Corrupt(f"the blob {claimed} of the archive is in truth {digest}", hint=_HINT)
    files.digests[name] = (digest, member.size)


def spool(archive: Archive, member: Member, store: BlobStore, algorithm: str = "sha256") -> str:
    """The body of a member, as a blob of the store. Its digest."""
    scratch = store.root / "tmp"
    path = scratch / f"{os.getpid()}-{secrets.token_hex(8)}"
    try:
        scratch.mkdir(mode=0o700, parents=True, exist_ok=True)
        with path.open("x+b") as file:
            archive.copy_body(member, file.fileno())
            digest = digest_of_file(file.fileno(), algorithm)
            keep(store, file.fileno(), path, digest)
    except OSError as error:
        raise disk_error(error, path) from error
    finally:
        path.unlink(missing_ok=True)
    return digest


def digest_of_file(descriptor: int, algorithm: str = "sha256") -> str:
    """From its first byte on; what was just written is still in memory."""
    os.lseek(descriptor, 0, os.SEEK_SET)
    with os.fdopen(os.dup(descriptor), "rb") as file:
        return f"{algorithm}:{hashlib.file_digest(file, algorithm).hexdigest()}"


def keep(store: BlobStore, descriptor: int, path: Path, digest: str) -> None:
    """Make a file the blob: durable, and visible whole."""
    final = store.path(digest)
    if final.exists():
        return
    os.fsync(descriptor)
    os.fchmod(descriptor, 0o600)
    final.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.rename(final)
    sync_directory(final.parent)


def _of_index(store: BlobStore, files: _Files) -> Iterator[Found]:
    """The images of an OCI layout. One whose manifest is not in it (skopeo leaves other platforms out) is left out."""
    document = _document(store, files, "index.json")
    for raw in _list(document.get("manifests") if isinstance(document, dict) else None):
        digest, notes = raw.get("digest"), raw.get("annotations")
        if not isinstance(digest, str) or not is_digest(digest):
            raise Corrupt("its index.json names a manifest without a digest", hint=_HINT)
        names = [notes[key] for key in _NAMES if isinstance(notes, dict) and isinstance(notes.get(key), str)]
        if store.has(digest):
            yield Found(digest, tuple(names[:1]))


def _of_docker(store: BlobStore, files: _Files, item: Json) -> Found:
    """What docker calls an image, as an OCI manifest over the same blobs: their digests are its layers'."""
    config, layers, tags = item.get("Config"), item.get("Layers"), item.get("RepoTags") or []
    if not isinstance(config, str) or not isinstance(layers, list) or not isinstance(tags, list):
        raise Corrupt("its manifest.json names no config or no layers", hint=_HINT)
    digest, size = files.of(posixpath.normpath(config))
    manifest = {
        "schemaVersion": 2,
        "mediaType": formats.MANIFESTS[0],
        "config": {"mediaType": formats.CONFIGS[0], "digest": digest, "size": size},
        "layers": [_layer(store, *files.of(posixpath.normpath(str(name)))) for name in layers],
    }
    body = json.dumps(manifest, sort_keys=True, separators=(",", ":")).encode()
    made = f"sha256:{hashlib.sha256(body).hexdigest()}"
    store.write(made, body)
    return Found(made, tuple(tag for tag in tags if isinstance(tag, str)))


def _layer(store: BlobStore, digest: str, size: int) -> Json:
    return {"mediaType": layer_type(store.path(digest)), "digest": digest, "size": size}


def layer_type(path: Path) -> str:
    """The media type of a layer by its first bytes."""
    with path.open("rb") as file:
        head = file.read(4)
    packed = "+gzip" if head[:2] == b"\x1f\x8b" else "+zstd" if head == b"\x28\xb5\x2f\xfd" else ""
    return f"application/vnd.oci.image.layer.v1.tar{packed}"


def _document(store: BlobStore, files: _Files, name: str) -> Any:  # Any: JSON
    digest, size = files.digests[name]
    body = store.read(digest, SMALL)
    store.remove(digest)  # it belongs to no image
    if body is None:
        raise Corrupt(f"{name} of {size} bytes is no document", hint=_HINT)
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as fault:
        raise Corrupt(f"{shown(name.encode())} of the archive is not JSON", hint=_HINT) from fault


def _list(value: Any) -> list[Json]:  # Any: JSON
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise Corrupt("the archive's list of images is malformed", hint=_HINT)
    return value
