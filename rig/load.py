"""Constant load of five kinds of client, and every failure of it: what the rig counts.

Strict on purpose. A failure is any answer but 200, any connection error, and any connection that ends without the
protocol's own goodbye: `Connection: close` before the end for HTTP/1.1, GOAWAY for HTTP/2 (a request above its last
stream was not processed and may be sent again: RFC 9113, 6.8), a close frame for WebSocket.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import ssl
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import h2.config
import h2.connection
import h2.events

PATIENCE = 30.0


class Failed(Exception):
    """What a client of ours could not get."""


@dataclass
class Tally:
    """Per kind: good answers, and failures in words with how often."""

    good: Counter[str] = field(default_factory=Counter)
    bad: dict[str, Counter[str]] = field(default_factory=dict)
    spans: dict[str, list[float]] = field(default_factory=dict)
    first_bad: list[tuple[float, str, str]] = field(default_factory=list)

    def ok(self, kind: str, began: float) -> None:
        self.good[kind] += 1
        spans = self.spans.setdefault(kind, [])
        if len(spans) < 200_000:
            spans.append(time.monotonic() - began)

    def failed(self, kind: str, error: BaseException) -> None:
        words = f"{type(error).__name__}: {error}"
        self.bad.setdefault(kind, Counter())[words] += 1
        if len(self.first_bad) < 50:
            self.first_bad.append((time.time(), kind, words))

    def document(self) -> dict[str, object]:
        p99 = {k: sorted(v)[int(len(v) * 0.99)] * 1e3 for k, v in self.spans.items() if v}
        return {
            "good": dict(self.good),
            "bad": {kind: dict(words) for kind, words in self.bad.items()},
            "p99_ms": {k: round(v, 1) for k, v in p99.items()},
            "first": self.first_bad,
        }


@dataclass
class Clients:
    """`plain` and `tls` are ports of the node's proxy on loopback."""

    plain: int
    tls: int
    tally: Tally = field(default_factory=Tally)
    stop: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self, workers: dict[str, int]) -> None:
        kinds: dict[str, Callable[[], Awaitable[None]]] = {
            "new": self.new, "keepalive": self.keepalive, "http2": self.http2, "websocket": self.websocket,
            "slow": self.slow,
        }  # fmt: skip
        await asyncio.gather(*(self._for_ever(k, kinds[k]) for k, count in workers.items() for _ in range(count)))

    async def _for_ever(self, kind: str, session: Callable[[], Awaitable[None]]) -> None:
        while not self.stop.is_set():
            try:
                await session()
            except (OSError, Failed, asyncio.IncompleteReadError, TimeoutError, ssl.SSLError) as error:
                self.tally.failed(kind, error)
                await asyncio.sleep(0.05)

    async def new(self) -> None:
        began = time.monotonic()
        reader, writer = await asyncio.open_connection("127.0.0.1", self.plain)
        try:
            await _get(reader, writer, "/", close=True)
        finally:
            writer.close()
        self.tally.ok("new", began)
        await asyncio.sleep(0.02)

    async def keepalive(self) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.plain)
        try:
            going = True
            while going and not self.stop.is_set():
                began = time.monotonic()
                going = await _get(reader, writer, "/")
                self.tally.ok("keepalive", began)
                await asyncio.sleep(0.02)
        finally:
            writer.close()

    async def slow(self) -> None:
        began = time.monotonic()
        reader, writer = await asyncio.open_connection("127.0.0.1", self.plain)
        try:
            await _get(reader, writer, "/slow", close=True)
        finally:
            writer.close()
        self.tally.ok("slow", began)

    async def websocket(self) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.plain)
        try:
            await _upgrade(reader, writer)
            count = 0
            while not self.stop.is_set():
                began = time.monotonic()
                count += 1
                sent = b"%d" % count
                writer.write(_frame(1, sent))
                if not await _echoed(reader, sent):
                    return  # a goodbye, as the protocol has it
                self.tally.ok("websocket", began)
                await asyncio.sleep(0.1)
            writer.write(_frame(8, b"\x03\xe8"))
        finally:
            writer.close()

    async def http2(self) -> None:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.set_alpn_protocols(["h2"])
        reader, writer = await asyncio.open_connection("127.0.0.1", self.tls, ssl=context, server_hostname="rig.local")
        session = _Http2(reader, writer)
        try:
            while not self.stop.is_set():
                began = time.monotonic()
                if not await session.get():
                    return
                self.tally.ok("http2", began)
                await asyncio.sleep(0.02)
        finally:
            writer.close()


async def _get(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, path: str, *, close: bool = False) -> bool:
    """One whole answer. False when the server says that it will close."""
    ending = "close" if close else "keep-alive"
    writer.write(f"GET {path} HTTP/1.1\r\nHost: rig.local\r\nConnection: {ending}\r\n\r\n".encode())
    async with asyncio.timeout(PATIENCE):
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        status = head.split(" ", 2)[1]
        fields = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in head.split("\r\n")[1:])}
        await reader.readexactly(int(fields.get("content-length", "0")))
    if status != "200":
        raise Failed(f"status {status}")
    return fields.get("connection", "").lower() != "close"


async def _upgrade(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    key = base64.b64encode(os.urandom(16)).decode()
    writer.write(
        f"GET /ws HTTP/1.1\r\nHost: rig.local\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n".encode()
    )
    async with asyncio.timeout(PATIENCE):
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    if head.split(" ", 2)[1] != "101":
        raise Failed(f"no upgrade: status {head.split(' ', 2)[1]}")


def _frame(opcode: int, data: bytes) -> bytes:
    mask = os.urandom(4)
    return bytes([0x80 | opcode, 0x80 | len(data)]) + mask + bytes(b ^ mask[i % 4] for i, b in enumerate(data))


async def _echoed(reader: asyncio.StreamReader, sent: bytes) -> bool:
    async with asyncio.timeout(PATIENCE):
        first, size = await reader.readexactly(2)
        data = await reader.readexactly(size)
    if first & 0x0F == 8:
        return False
    if data != sent:
        raise Failed(f"echo of {sent!r} was {data!r}")
    return True


class _Http2:
    """One connection, one request at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
        self._h2.initiate_connection()
        self._last: int | None = None

    async def get(self) -> bool:
        """False: the server said goodbye, and this request was not processed or is the last."""
        if self._last is not None:
            return False
        stream = self._h2.get_next_available_stream_id()
        self._h2.send_headers(
            stream,
            [(":method", "GET"), (":path", "/"), (":scheme", "https"), (":authority", "rig.local")],
            end_stream=True,
        )
        self._writer.write(self._h2.data_to_send())
        status = ""
        async with asyncio.timeout(PATIENCE):
            while True:
                data = await self._reader.read(65536)
                if not data:
                    if self._last is not None and stream > self._last:
                        return False
                    raise Failed("the connection ended without an answer")
                for event in self._h2.receive_data(data):
                    if isinstance(event, h2.events.ConnectionTerminated):
                        self._last = event.last_stream_id or 0
                    elif isinstance(event, h2.events.ResponseReceived) and event.stream_id == stream:
                        status = next(bytes(v).decode() for k, v in event.headers or [] if bytes(k) == b":status")
                    elif isinstance(event, h2.events.StreamReset) and event.stream_id == stream:
                        raise Failed(f"stream reset: {event.error_code}")
                    elif isinstance(event, h2.events.StreamEnded) and event.stream_id == stream:
                        if status != "200":
                            raise Failed(f"status {status}")
                        return True
                self._writer.write(self._h2.data_to_send())
                if self._last is not None and stream > self._last:
                    return False


async def main(plain: int, tls: int) -> None:
    """Load until standard input ends; then the tally, as JSON, on standard output."""
    clients = Clients(plain, tls)
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    workers = {"new": 3, "keepalive": 3, "websocket": 4, "slow": 4, **({"http2": 2} if tls else {})}
    running = asyncio.ensure_future(clients.run(workers))
    while await reader.readline():
        print(json.dumps(clients.tally.document()), flush=True)
    clients.stop.set()
    await running
    print(json.dumps(clients.tally.document()), flush=True)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2])))
