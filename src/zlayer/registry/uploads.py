"""Blobs on their way in: one directory per upload, with the bytes that came and which repository they are for.

An upload survives the server: its offset is its file's length. The content is hashed while it comes; after a restart,
or for sha512, it is read once more at the end. Blocking; one request at a time per upload is the caller's care.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import anyio

from zlayer.image.blobs import disk_error, sync_directory, write_whole
from zlayer.registry.faults import Refusal, bad_digest, unknown_upload
from zlayer.registry.repositories import Repositories, make_directory

EXPIRY = 24 * 3600.0
"""Seconds without a byte after which an upload is forgotten."""
BLOCK = 1024 * 1024


@dataclass(slots=True)
class Upload:
    """One upload. `size` bytes are here; `hashed` of them are in `sha256`."""

    identity: str
    repository: str
    path: Path
    size: int = 0
    hashed: int = 0
    sha256: hashlib._Hash = field(default_factory=hashlib.sha256)
    busy: anyio.Lock = field(default_factory=anyio.Lock)
    over: bool = False


class Uploads:
    """All uploads into `repositories`. `most` is the largest blob taken, in bytes."""

    def __init__(
        self, repositories: Repositories, *, most: int = 1 << 40, clock: Callable[[], float] = time.time
    ) -> None:
        self._repositories = repositories
        self._root = repositories.root / "uploads"
        self._most = most
        self._clock = clock
        self._known: dict[str, Upload] = {}

    def begin(self, repository: str) -> Upload:
        """A new upload without a byte. Errors: `Exhausted`, `Failed`."""
        identity = str(uuid.uuid4())
        home = self._root / identity
        make_directory(home)
        about = json.dumps({"schema": 1, "repository": repository}).encode()
        try:
            (home / "data").touch(mode=0o600)
            write_whole(home / "about.json", about, self._repositories.root / "tmp")
        except BaseException:
            shutil.rmtree(home, ignore_errors=True)
            raise
        upload = self._known[identity] = Upload(identity, repository, home / "data")
        return upload

    def find(self, repository: str, identity: str) -> Upload:
        """One that has begun in that repository, here or before a restart. Raises `Refusal` 404 for all others."""
        upload = self._known.get(identity) or self._read(identity)
        if upload is None or upload.over or upload.repository != repository:
            raise unknown_upload(identity)
        return self._known.setdefault(identity, upload)

    def append(self, upload: Upload, parts: Sequence[bytes]) -> None:
        """Put bytes behind what is there. On a full disk nothing of them stays. Raises `Refusal` 413 past the limit."""
        total = sum(map(len, parts))
        if upload.size + total > self._most:
            raise Refusal(413, "SIZE_INVALID", f"a blob has at most {self._most} bytes here")
        try:
            with upload.path.open("r+b", buffering=0) as file:
                offset = upload.size
                for part in parts:
                    _write(file.fileno(), part, offset)
                    offset += len(part)
        except FileNotFoundError:
            raise unknown_upload(upload.identity) from None
        except OSError as error:
            self.cut(upload, upload.size)
            raise disk_error(error, upload.path) from error
        if upload.hashed == upload.size:
            for part in parts:
                upload.sha256.update(part)
            upload.hashed += total
        upload.size += total

    def cut(self, upload: Upload, size: int) -> None:
        """Back to its first `size` bytes."""
        with suppress(OSError):
            os.truncate(upload.path, size)
        upload.size = size
        if upload.hashed > size:
            upload.sha256, upload.hashed = hashlib.sha256(), 0

    def finish(self, upload: Upload, digest: str) -> None:
        """Make it the blob `digest` of its repository, durably; the upload is over then, and also when it is not that.

        Errors: `Exhausted`, `Failed`; `Refusal` 400 when the content is another.
        """
        if (real := self._digest(upload, digest.partition(":")[0])) != digest:
            self.drop(upload)
            raise bad_digest(f"the {upload.size} bytes have the digest {real}: push the blob again", digest)
        repositories = self._repositories
        final = repositories.blobs.path(digest)
        with repositories.changing():
            if not repositories.blobs.has(digest, upload.size):
                make_directory(final.parent)
                try:
                    _sync(upload.path)
                    upload.path.rename(final)
                    sync_directory(final.parent)
                except OSError as error:
                    raise disk_error(error, final) from error
            repositories.add_blob(upload.repository, digest)
        self.drop(upload)

    def drop(self, upload: Upload) -> None:
        """End it; what has come of it goes."""
        upload.over = True
        self._known.pop(upload.identity, None)
        shutil.rmtree(upload.path.parent, ignore_errors=True)

    def expire(self, age: float = EXPIRY) -> int:
        """Drop what got no byte for `age` seconds; returns how many. One being written to is younger than that."""
        gone = 0
        for home, touched in self.all():
            if touched >= self._clock() - age:
                continue
            upload = self._known.get(home.name)
            if upload is not None and upload.busy.locked():
                continue
            self.drop(upload or Upload(home.name, "", home / "data"))
            gone += 1
        return gone

    def all(self) -> Iterator[tuple[Path, float]]:
        """Directories of all uploads, and when each got its last byte."""
        with suppress(FileNotFoundError):
            for home in list(self._root.iterdir()):
                with suppress(FileNotFoundError):
                    yield home, max(file.stat().st_mtime for file in (home, *home.iterdir()))

    def under_way(self, since: float) -> set[str]:
        """Repositories into which a byte was uploaded since then."""
        recent = [self._read(home.name) for home, touched in self.all() if touched >= since]
        return {upload.repository for upload in recent if upload is not None}

    def _read(self, identity: str) -> Upload | None:
        home = self._root / identity
        try:
            about = json.loads((home / "about.json").read_bytes())
            return Upload(identity, str(about["repository"]), home / "data", (home / "data").stat().st_size)
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return None

    def _digest(self, upload: Upload, algorithm: str) -> str:
        if algorithm == "sha256" and upload.hashed == upload.size:
            return f"sha256:{upload.sha256.hexdigest()}"
        try:
            with upload.path.open("rb") as file:
                return f"{algorithm}:{hashlib.file_digest(file, algorithm).hexdigest()}"
        except FileNotFoundError:
            raise unknown_upload(upload.identity) from None


def _write(descriptor: int, data: bytes, offset: int) -> None:
    rest = memoryview(data)
    while rest:
        count = os.pwrite(descriptor, rest, offset)
        offset += count
        rest = rest[count:]


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
