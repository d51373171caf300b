"""A real ACME server on this machine: pebble with its own DNS, ports and directory, and a tiny http-01 responder."""

from __future__ import annotations

import json
import os
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPSConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

from zlayer.proxy.certs.authority import LocalAuthority

STARTS_WITHIN = 20.0
WELL_KNOWN = "/.well-known/acme-challenge/"


@dataclass(slots=True)
class Responder:
    """Answers http-01 from `answers`, as a proxy would; `asked` are the tokens that were asked for."""

    port: int = 0
    answers: dict[str, str] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Pebble:
    """`ca_file` is what its own TLS is trusted by, `root` (PEM) what the certificates it gives are.

    Every name resolves to 127.0.0.1 for it; `resolves` changes that.
    """

    directory: str
    ca_file: Path
    http: Responder
    dns_port: int
    dns_management: str
    root: str

    def resolves(self, name: str, *, well: bool) -> None:
        """Whether a name can be looked up at all."""
        body = json.dumps({"host": f"{name}."})
        _ask(HTTPConnection(urlsplit(self.dns_management).netloc), f"/{'clear' if well else 'set'}-servfail", body)


@contextmanager
def pebble(
    root: Path, *, environ: Mapping[str, str] | None = None, settings: Mapping[str, object] | None = None
) -> Iterator[Pebble]:
    """Serves until the end of the context. `environ` are its PEBBLE_* switches, `settings` more of its config."""
    root.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        http = stack.enter_context(responder())
        listen, management, dns, dns_management = free_ports(4)
        ca_file = _certificate(root)
        config = {
            "listenAddress": f"127.0.0.1:{listen}",
            "managementListenAddress": f"127.0.0.1:{management}",
            "certificate": str(root / "server.pem"),
            "privateKey": str(root / "server.key"),
            "httpPort": http.port,
            "tlsPort": 1,
            "ocspResponderURL": "",
            "externalAccountBindingRequired": False,
            **(settings or {}),
        }
        (root / "pebble.json").write_text(json.dumps({"pebble": config}))
        at = f"127.0.0.1:{dns_management}"
        stack.enter_context(
            _process(root / "dns.log", ["pebble-challtestsrv", "-http01", "", "-https01", "", "-tlsalpn01", "",
             "-dns01", f"127.0.0.1:{dns}", "-management", at, "-defaultIPv4", "127.0.0.1", "-defaultIPv6", ""])
        )  # fmt: skip
        switches = {
            "PEBBLE_VA_NOSLEEP": "1",
            "PEBBLE_WFE_NONCEREJECT": "0",
            "PEBBLE_AUTHZREUSE": "0",
            **(environ or {}),
        }
        argv = ["pebble", "-config", str(root / "pebble.json"), "-dnsserver", f"127.0.0.1:{dns}"]
        stack.enter_context(_process(root / "pebble.log", argv, switches))
        _answers(dns_management)
        _answers(listen, ca_file)
        _answers(management, ca_file)
        trust = ssl.create_default_context(cafile=str(ca_file))
        root_pem = _ask(HTTPSConnection("localhost", management, context=trust), "/roots/0")
        yield Pebble(f"https://localhost:{listen}/dir", ca_file, http, dns, f"http://{at}", root_pem)


def _certificate(root: Path) -> Path:
    authority = LocalAuthority(root, "pebble")
    pair = authority.sign(["localhost", "127.0.0.1"])
    (root / "server.pem").write_text(pair.chain)
    (root / "server.key").write_text(pair.key.reveal())
    return root / "ca.pem"


@contextmanager
def responder() -> Iterator[Responder]:
    """An HTTP server on a port of loopback."""
    state = Responder()

    class Answering(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            token = self.path.removeprefix(WELL_KNOWN)
            state.asked.append(token)
            body = state.answers.get(token, "").encode()
            self.send_response(200 if body else 404)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answering)
    state.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def free_ports(count: int) -> list[int]:
    """Ports nobody listens on now, TCP and (nearly surely) UDP."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in sockets]


def _ask(connection: HTTPConnection, path: str, body: str | None = None) -> str:
    """The answer to a GET, or to a POST where there is a body."""
    connection.timeout = STARTS_WITHIN
    try:
        connection.request("POST" if body else "GET", path, body)
        return connection.getresponse().read().decode()
    finally:
        connection.close()


@contextmanager
def _process(log: Path, argv: list[str], environ: Mapping[str, str] | None = None) -> Iterator[None]:
    with log.open("wb") as out:
        process = subprocess.Popen(
            argv, stdout=out, stderr=out, stdin=subprocess.DEVNULL, env={**os.environ, **(environ or {})}
        )
    try:
        yield
    finally:
        process.kill()
        process.wait()


def _answers(port: int, ca_file: Path | None = None) -> None:
    """Returns once something accepts there, speaking TLS where a CA is given."""
    end = time.monotonic() + STARTS_WITHIN
    while True:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1) as raw:
                if ca_file is not None:
                    context = ssl.create_default_context(cafile=str(ca_file))
                    context.wrap_socket(raw, server_hostname="localhost").close()
                return
        except OSError:
            if time.monotonic() > end:
                raise
            threading.Event().wait(0.02)
