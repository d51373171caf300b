"""The HTTP face of a registry: who asks, what for, the answer or the refusal, and one line in the log."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import parse_qsl

import anyio
import structlog
from anyio import to_thread
from anyio.abc import TaskGroup
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from zlayer.model.errors import ZlayerError
from zlayer.registry.access import Access, Asker
from zlayer.registry.bodies import Wire, whole
from zlayer.registry.faults import Refusal, bad_manifest, from_disk, from_tree, unknown_blob, unknown_manifest
from zlayer.registry.manifests import MAX_BYTES, too_large
from zlayer.registry.names import Target, target_of
from zlayer.registry.paging import count, link, page
from zlayer.registry.pulling import Pulling
from zlayer.registry.pushing import Pushing
from zlayer.registry.shelf import Shelf, index
from zlayer.registry.uploads import Uploads
from zlayer.registry.upstream import Upstream, choose

VERSION = {"Docker-Distribution-API-Version": "registry/2.0"}
INDEX = "application/vnd.oci.image.index.v1+json"
CHANGERS = 40
"""Threads for what waits for a collection of garbage: others than those that read, so that pulls go on meanwhile."""
log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Call:
    """One request, its asker let in."""

    method: str
    target: Target
    query: Mapping[str, str]
    headers: Headers
    wire: Wire
    asker: Asker


Action = Callable[[Call], Awaitable[Response]]


class RegistryApp:
    """The ASGI application of one registry. Serves while `tasks` is open."""

    def __init__(
        self, shelf: Shelf, uploads: Uploads, access: Access, upstreams: list[Upstream], tasks: TaskGroup
    ) -> None:
        self._shelf = shelf
        self._access = access
        self._upstreams = upstreams
        self._changers = anyio.CapacityLimiter(CHANGERS)
        self._pushing = Pushing(shelf.repositories, uploads, self._changers)
        self._pulling = Pulling(shelf, upstreams, tasks, self._changers)
        self._routes: dict[str, dict[str, Action]] = {
            "ping": {"GET": self._ping},
            "catalog": {"GET": self._catalog},
            "tags": {"GET": self._tags},
            "referrers": {"GET": self._referrers},
            "manifest": {"GET": self._get_manifest, "PUT": self._put_manifest, "DELETE": self._delete},
            "blob": {"GET": self._get_blob, "DELETE": self._delete},
            "begin": {"POST": self._begin},
            "upload": {
                "GET": lambda call: self._pushing.status(call.target),
                "PATCH": lambda call: self._pushing.extend(call.target, call.headers, call.wire),
                "PUT": lambda call: self._pushing.end(call.target, call.query, call.headers, call.wire),
                "DELETE": lambda call: self._pushing.cancel(call.target),
            },
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        began, asker = time.monotonic(), "-"
        wire = Wire(receive, send)
        with suppress(ClientDisconnect):
            try:
                call = await self._admitted(scope, wire)
                asker = call.asker.name
                response = await self._answer(call)
            except Refusal as refusal:
                asker = refusal.asker or asker
                response = _refused(refusal, scope["method"])
                if not Headers(scope=scope).get("expect"):  # who waits for leave to send has sent nothing yet
                    with suppress(Refusal, ClientDisconnect):
                        await wire.drain()
            response.headers.update(VERSION)
            await response(scope, wire.receive, wire.send)
        log.info(
            "registry.request",
            method=scope["method"],
            path=scope["path"][:400],
            status=wire.status,
            bytes=wire.sent,
            ms=round((time.monotonic() - began) * 1000, 1),
            client=(scope.get("client") or ("",))[0],
            user=asker,
        )

    async def _admitted(self, scope: Scope, wire: Wire) -> Call:
        """The request, understood and allowed. Strangers learn nothing of which paths are well-formed."""
        headers, method = Headers(scope=scope), scope["method"]
        try:
            target, bad = target_of(scope["path"]), None
        except Refusal as refusal:
            target, bad = Target("catalog"), refusal
        asker = await self._access.admit(method, target, headers)
        if bad is not None:
            raise bad
        query = dict(parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True))
        return Call(method, target, query, headers, wire, asker)

    async def _answer(self, call: Call) -> Response:
        methods = self._routes[call.target.kind]
        action = methods.get("GET" if call.method == "HEAD" else call.method)
        if action is None:
            raise Refusal(405, "UNSUPPORTED", "no such method here", headers={"Allow": ", ".join(methods)})
        if call.method not in ("GET", "HEAD", "DELETE") and choose(self._upstreams, call.target.name):
            raise Refusal(403, "DENIED", f"{call.target.name} comes from another registry: push there")
        try:
            return await action(call)
        except ZlayerError as error:
            log.warning("registry.trouble", error=error.message, hint=error.hint)
            raise from_tree(error) from error
        except OSError as error:
            log.error("registry.disk", error=str(error))
            raise from_disk(error) from error

    async def _ping(self, call: Call) -> Response:
        del call
        return JSONResponse({})

    async def _catalog(self, call: Call) -> Response:
        names, last = page(await to_thread.run_sync(self._listed, call.asker), call.query)
        return JSONResponse({"repositories": names}, headers=link("/v2/_catalog", call.query, last))

    def _listed(self, asker: Asker) -> list[str]:
        return [name for name in self._shelf.repositories.names() if asker.may("pull", name)]

    async def _tags(self, call: Call) -> Response:
        name, repositories = call.target.name, self._shelf.repositories
        if not await to_thread.run_sync(repositories.exists, name):
            raise Refusal(404, "NAME_UNKNOWN", "no such repository here", {"name": name})
        tags, last = page(await to_thread.run_sync(repositories.tags, name), call.query)
        return JSONResponse({"name": name, "tags": tags}, headers=link(f"/v2/{name}/tags/list", call.query, last))

    async def _referrers(self, call: Call) -> Response:
        name, subject, kind = call.target.name, call.target.item, call.query.get("artifactType", "")
        most = count(call.query)
        found = await self._pulling.referrers(call.target)
        body, last = index(found, kind=kind, last=call.query.get("last", ""), most=most)
        said = link(f"/v2/{name}/referrers/{subject}", call.query, last)
        if kind:
            said["OCI-Filters-Applied"] = "artifactType"
        return Response(body, headers=said, media_type=INDEX)

    async def _get_manifest(self, call: Call) -> Response:
        return await self._pulling.manifest(call.target, call.method, call.headers)

    async def _get_blob(self, call: Call) -> Response:
        return await self._pulling.blob(call.target, call.method, call.headers)

    async def _put_manifest(self, call: Call) -> Response:
        length = call.headers.get("content-length", "0")
        if length.isdigit() and int(length) > MAX_BYTES:
            raise too_large()
        body = await whole(call.wire.chunks(), MAX_BYTES, too_large)
        if not body:
            raise bad_manifest("there is no body: send Content-Length, or a chunked body")
        name, kind = call.target.name, call.headers.get("content-type", "")
        item, changers = call.target.item, self._changers
        done = await to_thread.run_sync(self._shelf.put, name, item, body, kind, limiter=changers)
        said = {"Location": f"/v2/{name}/manifests/{done.entry.digest}", "Docker-Content-Digest": done.entry.digest}
        if done.subject:
            said["OCI-Subject"] = done.subject
        return Response(status_code=201, headers=said)

    async def _delete(self, call: Call) -> Response:
        target, blob = call.target, call.target.kind == "blob"
        if not await to_thread.run_sync(self._drop, target, limiter=self._changers):
            raise unknown_blob(target.item) if blob else unknown_manifest(target.item)
        return Response(status_code=202)

    def _drop(self, target: Target) -> bool:
        with self._shelf.repositories.changing():
            drop = self._shelf.repositories.drop_blob if target.kind == "blob" else self._shelf.delete
            return drop(target.name, target.item)

    async def _begin(self, call: Call) -> Response:
        may = call.asker.may("pull", call.query.get("from", ""))
        return await self._pushing.begin(call.target, call.query, call.wire, may_mount=may)


def _refused(refusal: Refusal, method: str) -> Response:
    response = JSONResponse(refusal.document(), status_code=refusal.status, headers=dict(refusal.headers))
    if method == "HEAD":
        response.body = b""
    return response
