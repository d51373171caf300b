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


async def test_outsiders_are_refused() -> None:
    port, here = random.SystemRandom().randint(30_000, 32_000), address()
    server = NameServer(port)
    inside = f"{here.rpartition('.')[0]}.0/24"
    try:
        view = View("a", (here,), {"web.service.local": ("10.0.0.2",)}, clients=(inside,))
        await server.take(Zone(views=(view,)))
        for _ in range(2):  # also once the answer is packed
            assert (await ask(here, port, source=here))[-4:] == bytes([10, 0, 0, 2])
            refused = await ask(here, port, source="127.0.0.1")
            assert (refused[3] & 0x0F, len(refused)) == (5, 12)
        reader, writer = await asyncio.open_connection(here, port, local_addr=("127.0.0.1", 0))
        assert await reader.read(1) == b""
        writer.close()
    finally:
        await server.close()


async def test_it_is_no_resolver_of_its_own() -> None:
    port, here = random.SystemRandom().randint(30_000, 32_000), address()
    server = NameServer(port)
    try:
        await server.take(Zone(upstreams=(here,), views=(View("a", (here,), {}),)))
        assert (await ask(here, port, name="example.test"))[3] & 0x0F == 2
    finally:
        await server.close()


async def test_what_has_arrived_is_answered_before_it_closes() -> None:
    port, here = random.SystemRandom().randint(30_000, 32_000), address()
    server, successor = NameServer(port), NameServer(port)
    zone = Zone(views=(View("a", (here,), {"web.service.local": ("10.0.0.2",)}),))
    await server.take(zone)
    loop = asyncio.get_running_loop()
    clients = [socket.socket(type=socket.SOCK_DGRAM) for _ in range(200)]
    try:
        for number, client in enumerate(clients):
            if number == 100:
                await successor.take(zone)
            client.setblocking(False)
            client.connect((here, port))
            client.send(query("web.service.local"))
        await server.close()
        async with asyncio.timeout(5):
            replies = [await loop.sock_recv(client, 600) for client in clients]
        assert {reply[-4:] for reply in replies} == {bytes([10, 0, 0, 2])}
    finally:
        for client in clients:
            client.close()
        await successor.close()


async def ask(
    here: str, port: int, *, flags: int = 0, cut: int = 0, source: str = "", name: str = "web.service.local"
) -> bytes:
    packet = query(name, flags=flags or 0x0100)
    loop = asyncio.get_running_loop()
    with socket.socket(type=socket.SOCK_DGRAM) as client:
        client.setblocking(False)
        if source:
            client.bind((source, 0))
        client.connect((here, port))
        await loop.sock_sendall(client, packet[: len(packet) - cut])
        async with asyncio.timeout(5):
            return await loop.sock_recv(client, 600)
