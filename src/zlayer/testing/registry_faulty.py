"""A registry made of Python on loopback that misbehaves as told, and remembers what it was asked.

with FaultyRegistry() as registry:
    registry.hold("team/app", "1", image)
    registry.faults.append(Fault("/blobs/", truncate=1000, times=1))
"""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from types import TracebackType

from zlayer.testing.imagery import Blob, OciImage, OciIndex
from zlayer.testing.loopback import Loopback, due

_TLS_HANDSHAKE = 0x16


@dataclass(slots=True)
class Fault:
    """What happens to requests whose path holds `where`, `times` times (None: always), after `skip` good ones.

    `status` answers with that and `headers`; `truncate` ends the body, `stall` stops sending, after that many bytes;
    `corrupt` flips the byte at that offset of the blob; `ignore_range` answers 200 with the whole blob.
    """

    where: str
    times: int | None = None
    skip: int = 0
    method: str = ""
    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    truncate: int | None = None
    stall: int | None = None
    corrupt: int | None = None
    ignore_range: bool = False


@dataclass(frozen=True, slots=True)
class Asked:
    """One request as it came."""

    method: str
    path: str
    range: str
    authorization: str


class FaultyRegistry(Loopback):
    """Serves what it holds, with faults. `asked` lists the requests; `release` ends all stalls."""

    def __init__(self) -> None:
        self.faults: list[Fault] = []
        self.asked: list[Asked] = []
        self._content: dict[str, Blob] = {}
        self._lock = threading.Lock()
        self._released = threading.Event()
        self.stalling = threading.Semaphore(0)
        """Released once for each answer that has begun to stall: wait on it instead of sleeping."""
        super().__init__(self._exchange())

    def hold(self, repository: str, tag: str, what: OciImage | OciIndex) -> str:
        """Serve an image or index under this name. Returns its reference."""
        for image in what.images if isinstance(what, OciIndex) else (what,):
            for blob in image.blobs():
                self._content[f"/v2/{repository}/blobs/{blob.digest}"] = blob
            self._content[f"/v2/{repository}/manifests/{image.digest}"] = image.manifest
        for name in (tag, what.digest):
            self._content[f"/v2/{repository}/manifests/{name}"] = what.manifest
        return f"{self.address}/{repository}:{tag}"

    def hold_blob(self, path: str, blob: Blob) -> None:
        """Serve any content at any path."""
        self._content[path] = blob

    def count(self, where: str, method: str = "GET") -> int:
        """How many requests of that method had `where` in their path."""
        return sum(asked.method == method and where in asked.path for asked in self.asked)

    def release(self) -> None:
        self._released.set()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()
        super().__exit__(kind, error, trace)

    def _fault(self, method: str, path: str) -> Fault | None:
        with self._lock:
            return due(self.faults, method, path)

    def _exchange(self) -> type[BaseHTTPRequestHandler]:
        registry = self

        class Exchange(_Exchange):
            owner = registry

        return Exchange


class _Exchange(BaseHTTPRequestHandler):
    owner: FaultyRegistry
    protocol_version = "HTTP/1.1"

    def handle(self) -> None:
        # A TLS client is turned away at its first byte, as a server that does not speak TLS does.
        with contextlib.suppress(ConnectionError):
            if self.connection.recv(1, socket.MSG_PEEK)[:1] != bytes([_TLS_HANDSHAKE]):
                super().handle()

    def do_GET(self) -> None:
        owner, headers = self.owner, self.headers
        owner.asked.append(Asked(self.command, self.path, headers.get("Range", ""), headers.get("Authorization", "")))
        fault = owner._fault(self.command, self.path)
        blob = owner._content.get(self.path.partition("?")[0])
        if fault and fault.status:
            self._send(fault.status, fault.body, fault.headers)
        elif self.path == "/v2/":
            self._send(200, b"{}", {})
        elif blob is None:
            code = "MANIFEST_UNKNOWN" if "/manifests/" in self.path else "BLOB_UNKNOWN"
            error = {"errors": [{"code": code, "message": "unknown"}]}
            self._send(404, json.dumps(error).encode(), {"Content-Type": "application/json"})
        else:
            self._serve(blob, fault)

    def do_HEAD(self) -> None:
        self.do_GET()

    def _serve(self, blob: Blob, fault: Fault | None) -> None:
        content, start = bytearray(blob.read()), 0
        if fault and fault.corrupt is not None:
            content[fault.corrupt] ^= 0xFF
        headers = {"Content-Type": blob.media_type, "Docker-Content-Digest": blob.digest}
        status, wanted = 200, self.headers.get("Range", "")
        if wanted and not (fault and fault.ignore_range):
            start = int(wanted.removeprefix("bytes=").rstrip("-"))
            status = 206
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        self._send(status, bytes(content[start:]), headers, fault)

    def _send(self, status: int, body: bytes, headers: Mapping[str, str], fault: Fault | None = None) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "HEAD":
            return
        cut = None if fault is None else (fault.truncate if fault.truncate is not None else fault.stall)
        try:
            self.wfile.write(body if cut is None else body[:cut])
        except ConnectionError:
            self.close_connection = True
        if cut is not None:
            self.close_connection = True
            if fault and fault.stall is not None:
                self.owner.stalling.release()
                self.owner._released.wait()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base's own name
        """Quiet."""
