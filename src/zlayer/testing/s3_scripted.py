"""A server in place of S3, on loopback, that answers as a test says: for what a real one does not do when asked."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler

from zlayer.image.s3.settings import S3Settings
from zlayer.testing.loopback import Loopback, PlainHandler

ENVIRON = {"AWS_ACCESS_KEY_ID": "AKID", "AWS_SECRET_ACCESS_KEY": "sesame"}
Reply = tuple[int, bytes]


@dataclass
class Scripted:
    """`replies` in turn, then `rest`. `asked` are method and target; of bodies only the size is kept."""

    replies: list[Reply] = field(default_factory=list)
    rest: Callable[[str, str], Reply] = lambda _method, _target: (200, b"")
    asked: list[tuple[str, str, int]] = field(default_factory=list)
    settings: S3Settings = field(default_factory=lambda: S3Settings("unset"))


@contextmanager
def scripted() -> Iterator[Scripted]:
    """Serves until the end of the context."""
    script = Scripted()

    class Handler(PlainHandler, BaseHTTPRequestHandler):
        def answer(self) -> None:
            left = length = int(self.headers.get("Content-Length") or 0)
            while left:
                left -= len(self.rfile.read(min(left, 65536)))
            assert self.headers["Authorization"].startswith("AWS4-HMAC-SHA256 Credential=AKID/")
            script.asked.append((self.command, self.path, length))
            status, body = script.replies.pop(0) if script.replies else script.rest(self.command, self.path)
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("ETag", '"e"')
            self.end_headers()
            self.wfile.write(body)

        def do_GET(self) -> None:
            self.answer()

        def do_PUT(self) -> None:
            self.answer()

        def do_POST(self) -> None:
            self.answer()

        def do_DELETE(self) -> None:
            self.answer()

        def do_HEAD(self) -> None:
            self.answer()

    with Loopback(Handler) as server:
        script.settings = S3Settings("images", prefix="p/", endpoint=f"http://{server.address}")
        yield script
