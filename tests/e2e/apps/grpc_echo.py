"""A gRPC server of one unary method that echoes, over HTTP/2 without TLS; needs nothing but h2 (pure Python)."""

from __future__ import annotations

import asyncio
import sys

import h2.config
import h2.connection
import h2.events

HEADERS = [(":status", "200"), ("content-type", "application/grpc")]


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    session = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding="utf-8"))
    session.initiate_connection()
    writer.write(session.data_to_send())
    bodies: dict[int, bytes] = {}
    while data := await reader.read(65536):
        for event in session.receive_data(data):
            if isinstance(event, h2.events.DataReceived):
                bodies[event.stream_id] = bodies.get(event.stream_id, b"") + event.data
                session.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            elif isinstance(event, h2.events.StreamEnded):
                session.send_headers(event.stream_id, HEADERS)
                session.send_data(event.stream_id, bodies.pop(event.stream_id, b""))
                session.send_headers(event.stream_id, [("grpc-status", "0")], end_stream=True)
        writer.write(session.data_to_send())
        await writer.drain()


async def main() -> None:
    server = await asyncio.start_server(serve, "0.0.0.0", int(sys.argv[1]))
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
