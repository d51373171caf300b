"""Retries and odd answers (zlayer.image.s3.bucket); the rest is tested with a real server."""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from zlayer.image.s3.answers import Pending
from zlayer.image.s3.bucket import Bucket
from zlayer.image.s3.settings import S3Settings
from zlayer.model.errors import Corrupt, Deadline, Denied, Failed, NotFound, Unavailable
from zlayer.testing.registry_tokens import certificate
from zlayer.testing.s3_scripted import ENVIRON, Scripted
from zlayer.testing.s3_swift import content

SLOW = (503, b"<Error><Code>SlowDown</Code></Error>")


class Naps(list[float]):
    def __call__(self, seconds: float) -> None:
        self.append(seconds)


def bucket(scripted: Scripted, tries: int = 2, naps: Naps | None = None) -> Bucket:
    return Bucket(scripted.settings, ENVIRON, tries=tries, sleep=naps if naps is not None else Naps())


def test_what_may_heal_is_tried_again(scripted: Scripted) -> None:
    naps = Naps()
    scripted.replies = [SLOW, SLOW]
    bucket(scripted, 3, naps).put("k", content(b"abc"))
    assert naps == [0.5, 1.0]
    assert scripted.asked == [("PUT", "/images/k", 3)] * 3


def test_what_does_not_heal_is_told(scripted: Scripted) -> None:
    scripted.rest = lambda *_: SLOW
    with pytest.raises(Unavailable, match="SlowDown"):
        bucket(scripted).get("k")
    assert len(scripted.asked) == 2


def test_a_refusal_is_not_tried_again(scripted: Scripted) -> None:
    scripted.rest = lambda *_: (400, b"<Error><Code>EntityTooLarge</Code></Error>")
    with pytest.raises(Failed, match="EntityTooLarge"):
        bucket(scripted, 5).put("k", content(b""))
    assert len(scripted.asked) == 1


def test_an_error_behind_a_200_is_one(scripted: Scripted) -> None:
    scripted.replies = [(200, b"<Error><Code>InternalError</Code></Error>")]
    with pytest.raises(Unavailable, match="InternalError"):
        bucket(scripted, 1).complete("k", "u", [(1, '"a"')])
    scripted.replies = [(200, b"<Error><Code>InternalError</Code></Error>"), (200, b"<Done/>")]
    bucket(scripted).complete("k", "u", [(1, '"a"')])


def test_an_endpoint_that_is_no_s3_is_told(scripted: Scripted) -> None:
    scripted.rest = lambda *_: (200, b"welcome")
    with pytest.raises(Corrupt, match="malformed"):
        bucket(scripted).probe()
    scripted.rest = lambda *_: (200, b"<html/>")
    with pytest.raises(Corrupt, match="UploadId"):
        bucket(scripted).begin("k", "a/b")


def test_objects_that_are_not_there(scripted: Scripted) -> None:
    scripted.replies = [
        (404, b""),
        (404, b""),
        (403, b""),
        (416, b""),
        (404, b"<Error><Code>NoSuchUpload</Code></Error>"),
    ]
    one = bucket(scripted)
    assert one.get("k") is None
    assert one.size("k") is None
    assert one.size("k") is None
    assert one.get("k", 5) is None
    one.abort("k", "u")
    scripted.replies = [(404, b"<Error><Code>NoSuchBucket</Code></Error>")]
    with pytest.raises(NotFound, match="NoSuchBucket"):
        one.get("k")


def test_unfinished_uploads_are_listed_page_by_page(scripted: Scripted) -> None:
    def page(more: str, key: str) -> bytes:
        upload = f"<Upload><Key>{key}</Key><UploadId>u</UploadId><Initiated>2010-11-10T20:48:33Z</Initiated></Upload>"
        return f"<R><IsTruncated>{more}</IsTruncated>{upload}</R>".encode()

    scripted.replies = [(200, page("true", "a")), (200, page("false", "b"))]
    assert bucket(scripted).uploads() == [Pending("a", "u", 1289422113.0), Pending("b", "u", 1289422113.0)]
    assert "key-marker=a" in scripted.asked[1][1]
    assert "upload-id-marker=u" in scripted.asked[1][1]


def test_nobody_there_is_not_waited_for_twice(tmp_path: Path, scripted: Scripted) -> None:
    naps = Naps()
    gone = Bucket(replace(scripted.settings, endpoint="http://127.0.0.1:1"), ENVIRON, tries=5, sleep=naps)
    with pytest.raises(Unavailable, match="refused"):
        gone.get("k")
    assert naps == []
    without = Bucket(scripted.settings, {})
    with pytest.raises(Denied, match="no access key"):
        without.get("k")


def test_a_bucket_may_be_a_name_of_its_own(scripted: Scripted) -> None:
    """By way of a proxy, which is all that can tell its name here."""
    settings = replace(scripted.settings, endpoint="http://s3.lan", path_style=False, insecure=True)
    proxy = {"HTTP_PROXY": scripted.settings.endpoint, "http_proxy": scripted.settings.endpoint}
    Bucket(settings, {**ENVIRON, **proxy}).put("p/k", content(b"abc"))
    assert scripted.asked == [("PUT", "http://images.s3.lan/p/k", 3)]


@contextmanager
def secure(directory: Path) -> Iterator[tuple[str, Path]]:
    """A server that has nothing, over TLS; its endpoint and what to trust."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(404)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base's own name
            """Quiet."""

    pem, key = certificate(directory)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem, key)
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield f"https://127.0.0.1:{server.server_address[1]}", pem
        server.shutdown()
        thread.join()


def test_tls_is_judged_as_the_settings_say(tmp_path: Path) -> None:
    with secure(tmp_path) as (endpoint, pem):
        settings = S3Settings("images", endpoint=endpoint)
        with pytest.raises(Unavailable, match="not trusted") as caught:
            Bucket(settings, ENVIRON).get("k")
        assert "ca =" in caught.value.hint
        assert Bucket(replace(settings, ca=str(pem)), ENVIRON).get("k") is None
        assert Bucket(replace(settings, insecure=True), ENVIRON).get("k") is None


def test_who_does_not_answer_is_given_up(scripted: Scripted) -> None:
    def late(*_: str) -> tuple[int, bytes]:
        time.sleep(0.5)
        return 200, b""

    scripted.rest = late
    hasty = Bucket(replace(scripted.settings, stall_timeout=0.1), ENVIRON, tries=5)
    with pytest.raises(Deadline, match="stalled"):
        hasty.get("k")
