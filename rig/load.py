"""Constant load of six kinds of client, and every failure of it. A process of its own, told what to do by JSON.

Strict on purpose. A failure is any answer but 200, any connection error, any answer that takes longer than
`PATIENCE`, and any connection that ends without the protocol's own goodbye: `Connection: close` before the end for
HTTP/1.1, GOAWAY for HTTP/2 (a request above its last stream was not processed and may be sent again: RFC 9113, 6.8),
a close frame for WebSocket. That goodbye counts as a failure too when the WebSocket has not lived for as long as its
replica was to drain: it was opened while the replica had traffic, so it was closed early. Nothing is tried again.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import ssl
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from tally import Failed, Over, Tally
from zlayer.testing.http2 import Http2

PATIENCE = 30.0
PAUSE = 0.02
"""Seconds between two requests of a client: the load is constant, not the most that the machine can do."""
EARLY = 0.5
"""Seconds by which a goodbye may come before the drain is over: clocks start at different moments."""
CLOSE = 8


@dataclass(frozen=True)
class Order:
    """`plain` and `tls` are ports of `address`; `tls` 0: none. `ca` is the file with the only CA to trust.

    `drain` is what replicas that leave are given, in seconds. `workers` are clients by kind.
    """

    plain: int
    workers: dict[str, int]
    drain: float
    tls: int = 0
    ca: str = ""
    address: str = "127.0.0.1"
    name: str = "rig.local"


@dataclass
class Clients:
    order: Order
    tally: Tally = field(default_factory=Tally)
    stop: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> None:
        kinds: dict[str, Callable[[], Awaitable[None]]] = {
            "new": self.new, "keepalive": self.keepalive, "tls": self.tls, "http2": self.http2,
            "websocket": self.websocket, "slow": self.slow,
        }  # fmt: skip
        workers = self.order.workers.items()
        await asyncio.gather(*(self._for_ever(kinds[kind]) for kind, count in workers for _ in range(count)))

    async def _for_ever(self, session: Callable[[], Awaitable[None]]) -> None:
        while not self.stop.is_set():
            try:
                await session()
            except Over:
                await asyncio.sleep(PAUSE)

    async def new(self) -> None:
        with self.tally.asking("new"):
            await self._whole("/")
        await asyncio.sleep(PAUSE)

    async def slow(self) -> None:
        with self.tally.asking("slow"):
            await self._whole("/slow")

    async def tls(self) -> None:
        """A handshake per request; the certificate must be good for the name."""
        with self.tally.asking("tls"):
            await self._whole("/", tls=True)
        await asyncio.sleep(PAUSE)

    async def _whole(self, path: str, *, tls: bool = False) -> None:
        """A connection for one request."""
        reader, writer = await self._connect(tls=tls)
        try:
            await _get(reader, writer, path, self.order.name, close=True)
        finally:
            writer.close()

    async def keepalive(self) -> None:
        """Requests on one connection for as long as the server keeps it."""
        reader = writer = None
        try:
            going = True
            while going and not self.stop.is_set():
                with self.tally.asking("keepalive"):
                    if reader is None or writer is None:
                        reader, writer = await self._connect()
                    going = await _get(reader, writer, "/", self.order.name)
                await asyncio.sleep(PAUSE)
        finally:
            if writer is not None:
                writer.close()

    async def http2(self) -> None:
        writer = session = None
        try:
            while not self.stop.is_set():
                with self.tally.asking("http2") as asked:
                    if session is None:
                        reader, writer = await self._connect(tls=True, alpn="h2")
                        session = Http2(reader, writer)
                    async with asyncio.timeout(PATIENCE):
                        status = await session.get(self.order.name, scheme="https")
                    asked.counts = status is not None
                    if status not in (200, None):
                        raise Failed(f"status {status}")
                if not session.going:
                    return
                await asyncio.sleep(PAUSE)
        finally:
            if writer is not None:
                writer.close()

    async def websocket(self) -> None:
        began = time.time()
        with self.tally.asking("websocket"):
            reader, writer = await self._connect()
            await _upgrade(reader, writer, self.order.name)
        count = 0
        try:
            while not self.stop.is_set():
                count += 1
                with self.tally.asking("websocket") as asked:
                    writer.write(_frame(1, b"%d" % count))
                    going = asked.counts = await _echoed(reader, b"%d" % count)
                if not going:
                    self._goodbye(began)
                    return
                await asyncio.sleep(PAUSE * 5)
            writer.write(_frame(CLOSE, b"\x03\xe8"))
        finally:
            writer.close()

    def _goodbye(self, began: float) -> None:
        lived = time.time() - began
        if lived < self.order.drain - EARLY:
            self.tally.failed("websocket", began, f"closed after {lived:.1f} s, before its drain was over")
        else:
            self.tally.goodbyes += 1

    async def _connect(self, *, tls: bool = False, alpn: str = "") -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        order = self.order
        async with asyncio.timeout(PATIENCE):
            if not tls:
                return await asyncio.open_connection(order.address, order.plain)
            context = ssl.create_default_context(cafile=order.ca)
            if alpn:
                context.set_alpn_protocols([alpn])
            reader, writer = await asyncio.open_connection(
                order.address, order.tls, ssl=context, server_hostname=order.name
            )
        shown = writer.get_extra_info("ssl_object").getpeercert()
        self.tally.serials.add(int(shown["serialNumber"], 16))
        return reader, writer


async def _get(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, path: str, host: str, *, close: bool = False
) -> bool:
    """One whole answer. False when the server says that it will close."""
    ending = "close" if close else "keep-alive"
    writer.write(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: {ending}\r\n\r\n".encode())
    async with asyncio.timeout(PATIENCE):
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        status = head.split(" ", 2)[1]
        fields = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in head.split("\r\n")[1:])}
        await reader.readexactly(int(fields.get("content-length", "0")))
    if status != "200":
        raise Failed(f"status {status}")
    return fields.get("connection", "").lower() != "close"


async def _upgrade(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str) -> None:
    key = base64.b64encode(os.urandom(16)).decode()
    writer.write(
        f"GET /ws HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
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
    """False: the server said goodbye instead."""
    async with asyncio.timeout(PATIENCE):
        head = await reader.readexactly(2)
        data = await reader.readexactly(head[1] & 0x7F)
    if head[0] & 0x0F == CLOSE:
        return False
    if data != sent:
        raise Failed(f"echo of {sent!r} was {data!r}")
    return True


async def main(order: Order) -> None:
    """Load until standard input ends; the tally since the last one, as JSON, for each line that is read there."""
    clients = Clients(order)
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    running = asyncio.ensure_future(clients.run())
    while await reader.readline():
        print(json.dumps(clients.tally.take()), flush=True)
    clients.stop.set()
    await running
    print(json.dumps(clients.tally.take()), flush=True)


if __name__ == "__main__":
    asyncio.run(main(Order(**json.loads(sys.argv[1]))))
