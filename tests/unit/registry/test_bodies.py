"""Bodies: deadlines for slow clients, blocks, and a blob that is followed while it arrives."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest
from starlette.requests import ClientDisconnect
from starlette.types import Message

from zlayer.registry.bodies import BLOCK, Wire, following, gathered, slices, whole
from zlayer.registry.faults import Refusal
from zlayer.registry.manifests import too_large
from zlayer.registry.upstream import Arrival

pytestmark = pytest.mark.anyio


def wire(*messages: Message | None, stall: float = 5.0) -> Wire:
    """A client that sends these and then nothing; None: it never says another word."""
    left = list(messages)

    async def receive() -> Message:
        if not left or left[0] is None:
            await anyio.sleep_forever()
        message = left.pop(0)
        assert message is not None
        return message

    async def send(_: Message) -> None:
        await anyio.sleep_forever()

    return Wire(receive, send, stall=stall)


def part(body: bytes, *, more: bool = True) -> Message:
    return {"type": "http.request", "body": body, "more_body": more}


async def test_a_body_comes_in_blocks() -> None:
    taken: list[int] = []
    messages = [part(bytes(60_000)) for _ in range(40)]
    await gathered(wire(*messages, part(b"", more=False)).chunks(), lambda parts: taken.append(sum(map(len, parts))))
    assert sum(taken) == 40 * 60_000
    assert all(BLOCK <= size < BLOCK + 60_000 for size in taken[:-1])


async def test_what_came_before_the_connection_broke_is_taken() -> None:
    taken: list[bytes] = []
    with pytest.raises(ClientDisconnect):
        await gathered(
            wire(part(b"abc"), {"type": "http.disconnect"}).chunks(), lambda block: taken.append(b"".join(block))
        )
    assert taken == [b"abc"]


async def test_a_client_that_stops_is_told_so() -> None:
    with pytest.raises(Refusal) as told:
        await whole(wire(part(b"abc"), None, stall=0.01).chunks(), 100, too_large)
    assert told.value.status == 408


async def test_a_client_that_takes_nothing_is_left() -> None:
    with pytest.raises(ClientDisconnect):
        await wire(stall=0.01).send({"type": "http.response.body", "body": b"x"})


async def test_a_small_body_has_a_limit() -> None:
    with pytest.raises(Refusal) as told:
        await whole(wire(part(bytes(90)), part(bytes(20))).chunks(), 100, too_large)
    assert told.value.status == 413


def opened(path: Path) -> int:
    return os.open(path, os.O_RDONLY)


async def joined(parts: AsyncIterator[bytes]) -> bytes:
    return b"".join([one async for one in parts])


async def test_a_part_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(bytes(BLOCK) + b"end")
    assert await joined(slices(opened(tmp_path / "x"), BLOCK - 1, BLOCK + 2)) == b"\0en"
    with pytest.raises(ClientDisconnect):
        await joined(slices(opened(tmp_path / "x"), BLOCK, BLOCK + 9))


@pytest.mark.parametrize("good", [True, False])
async def test_a_blob_is_followed_to_its_end_or_not_given_whole(tmp_path: Path, good: bool) -> None:
    content = os.urandom(1000)
    (tmp_path / "x").write_bytes(content)
    arrival = Arrival("sha256:x", tmp_path / "x", length=1000, begun=True)
    got: list[bytes] = []

    async def read() -> None:
        try:
            async for data in following(opened(tmp_path / "x"), arrival, 10, 1000):
                got.append(data)  # noqa: PERF401  # what came before it broke must be there
        except ClientDisconnect:
            got.append(b"broken")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(read)
        for sure in (5, 300, 700):
            await anyio.wait_all_tasks_blocked()
            arrival.sure = sure
            arrival.stir()
        await anyio.wait_all_tasks_blocked()
        arrival.ended = True
        arrival.sure = 1000 if good else 700
        arrival.stir()
    assert b"".join(got) == (content[10:] if good else content[10:700] + b"broken")
