"""HTTP exchanges over the standard library's client: pooled connections, TLS by registry settings, proxies.

Measured against the alternatives, `http.client` with large reads moves blobs fastest by a wide margin. Faults come
out as Python raises them (`OSError`, `ssl.SSLError`, `http.client.HTTPException`); `registry_retry` judges them.
Safe to use from several threads.
"""

from __future__ import annotations

import http.client
import ssl
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol
from urllib.parse import urlsplit

from zlayer import __version__
from zlayer.image.registry_proxy import Proxy, proxy_for
from zlayer.image.settings import RegistryHost, RegistrySettings
from zlayer.model.errors import Corrupt, Invalid

Key = tuple[str, str, RegistryHost]
BLOCK = 256 * 1024
"""Bytes of a streamed body per write to the socket."""


class Readable(Protocol):
    """What is sent as a body: read in blocks until it gives no more."""

    def read(self, size: int = -1, /) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Request:
    """One request. `url` is absolute; `trust` says how its certificate is judged.

    A `body` that is a function opens the content, at its start, each time the request is sent; `headers` then have
    its Content-Length.
    """

    method: str
    url: str
    trust: RegistryHost
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes | Callable[[], Readable] | None = field(default=None, repr=False)


class Answer:
    """A response whose body is still on the wire. Close it; a body read to its end gives the connection back."""

    def __init__(self, response: http.client.HTTPResponse, lease: _Lease, url: str) -> None:
        self._response = response
        self._lease = lease
        self.url = url
        self.status = response.status

    def header(self, name: str) -> str:
        return self._response.headers.get(name, "")

    def headers(self, name: str) -> list[str]:
        return self._response.headers.get_all(name, [])

    @property
    def length(self) -> int | None:
        """Bytes of body still to come, when the server said so."""
        return self._response.length

    def readinto(self, buffer: memoryview) -> int:
        """Fill some of `buffer`; 0 at the end of the connection, wanted or not: the caller counts.

        One read of the socket, so that what has arrived is not lost when what should follow stalls.
        """
        data = self._response.read1(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def body(self, limit: int) -> bytes:
        """The whole body, then the answer is closed. Errors: `Corrupt` when it is longer than `limit` bytes."""
        try:
            data = self._response.read(limit + 1)
            if len(data) > limit:
                raise Corrupt(f"{self.url} answered with more than {limit} bytes", hint="ask the registry's operator")
            if self._response.length:
                raise http.client.IncompleteRead(data, self._response.length)
            return data
        finally:
            self.close()

    def close(self) -> None:
        whole = self._response.isclosed() or self._response.length == 0
        reusable = whole and not self._response.will_close
        self._response.close()
        self._lease.end(reusable=reusable)


class _Lease:
    """One connection, lent to one answer."""

    def __init__(self, pool: _Pool, key: Key, connection: http.client.HTTPConnection) -> None:
        self._pool, self._key, self._connection = pool, key, connection
        self._over = False

    def end(self, *, reusable: bool) -> None:
        if self._over:
            return
        self._over = True
        if reusable:
            self._pool.put(self._key, self._connection)
        else:
            self._connection.close()


class _Pool:
    """Idle connections by where they go to."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle: dict[Key, list[http.client.HTTPConnection]] = {}

    def take(self, key: Key) -> http.client.HTTPConnection | None:
        with self._lock:
            idle = self._idle.get(key)
            return idle.pop() if idle else None

    def put(self, key: Key, connection: http.client.HTTPConnection) -> None:
        with self._lock:
            self._idle.setdefault(key, []).append(connection)

    def close(self) -> None:
        with self._lock:
            for connections in self._idle.values():
                for connection in connections:
                    connection.close()
            self._idle.clear()


class Transport:
    """Sends requests; knows nothing of registries, tokens or retries."""

    def __init__(self, settings: RegistrySettings, environ: Mapping[str, str]) -> None:
        self._settings = settings
        self._environ = environ
        self._pool = _Pool()

    def close(self) -> None:
        self._pool.close()

    def send(self, request: Request) -> Answer:
        """One exchange, without following redirects. A kept connection the server has dropped is replaced once.

        Not for a streamed body: some of it may have arrived, and counts.
        """
        parts = urlsplit(request.url)
        key = (parts.scheme, parts.netloc, request.trust)
        if (kept := self._pool.take(key)) is not None:
            try:
                return self._exchange(kept, key, request)
            except (ConnectionError, http.client.BadStatusLine, ssl.SSLEOFError):
                if callable(request.body):
                    raise
        return self._exchange(self._connect(*key), key, request)

    def _exchange(self, connection: http.client.HTTPConnection, key: Key, request: Request) -> Answer:
        parts = urlsplit(request.url)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        headers = {"User-Agent": f"zlayer/{__version__}", "Accept-Encoding": "identity", **request.headers}
        if (proxy := getattr(connection, "plain_proxy", None)) is not None:
            target = f"{parts.scheme}://{parts.netloc}{target}"
            if proxy.authorization:
                headers["Proxy-Authorization"] = proxy.authorization
        try:
            body = request.body() if callable(request.body) else request.body
            connection.request(request.method, target, body=body, headers=headers)
            response = connection.getresponse()
        except BaseException:
            connection.close()
            raise
        return Answer(response, _Lease(self._pool, key, connection), request.url)

    def _connect(self, scheme: str, netloc: str, trust: RegistryHost) -> http.client.HTTPConnection:
        parts = urlsplit(f"{scheme}://{netloc}")
        host, port = parts.hostname or "", parts.port or (443 if scheme == "https" else 80)
        proxy = proxy_for(scheme, host, port, self._environ)
        connection = self._connection(scheme, (host, port), proxy, trust)
        try:
            connection.connect()
        except TimeoutError as fault:
            connection.close()
            raise ConnectionAbortedError(f"no connection within {self._settings.connect_timeout:g} s") from fault
        except BaseException:
            connection.close()
            raise
        connection.sock.settimeout(self._settings.stall_timeout)
        connection.blocksize = BLOCK
        return connection

    def _connection(
        self, scheme: str, address: tuple[str, int], proxy: Proxy | None, trust: RegistryHost
    ) -> http.client.HTTPConnection:
        timeout = self._settings.connect_timeout
        first = (proxy.host, proxy.port) if proxy else address
        if scheme == "http":
            plain = http.client.HTTPConnection(*first, timeout=timeout)
            plain.plain_proxy = proxy  # type: ignore[attr-defined]  # rides along with its connection
            return plain
        connection = http.client.HTTPSConnection(*first, timeout=timeout, context=tls_context(trust))
        if proxy:
            headers = {"Proxy-Authorization": proxy.authorization} if proxy.authorization else {}
            connection.set_tunnel(*address, headers=headers)
        return connection


def tls_context(trust: RegistryHost) -> ssl.SSLContext:
    """The system's roots plus the registry's own `ca`; nothing is checked when it is marked insecure."""
    context = ssl.create_default_context()
    if trust.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if trust.ca:
        try:
            context.load_verify_locations(cafile=trust.ca)
        except (OSError, ssl.SSLError) as fault:
            raise Invalid(f"cannot load the CA file {trust.ca}", hint="give a PEM file the daemon can read") from fault
    return context
