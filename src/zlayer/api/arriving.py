"""A body of any length as it arrives: nobody may be silent for ever, and who is refused gets to hear why."""

from __future__ import annotations

from collections.abc import AsyncIterator

import anyio
from starlette.requests import Request

from zlayer.model.errors import Deadline

SILENCE = 20.0
"""Seconds a client may take for its next bytes: who comes again after its line broke must not wait for long."""
DRAIN = 64 << 20
"""Bytes of a refused body that are read and thrown away: who still sends does not hear an answer."""


class Arriving:
    """The body of a request, once. Errors: `Deadline`; `ClientDisconnect` when it ends before it is whole."""

    def __init__(self, request: Request, silence: float = SILENCE) -> None:
        self._stream = request.stream()
        self._silence = silence

    async def pieces(self) -> AsyncIterator[bytes]:
        while True:
            with anyio.move_on_after(self._silence) as late:
                try:
                    piece = await anext(self._stream)
                except StopAsyncIteration:
                    return
            if late.cancelled_caught:
                raise Deadline(
                    f"no byte came for {self._silence:g} seconds", hint="send it again: it goes on from there"
                )
            yield piece

    async def drain(self) -> None:
        left = DRAIN
        async for piece in self.pieces():
            left -= len(piece)
            if left < 0:
                return
