"""TCP connections of the name server (RFC 7766): bounded in number and in patience, none shut out by others' many."""

from __future__ import annotations

import asyncio
import struct
from collections import Counter
from collections.abc import Awaitable, Callable

MOST = 128
"""Connections at a time, of all views."""
IDLE = 10.0
"""Seconds a question may take to arrive, and an answer to be taken."""

Answer = Callable[[bytes], Awaitable[bytes | None]]
"""The reply to a question; None hangs up."""


class Streams:
    """When there are too many, whoever has most gives up the one that has been quiet longest."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._open: dict[asyncio.StreamWriter, str] = {}
        """Each with its client, the quietest first."""

    def __len__(self) -> int:
        return len(self._open)

    async def serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, client: str, answer: Answer
    ) -> None:
        """Questions one after another until it is idle, broken or one too many."""
        self._enter(writer, client)
        try:
            while True:
                async with asyncio.timeout(IDLE):
                    size = struct.unpack(">H", await reader.readexactly(2))[0]
                    data = await reader.readexactly(size)
                if writer not in self._open:
                    return
                self._open[writer] = self._open.pop(writer)
                if (reply := await answer(data)) is None:
                    return
                writer.write(struct.pack(">H", len(reply)) + reply)
                async with asyncio.timeout(IDLE):
                    await writer.drain()
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            return
        finally:
            self._open.pop(writer, None)
            writer.close()

    def _enter(self, writer: asyncio.StreamWriter, client: str) -> None:
        if len(self._open) >= self._most:
            greedy = Counter([*self._open.values(), client]).most_common(1)[0][0]
            victim = next((one for one, whose in self._open.items() if whose == greedy), next(iter(self._open)))
            del self._open[victim]
            victim.transport.abort()
        self._open[writer] = client
