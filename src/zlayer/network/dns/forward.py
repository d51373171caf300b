"""Questions about other names, passed on raw to the host's resolvers; answers passed back raw."""

from __future__ import annotations

import asyncio
import secrets
import socket
import struct
from collections.abc import Sequence

PATIENCE = 2.0
"""Seconds an upstream has before the next one is asked."""
SHUNNED = 30.0
"""Seconds for which one that was silent is asked last."""
IN_FLIGHT = 512
LARGEST = 65535


class Forwarder:
    """`udp` and `tcp` give an upstream's answer under the asker's own id, or None when nobody answered in time.

    Each UDP question has a socket, hence a source port, and an id of its own: an answer is taken only from the address
    that was asked, with that id and that question (RFC 5452).
    """

    def __init__(self, upstreams: Sequence[str] = ()) -> None:
        self.upstreams = tuple(upstreams)
        self._room = asyncio.Semaphore(IN_FLIGHT)
        self._silent: dict[str, float] = {}
        """Those that did not answer, and until when the others are asked first."""

    async def udp(self, query: bytes) -> bytes | None:
        if self._room.locked():
            return None  # as many wait as may: the asker tries again, or another server
        async with self._room:
            for upstream in self._in_turn():
                try:
                    async with asyncio.timeout(PATIENCE):
                        return await _ask(upstream, query)
                except (OSError, TimeoutError):
                    self._silent[upstream] = asyncio.get_running_loop().time() + SHUNNED
        return None

    async def tcp(self, query: bytes) -> bytes | None:
        async with self._room:
            for upstream in self._in_turn():
                try:
                    async with asyncio.timeout(2 * PATIENCE):
                        return await _ask_by_tcp(upstream, query)
                except (OSError, TimeoutError, asyncio.IncompleteReadError):
                    continue
        return None

    def _in_turn(self) -> list[str]:
        now = asyncio.get_running_loop().time()
        self._silent = {one: until for one, until in self._silent.items() if until > now and one in self.upstreams}
        return sorted(self.upstreams, key=lambda one: one in self._silent)


async def _ask(upstream: str, query: bytes) -> bytes:
    loop = asyncio.get_running_loop()
    family = socket.AF_INET6 if ":" in upstream else socket.AF_INET
    number = secrets.token_bytes(2)
    with socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC) as own:
        own.connect((upstream, 53))  # the kernel drops what comes from elsewhere
        await loop.sock_sendall(own, number + query[2:])
        while True:
            reply = await loop.sock_recv(own, LARGEST)
            if _answers(reply, number, query):
                return query[:2] + reply[2:]


async def _ask_by_tcp(upstream: str, query: bytes) -> bytes:
    reader, writer = await asyncio.open_connection(upstream, 53)
    try:
        number = secrets.token_bytes(2)
        writer.write(struct.pack(">H", len(query)) + number + query[2:])
        await writer.drain()
        reply = await reader.readexactly(struct.unpack(">H", await reader.readexactly(2))[0])
    finally:
        writer.close()
    if not _answers(reply, number, query):
        raise OSError("an answer to another question")
    return query[:2] + reply[2:]


def _answers(reply: bytes, number: bytes, query: bytes) -> bool:
    """A response with our id to our question (an error may come without one)."""
    if len(reply) < 12 or reply[:2] != number or not reply[2] & 0x80:
        return False
    if reply[4:6] == b"\0\0":
        return reply[3] & 0x0F != 0
    size = min(len(reply), len(query))
    end = 12
    while end < size and query[end]:
        end += query[end] + 1
    end += 5
    return reply[12:end].lower() == query[12:end].lower()
