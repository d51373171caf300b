"""Push images to a registry with nothing but http.client (OCI distribution-spec 1.1, monolithic uploads)."""

from __future__ import annotations

import base64
import http.client
import json
import re
import ssl
from dataclasses import dataclass, field
from http.client import HTTPResponse
from pathlib import Path
from types import TracebackType
from urllib.parse import urlencode, urlsplit

from zlayer.model.errors import Denied, Failed
from zlayer.testing.imagery import Blob, OciImage, OciIndex

_TIMEOUT = 60
_PARAMETER = re.compile(r'(\w+)="([^"]*)"')


@dataclass(frozen=True, slots=True)
class Target:
    """A registry: `address` is `host:port`. `ca` (a PEM file) makes it https; credentials serve Basic and Bearer."""

    address: str
    ca: Path | None = None
    username: str = ""
    password: str = field(default="", repr=False)


def push(target: Target, repository: str, tag: str, what: OciImage | OciIndex) -> str:
    """Upload what the registry lacks, then the manifest as `tag`. Returns the reference `host:port/repository:tag`.

    `Denied` on 401 and 403, `Failed` with the registry's answer on all else.
    """
    with _Session(target, repository) as session:
        for each in what.images if isinstance(what, OciIndex) else (what,):
            for blob in each.blobs():
                session.upload(blob)
            if isinstance(what, OciIndex):
                session.put_manifest(each.digest, each.manifest)
        session.put_manifest(tag, what.manifest)
    return f"{target.address}/{repository}:{tag}"


class _Session:
    def __init__(self, target: Target, repository: str) -> None:
        self._target = target
        self._base = f"/v2/{repository}"
        self._scope = f"repository:{repository}:pull,push"
        self._authorization = ""
        self._connection = _connect(target.address, target.ca)

    def __enter__(self) -> _Session:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    def upload(self, blob: Blob) -> None:
        if self._ask("HEAD", f"{self._base}/blobs/{blob.digest}").status == 200:
            return
        begun = self._expect(202, "POST", f"{self._base}/blobs/uploads/")
        location = urlsplit(begun.headers["Location"])
        joined = f"{location.query}&digest={blob.digest}" if location.query else f"digest={blob.digest}"
        self._expect(201, "PUT", f"{location.path}?{joined}", blob)

    def put_manifest(self, name: str, manifest: Blob) -> None:
        self._expect(201, "PUT", f"{self._base}/manifests/{name}", manifest)

    def _expect(self, status: int, method: str, path: str, blob: Blob | None = None) -> HTTPResponse:
        answer = self._ask(method, path, blob)
        if answer.status in (401, 403):
            raise Denied(f"{self._target.address} refuses {method} {path}", hint="Check the credentials.")
        if answer.status != status:
            raise Failed(f"{self._target.address} answers {answer.status} to {method} {path}: {answer.reason}")
        return answer

    def _ask(self, method: str, path: str, blob: Blob | None = None) -> HTTPResponse:
        answer = self._send(method, path, blob)
        if answer.status == 401 and (challenge := answer.headers.get("WWW-Authenticate")):
            self._authorization = self._answer_to(challenge)
            answer = self._send(method, path, blob)
        return answer

    def _send(self, method: str, path: str, blob: Blob | None) -> HTTPResponse:
        headers = {"Authorization": self._authorization} if self._authorization else {}
        if blob is None:
            return self._exchange(method, path, b"", {**headers, "Content-Length": "0"})
        kind = blob.media_type if "/manifests/" in path else "application/octet-stream"
        headers |= {"Content-Type": kind, "Content-Length": str(blob.size)}
        if isinstance(blob.content, bytes):
            return self._exchange(method, path, blob.content, headers)
        with blob.content.open("rb") as content:
            self._connection.request(method, path, body=content, headers=headers)
            return _finished(self._connection.getresponse())

    def _exchange(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> HTTPResponse:
        self._connection.request(method, path, body=body, headers=headers)
        return _finished(self._connection.getresponse())

    def _answer_to(self, challenge: str) -> str:
        """Basic credentials, or a token fetched as the challenge says (distribution "Token Authentication")."""
        secret = f"{self._target.username}:{self._target.password}".encode()
        basic = f"Basic {base64.b64encode(secret).decode()}"
        if not challenge.lower().startswith("bearer "):
            return basic
        said = dict(_PARAMETER.findall(challenge))
        realm = urlsplit(said["realm"])
        asked = urlencode({"service": said.get("service", ""), "scope": self._scope})
        connection = _connect(realm.netloc, self._target.ca if realm.scheme == "https" else None)
        try:
            headers = {"Authorization": basic} if self._target.username else {}
            connection.request("GET", f"{realm.path}?{asked}", headers=headers)
            answer = connection.getresponse()
            document = json.loads(answer.read() or b"{}")
        finally:
            connection.close()
        return f"Bearer {document.get('token') or document.get('access_token', '')}"


def _connect(address: str, ca: Path | None) -> http.client.HTTPConnection:
    if ca is None:
        return http.client.HTTPConnection(address, timeout=_TIMEOUT)
    context = ssl.create_default_context(cafile=str(ca))
    return http.client.HTTPSConnection(address, timeout=_TIMEOUT, context=context)


def _finished(answer: HTTPResponse) -> HTTPResponse:
    answer.read()
    return answer
