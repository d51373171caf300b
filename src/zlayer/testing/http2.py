"""An HTTP/2 client that goes on reading after GOAWAY, as RFC 9113 (6.8) asks; the h2 library stops there."""

from __future__ import annotations

import asyncio

import hpack
from hyperframe.frame import (
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


class Http2:
    """One connection, one request after another. `going` is False once the server has said GOAWAY."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._encoder, self._decoder = hpack.Encoder(), hpack.Decoder()
        self._stream = -1
        self.going = True
        self._data = b""
        self._last = 1 << 31
        writer.write(PREFACE + SettingsFrame(0).serialize())

    async def get(self, authority: str, path: str = "/", *, scheme: str = "http") -> int | None:
        """The status; None when the server did not take the request. EOFError, ConnectionError: it was lost."""
        self._stream += 2
        fields = {":method": "GET", ":scheme": scheme, ":authority": authority, ":path": path}
        head = HeadersFrame(self._stream, self._encoder.encode(fields.items()), flags=["END_HEADERS", "END_STREAM"])
        self._writer.write(head.serialize())
        status = 0
        while self._last >= self._stream:
            frame = await self._frame()
            if isinstance(frame, HeadersFrame) and frame.stream_id == self._stream:
                status = int(dict(self._decoder.decode(frame.data, raw=True))[b":status"])
            ended = "END_STREAM" in frame.flags and frame.stream_id == self._stream
            if isinstance(frame, RstStreamFrame):
                raise ConnectionError(f"stream reset: {frame.error_code}")
            if ended:
                return status
        return None

    async def open(self, fields: dict[str, str]) -> int:
        """The status of a stream that stays open, for `read` and `write`."""
        self._stream += 2
        self._writer.write(
            HeadersFrame(self._stream, self._encoder.encode(fields.items()), flags=["END_HEADERS"]).serialize()
        )
        while not isinstance(frame := await self._frame(), HeadersFrame):
            pass
        return int(dict(self._decoder.decode(frame.data, raw=True))[b":status"])

    async def read(self, size: int) -> bytes:
        """Exactly so many bytes of the open stream."""
        while len(self._data) < size:
            if isinstance(frame := await self._frame(), DataFrame):
                self._data += frame.data
        data, self._data = self._data[:size], self._data[size:]
        return data

    def write(self, data: bytes) -> None:
        self._writer.write(DataFrame(self._stream, data).serialize())

    async def _frame(self) -> Frame:
        head = await self._reader.readexactly(9)
        frame, length = Frame.parse_frame_header(memoryview(head))
        frame.parse_body(memoryview(await self._reader.readexactly(length)))
        if isinstance(frame, SettingsFrame) and "ACK" not in frame.flags:
            self._writer.write(SettingsFrame(0, flags=["ACK"]).serialize())
        elif isinstance(frame, PingFrame) and "ACK" not in frame.flags:
            self._writer.write(PingFrame(0, frame.opaque_data, flags=["ACK"]).serialize())
        elif isinstance(frame, DataFrame) and frame.flow_controlled_length:
            self._writer.write(WindowUpdateFrame(0, window_increment=frame.flow_controlled_length).serialize())
        elif isinstance(frame, GoAwayFrame):
            self.going, self._last = False, frame.last_stream_id
        return frame
