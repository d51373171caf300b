"""Uploads as a client sees them: begun, gone on with, asked after, ended (distribution-spec, "Pushing blobs")."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial

import anyio
from anyio import to_thread
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from zlayer.model.errors import ZlayerError
from zlayer.registry.bodies import Wire, gathered
from zlayer.registry.faults import Refusal, bad_digest
from zlayer.registry.names import Target, checked_digest, checked_name
from zlayer.registry.ranges import chunk
from zlayer.registry.repositories import Repositories
from zlayer.registry.uploads import Upload, Uploads

PATIENCE = 5.0
"""Seconds a request waits for another one that writes the same upload: a broken connection's, mostly."""


class Pushing:
    """The upload endpoints."""

    def __init__(self, repositories: Repositories, uploads: Uploads, changers: anyio.CapacityLimiter) -> None:
        self._changers = changers
        self._repositories = repositories
        self._uploads = uploads

    async def begin(self, target: Target, query: Mapping[str, str], wire: Wire, *, may_mount: bool) -> Response:
        """POST: a mount, a whole blob with `digest`, or a new upload."""
        if "mount" in query and (done := await self._mount(target.name, query, may_mount=may_mount)):
            return done
        digest = checked_digest(query["digest"]) if "digest" in query else ""
        upload = await to_thread.run_sync(self._uploads.begin, target.name)
        if not digest:
            return _accepted(upload)
        try:
            async with self._alone(upload):
                await gathered(wire.chunks(), partial(self._uploads.append, upload))
                return await self._finish(upload, digest)
        except BaseException:
            self._uploads.drop(upload)  # nobody was told its name: it cannot be gone on with
            raise

    async def status(self, target: Target) -> Response:
        """GET: how many bytes are here."""
        upload = await to_thread.run_sync(self._uploads.find, target.name, target.item)
        return Response(status_code=204, headers=_where(upload))

    async def extend(self, target: Target, headers: Mapping[str, str], wire: Wire) -> Response:
        """PATCH: a chunk, or a stream of any length."""
        upload = await to_thread.run_sync(self._uploads.find, target.name, target.item)
        async with self._alone(upload):
            await self._take(upload, headers, wire)
        return _accepted(upload)

    async def end(self, target: Target, query: Mapping[str, str], headers: Mapping[str, str], wire: Wire) -> Response:
        """PUT: perhaps the last bytes, and the digest of all."""
        upload = await to_thread.run_sync(self._uploads.find, target.name, target.item)
        if "digest" not in query:
            raise bad_digest("name the blob's digest in the query: ?digest=sha256:...", "")
        digest = checked_digest(query["digest"])
        async with self._alone(upload):
            await self._take(upload, headers, wire)
            return await self._finish(upload, digest)

    async def cancel(self, target: Target) -> Response:
        """DELETE: what has come is thrown away."""
        upload = await to_thread.run_sync(self._uploads.find, target.name, target.item)
        async with self._alone(upload):
            await to_thread.run_sync(self._uploads.drop, upload)
        return Response(status_code=204)

    async def _mount(self, name: str, query: Mapping[str, str], *, may_mount: bool) -> Response | None:
        digest, source = checked_digest(query["mount"]), query.get("from", "")
        if not source or not may_mount:
            return None
        source = checked_name(source)
        return await to_thread.run_sync(self._mount_now, name, digest, source, limiter=self._changers)

    def _mount_now(self, name: str, digest: str, source: str) -> Response | None:
        with self._repositories.changing():
            if not self._repositories.has_blob(source, digest):
                return None
            self._repositories.add_blob(name, digest)
        return _created(name, digest)

    async def _take(self, upload: Upload, headers: Mapping[str, str], wire: Wire) -> None:
        """The body behind what is here. One that was refused leaves nothing; of one that broke off, what came stays."""
        before = upload.size
        start, end = chunk(headers["content-range"]) if "content-range" in headers else (before, None)
        if start != before:
            raise Refusal(416, "RANGE_INVALID", f"{before} bytes are here: go on from there", headers=_where(upload))
        length = headers.get("content-length", "")
        if end is not None and length and int(length) != end - start:
            raise Refusal(400, "SIZE_INVALID", "Content-Range and Content-Length differ", headers=_where(upload))
        try:
            await gathered(wire.chunks(), partial(self._append, upload, end))
        except ClientDisconnect:
            raise
        except (ZlayerError, OSError):
            await to_thread.run_sync(self._uploads.cut, upload, before)
            raise
        except Refusal as refusal:
            if refusal.status != 408:
                await to_thread.run_sync(self._uploads.cut, upload, before)
            raise
        if end is not None and upload.size != end:
            await to_thread.run_sync(self._uploads.cut, upload, before)
            raise Refusal(400, "SIZE_INVALID", "the body is shorter than its Content-Range", headers=_where(upload))

    def _append(self, upload: Upload, end: int | None, parts: list[bytes]) -> None:
        if end is not None and upload.size + sum(map(len, parts)) > end:
            raise Refusal(400, "SIZE_INVALID", "the body is longer than its Content-Range", headers=_where(upload))
        self._uploads.append(upload, parts)

    async def _finish(self, upload: Upload, digest: str) -> Response:
        await to_thread.run_sync(self._uploads.finish, upload, digest, limiter=self._changers)
        return _created(upload.repository, digest)

    @asynccontextmanager
    async def _alone(self, upload: Upload) -> AsyncIterator[None]:
        """Hold the upload. Raises `Refusal` 503 while another request keeps it, 404 when that one ended it."""
        with anyio.move_on_after(PATIENCE) as late:
            await upload.busy.acquire()
        if late.cancelled_caught:
            raise Refusal(503, "UNAVAILABLE", "another request is writing this upload", headers={"Retry-After": "2"})
        try:
            if upload.over:
                raise Refusal(404, "BLOB_UPLOAD_UNKNOWN", "the upload has ended", {"uuid": upload.identity})
            yield
        finally:
            upload.busy.release()


def _where(upload: Upload) -> dict[str, str]:
    """Where to go on, and the range that is here; `0-0` stands for nothing, as clients expect."""
    return {
        "Location": f"/v2/{upload.repository}/blobs/uploads/{upload.identity}",
        "Docker-Upload-UUID": upload.identity,
        "Range": f"0-{max(0, upload.size - 1)}",
    }


def _accepted(upload: Upload) -> Response:
    return Response(status_code=202, headers=_where(upload))


def _created(name: str, digest: str) -> Response:
    headers = {"Location": f"/v2/{name}/blobs/{digest}", "Docker-Content-Digest": digest}
    return Response(status_code=201, headers=headers)
