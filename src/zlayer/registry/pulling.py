"""Manifests and blobs as a client reads them, from what is kept or from the upstream behind it."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractContextManager, nullcontext

import anyio
from anyio import to_thread
from anyio.abc import TaskGroup
from starlette.responses import Response, StreamingResponse

from zlayer.model.errors import NotFound
from zlayer.registry.bodies import following, slices
from zlayer.registry.faults import unknown_blob, unknown_manifest
from zlayer.registry.manifests import Json
from zlayer.registry.names import Target
from zlayer.registry.ranges import asked
from zlayer.registry.repositories import Entry
from zlayer.registry.shelf import Shelf
from zlayer.registry.upstream import Arrival, Upstream, choose

OCTETS = "application/octet-stream"


class Pulling:
    """The reading endpoints. `tasks` carry downloads from upstream; they outlive the request that began them."""

    def __init__(
        self, shelf: Shelf, upstreams: list[Upstream], tasks: TaskGroup, changers: anyio.CapacityLimiter
    ) -> None:
        self._changers = changers
        self._shelf = shelf
        self._upstreams = upstreams
        self._tasks = tasks

    async def manifest(self, target: Target, method: str, headers: Mapping[str, str]) -> Response:
        entry = await self._entry(target, method)
        body = await to_thread.run_sync(self._shelf.body, entry)
        said = {**_named(entry.digest), "Content-Type": entry.media_type, "Content-Length": str(len(body))}
        if _known(entry.digest, headers):
            return Response(status_code=304, headers=_named(entry.digest))
        return Response(b"" if method == "HEAD" else body, headers=said)

    async def blob(self, target: Target, method: str, headers: Mapping[str, str]) -> Response:
        """Whole or in part; one that is not kept comes from upstream, from the first bytes on."""
        descriptor, arrival = await self._open(target, method)
        answering = False
        try:
            size = arrival.length if arrival else os.fstat(descriptor).st_size
            wanted = None if headers.get("if-range", _tag(target.item)) != _tag(target.item) else headers.get("range")
            part = asked(wanted, size) if wanted else None
            start, end = part or (0, size)
            said = {**_named(target.item), "Accept-Ranges": "bytes", "Content-Length": str(end - start)}
            if part:
                said["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
            if _known(target.item, headers):
                return Response(status_code=304, headers=_named(target.item))
            status = 206 if part else 200
            if method == "HEAD":
                return Response(status_code=status, headers=said, media_type=OCTETS)
            body: AsyncIterator[bytes] = (
                following(descriptor, arrival, start, end) if arrival else slices(descriptor, start, end)
            )
            answering = True
            return StreamingResponse(body, status_code=status, headers=said, media_type=OCTETS)
        finally:
            if not answering:
                os.close(descriptor)

    async def referrers(self, target: Target) -> list[Json]:
        """What refers to a digest: by the upstream's word where there is one, by what is kept when that is away."""
        upstream = choose(self._upstreams, target.name)
        found = await upstream.referrers(target.name, target.item) if upstream else None
        if found is None:
            found = await to_thread.run_sync(self._shelf.referrers, target.name, target.item)
        return found

    async def _entry(self, target: Target, method: str) -> Entry:
        if upstream := choose(self._upstreams, target.name):
            try:
                return await upstream.manifest(target.name, target.item)
            except NotFound:
                raise unknown_manifest(target.item) from None
        entry = await to_thread.run_sync(self._found, target, method, limiter=self._limiter(method))
        if entry is None:
            raise unknown_manifest(target.item)
        return entry

    def _found(self, target: Target, method: str) -> Entry | None:
        with self._looking(method):
            entry = self._shelf.find(target.name, target.item)
            if entry is not None:
                self._shelf.repositories.use_manifest(target.name, entry.digest)
            return entry

    def _limiter(self, method: str) -> anyio.CapacityLimiter | None:
        return self._changers if method == "HEAD" else None

    def _looking(self, method: str) -> AbstractContextManager[None]:
        """HEAD is how a pushing client asks what it need not send: a collection comes before it or after it."""
        return self._shelf.repositories.changing() if method == "HEAD" else nullcontext()

    async def _open(self, target: Target, method: str) -> tuple[int, Arrival | None]:
        """An open file of the blob, and its arrival while it is not whole."""
        kept = await to_thread.run_sync(self._kept, target, method, limiter=self._limiter(method))
        if kept is not None:
            return kept, None
        upstream = choose(self._upstreams, target.name)
        if upstream is None:
            raise unknown_blob(target.item)
        try:
            arrival = await upstream.blob(target.name, target.item, self._tasks)
        except NotFound:
            raise unknown_blob(target.item) from None
        for path in (arrival.path, self._shelf.repositories.blobs.path(target.item)):
            try:
                return os.open(path, os.O_RDONLY | os.O_CLOEXEC), arrival
            except FileNotFoundError:
                continue
        raise unknown_blob(target.item)

    def _kept(self, target: Target, method: str) -> int | None:
        with self._looking(method):
            if not self._shelf.repositories.has_blob(target.name, target.item):
                return None
        try:
            return os.open(self._shelf.repositories.blobs.path(target.item), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None


def _tag(digest: str) -> str:
    return f'"{digest}"'


def _named(digest: str) -> dict[str, str]:
    return {"Docker-Content-Digest": digest, "ETag": _tag(digest)}


def _known(digest: str, headers: Mapping[str, str]) -> bool:
    return _tag(digest) in [one.strip() for one in headers.get("if-none-match", "").split(",")]
