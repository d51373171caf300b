"""A registry made of Python on loopback that takes uploads, and misbehaves as told. For unit tests of pushes.

with WritableRegistry() as registry:
    registry.break_patch.append(70_000_000)   # the connection ends after so many bytes of that PATCH
"""

from __future__ import annotations

import hashlib
import itertools
from http.server import BaseHTTPRequestHandler
from urllib.parse import parse_qs, urlsplit

from zlayer.testing.loopback import Loopback, PlainHandler


class WritableRegistry(Loopback):
    """`blobs` by digest, whatever their repository; `manifests` by `repository:locator`; `requests` as they came.

    `break_patch`: bytes after which each next PATCH breaks (what came counts). `forget`: uploads that are not known
    any more after a break. `claimed`: the digest it says a manifest has. `mountable`: repositories whose blobs may be
    mounted. `statuses` are answered to the next requests of a method instead of the truth.
    """

    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}
        self.manifests: dict[str, bytes] = {}
        self.requests: list[tuple[str, str]] = []
        self.break_patch: list[int] = []
        self.forget = False
        self.claimed = ""
        self.mountable: set[str] = set()
        self.statuses: dict[str, list[int]] = {}
        self.uploads: dict[str, bytearray] = {}
        self.numbers = itertools.count()
        super().__init__(_handler(self))

    def count(self, method: str, where: str = "") -> int:
        return sum(m == method and where in path for m, path in self.requests)


def _handler(owner: WritableRegistry) -> type[PlainHandler]:  # noqa: C901  # a method per verb
    class Handler(PlainHandler, BaseHTTPRequestHandler):  # both, so that the linter knows its methods
        def _begin(self) -> bool:
            """Whether the truth is to be told."""
            owner.requests.append((self.command, self.path))
            waiting = owner.statuses.get(self.command, [])
            if waiting:
                self.rfile.read(int(self.headers.get("Content-Length", "0")))
                self._answer(waiting.pop(0))
                return False
            return True

        def do_HEAD(self) -> None:
            if self._begin():
                self._answer(200 if self.path.rpartition("/")[2] in owner.blobs else 404)

        def do_GET(self) -> None:
            if not self._begin():
                return
            upload = owner.uploads.get(self.path.rpartition("/")[2])
            if self.path == "/v2/":
                self._answer(200)
            elif upload is None:
                self._answer(404)
            else:
                self._answer(204, Location=self.path, Range=f"0-{max(0, len(upload) - 1)}")

        def do_POST(self) -> None:
            if not self._begin():
                return
            asked = parse_qs(urlsplit(self.path).query)
            digest, source = asked.get("mount", [""])[0], asked.get("from", [""])[0]
            if digest and source in owner.mountable and digest in owner.blobs:
                self._answer(201, Location=f"/v2/x/blobs/{digest}")
                return
            name = f"u{next(owner.numbers)}"
            owner.uploads[name] = bytearray()
            self._answer(202, Location=f"{urlsplit(self.path).path}{name}")

        def do_PATCH(self) -> None:
            if not self._begin():
                return
            upload = owner.uploads[self.path.rpartition("/")[2]]
            length = int(self.headers["Content-Length"])
            if owner.break_patch:
                upload += self.rfile.read(min(length, owner.break_patch.pop(0)))
                if owner.forget:
                    owner.uploads.clear()
                self.close_connection = True
                return
            start = int(self.headers["Content-Range"].partition("-")[0])
            if start != len(upload):
                self.rfile.read(length)
                self._answer(416)
                return
            upload += self.rfile.read(length)
            self._answer(202, Location=self.path, Range=f"0-{len(upload) - 1}")

        def do_PUT(self) -> None:
            if not self._begin():
                return
            body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            parts = urlsplit(self.path)
            if "/manifests/" in parts.path:
                repository, _, locator = parts.path.removeprefix("/v2/").rpartition("/manifests/")
                owner.manifests[f"{repository}:{locator}"] = body
                algorithm = "sha512" if locator.startswith("sha512:") else "sha256"
                digest = owner.claimed or f"{algorithm}:{hashlib.new(algorithm, body).hexdigest()}"
                self._answer(201, **{"Docker-Content-Digest": digest})
                return
            whole = bytes(owner.uploads.pop(parts.path.rpartition("/")[2])) + body
            [digest] = parse_qs(parts.query)["digest"]
            algorithm = digest.partition(":")[0]
            good = digest == f"{algorithm}:{hashlib.new(algorithm, whole).hexdigest()}"
            if good:
                owner.blobs[digest] = whole
            self._answer(201 if good else 400)

        def _answer(self, status: int, **headers: str) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            if status != 204:
                self.send_header("Content-Length", "0")
            self.end_headers()

    return Handler
