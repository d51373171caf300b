"""An archive into the stores: its blobs, then each image unpacked as a pull would, but for the network.

In the worker process. A plain root file system becomes an image of one layer.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform as machine
import secrets
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from zlayer.image import platform as platforms
from zlayer.image.archive_order import ImportOrder, Json
from zlayer.image.archive_read import Found, keep, layer_type, receive
from zlayer.image.blobs import BlobStore, digest_of, disk_error
from zlayer.image.inflate import Inflated, Inflating
from zlayer.image.manifest import CONFIGS, MANIFESTS
from zlayer.image.pull import pull
from zlayer.image.pull_layer import Report
from zlayer.image.pull_order import PullOrder
from zlayer.image.reference import Reference, parse
from zlayer.image.unpack import Unpack, unpack_here
from zlayer.model.errors import Invalid

PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_CHUNK = 1 << 20


def take_in(order: ImportOrder, environ: Mapping[str, str], report: Report, unpack: Unpack = unpack_here) -> Json:
    """`images`: each with its reference and what a pull would say of it. Errors: as `Images.import_archive`."""
    store = BlobStore(order.root / "blobs")
    source = _Incoming(order.descriptor)
    found = [_rootfs(source, store)] if order.rootfs else receive(Inflating(source), store)
    if not found:
        raise Invalid("there is no image in the archive", hint="export or save it again")
    if order.name and len(found) > 1:
        raise Invalid(f"the archive holds {len(found)} images, which cannot all be {order.name}", hint="leave -t out")
    named = [(reference, one.digest) for one in found for reference in _names(order, one)]
    images = []
    for reference, digest in named:
        pinned = f"{reference.name}@{digest}"
        wanted = PullOrder(order.root, pinned, order.platform, order.settings, offline=True)
        pulled = pull(wanted, environ, report, unpack=unpack)
        images.append({"reference": str(reference), "pulled": asdict(pulled)})
    return {"images": images}


def _names(order: ImportOrder, found: Found) -> list[Reference]:
    names = (order.name,) if order.name else found.names
    if not names:
        raise Invalid(f"the archive gives {found.digest} no name", hint="give it one: -t NAME[:TAG]")
    return [parse(name, order.settings.default_registry) for name in names]


class _Incoming:
    """What comes down the pipe."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def readinto(self, buffer: memoryview, /) -> int:
        return os.readv(self._descriptor, [buffer])


class _Copying:
    """What comes down the pipe, kept and hashed as it comes."""

    def __init__(self, source: _Incoming, descriptor: int) -> None:
        self._source, self._descriptor = source, descriptor
        self.hash = hashlib.sha256()
        self.size = 0

    def readinto(self, buffer: memoryview, /) -> int:
        count = self._source.readinto(buffer)
        piece = buffer[:count]
        self.hash.update(piece)
        self.size += count
        while piece:
            piece = piece[os.write(self._descriptor, piece) :]
        return count


def _rootfs(source: _Incoming, store: BlobStore) -> Found:
    """The tree as a layer, packed as it came; the image runs a shell in it."""
    scratch = store.root / "tmp"
    path = scratch / f"{os.getpid()}-{secrets.token_hex(8)}"
    try:
        scratch.mkdir(mode=0o700, parents=True, exist_ok=True)
        with path.open("x+b") as file:
            copying = _Copying(source, file.fileno())
            inflated = Inflated(copying)
            buffer = memoryview(bytearray(_CHUNK))
            while inflated.readinto(buffer):
                pass
            digest = f"sha256:{copying.hash.hexdigest()}"
            keep(store, file.fileno(), path, digest)
    except OSError as error:
        raise disk_error(error, path) from error
    finally:
        path.unlink(missing_ok=True)
    layer = {"mediaType": layer_type(store.path(digest)), "digest": digest, "size": copying.size}
    return _image(store, layer, inflated.diff_id)


def _image(store: BlobStore, layer: Json, diff_id: str) -> Found:
    own = platforms.own()
    config: Json = {
        "architecture": own.architecture or machine.machine(),
        "os": own.os,
        "config": {"Env": [PATH], "Cmd": ["/bin/sh"]},
        "rootfs": {"type": "layers", "diff_ids": [diff_id]},
        "history": [{"comment": "imported"}],
    }
    body = _encoded(config)
    digest = digest_of(body, diff_id)
    store.write(digest, body)
    manifest = _encoded(
        {
            "schemaVersion": 2,
            "mediaType": MANIFESTS[0],
            "config": {"mediaType": CONFIGS[0], "digest": digest, "size": len(body)},
            "layers": [layer],
        }
    )
    made = digest_of(manifest, diff_id)
    store.write(made, manifest)
    return Found(made)


def _encoded(document: Mapping[str, Any]) -> bytes:  # Any: a JSON document
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
