"""One blob as a stream: what is on disk of it, then the rest from the registry, kept, counted and hashed on the way."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Protocol

from zlayer.image.blobs import Partial
from zlayer.image.manifest import Descriptor
from zlayer.image.rate import Bucket
from zlayer.image.reference import Reference
from zlayer.image.registry_retry import FAULTS, Patience
from zlayer.image.s3.watched import Body
from zlayer.model.errors import Corrupt, Unavailable


class Source(Protocol):
    """Where a blob comes from: a registry, or one with places before it."""

    @property
    def reference(self) -> Reference: ...

    @property
    def bucket(self) -> Bucket: ...

    def patience(self) -> Patience: ...

    def blob(self, digest: str, offset: int = 0) -> Body: ...

    def distrust(self, digest: str) -> bool: ...

    def forgives(self, digest: str) -> bool: ...

    def kept(self, digest: str, size: int, media_type: str = "") -> None: ...


class Download:
    """The bytes of a blob from its first on. At its last byte, and not before, the digest has been verified.

    A broken or stalled connection is opened again from the byte reached. Errors of `readinto`: `Corrupt` (too long,
    or another digest), `Unavailable`, `Deadline`, `Denied`, `NotFound`, `Exhausted`.
    """

    def __init__(self, source: Source, blob: Descriptor, partial: Partial, on_bytes: Callable[[int], None]) -> None:
        self._source = source
        self._blob = blob
        self._partial = partial
        self._on_bytes = on_bytes
        self._hash = hashlib.new(blob.digest.partition(":")[0])
        self._answer: Body | None = None
        self._patience = source.patience()
        self.position = 0
        if partial.size > blob.size:
            partial.reset()
        self.resumed = partial.size
        """How many bytes an earlier pull had left."""

    def close(self) -> None:
        if self._answer is not None:
            self._answer.close()
            self._answer = None

    def readinto(self, buffer: memoryview, /) -> int:
        """The next bytes; 0 when the blob is whole and right."""
        left = self._blob.size - self.position
        if left == 0:
            return self._finish()
        buffer = buffer[:left]
        if self.position < self._partial.size:
            count = self._partial.readinto(buffer[: self._partial.size - self.position], self.position)
            if count == 0:
                raise Unavailable(f"{self._blob.digest} shrank while it was read", hint="pull again")
        else:
            count = self._receive(buffer)
            self._partial.append(buffer[:count])
        self._hash.update(buffer[:count])
        self.position += count
        self._on_bytes(self.position)
        return count

    def drain(self) -> None:
        """Fetch all that is left, to disk only."""
        buffer = memoryview(bytearray(256 * 1024))
        while self.readinto(buffer):
            pass

    def _receive(self, buffer: memoryview) -> int:
        """At least one byte from the registry."""
        domain, most = self._source.reference.domain, self._source.bucket.most
        buffer = buffer[:most] if most else buffer
        while True:
            try:
                if self._answer is None:
                    self._answer = self._open_right()
                if count := self._answer.readinto(buffer):
                    self._patience.progress()
                    self._source.bucket.take(count)
                    return count
                raise ConnectionResetError("the connection ended before the blob did")
            except FAULTS as fault:
                self.close()
                if not self._source.forgives(self._blob.digest):
                    self._patience.judge(fault, domain)
            except Unavailable as error:
                self.close()
                if not self._source.forgives(self._blob.digest):
                    self._patience.spend(error)

    def _open_right(self) -> Body:
        """As `_open`; of places before the registry, what says that it has something else is passed over."""
        while True:
            try:
                return self._open()
            except Corrupt:
                if not self._source.distrust(self._blob.digest):
                    raise

    def _open(self) -> Body:
        """A response that stands at `position`. A server that ignores ranges is read from its start again."""
        answer = self._source.blob(self._blob.digest, self.position)
        offset = self.position
        try:
            if answer.status == 206 and not answer.header("Content-Range").startswith(f"bytes {offset}-"):
                raise Unavailable(
                    f"registry {self._source.reference.domain} answered with another range than asked for",
                    hint="try again later",
                )
            skip = offset if answer.status == 200 else 0
            if answer.length is not None and answer.length != self._blob.size - offset + skip:
                raise Corrupt(
                    f"{self._blob.digest} has {answer.length} bytes at the registry, its manifest says"
                    f" {self._blob.size - offset + skip}",
                    hint="push the image again",
                )
            scratch = memoryview(bytearray(64 * 1024))
            while skip:
                count = answer.readinto(scratch[: min(skip, len(scratch))])
                if not count:
                    raise ConnectionResetError("the connection ended before the byte to resume from")
                skip -= count
        except BaseException:
            answer.close()
            raise
        return answer

    def _finish(self) -> int:
        self.close()
        digest = f"{self._blob.digest.partition(':')[0]}:{self._hash.hexdigest()}"
        if digest != self._blob.digest:
            raise Corrupt(
                f"the content of {self._blob.digest} does not match its digest: it has {digest}",
                hint="pull again; if it stays, the registry or a proxy alters content",
            )
        return 0
