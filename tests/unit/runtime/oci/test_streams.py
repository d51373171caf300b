"""Reading several descriptors, writing all of something."""

from __future__ import annotations

import os
import pty

import anyio
import anyio.lowlevel
import pytest

from zlayer.runtime.contract import Stream
from zlayer.runtime.oci.streams import Descriptor, Reader

pytestmark = pytest.mark.anyio


async def test_chunks_of_both_until_both_are_closed() -> None:
    out, err = os.pipe(), os.pipe()
    reader = Reader((("stdout", out[0]), ("stderr", err[0])))
    os.write(out[1], b"o")
    os.write(err[1], b"e")
    os.close(out[1])
    os.close(err[1])
    got: dict[Stream, bytes] = {"stdout": b"", "stderr": b""}
    with anyio.fail_after(20):
        async for stream, chunk in reader.chunks():
            got[stream] += chunk
    assert got == {"stdout": b"o", "stderr": b"e"}
    assert reader.closed
    reader.close()


async def test_a_pty_ends_when_its_other_side_is_closed() -> None:
    master, slave = pty.openpty()
    os.write(slave, b"hi")
    os.close(slave)
    with anyio.fail_after(20):
        assert b"".join([chunk async for _, chunk in Reader((("stdout", master),)).chunks()]) == b"hi"


async def test_writing_more_than_a_pipe_holds() -> None:
    read, write = os.pipe()
    writer, reader, got = Descriptor(write), Reader((("stdout", read),)), bytearray()
    with anyio.fail_after(20):
        async with anyio.create_task_group() as group:

            async def drain() -> None:
                async for _, chunk in reader.chunks():
                    got.extend(chunk)

            group.start_soon(drain)
            await writer.write(b"x" * 300_000)
            writer.close()
    assert len(got) == 300_000


async def test_a_reader_that_left_is_no_error() -> None:
    read, write = os.pipe()
    os.close(read)
    writer = Descriptor(write)
    await writer.write(b"x")
    writer.close()
    writer.close()
    await writer.write(b"x")


async def test_closing_wakes_who_reads_and_who_writes() -> None:
    read, write = os.pipe()
    reader, writer = Reader((("stdout", read),)), Descriptor(write)

    async def drain() -> None:
        async for _ in reader.chunks():
            raise AssertionError("there was nothing to read")

    with anyio.fail_after(20):
        async with anyio.create_task_group() as group:
            group.start_soon(drain)
            await anyio.lowlevel.checkpoint()
            reader.close()
    full_read, full_write = os.pipe()
    full = Descriptor(full_write)
    with anyio.fail_after(20):
        async with anyio.create_task_group() as group:
            group.start_soon(full.write, b"x" * 1_000_000)
            await anyio.lowlevel.checkpoint()
            full.close()
    os.close(full_read)
    writer.close()


async def test_a_number_used_again_is_heard() -> None:
    for _ in range(2):
        read, write = os.pipe()
        one, other = Descriptor(read), Descriptor(write)
        with anyio.fail_after(20):
            async with anyio.create_task_group() as group:
                group.start_soon(one.readable)
                await anyio.lowlevel.checkpoint()
                await other.write(b"x")
        one.close()
        other.close()
