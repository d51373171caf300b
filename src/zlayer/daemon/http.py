"""uvicorn inside our own task group: no signal handlers of its own, and no ten wake-ups a second while idle."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import anyio
import uvicorn
from starlette.types import ASGIApp

GRACE = 5
"""Seconds answers under way may take once the daemon stops; streams end at once by themselves."""
IDLE = 75
"""Seconds a connection is kept between two requests."""


class Listener(uvicorn.Server):
    """Serves `app` on one listening socket from `answer` until `stop`."""

    def __init__(
        self, app: ASGIApp, listener: socket.socket, *, cert: Path | None = None, key: Path | None = None
    ) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http="h11",
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
