"""A daemon that answers what a test wrote down, on a unix socket: the client and the command line without a machine.

It speaks HTTP by itself and WebSocket through the `websockets` package, so the client is held against code that is
not its own. Every request is kept in `requests`.
"""

from __future__ import annotations

import json
import os
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

from websockets.frames import Opcode
from websockets.http11 import Request as Upgrade
from websockets.server import ServerProtocol

from zlayer.model.errors import ZlayerError

CHUNK = 65536


@dataclass(frozen=True, slots=True)
class Request:
    """What a client sent. `target` is the path with its query; `body` the JSON, or None."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: Any = None  # Any: a JSON document

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]


@dataclass(frozen=True, slots=True)
class Answer:
    """A status and a JSON document; or `lines` sent one by one, chunked, and then `held` open until the client goes.

    `raw` is sent instead of all that, bytes as they are: for answers that are no HTTP.
    """

    document: Any = None  # Any: a JSON document
    status: int = 200
    lines: tuple[bytes, ...] = ()
    held: bool = False
    raw: bytes = b""


class Socket:
    """The daemon's end of a WebSocket: `receive` gives messages until the client closes."""

    def __init__(self, connection: socket.socket, protocol: ServerProtocol) -> None:
        self._connection = connection
        self._protocol = protocol

    def send(self, message: bytes | str | dict[str, object], *, final: bool = True) -> None:
        if isinstance(message, bytes):
            self._protocol.send_binary(message, fin=final)
        else:
            text = message if isinstance(message, str) else json.dumps(message)
            self._protocol.send_text(text.encode(), fin=final)
        self.flush()

    def continued(self, data: bytes, *, final: bool) -> None:
        """A further fragment of the message begun with `final=False`."""
        self._protocol.send_continuation(data, fin=final)
        self.flush()

    def ping(self) -> None:
        self._protocol.send_ping(b"still there?")
        self.flush()

    def close(self, reason: str = "") -> None:
        self._protocol.send_close(1000, reason)
        self.flush()

    def receive(self) -> Iterator[tuple[Opcode, bytes]]:
        while data := self._connection.recv(CHUNK):
            self._protocol.receive_data(data)
            self.flush()
            for event in self._protocol.events_received():
                assert not isinstance(event, Upgrade)
                if event.opcode is Opcode.CLOSE:  # type: ignore[union-attr]  # a server gets no Response
                    return
                yield event.opcode, bytes(event.data)  # type: ignore[union-attr]  # a server gets no Response

    def next(self) -> tuple[Opcode, bytes]:
        """The next message of any kind."""
        return next(self.receive())

    def flush(self) -> None:
        for data in self._protocol.data_to_send():
            if data:
                self._connection.sendall(data)


Script = Callable[[Socket], None]
Route = Answer | Callable[[Request], Answer]


@dataclass
class ScriptedDaemon:
    """A context manager. `routes` maps `METHOD /path` to an answer, a list of answers (the last one stays), or a
    function of the request; `sockets` maps a path to what happens on its WebSocket. Anything else is 404."""

    routes: dict[str, Route | list[Route]] = field(default_factory=dict)
    sockets: dict[str, Script] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)

    def __enter__(self) -> ScriptedDaemon:
        self._directory = tempfile.TemporaryDirectory(prefix="zl", dir="/tmp")
        self.data_dir = Path(self._directory.name)
        self.routes.setdefault("GET /health/ready", Answer({"status": "ok"}))
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self.data_dir / "zlayer.sock"))
        self._listener.listen()
        self._open: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for each in (self._listener, *self._open):
            try:
                each.shutdown(socket.SHUT_RDWR)
            except OSError:  # hung up already
                continue
            finally:
                each.close()
        for thread in self._threads:
            thread.join(5)
        self._directory.cleanup()

    @property
    def environ(self) -> dict[str, str]:
        """The environment of a command that shall find this daemon and no other."""
        return {**os.environ, "ZLAYER_DATA_DIR": str(self.data_dir), "ZLAYER_HOST": "", "NO_COLOR": "1"}

    def seen(self, route: str) -> list[Request]:
        """The requests of a `METHOD /path`."""
        return [r for r in self.requests if f"{r.method} {r.path}" == route]

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._open.append(connection)
            self._threads.append(threading.Thread(target=self._serve, args=(connection,), daemon=True))
            self._threads[-1].start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as stream:
            try:
                self._answer(connection, stream)
            except OSError:  # the client, or the test, hung up
                return

    def _answer(self, connection: socket.socket, stream: BinaryIO) -> None:
        raw = b""
        while not raw.endswith(b"\r\n\r\n"):
            line = stream.readline()
            if not line:
                return
            raw += line
        request = _parse(raw, stream)
        self.requests.append(request)
        if request.headers.get("upgrade") == "websocket" and request.path in self.sockets:
            self._upgrade(connection, raw, self.sockets[request.path])
            return
        answer = self._route(request)
        connection.sendall(answer.raw or _encoded(answer))
        for line in answer.lines:
            connection.sendall(f"{len(line):x}\r\n".encode() + line + b"\r\n")
        if answer.held:
            stream.read(1)  # until the client goes
        elif answer.lines:
            connection.sendall(b"0\r\n\r\n")

    def _route(self, request: Request) -> Answer:
        route = self.routes.get(f"{request.method} {request.path}")
        if isinstance(route, list):
            route = route.pop(0) if len(route) > 1 else route[0]
        if route is None:
            return problem_answer(404, "not_found", f"nothing at {request.method} {request.path}")
        return route if isinstance(route, Answer) else route(request)

    @staticmethod
    def _upgrade(connection: socket.socket, raw: bytes, script: Script) -> None:
        protocol = ServerProtocol(max_size=None)
        protocol.receive_data(raw)
        (upgrade,) = protocol.events_received()
        assert isinstance(upgrade, Upgrade)
        protocol.send_response(protocol.accept(upgrade))
        channel = Socket(connection, protocol)
        channel.flush()
        script(channel)


def _parse(raw: bytes, stream: BinaryIO) -> Request:
    first, *rest = raw.decode("latin-1").split("\r\n")
    headers = {n.strip().lower(): v.strip() for n, _, v in (line.partition(":") for line in rest)}
    method, target, _ = first.split()
    if headers.get("transfer-encoding") == "chunked":
        return Request(method, target, headers, _dechunked(stream))
    body = stream.read(int(headers.get("content-length", 0)))
    return Request(method, target, headers, json.loads(body) if body else None)


def _dechunked(stream: BinaryIO) -> bytes:
    body = b""
    while size := int(stream.readline(), 16):
        body += stream.read(size)
        stream.readline()
    stream.readline()
    return body


def _encoded(answer: Answer) -> bytes:
    kind = "application/problem+json" if answer.status >= 400 else "application/json"
    start = f"HTTP/1.1 {answer.status} Scripted\r\nContent-Type: {kind}\r\n"
    if answer.lines or answer.held:
        return f"{start}Transfer-Encoding: chunked\r\n\r\n".encode()
    content = json.dumps(answer.document).encode()
    return f"{start}Content-Length: {len(content)}\r\n\r\n".encode() + content


def problem_answer(status: int, code: str, detail: str, **more: object) -> Answer:
    """A problem document as the API sends it."""
    return Answer({"code": code, "detail": detail, "status": status, **more}, status)


def error_answer(error: ZlayerError) -> Answer:
    return Answer(error.document(), error.status)


def ndjson(*documents: object, held: bool = False) -> Answer:
    """A stream of JSON lines, perhaps none."""
    if not documents and not held:
        return Answer(raw=b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    return Answer(lines=tuple(json.dumps(doc).encode() + b"\n" for doc in documents), held=held)


def server_events(*events: tuple[str, object], held: bool = True) -> Answer:
    """Server-sent events: (name or empty, document)."""
    named = (f"event: {name}\n" if name else "" for name, _ in events)
    lines = (f"{n}data: {json.dumps(doc)}\n\n".encode() for n, (_, doc) in zip(named, events, strict=True))
    return Answer(lines=tuple(lines), held=held)
