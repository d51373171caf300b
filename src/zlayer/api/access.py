"""Who is asking: the trusted socket's caller, or the bearer of a token. Runs before any route or body is looked at."""

from __future__ import annotations

import time
from collections.abc import Callable

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket

from zlayer.api.authorise import PUBLIC, SOCKET, Claims
from zlayer.api.problems import problem, refuse
from zlayer.api.ratelimit import Buckets
from zlayer.model.errors import Denied, Unavailable, ZlayerError

RATE, BURST = 100.0, 400
_CHALLENGE = {"WWW-Authenticate": 'Bearer realm="zlayer"'}


class Trusted:
    """Every request over this listener is an admin's: the file mode of the socket has decided already."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["zlayer.claims"] = SOCKET
        await self._app(scope, receive, send)


class Bearer:
    """Only requests with a valid token pass; health needs none. Each client has its own rate limit.

    Nothing tells a stranger which paths exist: without a token every path but health answers 401.
    """

    def __init__(
        self, app: ASGIApp, verify: Callable[[str], Claims], *, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._app = app
        self._verify = verify
        self._buckets = Buckets(RATE, BURST, now)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        host = (scope.get("client") or ("",))[0]
        try:
            claims = None if scope["path"] in PUBLIC else self._claims(scope)
        except Denied as error:
            wait = self._buckets.take(f"host {host}")
            told = _slow_down(wait) if wait is not None else error
            await _answer(told, 429 if wait is not None else 401, scope, receive, send)
            return
        wait = self._buckets.take(f"subject {claims.subject}" if claims else f"host {host}")
        if wait is not None:
            await _answer(_slow_down(wait), 429, scope, receive, send)
            return
        scope["zlayer.claims"] = claims
        await self._app(scope, receive, send)

    def _claims(self, scope: Scope) -> Claims:
        scheme, _, token = Headers(scope=scope).get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise Denied(
                "this listener takes only requests with a token",
                hint="send `Authorization: Bearer TOKEN`; make one with `zlayer token create`",
            )
        return self._verify(token.strip())


def _slow_down(wait: float) -> Unavailable:
    return Unavailable("too many requests", hint=f"at most {RATE:.0f} a second on average", retry_after=wait)


async def _answer(error: ZlayerError, status: int, scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await refuse(WebSocket(scope, receive, send), error, status=status)
    else:
        headers = _CHALLENGE if status == 401 else None
        await problem(error, scope, status=status, headers=headers)(scope, receive, send)
