"""A registry made of Python on loopback that lists referrers (OCI distribution-spec 1.1), page by page.

with ReferrersRegistry(page=1) as registry:
    reference = push(Target(registry.address), "team/app", "1", image)
"""

from __future__ import annotations

import hashlib
import itertools
import json
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, urlsplit

from zlayer.testing.loopback import Loopback, PlainHandler

INDEX = "application/vnd.oci.image.index.v1+json"


class ReferrersRegistry(Loopback):
    """`page` entries a page. `elsewhere`: the host that pages go on at, for a hostile one."""

    def __init__(self, page: int = 100, elsewhere: str = "") -> None:
        self.page, self.elsewhere = page, elsewhere
        self.content: dict[str, tuple[bytes, str]] = {}
        self.referrers: dict[str, list[dict[str, Any]]] = {}  # Any: JSON
        self.asked: list[str] = []
        self.numbers = itertools.count()
        super().__init__(_handler(self))


def _handler(owner: ReferrersRegistry) -> type[PlainHandler]:  # noqa: C901  # a method per verb
    class Handler(PlainHandler, BaseHTTPRequestHandler):  # both, so that the linter knows its methods
        def do_GET(self) -> None:
            owner.asked.append(self.path)
            parts = urlsplit(self.path)
            if "/referrers/" in parts.path:
                self._referrers(parts.path.rpartition("/")[2], parse_qs(parts.query))
            elif parts.path == "/v2/":
                self._answer(200)
            elif parts.path in owner.content:
                body, kind = owner.content[parts.path]
                self._answer(200, body, **{"Content-Type": kind, "Docker-Content-Digest": digest_of(body)})
            else:
                self._answer(404)

        def do_HEAD(self) -> None:
            self.do_GET()

        def _referrers(self, digest: str, asked: dict[str, list[str]]) -> None:
            found = owner.referrers.get(digest, [])
            start = int(asked.get("last", ["0"])[0])
            shown = found[start : start + owner.page]
            headers = {"Content-Type": INDEX}
            if start + owner.page < len(found):
                host = f"http://{owner.elsewhere}" if owner.elsewhere else ""
                headers["Link"] = f'<{host}{urlsplit(self.path).path}?last={start + owner.page}>; rel="next"'
            self._answer(200, json.dumps({"schemaVersion": 2, "manifests": shown}).encode(), **headers)

        def do_POST(self) -> None:
            self._answer(202, Location=f"{self.path}{next(owner.numbers)}")

        def do_PUT(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            path, kind = urlsplit(self.path).path, self.headers.get("Content-Type", "")
            repository = path.partition("/manifests/")[0].partition("/blobs/")[0]
            folder = "manifests" if "/manifests/" in path else "blobs"
            digest, headers = digest_of(body), {}
            for name in {digest, path.rpartition("/")[2] if folder == "manifests" else digest}:
                owner.content[f"{repository}/{folder}/{name}"] = (body, kind)
            if folder == "manifests" and (subject := json.loads(body).get("subject")):
                entry = {"mediaType": kind, "digest": digest, "size": len(body)}
                entry |= {k: v for k, v in json.loads(body).items() if k in ("artifactType", "annotations")}
                owner.referrers.setdefault(subject["digest"], []).append(entry)
                headers["OCI-Subject"] = subject["digest"]
            self._answer(201, **headers)

        def _answer(self, status: int, body: bytes = b"", **headers: str) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

    return Handler


def digest_of(body: bytes) -> str:
    return f"sha256:{hashlib.sha256(body).hexdigest()}"
