"""A client for one bucket: objects by key, whole or from a byte on, and uploads in parts.

Signed by version 4 with the hash of every body, so what arrives is what was meant. Redirects are not followed: a
signature is for one host. Blocking; safe to use from several threads.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TypeVar
from xml.etree.ElementTree import Element  # the type; what parses is in `answers`

from zlayer.image.registry_retry import FAULTS, is_final
from zlayer.image.registry_transport import Answer, Readable, Request, Transport
from zlayer.image.s3 import keys
from zlayer.image.s3.answers import (
    MAX_DOCUMENT,
    RETRIED,
    Pending,
    Refusal,
    completion,
    is_error,
    parse,
    pending,
    refusal,
    text,
    translate,
)
from zlayer.image.s3.settings import S3Settings
from zlayer.image.s3.sign import EMPTY, Target, signed
from zlayer.image.settings import RegistryHost, RegistrySettings
from zlayer.model.errors import ZlayerError

T = TypeVar("T")
PAUSE = 0.5
"""Seconds before the second try; doubles."""
_SILENCE = (TimeoutError, ConnectionRefusedError, ConnectionAbortedError)
"""Nobody is there, or nobody answers."""
MAX_PAGES = 10
"""Of a list of unfinished uploads, 1,000 each."""


@dataclass(frozen=True, slots=True)
class Content:
    """What is sent. `open` gives it from its start, each time it must be sent; `sha256` in hex, of all of it."""

    size: int
    sha256: str
    open: Callable[[], Readable]
    media_type: str = "application/octet-stream"


@dataclass(frozen=True, slots=True)
class _Ask:
    method: str
    key: str
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | Callable[[], Readable] | None = None
    sha256: str = EMPTY


class Bucket:
    """`tries` of each request that may heal, with pauses between them.

    Errors of every call: `Denied` (no key, or a wrong one), `Unavailable`, `Deadline`, `Failed` (refused), `NotFound`
    (no such bucket, no such upload), `Corrupt` (not S3's documents).
    """

    def __init__(
        self,
        settings: S3Settings,
        environ: Mapping[str, str],
        *,
        tries: int = 2,
        stall_timeout: float = 0.0,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self.settings = settings
        self._environ, self._tries, self._sleep = environ, tries, sleep
        timeouts = RegistrySettings(
            connect_timeout=settings.connect_timeout, stall_timeout=stall_timeout or settings.stall_timeout
        )
        self._transport = Transport(timeouts, environ)
        self._trust = RegistryHost(insecure=settings.insecure or None, ca=settings.ca)
        self._where = f"S3 bucket {settings.bucket} at {settings.url.netloc}"

    def close(self) -> None:
        self._transport.close()

    def get(self, key: str, offset: int = 0) -> Answer | None:
        """An object from byte `offset` on (status 206), or from its start (200, also when ranges are ignored).

        None: it is not there, or is shorter. Faults while its body is read come as the transport raises them.
        """
        headers = {"Range": f"bytes={offset}-"} if offset else {}
        found = self._call(_Ask("GET", key, headers=headers))
        if isinstance(found, Answer):
            return found
        if found.absent or found.status == 416:
            return None
        raise found.error(self._where)

    def size(self, key: str) -> int | None:
        """Of an object; None when it is not there, or we may not know."""
        found = self._call(_Ask("HEAD", key))
        if isinstance(found, Refusal):
            if found.status in (403, 404):
                return None
            raise found.error(self._where)
        found.close()
        length = found.header("Content-Length")
        return int(length) if length.isdigit() else None

    def put(self, key: str, content: Content) -> None:
        """Replaces what was there, when the last byte has arrived whole."""
        self._done(self._sending("PUT", key, content, {"Content-Type": content.media_type})).close()

    def begin(self, key: str, media_type: str) -> str:
        """The id of a new upload in parts."""
        root = self._document(_Ask("POST", key, {"uploads": ""}, {"Content-Type": media_type}))
        return text(root, "UploadId")

    def part(self, key: str, upload: str, number: int, content: Content) -> str:
        """Send a part, counted from 1; its ETag. `NotFound`: the upload is not known any more."""
        ask = self._sending("PUT", key, content, {}, {"partNumber": str(number), "uploadId": upload})
        answer = self._done(ask)
        answer.close()
        return answer.header("ETag")

    def complete(self, key: str, upload: str, etags: Sequence[tuple[int, str]]) -> None:
        """The parts become the object. S3 may say 200 first and tell an error in the document that follows."""
        body = completion(etags)
        ask = _Ask("POST", key, {"uploadId": upload}, {"Content-Type": "application/xml"}, body, _sha256(body))
        self._document(ask)

    def abort(self, key: str, upload: str) -> None:
        """Not known any more: the same."""
        found = self._call(_Ask("DELETE", key, {"uploadId": upload}))
        if isinstance(found, Refusal):
            if found.status != 404:
                raise found.error(self._where)
        else:
            found.close()

    def uploads(self) -> list[Pending]:
        """Unfinished uploads below the prefix, whoever began them."""
        found: list[Pending] = []
        query = {"uploads": "", "prefix": self.settings.prefix, "max-uploads": "1000"}
        for _ in range(MAX_PAGES):
            root = self._document(_Ask("GET", "", query))
            page = list(pending(root))
            found += page
            if not page or text(root, "IsTruncated") != "true":
                break
            query |= {"key-marker": page[-1].key, "upload-id-marker": page[-1].upload}
        return found

    def probe(self) -> None:
        """Whether the bucket answers us."""
        query = {"list-type": "2", "max-keys": "1", "prefix": self.settings.prefix}
        self._document(_Ask("GET", "", query))

    def _sending(
        self,
        method: str,
        key: str,
        content: Content,
        headers: Mapping[str, str],
        query: Mapping[str, str] | None = None,
    ) -> _Ask:
        sized = {**headers, "Content-Length": str(content.size)}
        return _Ask(method, key, query or {}, sized, content.open, content.sha256)

    def _document(self, ask: _Ask) -> Element:
        def read() -> Element | Refusal:
            answer = self._once(ask)
            if isinstance(answer, Refusal):
                return answer
            body = answer.body(MAX_DOCUMENT)
            root = parse(body)
            return refusal(500, body) if is_error(root) else root

        found = self._patiently(read)
        if isinstance(found, Refusal):
            raise found.error(self._where)
        return found

    def _done(self, ask: _Ask) -> Answer:
        found = self._call(ask)
        if isinstance(found, Refusal):
            raise found.error(self._where)
        return found

    def _call(self, ask: _Ask) -> Answer | Refusal:
        return self._patiently(lambda: self._once(ask))

    def _patiently(self, once: Callable[[], T | Refusal]) -> T | Refusal:
        """Try again what may heal soon. What does not answer at all has had its time."""
        for left in range(self._tries - 1, -1, -1):
            try:
                found = once()
            except FAULTS as fault:
                if left == 0 or is_final(fault) or isinstance(fault, _SILENCE):
                    raise translate(fault, self._where) from fault
            else:
                if not isinstance(found, Refusal) or found.status not in RETRIED or left == 0:
                    return found
            self._sleep(PAUSE * 2 ** (self._tries - 1 - left))
        raise AssertionError("the last round returns or raises")

    def _once(self, ask: _Ask) -> Answer | Refusal:
        settings = self.settings
        path = f"/{settings.bucket}/{ask.key}" if settings.by_path else f"/{ask.key}"
        target = Target(ask.method, settings.host, path, ask.query)
        found = keys.find(settings.credentials_file, settings.profile, self._environ)
        headers = signed(target, ask.headers, ask.sha256, found, settings.region, datetime.now(UTC))
        url = f"{settings.url.scheme}://{settings.host}{target.uri}"
        answer = self._transport.send(Request(ask.method, url, self._trust, headers, ask.body))
        if 200 <= answer.status < 300:
            return answer
        region = answer.header("x-amz-bucket-region") if answer.status in (301, 307, 400) else ""
        try:
            body = answer.body(MAX_DOCUMENT)
        except (ZlayerError, *FAULTS):
            body = b""
        return refusal(answer.status, body, region)


def _sha256(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()
