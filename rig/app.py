"""The application of the rig, run inside its containers: HTTP/1.1 with keep-alive, WebSocket echo, a slow answer.

Standard library only: it is copied into an image of Debian's Python. It behaves as a good citizen does: on SIGTERM it
takes no more connections, finishes what it has, says goodbye to WebSockets (1001), and ends. What it is told by its
environment to do badly it does: `NEVER_READY`, `CRASH_AFTER` seconds, `STATUS` for every answer.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
import signal
import socket
import struct

PORT = int(os.environ.get("PORT", "8080"))
SLOW = float(os.environ.get("SLOW", "10"))
STATUS = int(os.environ.get("STATUS", "200"))
NAME = f"{os.environ.get('REVISION', '0')} {socket.gethostname()}\n".encode()
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, 1.3


class App:
    def __init__(self) -> None:
        self.ending = asyncio.Event()
        self.busy = 0
        self.tasks: set[asyncio.Task[None]] = set()

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.tasks.add(task)
        try:
            while await self.one(reader, writer) and not self.ending.is_set():
                pass
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self.tasks.discard(task)
            writer.close()

    async def one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One request. True when the connection goes on."""
        head = asyncio.ensure_future(reader.readuntil(b"\r\n\r\n"))
        ending = asyncio.ensure_future(self.ending.wait())
        await asyncio.wait({head, ending}, return_when=asyncio.FIRST_COMPLETED)
        ending.cancel()
        if not head.done():
            head.cancel()
            return False
        try:
            line, *fields = (await head).decode("latin-1").split("\r\n")
        except asyncio.IncompleteReadError:
            return False
        path = line.split(" ")[1]
        headers = {k.lower(): v.strip() for k, _, v in (field.partition(":") for field in fields)}
        self.busy += 1
        try:
            if headers.get("upgrade", "").lower() == "websocket":
                await self.echo(headers["sec-websocket-key"], reader, writer)
                return False
            if path.startswith("/slow"):
                await asyncio.sleep(SLOW)
            keep = headers.get("connection", "").lower() != "close" and not self.ending.is_set()
            status = b"200 OK" if STATUS == 200 else f"{STATUS} Told so".encode()
            closing = b"" if keep else b"Connection: close\r\n"
            writer.write(b"HTTP/1.1 %s\r\nContent-Length: %d\r\n%s\r\n%s" % (status, len(NAME), closing, NAME))
            await writer.drain()
            return keep
        finally:
            self.busy -= 1

    async def echo(self, key: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accept = base64.b64encode(hashlib.sha1(key.encode() + GUID, usedforsecurity=False).digest())
        writer.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
        )
        ending = asyncio.ensure_future(self.ending.wait())
        while True:
            frame = asyncio.ensure_future(_frame(reader))
            await asyncio.wait({frame, ending}, return_when=asyncio.FIRST_COMPLETED)
            if frame.done():
                opcode, data = frame.result()
                if opcode == 8:
                    writer.write(b"\x88" + bytes([len(data)]) + data)
                    break
                writer.write(bytes([0x80 | opcode, len(data)]) + data)
            if ending.done():
                frame.cancel()
                writer.write(b"\x88\x02" + struct.pack(">H", 1001))
                break
        ending.cancel()
        await writer.drain()


async def _frame(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """Opcode and payload of one small masked frame."""
    first, second = await reader.readexactly(2)
    mask = await reader.readexactly(4)
    data = await reader.readexactly(second & 0x7F)
    return first & 0x0F, bytes(byte ^ mask[i % 4] for i, byte in enumerate(data))


async def main() -> None:
    app = App()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, app.ending.set)
    if not os.environ.get("NEVER_READY"):
        server = await asyncio.start_server(app.accept, "0.0.0.0", PORT)
    if after := os.environ.get("CRASH_AFTER"):
        await asyncio.sleep(float(after))
        os._exit(3)
    await app.ending.wait()
    if not os.environ.get("NEVER_READY"):
        server.close()
    if app.tasks:
        await asyncio.wait(app.tasks, timeout=SLOW + 5)


if __name__ == "__main__":
    asyncio.run(main())
