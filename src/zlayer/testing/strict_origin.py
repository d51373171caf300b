"""An origin that reads HTTP/1.1 by the letter of RFC 9112 and keeps all it saw: what a proxy lets through."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

_LINE = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t -~\x80-\xff]*")
_REQUEST = re.compile(rb"[A-Z]+ (/[!-~]*|\*) HTTP/1\.[01]")
_SIZE = re.compile(rb"[0-9a-fA-F]{1,8}")


@dataclass(slots=True)
class StrictOrigin:
    """`heads` and `bodies` of the requests, in order; `wrong` is what no two readers would understand alike."""

    port: int = 0
    heads: list[bytes] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    @property
    def paths(self) -> list[bytes]:
        return [head.split(b" ")[1] for head in self.heads]

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                self.heads.append(head)
                self.wrong += faults(head)
                self.bodies.append(await self._body(reader, fields(head)))
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                await writer.drain()
        writer.close()

    async def _body(self, reader: asyncio.StreamReader, given: list[tuple[bytes, bytes]]) -> bytes:
        known = dict(given)
        if b"transfer-encoding" not in known:
            return await reader.readexactly(int(known.get(b"content-length", b"0")))
        body = b""
        while True:
            line = (await reader.readuntil(b"\r\n"))[:-2]
            if not _SIZE.fullmatch(line):
                self.wrong.append(f"chunk size {line!r}")
                return body
            size = int(line, 16)
            if not size:
                break
            body += await reader.readexactly(size)
            if await reader.readexactly(2) != b"\r\n":
                self.wrong.append("a chunk does not end where it says")
        while (line := await reader.readuntil(b"\r\n")) != b"\r\n":
            if line.split(b":")[0].strip().lower() in {b"content-length", b"transfer-encoding", b"host"}:
                self.wrong.append(f"a trailer that frames: {line!r}")
        return body


def fields(head: bytes) -> list[tuple[bytes, bytes]]:
    parted = (line.partition(b":") for line in head[:-4].split(b"\r\n")[1:])
    return [(name.lower(), value.strip()) for name, _, value in parted]


def faults(head: bytes) -> list[str]:
    """What in a head one server reads in one way and the next in another."""
    first, *lines = head[:-4].split(b"\r\n")
    found = [] if _REQUEST.fullmatch(first) else [f"request line {first!r}"]
    found += [f"field {line!r}" for line in lines if not _LINE.fullmatch(line)]
    given = fields(head)
    lengths = [value for name, value in given if name == b"content-length"]
    codings = [value for name, value in given if name == b"transfer-encoding"]
    if len(lengths) + len(codings) > 1:
        found.append(f"framed by {lengths} and {codings}")
    found += [f"length {value!r}" for value in lengths if not value.isdigit()]
    found += [f"coding {value!r}" for value in codings if value != b"chunked"]
    if codings and first.endswith(b"HTTP/1.0"):
        found.append("a coding in HTTP/1.0, which has none (RFC 9112, 6.1)")
    if sum(name == b"host" for name, _ in given) != 1:
        found.append("not one host")
    return found


@asynccontextmanager
async def strict_origin() -> AsyncIterator[StrictOrigin]:
    made = StrictOrigin()
    async with await asyncio.start_server(made.handle, "127.0.0.1", 0) as server:
        made.port = server.sockets[0].getsockname()[1]
        yield made
