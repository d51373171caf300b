"""Every failure as one kind of body: a problem document (RFC 9457) made from the error tree."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError, WebSocketRequestValidationError
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Scope
from starlette.websockets import WebSocket, WebSocketState

from zlayer.model.errors import Failed, Invalid, NotFound, Problem, ZlayerError, json_pointer

MEDIA_TYPE = "application/problem+json"
_DEFECTS = "this is a defect of the daemon; its log has the details under this trace_id"


def document(error: ZlayerError, scope: Scope, *, status: int | None = None) -> dict[str, Any]:  # Any: JSON
    """The problem document of `error` for this request. `status` overrides the tree's (401, 405, 413, 429)."""
    doc = error.document(instance=scope.get("path", ""))
    if status is not None:
        doc["status"] = status
    if trace := scope.get("zlayer.request_id"):
        doc["trace_id"] = trace
    return doc


def problem(
    error: ZlayerError, scope: Scope, *, status: int | None = None, headers: Mapping[str, str] | None = None
) -> Response:
    """The answer for `error`; `Retry-After` is set when the error knows it."""
    doc = document(error, scope, status=status)
    extra = dict(headers or {})
    if error.retry_after is not None:
        extra["Retry-After"] = str(max(1, round(error.retry_after)))
    body = json.dumps(doc, separators=(",", ":")).encode()
    return Response(body, status_code=doc["status"], headers=extra, media_type=MEDIA_TYPE)


def internal(scope: Scope) -> Response:
    """What a client sees of a defect: that it happened and where to look, nothing of the inside."""
    return problem(Failed("internal error", hint=_DEFECTS), scope)


def from_validation(error: RequestValidationError | WebSocketRequestValidationError) -> Invalid:
    """FastAPI's findings about a request; the pointer starts below the body, or at `query` or `path`."""
    return _invalid(error.errors(), "GET /openapi.json describes every request")


def from_pydantic(error: ValidationError) -> Invalid:
    """Pydantic's findings about a message of a WebSocket."""
    return _invalid(error.errors(include_url=False, include_context=False), "see docs/reference-api.md")


def _invalid(findings: Sequence[Mapping[str, Any]], hint: str) -> Invalid:
    problems = [_found(found) for found in findings]
    first = str(problems[0]) if problems else "the request is not valid"
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return Invalid(first + more, hint=hint, problems=tuple(problems))


def _found(found: Mapping[str, Any]) -> Problem:
    """One finding in our words, at its place below the body."""
    where = [str(part) for part in found.get("loc", ())]
    match found.get("type"):
        case "json_invalid":
            return Problem(f"the body is not JSON: {found.get('ctx', {}).get('error') or found.get('msg', '')}")
        case "model_attributes_type" if where == ["body"]:
            return Problem("the body must be a JSON object, sent with `Content-Type: application/json`")
        case "extra_forbidden":
            message = "unknown field"
        case "missing":
            message = "is missing"
        case "value_error":
            message = str(found.get("msg", "")).removeprefix("Value error, ")
        case _:
            message = str(found.get("msg", "not valid"))
    place = where[1:] if where[:1] == ["body"] else where
    return Problem(message, path=".".join(place), pointer=json_pointer(place))


def install(app: FastAPI) -> None:
    """Answer every exception a route lets through with a problem document."""
    app.add_exception_handler(ZlayerError, _either)  # type: ignore[arg-type]  # one handler serves both kinds
    app.add_exception_handler(RequestValidationError, _validation)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(WebSocketRequestValidationError, _refused)
    app.add_exception_handler(ClientDisconnect, _gone)
    app.add_exception_handler(Exception, _defect)


async def _either(connection: Request | WebSocket, error: Exception) -> Response | None:
    if isinstance(connection, WebSocket):
        await _zlayer_socket(connection, error)
        return None
    return await _zlayer(connection, error)


async def _zlayer(request: Request, error: Exception) -> Response:
    assert isinstance(error, ZlayerError)
    return problem(error, request.scope)


async def _zlayer_socket(websocket: WebSocket, error: Exception) -> None:
    """Before the handshake a problem answer; after it a last message `{"error": problem}` and code 1011."""
    assert isinstance(error, ZlayerError)
    if websocket.application_state is WebSocketState.CONNECTING:
        await refuse(websocket, error)
    elif websocket.client_state is WebSocketState.CONNECTED:
        await websocket.send_json({"error": document(error, websocket.scope)})
        await websocket.close(1011)


async def _validation(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    return problem(from_validation(error), request.scope)


async def _http(request: Request, error: Exception) -> Response:
    """Starlette's own: unknown path, wrong method, a body that is no JSON."""
    assert isinstance(error, HTTPException)
    path, method = request.scope["path"], request.scope.get("method", "")
    headers = error.headers or {}
    if isinstance(error.__cause__, ZlayerError):  # raised while FastAPI read the body
        return problem(error.__cause__, request.scope)
    if error.status_code == 404:
        told: ZlayerError = NotFound(f"no such path: {path}", hint="GET /openapi.json lists every path")
    elif error.status_code == 405:
        allowed = _methods(request)
        headers = {**headers, "Allow": allowed}
        told = Invalid(f"{method} is not possible on {path}", hint=f"it takes {allowed}" if allowed else "")
    else:
        told = Invalid(str(error.detail))
    return problem(told, request.scope, status=error.status_code, headers=headers)


def _methods(request: Request) -> str:
    """Those of every route at this path: starlette names the first route's only."""
    here = (r for r in request.app.routes if isinstance(r, Route) and r.path_regex.match(request.scope["path"]))
    return ", ".join(sorted({method for route in here for method in route.methods or ()}))


async def _refused(websocket: WebSocket, error: Exception) -> None:
    assert isinstance(error, WebSocketRequestValidationError)
    await refuse(websocket, from_validation(error))


async def refuse(websocket: WebSocket, error: ZlayerError, *, status: int | None = None) -> None:
    """Answer a WebSocket handshake with a problem document; a plain 403 where the server cannot say more."""
    if "websocket.http.response" in websocket.scope.get("extensions", {}):
        await websocket.send_denial_response(problem(error, websocket.scope, status=status))
    else:
        await websocket.close(1008)


async def _gone(request: Request, _error: Exception) -> Response:
    """Nobody reads this; 499 is what others' logs call it."""
    return Response(status_code=499)


async def _defect(request: Request, _error: Exception) -> Response:
    return internal(request.scope)
