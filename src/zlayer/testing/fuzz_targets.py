"""What strangers' bytes meet first, as functions a fuzzer can call. Each ends quietly, or raises what is a finding.

A finding is any exception but those a caller is told of, a file changed outside the directory that was to be filled, or
an answer that cannot be sent on. `tests/fuzz` drives these by coverage and replays what it kept.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import struct
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from zlayer.image import layer_seal
from zlayer.image import manifest as formats
from zlayer.image import platform as platforms
from zlayer.image.archive_read import receive
from zlayer.image.blobs import BlobStore
from zlayer.image.extract import extract_layer
from zlayer.image.inflate import Inflated
from zlayer.image.records import image_config
from zlayer.image.reference import is_digest, parse
from zlayer.image.tar_reader import Limits
from zlayer.image.trees import remove_tree
from zlayer.model.errors import Corrupt, Exhausted, Invalid, NotFound, Unsupported, ZlayerError

Target = Callable[[bytes], None]
OUTSIDE = b"/OUTSIDE".ljust(48, b"/")
"""In an archive: the directory beside the one that is filled. As long as what replaces it, so that no size changes."""
_LIMITS = Limits(entries=400, size=1 << 21, header=1 << 16)
_BLOCK = 512


def targets(scratch: Path) -> Mapping[str, Target]:
    """By name. `scratch` is an empty directory of theirs, with a path of at most 36 bytes."""
    return {
        "tar": Unpacking(scratch / "t"),
        "archive": Receiving(scratch / "a"),
        "manifest": read_documents,
        "reference": read_reference,
    }


class Ground:
    """A directory to fill, and beside it what must never change."""

    def __init__(self, root: Path) -> None:
        self.root, self.target, self.outside = root, root / "target", root / "outside"
        (self.outside / "deep").mkdir(parents=True)
        (self.outside / "sentinel").write_bytes(b"untouched")
        self.target.mkdir()
        self._before = self._look()

    def aimed(self, data: bytes) -> bytes:
        """`data` with every `OUTSIDE` an absolute path that is there, and the checksums of headers right again."""
        if OUTSIDE not in data:
            return data
        place = os.fsencode(self.outside).ljust(len(OUTSIDE), b"/")
        assert len(place) == len(OUTSIDE), "the scratch directory's path is too long"
        changed = bytearray(data.replace(OUTSIDE, place))
        for at in range(0, len(data) - _BLOCK + 1, _BLOCK):
            if changed[at : at + _BLOCK] != data[at : at + _BLOCK] and is_summed(data[at : at + _BLOCK]):
                changed[at : at + _BLOCK] = summed(bytes(changed[at : at + _BLOCK]))
        return bytes(changed)

    def check(self) -> None:
        assert self._look() == self._before, "something outside the target has changed"

    def empty(self) -> None:
        remove_tree(self.target)
        self.target.mkdir()

    def _look(self) -> object:
        """Contents and metadata of all outside; access times apart."""
        places = [self.root, self.outside, self.outside / "deep", self.outside / "sentinel"]
        facts = [
            (status.st_mode, status.st_uid, status.st_gid, status.st_nlink, status.st_size)
            for status in map(os.lstat, places)
        ]
        changed = [os.lstat(place).st_ctime_ns for place in places[1:]]
        names = [sorted(one.name for one in place.iterdir()) for place in places[:3]]
        return facts, changed, names, (self.outside / "sentinel").read_bytes()


class Unpacking:
    """A layer as a pull gets it: perhaps compressed, and hostile."""

    def __init__(self, root: Path) -> None:
        self._ground = Ground(root)

    def __call__(self, data: bytes) -> None:
        ground = self._ground
        try:
            extract_layer(Inflated(io.BytesIO(ground.aimed(data))), ground.target, limits=_LIMITS)
            layer_seal.seal(ground.target)
        except (Corrupt, Exhausted, Unsupported) as error:
            sent_on(error)
        finally:
            ground.empty()
        ground.check()


class Receiving:
    """An archive of images, of OCI's or docker's kind."""

    def __init__(self, root: Path) -> None:
        self._ground = Ground(root)

    def __call__(self, data: bytes) -> None:
        ground = self._ground
        store = BlobStore(ground.target)
        try:
            for found in receive(Inflated(io.BytesIO(ground.aimed(data))), store, _LIMITS):
                assert store.has(found.digest)
                for name in found.names:
                    read_reference(name.encode("utf-8", "surrogateescape"))
        except (Corrupt, Exhausted, Invalid, Unsupported) as error:
            sent_on(error)
        finally:
            scraps = list((ground.target / "tmp").glob("*"))
            wrong = [digest for digest in store.list() if _digest(store.path(digest), digest) != digest]
            ground.empty()
        assert not scraps, "half-written files stay"
        assert not wrong, "a blob is not what its name says"
        ground.check()


def read_documents(data: bytes) -> None:
    """A manifest, an index, a config: whichever `data` claims to be."""
    for media_type in ("", formats.INDEXES[0], formats.MANIFESTS[1]):
        try:
            _checked(formats.read_manifest(data, media_type, "fuzz"))
        except (Corrupt, Unsupported, NotFound) as error:
            sent_on(error)
    for layers in (0, 1, 2):
        try:
            config = formats.read_config(data, layers, "fuzz")
            assert len(config.diff_ids) == layers
            _sendable(asdict(image_config(config.defaults)) | {"platform": str(config.platform)})
        except (Corrupt, Unsupported) as error:
            sent_on(error)


def _checked(document: formats.Manifest | formats.Index) -> None:
    if isinstance(document, formats.Index):
        found = [formats.choose(document, platforms.own(), "fuzz")]
    else:
        found = [document.config, *document.layers]
        assert len(document.layers) <= formats.MAX_LAYERS
    for one in found:
        assert is_digest(one.digest)
        assert 0 <= one.size <= formats.MAX_SIZE
        _sendable(asdict(one))


def read_reference(data: bytes) -> None:
    """As a command line or a file gives it. What is accepted means the same when it is written out and read again."""
    text = data.decode("utf-8", "surrogateescape")
    read = parse.__wrapped__  # what was read before must not hide a way through it
    try:
        found = read(text)
        for written in (str(found), found.familiar):
            assert read(written) == found, f"{written!r} is read as another image"
        assert not found.digest or is_digest(found.digest)
        _sendable(str(found))
    except Invalid as error:
        sent_on(error)
    try:
        platforms.parse(text)
    except Invalid as error:
        sent_on(error)


def sent_on(error: ZlayerError) -> None:
    """An error that is told must reach whoever asked, with a hint."""
    assert error.hint, f"no hint: {error.message}"
    _sendable(error.document())


def _sendable(answer: Any) -> None:  # Any: a JSON document
    """The daemon answers in UTF-8: lone surrogates would end its answer."""
    json.dumps(answer, ensure_ascii=False).encode()


def _digest(path: Path, like: str) -> str:
    algorithm = like.partition(":")[0]
    return f"{algorithm}:{hashlib.new(algorithm, path.read_bytes()).hexdigest()}"


def summed(block: bytes) -> bytes:
    """The tar header with a right checksum."""
    blank = block[:148] + b" " * 8 + block[156:]
    return block[:148] + struct.pack("8s", b"%06o\0 " % sum(blank)) + block[156:]


def is_summed(block: bytes) -> bool:
    return block[148:156] == summed(block)[148:156]
