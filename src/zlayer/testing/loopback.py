"""HTTP servers of tests, made of Python on loopback: one thread that listens, one for each connection."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Protocol, Self, TypeVar


class Misdeed(Protocol):
    """What a server does wrong, to requests whose target holds `where`: `times` times, after `skip` good ones."""

    where: str
    method: str
    times: int | None
    skip: int


M = TypeVar("M", bound=Misdeed)


def due(misdeeds: Iterable[M], method: str, target: str) -> M | None:
    """The first that is this request's turn, counted. Callers hold a lock."""
    for one in misdeeds:
        if one.where not in target or one.method not in ("", method) or one.times == 0:
            continue
        if one.skip:
            one.skip -= 1
            continue
        if one.times is not None:
            one.times -= 1
        return one
    return None


class Loopback:
    """Context manager around a server on a free port of 127.0.0.1."""

    def __init__(self, handler: type[BaseHTTPRequestHandler]) -> None:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class PlainHandler(BaseHTTPRequestHandler):
    """HTTP/1.1 without TLS, whose clients are turned away; nothing is logged."""

    protocol_version = "HTTP/1.1"

    def handle(self) -> None:
        if self.connection.recv(1, 2)[:1] != b"\x16":  # MSG_PEEK: the first byte of a TLS client
            super().handle()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base's own name
        """Quiet."""
