"""The wire of `AsyncClient`: HTTP/1.1 and WebSocket over anyio streams, with the codecs of the synchronous client."""

from __future__ import annotations

import binascii
import json
import os
import ssl
from collections.abc import AsyncIterable, AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress

import anyio
from anyio.abc import ByteStream, UNIXSocketStream
from anyio.streams.buffered import BufferedByteReceiveStream

from zlayer.client import frames, transport, websocket
from zlayer.client.frames import Message
from zlayer.client.transport import Address

_GONE = (anyio.EndOfStream, anyio.IncompleteRead, anyio.BrokenResourceError, anyio.ClosedResourceError)


class AsyncResponse:
    """Status, headers and a body that is read once."""

    def __init__(self, address: Address, stream: ByteStream) -> None:
        self._address = address
        self.reader = BufferedByteReceiveStream(stream)
        self.status = 0
        self.headers: dict[str, str] = {}

    async def read_head(self) -> None:
        """Read up to the body, past interim answers (RFC 9110, 15.2)."""
        while self.status < 200 and self.status != 101:
            try:
                raw = await self.reader.receive_until(b"\r\n\r\n", transport.CHUNK)
            except (*_GONE, anyio.DelimiterNotFound):
                transport.broken(self._address, "it hung up")
            first, *rest = raw.decode("latin-1").split("\r\n")
            if not first.startswith("HTTP/1."):
                transport.broken(self._address, "it does not speak HTTP")
            self.status = int(first.split()[1])
            parted = (line.partition(":") for line in rest)
            self.headers = {name.strip().lower(): value.strip() for name, _, value in parted}

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body as it arrives; `Unavailable` when the daemon hangs up before its end."""
        try:
            if self.headers.get("transfer-encoding", "").lower() == "chunked":
                while size := int((await self.reader.receive_until(b"\r\n", 1024)).split(b";")[0], 16):
                    yield await self.reader.receive_exactly(size)
                    await self.reader.receive_exactly(2)
            elif (length := self.headers.get("content-length")) is not None:
                yield await self.reader.receive_exactly(int(length))
            else:
                async for piece in _until_end(self.reader):
                    yield piece
        except _GONE:
            transport.broken(self._address, "it hung up in the middle of an answer")

    async def read(self) -> bytes:
        return b"".join([piece async for piece in self.chunks()])

    async def lines(self) -> AsyncIterator[bytes]:
        rest = b""
        async for piece in self.chunks():
            *whole, rest = (rest + piece).split(b"\n")
            for line in whole:
                yield line
        if rest:
            yield rest


async def _until_end(reader: BufferedByteReceiveStream) -> AsyncIterator[bytes]:
    while True:
        try:
            yield await reader.receive()
        except anyio.EndOfStream:
            return


async def connect(address: Address, timeout: float) -> ByteStream:
    """A connected stream; the errors of `transport.connect`."""
    try:
        with anyio.fail_after(timeout):
            if address.path:
                return await _connect_unix(address.path)
            if not address.tls:
                return await anyio.connect_tcp(address.host, address.port)
            trust = ssl.create_default_context(cafile=address.ca or None)
            return await anyio.connect_tcp(address.host, address.port, ssl_context=trust, tls_standard_compatible=False)
    except OSError as error:  # TimeoutError is one too
        transport.failed(address, error)


async def _connect_unix(path: str) -> ByteStream:
    connection = transport.connect_unix(path, None)  # never waits: a full backlog aside, the kernel answers at once
    connection.setblocking(False)
    return await UNIXSocketStream.from_socket(connection)


@asynccontextmanager
async def request(
    address: Address,
    method: str,
    target: str,
    *,
    body: object = None,
    headers: Mapping[str, str] | None = None,
    timeout: float = 30.0,
) -> AsyncIterator[AsyncResponse]:
    """One request; inside the context its answer can be read, outside it the connection is closed.

    `timeout` seconds are for everything up to the body. Errors as `transport.request`.
    """
    stream = await connect(address, timeout)
    try:
        response = AsyncResponse(address, stream)
        try:
            with anyio.fail_after(timeout):
                await stream.send(transport.head(address, method, target, body=body, headers=headers))
                await response.read_head()
                if response.status >= 400:
                    transport.raise_problem(response.status, await response.read())
        except OSError as error:
            transport.failed(address, error)
        yield response
    finally:
        with anyio.move_on_after(1, shield=True):
            await stream.aclose()


@asynccontextmanager
async def upload(
    address: Address, target: str, pieces: AsyncIterable[bytes], *, headers: Mapping[str, str], timeout: float
) -> AsyncIterator[AsyncResponse]:
    """POST a body of any length, in chunks; as `transport.upload`."""
    stream = await connect(address, timeout)
    try:
        response = AsyncResponse(address, stream)
        with suppress(anyio.BrokenResourceError):  # refused before the end: the reason may be there
            fields = {**headers, "Transfer-Encoding": "chunked"}
            await stream.send(transport.head(address, "POST", target, headers=fields))
            async for piece in pieces:
                await stream.send(transport.chunk_of(piece))
            await stream.send(b"0\r\n\r\n")
        await response.read_head()
        if response.status >= 400:
            transport.raise_problem(response.status, await response.read())
        yield response
    finally:
        with anyio.move_on_after(1, shield=True):
            await stream.aclose()


class AsyncWebSocket:
    """An open WebSocket: `send`, and iterate `messages`. Pings are answered while messages are read."""

    def __init__(self, address: Address, stream: ByteStream, reader: BufferedByteReceiveStream) -> None:
        self._address = address
        self._stream = stream
        self._reader = reader
        self.closed = False

    async def send(self, message: bytes | str | Mapping[str, object]) -> None:
        """Bytes go as a binary message, text as text, a mapping as JSON text. Nothing once closed."""
        if self.closed:
            return
        if isinstance(message, bytes):
            frame = frames.encode(frames.BINARY, message)
        else:
            text = message if isinstance(message, str) else json.dumps(dict(message))
            frame = frames.encode(frames.TEXT, text.encode())
        try:
            await self._stream.send(frame)
        except _GONE:
            transport.broken(self._address, "it hung up")

    async def _reply(self, kind: int, data: bytes) -> None:
        """Answer a control frame. A daemon that is gone already is told of by what we read, not by this."""
        with suppress(*_GONE):
            await self._stream.send(frames.encode(kind, data))

    async def messages(self) -> AsyncIterator[Message]:
        """Every message until the other side closes; `Unavailable` when it hangs up without."""
        decoder = frames.Decoder()
        while not self.closed:
            try:
                data = await self._reader.receive()
            except _GONE:
                transport.broken(self._address, "it hung up without a word")
            for message in decoder.feed(data):
                if message.kind == frames.PING:
                    await self._reply(frames.PONG, message.data)
                elif message.kind == frames.CLOSE:
                    self.closed = True
                    await self._reply(frames.CLOSE, message.data[:2])
                elif message.kind != frames.PONG:
                    yield message

    async def close(self) -> None:
        if not self.closed:
            self.closed = True
            await self._reply(frames.CLOSE, b"\x03\xe8")


@asynccontextmanager
async def open_websocket(address: Address, target: str, *, timeout: float = 30.0) -> AsyncIterator[AsyncWebSocket]:
    """A WebSocket for the life of the context; a refusal raises what the daemon said."""
    key = binascii.b2a_base64(os.urandom(16), newline=False).decode()
    upgrade = {"Connection": "Upgrade", "Upgrade": "websocket"}
    upgrade |= {"Sec-WebSocket-Key": key, "Sec-WebSocket-Version": "13"}
    async with request(address, "GET", target, headers=upgrade, timeout=timeout) as response:
        if response.headers.get("sec-websocket-accept") != websocket.accept(key):
            transport.broken(address, "its WebSocket answer does not match our key")
        stream = response.reader.receive_stream
        assert isinstance(stream, ByteStream)
        channel = AsyncWebSocket(address, stream, response.reader)
        try:
            yield channel
        finally:
            with anyio.move_on_after(1, shield=True):
                await channel.close()
