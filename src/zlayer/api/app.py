"""The ASGI application: routes, problem documents, the OpenAPI document, and who may enter."""

from __future__ import annotations

from typing import Any

from fastapi import Depends, FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute, APIWebSocketRoute
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema
from starlette.responses import Response
from starlette.types import ASGIApp

from zlayer import __version__
from zlayer.api import problems
from zlayer.api.access import Bearer, Trusted
from zlayer.api.answer import answer
from zlayer.api.answers import EventItem, LogItem, ProblemDocument, RunItem
from zlayer.api.authorise import TABLE, authorise
from zlayer.api.edge import Edge
from zlayer.api.routes import (
    artifacts,
    certificates,
    deployments,
    health,
    images,
    instances,
    metrics,
    parcels,
    proxy,
    registries,
    run,
    services,
    storage,
    system,
    updates,
)
from zlayer.api.services import Services

ROUTERS = (
    health.router,
    metrics.router,
    system.router,
    deployments.router,
    services.router,
    instances.router,
    run.router,
    storage.router,
    artifacts.router,
    parcels.router,
    images.router,
    registries.router,
    proxy.router,
    certificates.router,
    updates.router,
)
_STREAMED: tuple[type[BaseModel], ...] = (ProblemDocument, LogItem, RunItem, EventItem)
"""Models no route answers with whole: their schemas are added by hand."""
_ABOUT = (
    "Container orchestration. Over the Unix socket every caller is an admin; over TCP send `Authorization: Bearer`. "
    "Errors are problem documents (RFC 9457). Streams are NDJSON or server-sent events."
)


def create_app(services: Services, *, trusted: bool) -> ASGIApp:
    """An application for one listener. `trusted`: its callers are admins (the Unix socket); else they bring tokens."""
    return guarded(core_app(services), services, trusted=trusted)


def guarded(core: FastAPI, services: Services, *, trusted: bool) -> ASGIApp:
    """`core` behind its door; several doors may share one core."""
    return Edge(
        Trusted(core) if trusted else Bearer(core, services.verify),
        unbounded=[("POST", images.IMPORT), ("POST", artifacts.ATTACH), ("POST", parcels.BLOBS)],
    )


def core_app(services: Services) -> FastAPI:
    """The routes, which expect claims in the scope. Raises when a route is missing from the table of rights."""
    app = FastAPI(
        title="ZLayer",
        version=__version__,
        description=_ABOUT,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
        dependencies=[Depends(authorise)],
    )
    app.state.services = services
    for router in ROUTERS:
        app.router.routes.extend(router.routes)
    problems.install(app)
    _serve_openapi(app)
    missing: set[tuple[str, str]] = set(routes_of(app)) ^ set(TABLE)
    if missing:
        raise AssertionError(f"routes and the table of rights differ: {sorted(missing)}")
    return app


def routes_of(app: FastAPI) -> list[tuple[str, str]]:
    """(method, path template) of every route; WebSockets have the method WEBSOCKET."""
    found: list[tuple[str, str]] = []
    for route in app.routes:
        if not isinstance(route, APIRoute | APIWebSocketRoute):
            raise AssertionError(f"a route without rights: {route}")
        if all(each.call is not authorise for each in route.dependant.dependencies):
            raise AssertionError(f"a route that asks for no rights: {route.path}")
        if isinstance(route, APIRoute):
            found += [(method, route.path) for method in sorted(route.methods or ())]
        else:
            found.append(("WEBSOCKET", route.path))
    return found


def _serve_openapi(app: FastAPI) -> None:
    async def openapi() -> Response:
        return answer(app.openapi())

    app.add_api_route("/openapi.json", openapi, include_in_schema=False)
    app.openapi = lambda: _document(app)  # type: ignore[method-assign]  # FastAPI's own way to extend the document


def _document(app: FastAPI) -> dict[str, Any]:  # Any: a JSON document
    if app.openapi_schema:
        return app.openapi_schema
    document = get_openapi(
        title=app.title, version=app.version, description=app.description, routes=app.routes, openapi_version="3.1.0"
    )
    _, extra = models_json_schema(
        [(model, "serialization") for model in _STREAMED], ref_template="#/components/schemas/{model}"
    )
    components = document.setdefault("components", {})
    components.setdefault("schemas", {}).update(extra.get("$defs", {}))
    components["securitySchemes"] = {"bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}}
    document["security"] = [{"bearer": []}]
    for path in document["paths"].values():
        for operation in path.values():
            _mend(operation)
    app.openapi_schema = document
    return document


def _mend(operation: dict[str, Any]) -> None:
    """Validation errors are problem documents here, not FastAPI's own shape."""
    problem = {"$ref": "#/components/schemas/ProblemDocument"}
    found = operation["responses"].get("422")
    if found is not None:
        found["description"] = "The request is not valid; `errors` lists every fault"
        found["content"] = {"application/problem+json": {"schema": problem}}
