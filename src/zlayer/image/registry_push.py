"""The write side of a registry: blobs mounted, or uploaded and gone on with after a fault; manifests put.

Source: OCI distribution-spec 1.1, "Pushing blobs". What fits goes in one PUT; more goes in chunks, so that a broken
connection costs one chunk and not the blob.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import urlencode, urljoin

from zlayer.image.blobs import digest_of
from zlayer.image.manifest import Descriptor
from zlayer.image.reference import is_digest
from zlayer.image.registry import Registry
from zlayer.image.registry_retry import FAULTS
from zlayer.image.registry_transport import Answer
from zlayer.model.errors import Conflict, Corrupt, Denied, Failed, NotFound, Unavailable

CHUNK = 64 * 1024 * 1024
"""Bytes of one request. A registry that wants larger chunks says so (OCI-Chunk-Min-Length)."""
OCTETS = "application/octet-stream"

Told = Callable[[int], None]
"""Hears how many bytes of a blob have been sent."""


@dataclass(frozen=True, slots=True)
class Source:
    """A blob on disk. `mount_from` are repositories of the same registry that may have it: paths without domain."""

    blob: Descriptor
    path: Path
    mount_from: tuple[str, ...] = ()


def push_blob(registry: Registry, source: Source, told: Told = lambda _sent: None) -> str:
    """Make the registry have the blob. How: `exists`, `mounted` or `done` (it was sent).

    Errors: `Denied`, `Unavailable`, `Deadline`, `Failed` (refused, or the file is not what it was).
    """
    domain, digest = registry.reference.domain, source.blob.digest
    if registry.patience().call(domain, lambda: _has(registry, digest)):
        return "exists"
    return _Upload(registry, source, told).run()


def push_manifest(
    registry: Registry, locator: str, body: bytes, media_type: str, *, only: Mapping[str, str] | None = None
) -> str:
    """Put a manifest or index under a tag or its digest. Its blobs must be there.

    `only` is a condition (If-Match, If-None-Match; RFC 9110 13.1) for registries that know it; others put it anyway.
    What it belongs to, if the registry has a list of referrers and has put it there (`OCI-Subject`); else empty.
    Errors: `Conflict` when the condition does not hold; else as `push_blob`.
    """
    headers, good = {"Content-Type": media_type, **(only or {})}, (201, 412) if only else (201,)

    def put() -> tuple[str, str]:
        answer = registry.ask("PUT", f"manifests/{locator}", headers, body, good=good)
        answer.close()
        if answer.status == 412:
            raise Conflict(f"{locator} was changed meanwhile", hint="read it again")
        return answer.header("Docker-Content-Digest"), answer.header("OCI-Subject")

    claimed, subject = registry.patience().call(registry.reference.domain, put)
    if is_digest(claimed) and claimed != (real := digest_of(body, claimed)):
        raise Corrupt(
            f"registry {registry.reference.domain} stored the manifest as {claimed}, not as {real}",
            hint="a proxy on the way may alter content; push again",
        )
    return subject


def _has(registry: Registry, digest: str) -> bool:
    try:
        registry.ask("HEAD", f"blobs/{digest}", {}).close()
    except NotFound:
        return False
    return True


class _Window:
    """A part of a file, read once from its start; tells how far it came."""

    def __init__(self, descriptor: int, start: int, end: int, told: Told) -> None:
        self._descriptor, self._at, self._end, self._told = descriptor, start, end, told

    def read(self, size: int = -1, /) -> bytes:
        left = self._end - self._at
        data = os.pread(self._descriptor, left if size < 0 else min(size, left), self._at)
        self._at += len(data)
        self._told(self._at)
        return data


class _Upload:
    """One blob on its way. `_location` is where the registry wants the next bytes; `_sure` whether `_sent` is true."""

    def __init__(self, registry: Registry, source: Source, told: Told) -> None:
        self._registry, self._source, self._told = registry, source, told
        self._patience = registry.patience()
        self._location = ""
        self._sent = 0
        self._sure = True
        self._chunk = CHUNK
        self._mounts = list(source.mount_from)

    def run(self) -> str:
        with self._source.path.open("rb") as file:
            if os.fstat(file.fileno()).st_size != self._source.blob.size:
                raise Failed(f"{self._source.path} has not the size its manifest says", hint="pull the image again")
            while True:
                try:
                    if not self._location and self._begin():
                        return "mounted"
                    self._send(file.fileno())
                except FAULTS as fault:
                    self._sure = False
                    self._patience.judge(fault, self._registry.reference.domain)
                except Unavailable as error:
                    self._sure = False
                    self._patience.spend(error)
                else:
                    return "done"

    def _begin(self) -> bool:
        """Whether another repository's blob is ours now; else there is a place to send it to."""
        while self._mounts:
            query = urlencode({"mount": self._source.blob.digest, "from": self._mounts[0]})
            try:
                answer = self._registry.ask("POST", f"blobs/uploads/?{query}", _EMPTY, b"", good=(201, 202))
            except (Denied, NotFound, Failed):
                self._mounts.pop(0)  # no right to read it there, or a registry that does not know how
                continue
            answer.close()
            self._mounts.pop(0)
            if answer.status == 201:
                return True
            self._moved(answer)
            return False
        answer = self._registry.ask("POST", "blobs/uploads/", _EMPTY, b"", good=(202,))
        answer.close()
        self._moved(answer)
        smallest = answer.header("OCI-Chunk-Min-Length")
        self._chunk = max(CHUNK, int(smallest)) if smallest.isdigit() else CHUNK
        return False

    def _moved(self, answer: Answer) -> None:
        target = answer.header("Location")
        if not target:
            raise Failed(f"registry {self._registry.reference.domain} does not say where to upload to")
        self._location, self._sent, self._sure = urljoin(answer.url, target), 0, True

    def _send(self, descriptor: int) -> None:
        size = self._source.blob.size
        if not self._sure:
            self._look()
            if not self._location:
                raise Unavailable("the registry has forgotten an upload", hint="push again")
        if self._sent == 0 and size <= self._chunk:
            self._finish(descriptor, 0, size)
            return
        while self._sent < size:
            self._patch(descriptor, min(self._sent + self._chunk, size))
        self._finish(descriptor, size, size)

    def _patch(self, descriptor: int, end: int) -> None:
        start = self._sent
        headers = {
            "Content-Type": OCTETS, "Content-Length": str(end - start), "Content-Range": f"{start}-{end - 1}",
        }  # fmt: skip
        body = partial(_Window, descriptor, start, end, self._told)
        answer = self._registry.ask("PATCH", self._location, headers, body, good=(202, 416))
        answer.close()
        if answer.status == 416:
            if start == 0:
                self._location = ""  # it holds something, and does not say how much: begin anew
            raise Unavailable(f"registry {self._registry.reference.domain} wants other bytes first", hint="push again")
        reached = _reached(answer.header("Range"))
        self._moved(answer)
        self._sent = end if reached is None else reached
        if self._sent > end:
            raise Failed(f"registry {self._registry.reference.domain} claims bytes it was not sent")
        if self._sent > start:
            self._patience.progress()
        else:
            raise Unavailable(f"registry {self._registry.reference.domain} took none of a chunk", hint="push again")

    def _finish(self, descriptor: int, start: int, end: int) -> None:
        joint = "&" if "?" in self._location else "?"
        url = f"{self._location}{joint}{urlencode({'digest': self._source.blob.digest})}"
        headers = {"Content-Type": OCTETS, "Content-Length": str(end - start)}
        body = partial(_Window, descriptor, start, end, self._told)
        self._registry.ask("PUT", url, headers, body, good=(201, 204)).close()

    def _look(self) -> None:
        """Ask how much has arrived. An upload that is not known any more begins anew."""
        try:
            answer = self._registry.ask("GET", self._location, {}, good=(204,))
        except (NotFound, Failed):
            self._location = ""
            return
        answer.close()
        reached = _reached(answer.header("Range"))
        if target := answer.header("Location"):
            self._location = urljoin(answer.url, target)
        if (reached or 0) > self._sent:
            self._patience.progress()
        self._sent, self._sure = reached or 0, True


_EMPTY = {"Content-Length": "0"}


def _reached(header: str) -> int | None:
    """Bytes that arrived, by `Range: 0-41`; distribution says `0-0` for none, which costs one byte more than told."""
    first, _, last = header.removeprefix("bytes=").partition("-")
    if first != "0" or not last.isdigit():
        return None
    return int(last) + 1 if int(last) else 0
