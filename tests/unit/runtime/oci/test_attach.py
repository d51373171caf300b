"""conmon's attach socket, with a server in the place of conmon."""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import anyio
import pytest

from zlayer.model.errors import NotFound
from zlayer.runtime.contract import Handle, Session
from zlayer.runtime.oci.attach import open_attach
from zlayer.runtime.oci.layout import Layout, Record

pytestmark = pytest.mark.anyio
RECORD = Record(Handle("oci", "c", "/d", 1), "b", "i", "/p/c", "runc", 1, tty=False, stdin=True)


@dataclass
class Server:
    layout: Layout
    listening: socket.socket


@pytest.fixture
def server() -> Iterator[Server]:
    with tempfile.TemporaryDirectory(prefix="zl", dir="/tmp") as name:
        layout = Layout(Path(name) / ("deep" * 40))
        layout.prepare()
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        directory = os.open(layout.bundle, os.O_PATH)
        listening.bind(f"/proc/self/fd/{directory}/attach")
        os.close(directory)
        listening.listen()
        with listening:
            yield Server(layout, listening)


async def code() -> int | None:
    return 5


@pytest.fixture
async def session(server: Server) -> AsyncIterator[Session]:
    async with await open_attach(server.layout, RECORD, code) as session:
        yield session


async def test_streams_by_their_first_byte(server: Server, session: Session) -> None:
    with server.listening.accept()[0] as other:
        for packet in (b"\x02out", b"\x03err", b"\x07what", b"\x02", b"\x02more"):
            other.send(packet)
    got = [item async for item in session.output()]
    assert got == [("stdout", b"out"), ("stderr", b"err"), ("stdout", b"more")]
    assert await session.wait() == 5


async def test_stdin_in_packets_conmon_can_read(server: Server, session: Session) -> None:
    data = bytes(range(256)) * 100
    other, _ = server.listening.accept()
    with other, anyio.fail_after(20):
        await session.send(data)
        await session.send(b"")
        await session.close_stdin()
        packets = []
        while packet := other.recv(65536):
            packets.append(packet)
    assert b"".join(packets) == data
    assert max(map(len, packets)) <= 8192


async def test_a_size_goes_to_the_control_fifo(server: Server, session: Session) -> None:
    await session.resize(1, 1)  # without a fifo nothing happens
    os.mkfifo(server.layout.control)
    fd = os.open(server.layout.control, os.O_RDONLY | os.O_NONBLOCK)
    await session.resize(24, 80)
    assert os.read(fd, 100) == b"1 24 80\n"
    os.close(fd)


async def test_leaving_ends_the_output(server: Server) -> None:
    with anyio.fail_after(20):
        async with anyio.create_task_group() as group:
            session = await open_attach(server.layout, RECORD, code)

            async def read() -> None:
                assert [chunk async for chunk in session.output()] == []

            async with session:
                group.start_soon(read)
                await anyio.lowlevel.checkpoint()
    await session.send(b"late")
    await session.close_stdin()


async def test_nobody_there(server: Server) -> None:
    server.listening.close()
    with pytest.raises(NotFound):
        await open_attach(server.layout, RECORD, code)
    (server.layout.bundle / "attach").unlink()
    with pytest.raises(NotFound):
        await open_attach(server.layout, RECORD, code)
