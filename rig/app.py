"""The application of the rig: HTTP/1.1 with keep-alive, WebSocket echo, a slow answer. Standard library only.

It behaves as a good citizen does: told to end (SIGTERM) it takes no more connections, finishes what it has, says
goodbye to WebSockets (1001), and ends. What it is told by its environment to do badly it does: `NEVER_READY`,
`CRASH_AFTER` seconds, `STATUS` for every answer.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
import signal
import socket
import struct

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, 1.3
CLOSE, GOING_AWAY = 8, struct.pack(">H", 1001)
FINISH = 5.0
"""Seconds that answers under way may take once it is told to end."""


class App:
    """One server; `slow` seconds is what `/slow` takes. `tasks` are its connections."""

    def __init__(self, name: str, *, slow: float = 10.0, status: int = 200) -> None:
        self.ending = asyncio.Event()
        self.tasks: set[asyncio.Task[None]] = set()
        self._name, self._slow, self._status = f"{name}\n".encode(), slow, status

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.tasks.add(task)
        try:
            while await self._one(reader, writer) and not self.ending.is_set():
                pass
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self.tasks.discard(task)
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One request. True when the connection goes on."""
        head = await self._unless_ending(reader.readuntil(b"\r\n\r\n"))
        if head is None:
            return False
        line, *fields = head.decode("latin-1").split("\r\n")
        headers = {k.lower(): v.strip() for k, _, v in (field.partition(":") for field in fields)}
        if headers.get("upgrade", "").lower() == "websocket":
            await self._echo(headers["sec-websocket-key"], reader, writer)
            return False
        if line.split(" ")[1].startswith("/slow"):
            await asyncio.sleep(self._slow)
        keep = headers.get("connection", "").lower() != "close" and not self.ending.is_set()
        status = b"200 OK" if self._status == 200 else f"{self._status} Told so".encode()
        closing = b"" if keep else b"Connection: close\r\n"
        writer.write(b"HTTP/1.1 %s\r\nContent-Length: %d\r\n%s\r\n" % (status, len(self._name), closing))
        writer.write(self._name)
        await writer.drain()
        return keep

    async def _echo(self, key: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accept = base64.b64encode(hashlib.sha1(key.encode() + GUID, usedforsecurity=False).digest())
        writer.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
        )
        while (read := await self._unless_ending(reader.readexactly(6))) is not None:
            opcode, mask = read[0] & 0x0F, read[2:]
            masked = await reader.readexactly(read[1] & 0x7F)
            data = bytes(byte ^ mask[i % 4] for i, byte in enumerate(masked))
            writer.write(bytes([0x80 | opcode, len(data)]) + data)
            if opcode == CLOSE:
                break
        else:
            writer.write(bytes([0x80 | CLOSE, len(GOING_AWAY)]) + GOING_AWAY)
        await writer.drain()

    async def _unless_ending(self, reading: object) -> bytes | None:
        """What is read; None once the end was asked for and nothing has come by then."""
        assert asyncio.iscoroutine(reading)
        read, ending = asyncio.ensure_future(reading), asyncio.ensure_future(self.ending.wait())
        await asyncio.wait({read, ending}, return_when=asyncio.FIRST_COMPLETED)
        ending.cancel()
        if not read.done():
            read.cancel()
            return None
        return bytes(await read)


async def main() -> None:
    env = os.environ
    name = f"{env.get('REVISION', '0')} {socket.gethostname()}"
    app = App(name, slow=float(env.get("SLOW", "10")), status=int(env.get("STATUS", "200")))
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, app.ending.set)
    server = None
    if not env.get("NEVER_READY"):
        server = await asyncio.start_server(app.accept, "0.0.0.0", int(env.get("PORT", "8080")))
    if after := env.get("CRASH_AFTER"):
        await asyncio.sleep(float(after))
        os._exit(3)
    await app.ending.wait()
    if server is not None:
        server.close()
    if app.tasks:
        await asyncio.wait(app.tasks, timeout=float(env.get("FINISH", FINISH)))


if __name__ == "__main__":
    asyncio.run(main())
