"""tls-alpn-01 end to end: pebble asks the proxy on its https port, while other clients are served there as ever."""

from __future__ import annotations

import http.client
import re
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from zlayer.model.errors import Unavailable
from zlayer.testing.acme_front import Hold

from .test_certificates import PATIENCE, Bench, bench

pytestmark = [pytest.mark.root, pytest.mark.timeout(300)]


@pytest.fixture
def at(busybox: str, tmp_path: Path) -> Iterator[Bench]:
    with bench(tmp_path, busybox, alpn=True) as made:
        yield made


def get(at: Bench, host: str) -> tuple[int, bytes]:
    with (
        socket.create_connection(("127.0.0.1", at.https), timeout=20) as raw,
        at.trust.wrap_socket(raw, server_hostname=host) as wrapped,
    ):
        connection = http.client.HTTPConnection(host)
        connection.sock = wrapped
        connection.request("GET", "/")
        answer = connection.getresponse()
        return answer.status, answer.read()


def hello(at: Bench, host: str, *protocols: str) -> tuple[bytes, str | None]:
    """The certificate that is shown, and the protocol that is chosen; nobody checks who signed it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(list(protocols))
    with (
        socket.create_connection(("127.0.0.1", at.https), timeout=20) as raw,
        context.wrap_socket(raw, server_hostname=host) as wrapped,
    ):
        return wrapped.getpeercert(binary_form=True) or b"", wrapped.selected_alpn_protocol()


def closed(at: Bench) -> bool:
    """Whether nobody listens where http-01 would be asked for."""
    found = re.search(r"http_port = (\d+)", (at.site.data / "config.toml").read_text())
    assert found
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", int(found[1]))) != 0


def settled(at: Bench) -> int:
    """The worker, once the reload that the first certificate of a port costs is over."""
    found: list[int] = []

    def quiet() -> bool:
        with suppress(Unavailable):
            found.append(at.worker())
        return len(found) > 2 and len(set(found[-3:])) == 1

    at.site.until(quiet, "the proxy has settled")
    return found[-1]


def meanwhile(work: Callable[[], object], stop: threading.Event) -> tuple[threading.Thread, list[object]]:
    told: list[object] = []

    def run() -> None:
        while not stop.is_set():
            try:
                told.append(work())
            except OSError as error:
                told.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread, told


def test_a_certificate_without_port_80_while_others_are_served(at: Bench) -> None:
    at.up("a.example.org")
    at.taken("a.example.org")
    assert closed(at)
    worker, stop = settled(at), threading.Event()
    thread, told = meanwhile(lambda: get(at, "a.example.org"), stop)
    try:
        at.up("a.example.org", "b.example.org")
        at.taken("b.example.org")
        at.site.cli("cert", "renew", "a.example.org")
    finally:
        stop.set()
        thread.join(30)
    assert told
    assert set(told) == {(200, b"hello\n")}
    assert at.worker() == worker, "a proof cost a reload"
    assert closed(at)
    assert hello(at, "a.example.org", "h2", "http/1.1")[1] == "h2"
    at.site.until(lambda: not list((at.site.paths.run / "proxy").glob("cert-_acme*")), "proofs leave no file")


def test_only_a_ca_sees_the_proof(at: Bench) -> None:
    """While an order waits for its CA, its name is served as before; and a proof is nothing for other names."""
    at.up("a.example.org", "b.example.org")
    at.taken("a.example.org")
    at.taken("b.example.org")
    before, hold = hello(at, "a.example.org", "h2")[0], Hold()
    at.door.meddle = lambda kind, _nth: hold if kind == "answer" else None
    at.site.cli("cert", "renew", "a.example.org", "--no-wait")
    assert hold.held.wait(PATIENCE)
    proof, chosen = hello(at, "a.example.org", "acme-tls/1")
    assert chosen == "acme-tls/1"
    assert proof != before
    assert b"\x06\x08\x2b\x06\x01\x05\x05\x07\x01\x1f" in proof  # acmeIdentifier
    assert hello(at, "A.EXAMPLE.org", "acme-tls/1")[0] == proof
    assert hello(at, "a.example.org", "h2")[0] == before
    assert hello(at, "a.example.org", "h2", "acme-tls/1")[0] == before
    assert hello(at, "a.example.org", "acme-tls/1", "http/1.1")[0] == before
    assert hello(at, "b.example.org", "acme-tls/1")[0] not in (proof, b"")
    assert get(at, "a.example.org") == (200, b"hello\n")
    hold.released.set()
    at.site.until(lambda: hello(at, "a.example.org", "h2")[0] not in (before, proof), "the renewed one is served")
    assert hello(at, "a.example.org", "acme-tls/1")[0] != proof
