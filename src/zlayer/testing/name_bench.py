"""The real name server on loopback addresses of its own, and a question asked of it."""

from __future__ import annotations

import random
import socket
import struct
from pathlib import Path

import anyio.to_thread

from zlayer.network.dns import message
from zlayer.network.dns.contract import NameServer
from zlayer.network.dns.process import DnsProcess
from zlayer.testing import dns_reader


class ProcessBench:
    """Two loopback addresses of its own, on a port of its own."""

    def __init__(self, directory: Path) -> None:
        chance = random.SystemRandom()
        self.listen = tuple(f"127.{chance.randint(2, 250)}.{chance.randint(2, 250)}.{n}" for n in (1, 2))
        self.port = chance.randint(20_000, 30_000)
        self._directory = directory
        self._server = DnsProcess(directory, port=self.port)

    def server(self) -> NameServer:
        return self._server

    async def restart(self) -> NameServer:
        await self._server.close()
        self._server = DnsProcess(self._directory, port=self.port)
        return self._server

    async def lookup(self, listen: str, name: str) -> tuple[str, ...] | None:
        return await anyio.to_thread.run_sync(ask, listen, self.port, name)


def ask(listen: str, port: int, name: str, *, source: str = "", patience: float = 2.0) -> tuple[str, ...] | None:
    """IPv4 addresses by UDP; None when there is no such name or nobody answers."""
    with socket.socket(type=socket.SOCK_DGRAM) as client:
        client.settimeout(patience)
        if source:
            client.bind((source, 0))
        client.connect((listen, port))
        client.send(query(name))
        try:
            reply = dns_reader.parse(client.recv(2000))
        except (ConnectionRefusedError, TimeoutError):
            return None
    if reply.code == message.NXDOMAIN:
        return None
    assert reply.code == message.NOERROR, reply
    return tuple(socket.inet_ntoa(record.data) for record in reply.answers)


def query(name: str, kind: int = message.A, number: int = 77) -> bytes:
    head = struct.pack(">HHHHHH", number, message.RD, 1, 0, 0, 0)
    return head + message.wire_name(name) + struct.pack(">HH", kind, message.IN)
