"""WebSocket frames, client side (RFC 6455, sections 5.2 to 5.5): bytes in, messages out, no sockets."""

from __future__ import annotations

import os
import struct

from zlayer.client.record import Record

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
MAX_MESSAGE = 64 * 1024 * 1024


class Message(Record):
    """A whole message (fragments joined) or a control frame. `kind` is one of the opcodes above."""

    kind: int
    data: bytes

    @property
    def text(self) -> str:
        return self.data.decode("utf-8", "replace")


class ProtocolError(ValueError):
    """The other side broke RFC 6455; the connection is of no more use."""


def encode(kind: int, data: bytes) -> bytes:
    """One final, masked frame: clients must mask (section 5.3)."""
    length = len(data)
    if length < 126:
        start = struct.pack("!BB", 0x80 | kind, 0x80 | length)
    elif length < 65536:
        start = struct.pack("!BBH", 0x80 | kind, 0x80 | 126, length)
    else:
        start = struct.pack("!BBQ", 0x80 | kind, 0x80 | 127, length)
    key = os.urandom(4)
    return start + key + masked(data, key)


def masked(data: bytes, key: bytes) -> bytes:
    """XOR with the repeated key; done as one big number, which is a hundred times faster than byte by byte."""
    if not data:
        return b""
    pad = (key * (len(data) // 4 + 1))[: len(data)]
    return (int.from_bytes(data, "big") ^ int.from_bytes(pad, "big")).to_bytes(len(data), "big")


class Decoder:
    """Feed it what arrived; it gives the messages that are whole. Control frames may come between fragments."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._kind = 0
        self._parts: list[bytes] = []

    def feed(self, data: bytes) -> list[Message]:
        self._buffer += data
        out = []
        while (frame := self._frame()) is not None:
            if (message := self._joined(*frame)) is not None:
                out.append(message)
        return out

    def _frame(self) -> tuple[bool, int, bytes] | None:
        buffer = self._buffer
        if len(buffer) < 2:
            return None
        final, kind = bool(buffer[0] & 0x80), buffer[0] & 0x0F
        if buffer[0] & 0x70 or buffer[1] & 0x80:
            raise ProtocolError("reserved bits or a masked frame from the server")
        length, start = buffer[1] & 0x7F, 2
        if length >= 126:
            size = 2 if length == 126 else 8
            start += size
            if len(buffer) < start:
                return None
            length = int.from_bytes(buffer[2:start], "big")
        if length > MAX_MESSAGE:
            raise ProtocolError(f"a frame of {length} bytes")
        if len(buffer) < start + length:
            return None
        data = bytes(buffer[start : start + length])
        del buffer[: start + length]
        return final, kind, data

    def _joined(self, final: bool, kind: int, data: bytes) -> Message | None:
        if kind >= CLOSE:
            if not final or len(data) > 125:
                raise ProtocolError("a control frame that is long or in pieces")
            return Message(kind=kind, data=data)
        if (kind == CONTINUATION) != bool(self._kind):
            raise ProtocolError("a fragment out of order")
        self._kind = self._kind or kind
        self._parts.append(data)
        if sum(map(len, self._parts)) > MAX_MESSAGE:
            raise ProtocolError("a message that is too long")
        if not final:
            return None
        message = Message(kind=self._kind, data=b"".join(self._parts))
        self._kind, self._parts = 0, []
        return message
