"""uvicorn inside our own task group: no signal handlers of its own, and no ten wake-ups a second while idle."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import anyio
import h11
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

GRACE = 5
"""Seconds answers under way may take once the daemon stops; streams end at once by themselves."""
IDLE = 75
"""Seconds a connection is kept between two requests."""


HEAD = 30
"""Seconds a client may take to tell the head of a request, or to end a body that was answered already."""


class Connection(H11Protocol):
    """Hangs up on who sends a request byte by byte: a stranger without a token could else hold every descriptor."""

    _late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        self._forgive()
        super().connection_lost(exc)

    def _watch(self) -> None:
        """The clock runs from the first byte of a head on; more bytes do not set it back."""
        answered = self.cycle is not None and self.cycle.response_complete
        if self.conn.their_state is not h11.IDLE and not answered:
            self._forgive()
        elif self._late is None:
            self._late = self.loop.call_later(HEAD, self.transport.close)

    def _forgive(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None


class Listener(uvicorn.Server):
    """Serves `app` on one listening socket from `answer` until `stop`."""

    def __init__(
        self, app: ASGIApp, listener: socket.socket, *, cert: Path | None = None, key: Path | None = None
    ) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http=Connection,
                ws="auto",
                lifespan="off",
                interface="asgi3",
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                date_header=False,
                ws_per_message_deflate=False,
                timeout_keep_alive=IDLE,
                timeout_graceful_shutdown=GRACE,
                ssl_certfile=cert,
                ssl_keyfile=key,
            )
        )
        self._listener = listener
        self._stop = anyio.Event()

    async def answer(self) -> None:
        """Returns once stopped: answers under way have `GRACE` seconds to end."""
        await self.serve(sockets=[self._listener])

    def stop(self) -> None:
        self._stop.set()

    async def main_loop(self) -> None:
        """Instead of looking ten times a second whether to stop and what the date is."""
        self.server_state.default_headers = self.config.encoded_headers
        await self._stop.wait()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals are the daemon's."""
        yield
