"""The name server's control socket: a zone, whole, and the acknowledgement that it is in force.

JSON lines over a unix stream, both ways: `{"zone": {...}, "digest"}` is answered by `{"digest", "refused"}`,
`{"hello": 1}` by `{"version", "digest", "pid"}`, `{"end": 1}` by the end of the process.
"""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any

from zlayer.network.dns import zonefile
from zlayer.network.dns.server import NameServer

LIMIT = 64 << 20


class Control:
    """Serves one name server. `ended` is set when it was asked to end."""

    def __init__(self, server: NameServer, version: str, digest: str) -> None:
        self.ended = asyncio.Event()
        self._server, self._version, self._digest = server, version, digest
        self._turn = asyncio.Lock()

    async def listen(self, path: Path) -> asyncio.Server:
        """On `path`, in place of whoever listened there before."""
        fresh = path.with_suffix(f".{os.getpid()}")
        fresh.unlink(missing_ok=True)
        server = await asyncio.start_unix_server(self._serve, fresh, limit=LIMIT)
        fresh.chmod(0o600)
        fresh.rename(path)
        return server

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                async with self._turn:
                    answer = await self._do(json.loads(line))
                writer.write(json.dumps(answer).encode() + b"\n")
                await writer.drain()
        except (OSError, ValueError, KeyError, TypeError):
            return  # who speaks nonsense is hung up on
        finally:
            writer.close()

    async def _do(self, order: dict[str, Any]) -> dict[str, Any]:  # Any: JSON
        if "zone" in order:
            refused = await self._server.take(zonefile.of(order["zone"]))
            self._digest = str(order["digest"])
            return {"digest": self._digest, "refused": refused}
        if "end" in order:
            self.ended.set()
        return {"version": self._version, "digest": self._digest, "pid": os.getpid()}
