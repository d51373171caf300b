"""One blob of the store into the bucket: at once when it is small, else in parts, a few at a time, from where it stood.

The blob is read once before and checked by its digest: what is damaged here never goes up. Of it, at most a block per
part under way is in memory.
"""

from __future__ import annotations

import hashlib
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import BinaryIO, Literal

from zlayer.image.blobs import BlobStore
from zlayer.image.rate import Bucket as Rate
from zlayer.image.registry_transport import BLOCK
from zlayer.image.s3.bucket import Bucket, Content
from zlayer.image.s3.shelf import Entry, Shelf, Upload
from zlayer.model.errors import Denied, Failed, NotFound

MIB = 1 << 20
PART = 16 * MIB
"""Bytes of a part, and of what still goes at once. S3 wants 5 MiB at least."""
MOST_PARTS = 1000
"""S3 takes 10,000; but what is known of each is written down again with the next one."""
AT_ONCE = 3
"""Parts under way at a time."""
Outcome = Literal["sent", "there", "gone", "damaged"]


@dataclass(frozen=True, slots=True)
class Hands:
    """What all blobs of one go share."""

    bucket: Bucket
    blobs: BlobStore
    shelf: Shelf
    rate: Rate
    part: int = PART


def send(hands: Hands, entry: Entry) -> Outcome:
    """Make the bucket have the blob, and the shelf forget it. Errors: those of the bucket; the shelf keeps it then.

    `gone`: the node does not have it any more. `damaged`: what it has is something else.
    """
    key = hands.bucket.settings.key(entry.digest)
    path = hands.blobs.path(entry.digest)
    outcome: Outcome
    if not hands.blobs.has(entry.digest, entry.size):
        outcome = "gone"
    elif not entry.replace and hands.bucket.size(key) == entry.size:
        outcome = "there"
    else:
        parts = _measured(path, entry, part_size(entry.size, hands.part))
        outcome = "damaged" if parts is None else "sent"
    if outcome != "sent":
        if entry.upload is not None:
            with suppress(Denied, Failed, NotFound):  # it ends after a day
                hands.bucket.abort(key, entry.upload.id)
    elif parts is not None and len(parts) == 1:
        hands.bucket.put(key, parts[0].content(path, hands.rate, entry.media_type))
    elif parts is not None:
        _Multipart(hands, entry, key, parts).run()
    hands.shelf.drop(entry.digest)
    return outcome


@dataclass(frozen=True, slots=True)
class _Part:
    number: int
    offset: int
    size: int
    sha256: str

    def content(self, path: Path, rate: Rate, media_type: str = "") -> Content:
        opened = partial(_Section, path, self.offset, self.size, rate)
        return Content(self.size, self.sha256, opened, media_type or "application/octet-stream")


class _Section:
    """Some bytes of a file, as a body that is sent."""

    def __init__(self, path: Path, offset: int, size: int, rate: Rate) -> None:
        self._file: BinaryIO = path.open("rb", buffering=0)
        self._file.seek(offset)
        self._left, self._rate = size, rate

    def read(self, size: int = -1, /) -> bytes:
        """Never more than a block. At the end the file is closed."""
        most = min(self._left, BLOCK if size < 0 else size, self._rate.most or self._left)
        data = self._file.read(most)
        self._left -= len(data)
        if not data:
            self._file.close()
        self._rate.take(len(data))
        return data


class _Multipart:
    def __init__(self, hands: Hands, entry: Entry, key: str, parts: list[_Part]) -> None:
        self._hands, self._entry, self._key, self._parts = hands, entry, key, parts
        self._path = hands.blobs.path(entry.digest)
        self._lock = threading.Lock()
        self._ended = threading.Event()

    def run(self) -> None:
        try:
            self._go_on()
        except NotFound:
            # S3 does not know the upload any more: somebody ended it. Once more, from the first byte.
            self._entry = replace(self._entry, upload=None)
            self._ended.clear()
            self._go_on()

    def _go_on(self) -> None:
        upload = self._entry.upload
        if upload is None or upload.part != self._parts[0].size:
            if upload is not None:
                self._hands.bucket.abort(self._key, upload.id)
            begun = self._hands.bucket.begin(self._key, self._entry.media_type or "application/octet-stream")
            upload = Upload(begun, self._parts[0].size)
            self._note(upload)
        missing = [part for part in self._parts if part.number not in upload.etags]
        with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="part") as pool:
            list(pool.map(partial(self._send, upload.id), missing))
        assert self._entry.upload is not None
        etags = sorted(self._entry.upload.etags.items())
        self._hands.bucket.complete(self._key, upload.id, etags)

    def _send(self, upload: str, part: _Part) -> None:
        """The first fault ends the others at their next part."""
        if self._ended.is_set():
            return
        try:
            etag = self._hands.bucket.part(self._key, upload, part.number, part.content(self._path, self._hands.rate))
        except BaseException:
            self._ended.set()
            raise
        with self._lock:
            assert self._entry.upload is not None
            before = self._entry.upload
            self._note(replace(before, etags={**before.etags, part.number: etag}))

    def _note(self, upload: Upload) -> None:
        """On disk before anything else is done: it must be known after a kill."""
        self._entry = replace(self._entry, upload=upload)
        self._hands.shelf.update(self._entry)


def part_size(size: int, part: int = PART) -> int:
    """Larger parts for a blob that would have too many."""
    return max(part, -(-size // MOST_PARTS))


def _measured(path: Path, entry: Entry, size: int) -> list[_Part] | None:
    """The blob's parts with their hashes, at least one; None when its digest is not what its name says."""
    whole = hashlib.new(entry.digest.partition(":")[0])
    parts: list[_Part] = []
    with path.open("rb", buffering=0) as file:
        for number, offset in enumerate(range(0, max(entry.size, 1), size), start=1):
            here = min(size, entry.size - offset)
            own, left = hashlib.sha256(), here
            while left and (data := file.read(min(BLOCK, left))):
                whole.update(data)
                own.update(data)
                left -= len(data)
            parts.append(_Part(number, offset, here, own.hexdigest()))
    return parts if whole.hexdigest() == entry.digest.partition(":")[2] else None
