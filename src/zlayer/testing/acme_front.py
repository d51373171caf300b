"""A door before pebble that lets a test see what the CA is asked, hold it up, and answer in its place, badly."""

from __future__ import annotations

import http.client
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

from zlayer.proxy.certs.authority import LocalAuthority
from zlayer.testing.pebble import Pebble

KINDS = {
    "/dir": "directory",
    "/nonce-plz": "nonce",
    "/sign-me-up": "account",
    "/order-plz": "order",
    "/my-order/": "look",
    "/authZ/": "proofs",
    "/chalZ/": "answer",
    "/finalize-order/": "finalise",
    "/certZ/": "download",
}
"""What pebble is asked for, by the beginning of the path."""
PASSED_ON = ("Content-Type", "Accept", "User-Agent")
COME_BACK = ("Content-Type", "Location", "Link", "Replay-Nonce", "Retry-After", "Cache-Control")
PATIENCE = 120.0


@dataclass(frozen=True, slots=True)
class Say:
    """An answer instead of the CA's. `done`: the CA did what was asked all the same."""

    status: int
    body: bytes = b""
    content_type: str = "application/problem+json"
    retry_after: str = ""
    done: bool = False


@dataclass(frozen=True, slots=True)
class Cut:
    """The connection ends without an answer. `done`: the CA did what was asked all the same."""

    done: bool = False


@dataclass(slots=True)
class Hold:
    """The request waits: `held` is set once it is there, and it goes on when `released` is."""

    held: threading.Event = field(default_factory=threading.Event)
    released: threading.Event = field(default_factory=threading.Event)


Fault = Say | Cut | Hold
Meddle = Callable[[str, int], Fault | None]
"""Called with the kind of request and how many of the kind there were, this one included."""


class Front:
    """`directory` is the CA's as clients are to see it. `asked` are the kinds of all requests, in order."""

    def __init__(self, ca: Pebble, port: int) -> None:
        self.directory = f"https://localhost:{port}/dir"
        self.ca_file = ca.ca_file
        self.meddle: Meddle = lambda _kind, _nth: None
        self.asked: list[str] = []
        self._lock = threading.Lock()

    def count(self, kind: str) -> int:
        return self.asked.count(kind)

    def note(self, path: str) -> Fault | None:
        kind = next((name for start, name in KINDS.items() if path.startswith(start)), path)
        with self._lock:
            self.asked.append(kind)
            return self.meddle(kind, self.asked.count(kind))


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, ca: Pebble, context: ssl.SSLContext) -> None:
        super().__init__(("127.0.0.1", 0), _Door)
        self.state = Front(ca, int(self.server_address[1]))
        self.behind = urlsplit(ca.directory).netloc
        self.trust = ssl.create_default_context(cafile=str(ca.ca_file))
        self._context = context

    def get_request(self) -> tuple[ssl.SSLSocket, object]:
        raw, address = self.socket.accept()
        raw.settimeout(PATIENCE)
        return self._context.wrap_socket(raw, server_side=True, do_handshake_on_connect=False), address

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that are killed hang up: no news."""


class _Door(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    timeout = PATIENCE

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        fault = self.server.state.note(self.path)
        if isinstance(fault, Hold):
            fault.held.set()
            fault.released.wait(PATIENCE)
        found = self._ask(body) if fault is None or isinstance(fault, Hold) or fault.done else None
        match fault:
            case Cut():
                self.close_connection = True
            case Say():
                told = {"Content-Type": fault.content_type}
                told |= {"Retry-After": fault.retry_after} if fault.retry_after else {}
                self._answer(fault.status, told, fault.body)
            case _:
                assert found is not None
                self._answer(*found)

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_POST(self) -> None:
        self.do_GET()

    def _ask(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
        """The Host stays as the client sent it: pebble makes its URLs of it, and compares what was signed."""
        connection = http.client.HTTPSConnection(self.server.behind, timeout=PATIENCE, context=self.server.trust)
        try:
            headers = {name: self.headers[name] for name in PASSED_ON if self.headers[name]}
            connection.request(self.command, self.path, body or None, {**headers, "Host": self.headers["Host"]})
            answer = connection.getresponse()
            content = answer.read()
            return answer.status, {n: answer.headers[n] for n in COME_BACK if answer.headers[n]}, content
        finally:
            connection.close()

    def _answer(self, status: int, headers: dict[str, str], content: bytes) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it
        """Quiet."""


@contextmanager
def front(ca: Pebble, root: Path) -> Iterator[Front]:
    """Serves until the end of the context; its certificate is signed as pebble's own is."""
    pair = LocalAuthority(ca.ca_file.parent, "pebble").sign(["localhost", "127.0.0.1"])
    both = root / "front.pem"
    both.write_text(pair.chain + pair.key.reveal())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(both)
    server = _Server(ca, context)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server.state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
