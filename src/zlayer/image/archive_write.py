"""Images as one tar: an OCI image layout that is also what `docker load` reads (its manifest.json beside it).

Source: OCI image-spec, image-layout.md; the names of docker-archive as docker save of 25 and later writes them.
Blobs are sent by the kernel, from file to pipe.
"""

from __future__ import annotations

import importlib
import json
import os
import tarfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Protocol

import zstandard

from zlayer.image import manifest as formats
from zlayer.image.archive_order import ExportOrder, Json
from zlayer.image.blobs import BlobStore
from zlayer.image.manifest import Manifest
from zlayer.image.push import missing
from zlayer.image.reference import parse
from zlayer.image.registry import MAX_MANIFEST
from zlayer.model.errors import Failed, Unsupported

CHUNK = 1 << 20
_NAMED = "org.opencontainers.image.ref.name"
_CONTAINERD = "io.containerd.image.name"


class Sink(Protocol):
    """Where an archive goes: bytes, or a whole file of that many bytes."""

    def write(self, data: bytes, /) -> object: ...

    def copy(self, descriptor: int, size: int) -> None: ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class _Picked:
    reference: str
    digest: str
    manifest: Manifest
    size: int


def export(order: ExportOrder) -> Json:
    """Errors: `Failed` when a blob is not here any more; then nothing was written. Who reads may go: that ends it."""
    store = BlobStore(order.root / "blobs")
    picked = [_pick(store, reference, digest) for reference, digest in order.images]
    with ExitStack() as stack:
        files = {}
        for digest, size in _contents(picked):
            if not store.has(digest, size):
                raise missing(digest)
            if digest not in files:
                files[digest] = stack.enter_context(store.path(digest).open("rb"))
        sink = sink_of(order)
        for name, body in _documents(picked):
            _member(sink, name, len(body))
            sink.write(body + bytes(-len(body) % tarfile.BLOCKSIZE))
        written = set[str]()
        for digest, size in _contents(picked):
            if digest not in written:
                written.add(digest)
                _member(sink, _path(digest), size)
                sink.copy(files[digest].fileno(), size)
                sink.write(bytes(-size % tarfile.BLOCKSIZE))
        sink.write(bytes(2 * tarfile.BLOCKSIZE))
        sink.close()
    return {"blobs": len(written)}


def _pick(store: BlobStore, reference: str, digest: str) -> _Picked:
    body = store.read(digest, MAX_MANIFEST)
    if body is None:
        raise missing(digest)
    manifest = formats.read_manifest(body, "", reference)
    if not isinstance(manifest, Manifest):
        raise Unsupported(f"{reference} is an index here", hint="export the image of one platform")
    return _Picked(reference, digest, manifest, len(body))


def _contents(picked: list[_Picked]) -> Iterator[tuple[str, int]]:
    for one in picked:
        yield one.digest, one.size
        for blob in (one.manifest.config, *one.manifest.layers):
            yield blob.digest, blob.size


def _path(digest: str) -> str:
    return f"blobs/{digest.replace(':', '/')}"


def _documents(picked: list[_Picked]) -> Iterator[tuple[str, bytes]]:
    yield "oci-layout", b'{"imageLayoutVersion":"1.0.0"}'
    index = {
        "schemaVersion": 2,
        "mediaType": formats.INDEXES[0],
        "manifests": [
            {
                "mediaType": one.manifest.media_type,
                "digest": one.digest,
                "size": one.size,
                "annotations": _notes(one.reference),
            }
            for one in picked
        ],
    }
    yield "index.json", json.dumps(index).encode()
    loads = [
        {
            "Config": _path(one.manifest.config.digest),
            "RepoTags": [one.reference] if "@" not in one.reference else [],
            "Layers": [_path(layer.digest) for layer in one.manifest.layers],
        }
        for one in picked
    ]
    yield "manifest.json", json.dumps(loads).encode()


def _notes(reference: str) -> dict[str, str]:
    tag = parse(reference).tag
    return {_CONTAINERD: reference, **({_NAMED: tag} if tag else {})}


def _member(sink: Sink, name: str, size: int) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = size, 0o644
    sink.write(entry.tobuf(tarfile.PAX_FORMAT))


def sink_of(order: ExportOrder) -> Sink:
    match order.compression:
        case "gzip":
            return _gzip(order.descriptor)
        case "zstd":
            return _zstd(order.descriptor)
        case _:
            return _Plain(order.descriptor)


class _Plain:
    def __init__(self, out: int) -> None:
        self._out = out

    def write(self, data: bytes, /) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(self._out, view) :]

    def copy(self, descriptor: int, size: int) -> None:
        at = 0
        while at < size:
            sent = os.sendfile(self._out, descriptor, at, min(size - at, CHUNK))
            if sent == 0:
                raise Failed("a blob is shorter than its manifest says", hint="pull the image again")
            at += sent

    def close(self) -> None:
        """The pipe is its owner's."""


class _Packed:
    """Through a compressor: `pack` and `end` are its two calls."""

    def __init__(self, out: int, pack: Callable[[bytes], bytes], end: Callable[[], bytes]) -> None:
        self._plain, self._pack, self._end = _Plain(out), pack, end

    def write(self, data: bytes, /) -> None:
        self._plain.write(self._pack(data))

    def copy(self, descriptor: int, size: int) -> None:
        at = 0
        while at < size:
            data = os.pread(descriptor, min(size - at, CHUNK), at)
            if not data:
                raise Failed("a blob is shorter than its manifest says", hint="pull the image again")
            self.write(data)
            at += len(data)

    def close(self) -> None:
        self._plain.write(self._end())


def _gzip(out: int) -> _Packed:
    zlib: Any  # Any: isal's and the standard library's have no common type
    try:
        zlib = importlib.import_module("isal.isal_zlib")
    except ImportError:  # no wheel for this machine
        zlib = importlib.import_module("zlib")
    engine = zlib.compressobj(1, zlib.DEFLATED, 31)
    return _Packed(out, engine.compress, engine.flush)


def _zstd(out: int) -> _Packed:
    engine = zstandard.ZstdCompressor(level=3).compressobj()
    return _Packed(out, engine.compress, engine.flush)
