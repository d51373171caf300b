from __future__ import annotations

import contextlib
import json
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from zlayer.client import transport
from zlayer.client.transport import Address, request
from zlayer.model import errors
from zlayer.testing.scripted_daemon import Answer, ScriptedDaemon, error_answer, ndjson


def test_sends_json_and_reads_json(daemon: ScriptedDaemon, address: Address) -> None:
    daemon.routes["POST /x"] = Answer({"ok": True})
    with request(address, "POST", "/x?a=1", body={"b": "ü"}) as response:
        assert response.json() == {"ok": True}
    (seen,) = daemon.requests
    assert (seen.target, seen.body, seen.headers["host"]) == ("/x?a=1", {"b": "ü"}, "localhost")


def test_sends_a_bearer_token(daemon: ScriptedDaemon, address: Address) -> None:
    daemon.routes["GET /x"] = Answer()
    with request(address.but(token="secret"), "GET", "/x") as response:
        response.read()
    assert daemon.requests[0].headers["authorization"] == "Bearer secret"


def test_chunked_lines_come_whole_whatever_the_chunks(daemon: ScriptedDaemon, address: Address) -> None:
    daemon.routes["GET /x"] = Answer(lines=(b"on", b"e\ntwo\nth", b"ree"))
    with request(address, "GET", "/x") as response:
        assert list(response.lines()) == [b"one", b"two", b"three"]


def test_a_line_arrives_while_the_answer_goes_on(daemon: ScriptedDaemon, address: Address) -> None:
    daemon.routes["GET /x"] = ndjson({"n": 1}, held=True)
    with request(address, "GET", "/x", timeout=None) as response:
        assert json.loads(next(response.lines())) == {"n": 1}


def test_interim_answers_are_passed_over(daemon: ScriptedDaemon, address: Address) -> None:
    daemon.routes["GET /x"] = Answer(raw=b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi")
    with request(address, "GET", "/x") as response:
        assert (response.status, response.read()) == (200, b"hi")


def test_a_body_without_length_ends_with_the_connection(daemon: ScriptedDaemon, address: Address) -> None:
    daemon.routes["GET /x"] = Answer(raw=b"HTTP/1.1 200 OK\r\n\r\nall of it")
    with request(address, "GET", "/x") as response:
        assert response.read() == b"all of it"


@pytest.mark.parametrize(
    "raw",
    [
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhel",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n",
        b"HTTP/1.1 200 OK\r\n",
    ],
)
def test_an_answer_cut_short_is_unavailable(daemon: ScriptedDaemon, address: Address, raw: bytes) -> None:
    daemon.routes["GET /x"] = Answer(raw=raw)
    with pytest.raises(errors.Unavailable), request(address, "GET", "/x") as response:
        response.read()


def test_problem_documents_become_errors_of_the_tree(daemon: ScriptedDaemon, address: Address) -> None:
    place = {"path": "services.web", "pointer": "/services/web"}
    problem = errors.Problem("unknown key 'prots'", file="a.yml", line=3, column=5, **place)
    daemon.routes["GET /x"] = error_answer(errors.Invalid("the spec has 1 fault", hint="mend it", problems=(problem,)))
    with pytest.raises(errors.Invalid, match="1 fault") as caught:
        request(address, "GET", "/x")
    assert caught.value.problems == (problem,)
    assert caught.value.hint == "mend it"


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (401, errors.Denied),
        (404, errors.NotFound),
        (409, errors.Conflict),
        (503, errors.Unavailable),
        (500, errors.Failed),
    ],
)
def test_an_error_that_is_no_problem_document_goes_by_its_status(
    daemon: ScriptedDaemon, address: Address, status: int, kind: type[errors.ZlayerError]
) -> None:
    daemon.routes["GET /x"] = Answer("oh no", status)
    with pytest.raises(kind, match="oh no"):
        request(address, "GET", "/x")


def test_no_socket_is_unavailable_and_says_how_to_start(tmp_path: Path) -> None:
    with pytest.raises(errors.Unavailable) as caught:
        request(Address(path=str(tmp_path / "zlayer.sock")), "GET", "/x")
    assert "zlayer daemon start" in caught.value.hint


def test_silence_is_a_deadline(daemon: ScriptedDaemon, address: Address) -> None:
    daemon.routes["GET /x"] = Answer(raw=b"HTTP/1.1 200 OK\r\n", held=True)
    with pytest.raises(errors.Deadline):
        request(address, "GET", "/x", timeout=0.05)


def test_patience_bounds_the_wait_for_the_next_line(daemon: ScriptedDaemon, address: Address) -> None:
    daemon.routes["GET /x"] = ndjson({"n": 1}, held=True)
    with request(address, "GET", "/x", timeout=None) as response:
        lines = response.lines()
        next(lines)
        response.patience(0.05)
        with pytest.raises(errors.Deadline):
            next(lines)


def test_a_path_too_long_for_the_kernel_is_reached_through_its_directory(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 100) / "e"
    deep.mkdir(parents=True)
    with ScriptedDaemon({"GET /x": Answer("there")}) as daemon:
        (deep / "zlayer.sock").symlink_to(daemon.data_dir / "zlayer.sock")
        with request(Address(path=str(deep / "zlayer.sock")), "GET", "/x") as response:
            assert response.json() == "there"


def test_addresses_are_written_as_urls() -> None:
    assert str(Address(path="/run/z.sock")) == "unix:///run/z.sock"
    assert str(Address(host="::1", port=3669)) == "http://[::1]:3669"
    assert str(Address(host="n1", port=443, tls=True)) == "https://n1:443"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
         "-keyout", path, "-out", path.with_suffix(".crt"), "-days", "2", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=DNS:localhost"],
        check=True, capture_output=True,
    )  # fmt: skip
    path.write_text(path.read_text() + path.with_suffix(".crt").read_text())
    return path


@contextlib.contextmanager
def tls_server(certificate: Path) -> Iterator[int]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with contextlib.suppress(OSError), context.wrap_socket(connection, server_side=True) as secured:
                secured.recv(65536)
                secured.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n1234")

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        thread.join(5)


def test_tls_is_checked_against_the_given_authority(certificate: Path) -> None:
    with tls_server(certificate) as port:
        there = Address(host="localhost", port=port, tls=True, ca=str(certificate))
        with request(there, "GET", "/x") as response:
            assert response.json() == 1234


def test_an_unknown_certificate_is_refused(certificate: Path) -> None:
    with tls_server(certificate) as port, pytest.raises(errors.Unavailable, match="certificate"):
        request(Address(host="localhost", port=port, tls=True), "GET", "/x")


def test_head_says_the_length_of_what_it_carries() -> None:
    raw = transport.head(Address(path="/x"), "POST", "/y", body={"a": 1})
    assert b"Content-Length: 8\r\n" in raw
    assert raw.endswith(b'\r\n\r\n{"a": 1}')
    assert b"Content-Length: 0\r\n" in transport.head(Address(path="/x"), "DELETE", "/y")
