"""HTTP/1.1 over a unix socket, TCP or TLS, with sockets alone (RFC 9112): importing `http.client` costs 40 ms.

One request per connection: the daemon is on this machine or a few milliseconds away, and a connection that is never
reused can never be stale.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterable, Iterator, Mapping
from types import TracebackType
from typing import Any, BinaryIO, NoReturn, cast

from zlayer.client.record import Record

MAX_HEADER_LINES = 100
CHUNK = 65536
MAX_UNIX_PATH = 107


class Address(Record):
    """Where a daemon answers: a unix socket `path`, or `host` and `port` with or without TLS.

    `token` goes out as a bearer token on every request. `ca` is a PEM file to trust instead of the system's.
    """

    path: str = ""
    host: str = ""
    port: int = 0
    tls: bool = False
    token: str = ""
    ca: str = ""

    def __str__(self) -> str:
        if self.path:
            return f"unix://{self.path}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.tls else 'http'}://{host}:{self.port}"


class Response:
    """Status, headers (lower case names) and a body that is read once. A context manager: leaving it hangs up."""

    def __init__(self, connection: socket.socket, address: Address) -> None:
        self._connection = connection
        self._address = address
        self._file = cast(BinaryIO, connection.makefile("rb"))
        try:
            self.status, self.headers = self._head()
        except BaseException:
            self.close()
            raise

    def _head(self) -> tuple[int, dict[str, str]]:
        while True:
            line = self._line().split(None, 2)
            if len(line) < 2 or not line[0].startswith(b"HTTP/1."):
                broken(self._address, "it does not speak HTTP")
            headers = {}
            for _ in range(MAX_HEADER_LINES):
                raw = self._line().decode("latin-1").strip()
                if not raw:
                    break
                name, _, value = raw.partition(":")
                headers[name.strip().lower()] = value.strip()
            if int(line[1]) >= 200 or int(line[1]) == 101:  # other 1xx are interim answers (RFC 9110, 15.2)
                return int(line[1]), headers

    def _line(self) -> bytes:
        try:
            line = self._file.readline(CHUNK)
        except OSError as error:
            failed(self._address, error)
        if not line:
            broken(self._address, "it hung up")
        return line

    def chunks(self) -> Iterator[bytes]:
        """The body as it arrives. Ends at its end; `Unavailable` when the daemon hangs up before it."""
        try:
            if self.headers.get("transfer-encoding", "").lower() == "chunked":
                yield from self._chunked()
            elif (length := self.headers.get("content-length")) is not None:
                yield from self._exactly(int(length))
            elif self.status not in {101, 204, 304}:
                while piece := self._file.read1(CHUNK):  # type: ignore[attr-defined]  # a BufferedReader
                    yield piece
        except OSError as error:
            failed(self._address, error)

    def _chunked(self) -> Iterator[bytes]:
        while size := int(self._line().split(b";")[0].strip() or b"0", 16):
            yield from self._exactly(size)
            self._line()
        while self._line().strip():
            pass

    def _exactly(self, count: int) -> Iterator[bytes]:
        while count:
            piece: bytes = self._file.read1(min(count, CHUNK))  # type: ignore[attr-defined]  # a BufferedReader
            if not piece:
                broken(self._address, "it hung up in the middle of an answer")
            count -= len(piece)
            yield piece

    def read(self) -> bytes:
        return b"".join(self.chunks())

    def lines(self) -> Iterator[bytes]:
        """Lines of the body without their newline, each as soon as it is whole."""
        rest = b""
        for piece in self.chunks():
            *whole, rest = (rest + piece).split(b"\n")
            yield from whole
        if rest:
            yield rest

    def json(self) -> Any:  # Any: a JSON document
        return json.loads(self.read() or b"null")

    def raise_for_status(self) -> None:
        """The error of the tree a 4xx or 5xx answer stands for."""
        if self.status >= 400:
            raise_problem(self.status, self.read())

    def patience(self, seconds: float | None) -> None:
        """Wait at most this long for what comes next, `Deadline` after it; None waits for ever."""
        self._connection.settimeout(None if seconds is None else max(seconds, 0.001))

    def close(self) -> None:
        self._file.close()
        self._connection.close()

    def __enter__(self) -> Response:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def connect(address: Address, timeout: float | None) -> socket.socket:
    """A connected socket. `Unavailable` when nothing answers, `Denied` when the socket's mode keeps us out."""
    try:
        if address.path:
            return connect_unix(address.path, timeout)
        connection = socket.create_connection((address.host, address.port), timeout)
        return _secured(connection, address) if address.tls else connection
    except OSError as error:
        failed(address, error)


def connect_unix(path: str, timeout: float | None) -> socket.socket:
    """A path beyond the 107 bytes of `sockaddr_un` is reached through its directory (unix(7))."""
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(timeout)
    directory = -1
    try:
        if len(os.fsencode(path)) > MAX_UNIX_PATH:
            parent, name = os.path.split(path)
            directory = os.open(parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            path = f"/proc/self/fd/{directory}/{name}"
        connection.connect(path)
    except BaseException:
        connection.close()
        raise
    finally:
        if directory >= 0:
            os.close(directory)
    return connection


def _secured(connection: socket.socket, address: Address) -> socket.socket:
    import ssl

    trust = ssl.create_default_context(cafile=address.ca or None)
    return trust.wrap_socket(connection, server_hostname=address.host)


def request(
    address: Address,
    method: str,
    target: str,
    *,
    body: object = None,
    headers: Mapping[str, str] | None = None,
    timeout: float | None = 30.0,
) -> Response:
    """Send one request and read the head of its answer. `timeout` is per read; None waits for ever (streams).

    Raises what `connect` does, `Deadline` on a timeout, and the error of the tree for a 4xx or 5xx answer.
    """
    connection = connect(address, timeout)
    try:
        connection.sendall(head(address, method, target, body=body, headers=headers))
    except OSError as error:
        connection.close()
        failed(address, error)
    response = Response(connection, address)
    try:
        response.raise_for_status()
    except BaseException:
        response.close()
        raise
    return response


def upload(
    address: Address, target: str, pieces: Iterable[bytes], *, headers: Mapping[str, str], timeout: float | None
) -> Response:
    """POST a body of any length, in chunks. The answer may take its time: no timeout is on it."""
    connection = connect(address, timeout)
    response: Response | None = None
    try:
        fields = {**headers, "Transfer-Encoding": "chunked"}
        try:
            connection.sendall(head(address, "POST", target, headers=fields))
            for piece in pieces:
                connection.sendall(chunk_of(piece))
            connection.sendall(b"0\r\n\r\n")
            connection.settimeout(None)
        except (BrokenPipeError, ConnectionResetError):
            connection.settimeout(timeout)  # refused before the end: the reason may be there
        response = Response(connection, address)
        response.raise_for_status()
    except BaseException as error:
        (response or connection).close()
        if isinstance(error, OSError):
            failed(address, error)
        raise
    return response


def chunk_of(piece: bytes) -> bytes:
    """A chunk of a body (RFC 9112, 7.1); nothing for an empty piece, which would end it."""
    return b"%x\r\n%b\r\n" % (len(piece), piece) if piece else b""


def head(
    address: Address,
    method: str,
    target: str,
    *,
    body: object = None,
    headers: Mapping[str, str] | None = None,
) -> bytes:
    """The bytes of a request; `body` is sent as JSON unless it is None."""
    content = b"" if body is None else json.dumps(body).encode()
    fields = {"Host": address.host or "localhost", "Connection": "close", "Accept": "application/json"}
    if address.token:
        fields["Authorization"] = f"Bearer {address.token}"
    if content:
        fields["Content-Type"] = "application/json"
    fields |= headers or {}
    if (content or method != "GET") and "Transfer-Encoding" not in fields:
        fields["Content-Length"] = str(len(content))
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"{method} {target} HTTP/1.1\r\n{lines}\r\n".encode("latin-1") + content


def raise_problem(status: int, body: bytes) -> NoReturn:
    """Raise what a problem document says; an answer that is none becomes the error its status stands for."""
    from zlayer.model import errors

    try:
        doc = json.loads(body)
    except ValueError:
        doc = None
    if isinstance(doc, dict) and "code" in doc:
        raise errors.from_document(doc)
    kinds = {cls.status: cls for cls in errors.BY_CODE.values() if cls.status < 500}
    kinds |= {400: errors.Invalid, 401: errors.Denied, 409: errors.Conflict, 503: errors.Unavailable}
    said = body.decode("utf-8", "replace").strip()[:300]
    raise kinds.get(status, errors.Failed)(f"the daemon answered {status}: {said or 'nothing more'}")


def failed(address: Address, error: OSError) -> NoReturn:
    """Raise the error of the tree for a socket error while talking to `address`."""
    from zlayer.model import errors

    if isinstance(error, TimeoutError):
        raise errors.Deadline(
            f"the daemon at {address} did not answer in time", hint="look at `zlayer daemon logs`"
        ) from error
    if isinstance(error, PermissionError):
        raise errors.Denied(
            f"no right to use {address}", hint="run as the daemon's user, or join the socket's group"
        ) from error
    hint = "start it with `zlayer daemon start`" if address.path else "check ZLAYER_HOST, and that it runs"
    why = error.strerror or str(error)
    raise errors.Unavailable(f"no daemon answers at {address} ({why})", hint=hint) from error


def broken(address: Address, why: str) -> NoReturn:
    from zlayer.model.errors import Unavailable

    raise Unavailable(f"the daemon at {address} broke off: {why}", hint="look at `zlayer daemon logs`")
