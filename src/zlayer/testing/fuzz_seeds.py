"""What fuzzing begins with, and the corpus it keeps: one zip file for each target of `fuzz_targets`."""

from __future__ import annotations

import json
import sys
import tarfile
import zipfile
from collections.abc import Callable, Iterable
from io import BytesIO
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

from zlayer.testing import imagery_samples as samples
from zlayer.testing.fuzz_targets import OUTSIDE, Target
from zlayer.testing.hostile_tars import hostile_tars
from zlayer.testing.imagery import Compression, OciImage, compress, image, index, layer
from zlayer.testing.imagery_tar import Tar

WORDS = (
    b"..", b"../outside", b".wh.", b".wh..wh..opq", OUTSIDE, b"path", b"linkpath", b"size", b"mtime", b"uid",
    b"SCHILY.xattr.", b"SCHILY.xattr.user.a", b"SCHILY.xattr.trusted.overlay.opaque", b"GNU.sparse.map",
    b"GNU.sparse.size", b"GNU.sparse.major", b"GNU.sparse.minor", b"GNU.sparse.realsize", b"GNU.sparse.name",
    b"GNU.sparse.offset", b"GNU.sparse.numbytes", b"ustar\0", b"ustar  \0", b"\x80\0\0\0\0\0\0\0", b"\xff" * 8,
    b"index.json", b"manifest.json", b"blobs/sha256/", b"\x1f\x8b\x08", b"\x28\xb5\x2f\xfd", b'"mediaType"',
    b'"manifests"', b'"layers"', b'"config"', b'"digest"', b'"rootfs"', b'"diff_ids"', b'"platform"', b"sha256:",
    b"sha512:", b"\\ud800", b"docker.io/", b"localhost/", b"index.docker.io/library/", b"@sha256:", b":65536/",
    b'"Labels"', b'"Entrypoint"', b'"Env"', b'"ExposedPorts"', b'"Volumes"', b'"architecture"', b'"annotations"',
)  # fmt: skip
"""A dictionary for the fuzzer."""
_NAMES = (
    "redis", "redis:7", "library/redis", "docker.io/library/redis:7", "localhost/a", "localhost:5000/a/b_c:Tag.1",
    "[::1]:5000/a", "a.b/c__d/e---f@sha256:" + "0" * 64, "a:1@sha512:" + "f" * 128, "A.example/x", "Redis", "a//b",
    "0" * 64, "index.docker.io/x", "registry-1.docker.io/library/x", "x:99999/y", "é/x", " a", "linux/arm/v7",
)  # fmt: skip
_PACKINGS: tuple[Compression, ...] = ("gzip", "zstd")
_MOMENT = (2020, 1, 1, 0, 0, 0)


def seeds(name: str) -> list[bytes]:
    """Beginnings for one target."""
    return {"tar": _tars, "archive": _archives, "manifest": _documents, "reference": _references}[name]()


def _tars() -> list[bytes]:
    plain = Tar().directory("d", mode=0o2755).file("d/f", b"x" * 700, xattrs={"user.a": b"1"}).hardlink("h", "d/f")
    plain.symlink("s", "../outside/sentinel").whiteout("d/gone").opaque("d").device("n", "c", (1, 3)).fifo("p")
    whole = [plain.finish(), *(one.blob.read() for one in samples.nasty_layers())]
    whole += [compress(whole[0], how) for how in _PACKINGS]
    return [*whole, *(case.archive for case in hostile_tars(OUTSIDE))]


def _archives() -> list[bytes]:
    made = _image()
    layout = {f"blobs/{blob.digest.replace(':', '/')}": blob.read() for blob in (*made.blobs(), made.manifest)}
    layout |= {"oci-layout": b'{"imageLayoutVersion":"1.0.0"}', "index.json": index([made]).manifest.read()}
    docker = {"c.json": made.config.read(), "l/layer.tar": made.layers[0].blob.read()}
    docker["manifest.json"] = json.dumps(
        [{"Config": "c.json", "Layers": ["l/layer.tar"], "RepoTags": ["a:1"]}]
    ).encode()
    found = [_packed(layout, tarfile.PAX_FORMAT), _packed(docker, tarfile.USTAR_FORMAT)]
    return [*found, compress(found[0], "gzip"), *(case.archive for case in hostile_tars(OUTSIDE)[::4])]


def _documents() -> list[bytes]:
    images = [_image(), _image(docker=True), _image(platform="linux/arm/v7"), _image(algorithm="sha512")]
    config: dict[str, Any] = {"Entrypoint": "x", "Env": ["A=b"], "ExposedPorts": {"80/tcp": {}}, "Volumes": {"/v": {}},
                              "Labels": {"a": "b"}, "User": "1", "WorkingDir": "/w"}  # fmt: skip
    images.append(image([layer(Tar())], config))
    found = [document for one in images for document in (one.manifest.read(), one.config.read())]
    return [*found, index(images[:3]).manifest.read(), index(images[1:2], docker=True).manifest.read()]


def _references() -> list[bytes]:
    return [name.encode() for name in _NAMES]


def _image(**options: Any) -> OciImage:  # Any: those of `imagery.image`
    return image([layer(Tar().file("a", b"b"))], {"Cmd": ["sh"]}, **options)


def _packed(files: dict[str, bytes], form: int) -> bytes:
    buffer = BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as archive:
        for name, body in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(body)
            archive.addfile(info, BytesIO(body))
    return buffer.getvalue()


def load(corpus: Path) -> list[bytes]:
    """Inputs kept in a zip file; none when there is no such file."""
    if not corpus.exists():
        return []
    with zipfile.ZipFile(corpus) as archive:
        return [archive.read(name) for name in sorted(archive.namelist())]


def save(corpus: Path, inputs: Iterable[bytes]) -> None:
    """The same inputs give the same file."""
    corpus.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(corpus, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for number, data in enumerate(inputs):
            archive.writestr(zipfile.ZipInfo(f"{number:04}", _MOMENT), data, zipfile.ZIP_DEFLATED)


def minimised(inputs: Iterable[bytes], target: Target) -> list[bytes]:
    """Of the inputs those, the shortest first, that go a way from line to line in our image code no other goes."""
    ways: set[tuple[CodeType, int, int]] = set()
    kept = []
    for data in sorted(set(inputs), key=lambda one: (len(one), one)):
        gone = _ways(target, data)
        if gone - ways:
            ways |= gone
            kept.append(data)
    return kept


def _ways(target: Target, data: bytes) -> set[tuple[CodeType, int, int]]:
    gone: set[tuple[CodeType, int, int]] = set()

    def enter(frame: FrameType, event: str, _argument: object) -> Callable[..., Any] | None:
        if event != "call" or "/zlayer/image/" not in frame.f_code.co_filename:
            return None
        before = 0

        def line(frame: FrameType, event: str, _argument: object) -> Callable[..., Any]:
            nonlocal before
            if event == "line":
                gone.add((frame.f_code, before, frame.f_lineno))
                before = frame.f_lineno
            return line

        return line

    kept = sys.gettrace()
    sys.settrace(enter)
    try:
        target(data)
    finally:
        sys.settrace(kept)
    return gone
