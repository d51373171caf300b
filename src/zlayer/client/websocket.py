"""A synchronous WebSocket client whose socket can stand in a `poll` beside a terminal (RFC 6455)."""

from __future__ import annotations

import binascii
import hashlib
import json
import os
import socket
from collections.abc import Iterator
from types import TracebackType

from zlayer.client import frames, transport
from zlayer.client.frames import Message

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, section 1.3


class WebSocket:
    """An open connection. A context manager: leaving it closes with 1000 if the other side has not.

    Pings are answered by `pump`. Errors: `Unavailable` when the daemon hangs up without a close frame.
    """

    def __init__(self, connection: socket.socket, address: transport.Address, early: bytes = b"") -> None:
        self._connection = connection
        self._address = address
        self._decoder = frames.Decoder()
        self._early = early
        self._out = b""
        self.closed = False
        self.close_reason = ""

    def fileno(self) -> int:
        return self._connection.fileno()

    def pending(self) -> bool:
        """True when `pump` would give something without the socket being readable (bytes already read)."""
        return bool(self._early) or bool(getattr(self._connection, "pending", int)())

    def send(self, message: bytes | str | dict[str, object]) -> None:
        """Bytes go as a binary message, text as text, a dict as JSON text. Nothing once closed."""
        if self.closed:
            return
        if isinstance(message, dict):
            message = json.dumps(message)
        kind = frames.BINARY if isinstance(message, bytes) else frames.TEXT
        self._send(kind, message if isinstance(message, bytes) else message.encode())

    def _send(self, kind: int, data: bytes) -> None:
        self._out += frames.encode(kind, data)
        self.flush()

    def unblock(self) -> None:
        """From now on nothing waits: `send` keeps what does not fit (see `unsent`), `pump` may give nothing."""
        self._connection.setblocking(False)

    @property
    def unsent(self) -> bool:
        """True while bytes wait for the socket to take them: poll for writing, then `flush`."""
        return bool(self._out)

    def flush(self) -> None:
        """Send what waits, as far as the socket takes it.

        A daemon that has said its last word takes no more: the word, or that it is missing, is for `pump` to tell.
        """
        try:
            while self._out:
                self._out = self._out[self._connection.send(self._out) :]
        except (BrokenPipeError, ConnectionResetError):
            self._out = b""
        except OSError as error:
            if not _would_wait(error):
                self.closed = True
                transport.failed(self._address, error)

    def pump(self) -> list[Message]:
        """Wait until something arrives and give the messages that are whole now, perhaps none.

        After the other side's close frame `closed` is true and the list holds what came before it.
        """
        data = self._early or self._receive()
        self._early = b""
        out = []
        for message in self._decoder.feed(data):
            if message.kind == frames.PING:
                self._send(frames.PONG, message.data)
            elif message.kind == frames.CLOSE:
                self.close_reason = message.data[2:].decode("utf-8", "replace")
                self._send(frames.CLOSE, message.data[:2])
                self.closed = True
                break
            elif message.kind != frames.PONG:
                out.append(message)
        return out

    def _receive(self) -> bytes:
        try:
            data = self._connection.recv(transport.CHUNK)
        except OSError as error:
            if _would_wait(error):
                return b""
            transport.failed(self._address, error)
        if not data:
            self.closed = True
            transport.broken(self._address, "it hung up without a word")
        return data

    def messages(self) -> Iterator[Message]:
        """Every message until the other side closes."""
        while not self.closed:
            yield from self.pump()

    def close(self) -> None:
        if not self.closed:
            self._send(frames.CLOSE, b"\x03\xe8")  # 1000, normal
            self.closed = True

    def __enter__(self) -> WebSocket:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if not self.closed and error is None:
                self.close()
        finally:
            self._connection.close()


def _would_wait(error: OSError) -> bool:
    """A non-blocking socket, plain or TLS, has nothing to give or take right now."""
    return isinstance(error, BlockingIOError) or type(error).__name__ in {
        "SSLWantReadError",
        "SSLWantWriteError",
    }


def connect(address: transport.Address, target: str, *, timeout: float = 30.0) -> WebSocket:
    """Open `target`. `timeout` is for the handshake; reads afterwards wait for ever.

    Raises what `transport.request` does, so a daemon that refuses (404, 403) says why.
    """
    key = binascii.b2a_base64(os.urandom(16), newline=False).decode()
    connection = transport.connect(address, timeout)
    try:
        upgrade = {
            "Connection": "Upgrade",
            "Upgrade": "websocket",
            "Sec-WebSocket-Key": key,
            "Sec-WebSocket-Version": "13",
        }
        connection.sendall(transport.head(address, "GET", target, headers=upgrade))
        early = _handshake(connection, address, key)
        connection.settimeout(None)
        return WebSocket(connection, address, early)
    except OSError as error:
        connection.close()
        transport.failed(address, error)
    except BaseException:
        connection.close()
        raise


def _handshake(connection: socket.socket, address: transport.Address, key: str) -> bytes:
    """Check the answer to the upgrade; bytes the server sent right behind it are given back."""
    raw = b""
    while b"\r\n\r\n" not in raw:
        piece = connection.recv(transport.CHUNK)
        if not piece or len(raw) > transport.CHUNK:
            transport.broken(address, "it hung up during the WebSocket handshake")
        raw += piece
    start, _, early = raw.partition(b"\r\n\r\n")
    lines = start.decode("latin-1").split("\r\n")
    headers = {n.strip().lower(): v.strip() for n, _, v in (line.partition(":") for line in lines[1:])}
    status = int(lines[0].split()[1])
    if status != 101:
        wanted = int(headers.get("content-length", 0))
        while len(early) < wanted and (piece := connection.recv(transport.CHUNK)):
            early += piece
        transport.raise_problem(status, early)
    if headers.get("sec-websocket-accept") != accept(key):
        transport.broken(address, "its WebSocket answer does not match our key")
    return early


def accept(key: str) -> str:
    """The answer a server must give to `key` (section 4.2.2)."""
    digest = hashlib.sha1(key.encode() + _GUID, usedforsecurity=False).digest()
    return binascii.b2a_base64(digest, newline=False).decode()
