from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from zlayer.image.artifact_order import ArtifactOrder
from zlayer.image.reference import parse
from zlayer.image.registry import Registry
from zlayer.image.registry_referrers import MOST_SETTLE, ROUNDS, SETTLE, enlist, fallback_tag
from zlayer.image.settings import RegistrySettings
from zlayer.model.errors import Failed


def test_the_fallback_tag_fits_a_tag() -> None:
    assert fallback_tag("sha256:" + "a" * 64) == "sha256-" + "a" * 64
    assert fallback_tag("sha512:" + "b" * 128) == "sha512-" + "b" * 64


def test_orders_survive_the_pipe(tmp_path: Path) -> None:
    sent = ArtifactOrder("attach", tmp_path, "h/a:1", "text/x", RegistrySettings(), 5, "f")
    assert ArtifactOrder.read(json.loads(json.dumps(sent.document()))) == sent


class Tags:
    """A registry of one tag; `strict`: it knows conditions. `meanwhile` is put before each of our writes, once each."""

    def __init__(self, *, strict: bool) -> None:
        self.strict, self.body, self.meanwhile, self.writes = strict, b"", list[bytes](), list[str]()
        tags = self

        class Exchange(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                if "/manifests/" in self.path and not tags.body:
                    self.answer(404, b'{"errors": [{"code": "MANIFEST_UNKNOWN"}]}')
                else:
                    self.answer(200, tags.body if "/manifests/" in self.path else b"{}")

            def do_PUT(self) -> None:
                content = self.rfile.read(int(self.headers["Content-Length"]))
                if tags.meanwhile:
                    tags.body = tags.meanwhile.pop(0)
                current = tags.etag() if tags.body else ""
                held = self.headers["If-Match"] in (None, current) and not (self.headers["If-None-Match"] and current)
                status = 201 if held or not tags.strict else 412
                tags.writes.append(f"{status}")
                tags.body = content if status == 201 else tags.body
                self.answer(status, b"")

            def answer(self, status: int, body: bytes) -> None:
                self.send_response(status)
                self.send_header("ETag", tags.etag())
                self.send_header("Content-Type", "application/vnd.oci.image.index.v1+json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base's own name
                """Quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Exchange)
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05})

    def etag(self) -> str:
        return f'"{hashlib.sha256(self.body).hexdigest()}"'

    def listed(self) -> list[str]:
        return [one["digest"] for one in json.loads(self.body)["manifests"]]


@pytest.fixture(params=[True, False], ids=["strict", "lax"])
def tags(request: pytest.FixtureRequest) -> Iterator[Tags]:
    made = Tags(strict=request.param)
    made.thread.start()
    try:
        yield made
    finally:
        made.server.shutdown()
        made.thread.join()
        made.server.server_close()


def index_of(*digests: str) -> bytes:
    return json.dumps({"schemaVersion": 2, "manifests": [{"digest": one, "size": 1} for one in digests]}).encode()


def entry_of(digit: str) -> dict[str, object]:
    return {"digest": f"sha256:{digit * 64}", "size": 1}


OURS, THEIRS, SUBJECT = f"sha256:{'a' * 64}", f"sha256:{'b' * 64}", f"sha256:{'0' * 64}"


def registry_of(tags: Tags) -> Registry:
    reference = parse(f"127.0.0.1:{tags.server.server_address[1]}/team/app")
    return Registry(reference, RegistrySettings(attempts=1), {}, rights="pull,push")


def test_a_registry_that_knows_conditions_loses_nothing(tags: Tags) -> None:
    tags.meanwhile = [index_of(THEIRS)]
    enlist(registry_of(tags), SUBJECT, entry_of("a"), pause=lambda _seconds: None)
    if tags.strict:
        assert (tags.listed(), tags.writes) == ([THEIRS, OURS], ["412", "201"])
    else:
        assert (tags.listed(), tags.writes) == ([OURS], ["201"]), "the other one sees it, and writes again"


def test_what_another_overwrote_is_written_again(tags: Tags) -> None:
    pauses = []

    def overwritten(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) <= 2:
            tags.body = index_of(THEIRS)

    enlist(registry_of(tags), SUBJECT, entry_of("a"), pause=overwritten)
    assert tags.listed() == [THEIRS, OURS]
    assert len(pauses) == 3
    assert all(SETTLE <= one <= 1.5 * MOST_SETTLE for one in pauses)


def test_it_gives_up(tags: Tags) -> None:
    def overwritten(_seconds: float) -> None:
        tags.body = index_of(THEIRS)

    with pytest.raises(Failed, match="changes as fast as it is written"):
        enlist(registry_of(tags), SUBJECT, entry_of("a"), pause=overwritten)
    assert len(tags.writes) == ROUNDS


def test_two_at_once(tags: Tags) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda digit: enlist(registry_of(tags), SUBJECT, entry_of(digit)), "abcd"))
    assert sorted(tags.listed()) == [f"sha256:{digit * 64}" for digit in "abcd"]
