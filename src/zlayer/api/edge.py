"""The outermost layer of every request: an id, the date, a size limit, and no exception past it."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Collection
from email.utils import formatdate

import structlog
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocketDisconnect

from zlayer.api.problems import internal, problem
from zlayer.model.errors import Invalid
from zlayer.model.units import Bytes

MAX_BODY = Bytes(8 * 1024 * 1024)
_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
log = structlog.get_logger()


class TooLarge(Invalid):
    """A body over the limit (RFC 9110, 15.5.14)."""

    status = 413

    def __init__(self, limit: int) -> None:
        super().__init__(f"the body is larger than {limit} bytes", hint="send less, or in parts")


class Edge:
    """Gives each request its `X-Request-ID` (the client's own when it is well-formed) and a `Date`.

    A body over `max_body` bytes is answered 413 before it is read. What no one else caught is logged with the id
    and answered 500, saying nothing of the inside.
    """

    def __init__(
        self, app: ASGIApp, *, max_body: Bytes = MAX_BODY, unbounded: Collection[tuple[str, str]] = ()
    ) -> None:
        """`unbounded`: (method, path) of routes that take a body of any length and never hold it."""
        self._app = app
        self._max_body = max_body
        self._unbounded = frozenset(unbounded)
        self._date = (0, b"")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in {"http", "websocket"}:
            return
        identity = self._identify(scope)
        started = False

        async def send_with_id(message: Message) -> None:
            nonlocal started
            if message["type"] in {"http.response.start", "websocket.http.response.start", "websocket.accept"}:
                started = True
                message["headers"] = [*message.get("headers", ()), (b"x-request-id", identity), self._now()]
            await send(message)

        try:
            if scope["type"] == "http" and (scope["method"], scope["path"]) not in self._unbounded:
                self._refuse_early(scope)
                receive = self._counted(receive)
            await self._app(scope, receive, send_with_id)
        except TooLarge as error:
            if not started:
                await problem(error, scope)(scope, receive, send_with_id)
        except (ClientDisconnect, WebSocketDisconnect):
            return
        except Exception:  # the API edge: a defect ends one request, never the daemon
            log.exception("request failed", request_id=identity.decode(), path=scope["path"])
            if not started and scope["type"] == "http":
                await internal(scope)(scope, receive, send_with_id)

    def _identify(self, scope: Scope) -> bytes:
        given = next((value for name, value in scope["headers"] if name == b"x-request-id"), b"")
        identity = given if _ID.fullmatch(given) else secrets.token_hex(8).encode()
        scope["zlayer.request_id"] = identity.decode()
        return bytes(identity)

    def _now(self) -> tuple[bytes, bytes]:
        second = int(time.time())
        if self._date[0] != second:
            self._date = (second, formatdate(second, usegmt=True).encode())
        return b"date", self._date[1]

    def _refuse_early(self, scope: Scope) -> None:
        length = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
        if length.isdigit() and int(length) > self._max_body:
            raise TooLarge(self._max_body)

    def _counted(self, receive: Receive) -> Receive:
        seen = 0

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > self._max_body:
                raise TooLarge(self._max_body)
            return message

        return counted
