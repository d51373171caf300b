from __future__ import annotations

import asyncio
import random
import socket

import pytest

from zlayer.model.zone import View, Zone
from zlayer.network.dns.server import NameServer

from .test_message import query

pytestmark = pytest.mark.anyio


def address() -> str:
    chance = random.SystemRandom()
    return f"127.{chance.randint(2, 250)}.{chance.randint(2, 250)}.{chance.randint(1, 250)}"


async def test_zones_are_taken_whole_and_addresses_come_and_go() -> None:
    port, one, two = random.SystemRandom().randint(30_000, 32_000), address(), address()
    server = NameServer(port)
    try:
        assert await server.take(Zone(views=(View("a", (one,), {"web.service.local": ("10.0.0.2",)}),))) == {}
        assert (await ask(one, port))[-4:] == bytes([10, 0, 0, 2])
        await server.take(Zone(views=(View("a", (two,), {"web.service.local": ("10.0.0.3",)}),)))
        assert (await ask(two, port))[-4:] == bytes([10, 0, 0, 3])
        with pytest.raises(OSError, match="refused"):
            await ask(one, port)
    finally:
        await server.close()


async def test_an_opcode_of_others_is_not_implemented() -> None:
    port, here = random.SystemRandom().randint(30_000, 32_000), address()
    server = NameServer(port)
    try:
        await server.take(Zone(views=(View("a", (here,), {}),)))
        assert (await ask(here, port, flags=5 << 11))[3] & 0x0F == 4
        assert (await ask(here, port, cut=4))[3] & 0x0F == 1
    finally:
        await server.close()


async def ask(here: str, port: int, *, flags: int = 0, cut: int = 0) -> bytes:
    packet = query("web.service.local", flags=flags)
    loop = asyncio.get_running_loop()
    with socket.socket(type=socket.SOCK_DGRAM) as client:
        client.setblocking(False)
        client.connect((here, port))
        await loop.sock_sendall(client, packet[: len(packet) - cut])
        async with asyncio.timeout(5):
            return await loop.sock_recv(client, 600)
