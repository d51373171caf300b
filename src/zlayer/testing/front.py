"""A front before a real HTTP server on loopback: passes requests on, remembers them, and misbehaves as told.

with Front(registry.address) as front:
    front.faults.append(Trouble("/blobs/", truncate=1000, times=1))
"""

from __future__ import annotations

import contextlib
import http.client
import threading
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from types import TracebackType

from zlayer.testing.loopback import Loopback, PlainHandler, due

BLOCK = 64 * 1024
_OURS = frozenset({"connection", "transfer-encoding", "keep-alive"})


@dataclass(slots=True)
class Trouble:
    """What happens to requests whose target holds `where`, `times` times (None: always), after `skip` good ones.

    `status` answers with that and `body`; `truncate` ends the answer, `stall` stops it, after that many bytes;
    `take` ends the connection after that many bytes of the request's body; `before` is called first.
    """

    where: str = ""
    method: str = ""
    times: int | None = None
    skip: int = 0
    status: int = 0
    body: bytes = b""
    truncate: int | None = None
    stall: int | None = None
    take: int | None = None
    before: Callable[[], None] | None = None


@dataclass(frozen=True, slots=True)
class Passed:
    """A request as it came, and the status it was answered with."""

    method: str
    target: str
    range: str
    status: int
    sent: int
    """Bytes of its answer's body."""


class Front(Loopback):
    """`release` ends all stalls."""

    def __init__(self, upstream: str) -> None:
        front = self

        class Handler(_Handler):
            owner = front

        super().__init__(Handler)
        self.upstream = upstream
        self.faults: list[Trouble] = []
        self.passed: list[Passed] = []
        self._lock = threading.Lock()
        self._released = threading.Event()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._released.set()
        super().__exit__(kind, error, trace)

    def count(self, where: str = "", method: str = "", status: int = 0) -> int:
        with self._lock:
            return sum(
                where in one.target and method in ("", one.method) and status in (0, one.status) for one in self.passed
            )

    def remember(self, passed: Passed) -> None:
        with self._lock:
            self.passed.append(passed)

    def hold(self) -> None:
        self._released.wait()

    def trouble(self, method: str, target: str) -> Trouble:
        with self._lock:
            return due(self.faults, method, target) or Trouble()


class _Handler(PlainHandler, BaseHTTPRequestHandler):
    owner: Front

    def handle(self) -> None:
        with contextlib.suppress(ConnectionError):  # who asked has gone, as the tests want
            super().handle()

    def _pass(self) -> None:
        trouble = self.owner.trouble(self.command, self.path)
        if trouble.before is not None:
            trouble.before()
        length = int(self.headers.get("Content-Length") or 0)
        if trouble.take is not None:
            self.rfile.read(min(trouble.take, length))
            self.close_connection = True
            return
        if trouble.status:
            self._drain(length)
            self._refuse(trouble)
            return
        self._forward(length, trouble)

    def do_GET(self) -> None:
        self._pass()

    def do_HEAD(self) -> None:
        self._pass()

    def do_PUT(self) -> None:
        self._pass()

    def do_POST(self) -> None:
        self._pass()

    def do_DELETE(self) -> None:
        self._pass()

    def do_PATCH(self) -> None:
        self._pass()

    def _drain(self, left: int) -> None:
        while left and (data := self.rfile.read(min(BLOCK, left))):
            left -= len(data)

    def _refuse(self, trouble: Trouble) -> None:
        self.send_response(trouble.status)
        self.send_header("Content-Length", str(len(trouble.body)))
        self.end_headers()
        self.wfile.write(b"" if self.command == "HEAD" else trouble.body)
        self._remember(trouble.status, len(trouble.body))

    def _forward(self, length: int, trouble: Trouble) -> None:
        upstream = http.client.HTTPConnection(self.owner.upstream, timeout=60)
        try:
            upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if name.lower() not in _OURS:
                    upstream.putheader(name, value)
            upstream.endheaders()
            left = length
            while left and (data := self.rfile.read(min(BLOCK, left))):
                upstream.send(data)
                left -= len(data)
            self._answer(upstream.getresponse(), trouble)
        finally:
            upstream.close()

    def _answer(self, response: http.client.HTTPResponse, trouble: Trouble) -> None:
        self.send_response_only(response.status)
        for name, value in response.getheaders():
            if name.lower() not in _OURS:
                self.send_header(name, value)
        if response.headers.get("Content-Length") is None:
            self.send_header("Connection", "close")
            self.close_connection = True
        self.end_headers()
        sent, end = 0, trouble.truncate if trouble.truncate is not None else trouble.stall
        try:
            while data := response.read(BLOCK if end is None else min(BLOCK, end - sent)):
                self.wfile.write(data)
                sent += len(data)
        finally:
            self._remember(response.status, sent)
        if end is not None:
            self.close_connection = True
            if trouble.stall is not None:
                self.owner.hold()

    def _remember(self, status: int, sent: int) -> None:
        self.owner.remember(Passed(self.command, self.path, self.headers.get("Range") or "", status, sent))
