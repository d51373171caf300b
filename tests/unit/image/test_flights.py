from __future__ import annotations

import anyio
import pytest

from zlayer.image.contract import Image, ImageConfig, OnProgress, Progress
from zlayer.image.flights import Flights
from zlayer.model.errors import NotFound
from zlayer.model.units import Bytes, Timestamp

pytestmark = pytest.mark.anyio
IMAGE = Image("r", "d", ImageConfig(), (), "linux/amd64", Bytes(0), Timestamp(0))


class Work:
    """Counts how often it is begun; ends when told."""

    def __init__(self, error: NotFound | None = None) -> None:
        self.begun = 0
        self.go = anyio.Event()
        self.error = error

    async def __call__(self, report: OnProgress) -> Image:
        self.begun += 1
        report(Progress("d", "downloading", Bytes(self.begun), Bytes(9)))
        await self.go.wait()
        report(Progress("d", "done", Bytes(9), Bytes(9)))
        if self.error:
            raise self.error
        return IMAGE


async def test_many_share_one() -> None:
    flights, work = Flights[Image](), Work()
    heard: list[Progress] = []
    got: list[Image] = []

    async def ask() -> None:
        got.append(await flights.share("k", work, heard.append))

    async with anyio.create_task_group() as group:
        for _ in range(5):
            group.start_soon(ask)
        await anyio.wait_all_tasks_blocked()
        assert len(flights) == 1
        work.go.set()
    assert (work.begun, got, len(flights)) == (1, [IMAGE] * 5, 0)
    assert [progress.phase for progress in heard] == ["downloading"] + ["done"] * 5


async def test_different_keys_do_not_wait_for_each_other() -> None:
    flights, slow, quick = Flights[Image](), Work(), Work()
    quick.go.set()
    async with anyio.create_task_group() as group:
        group.start_soon(flights.share, "slow", slow, None)
        await anyio.wait_all_tasks_blocked()
        assert await flights.share("quick", quick, None) == IMAGE
        slow.go.set()


async def test_each_gets_an_error_of_its_own() -> None:
    flights, work = Flights[Image](), Work(NotFound("gone", hint="look elsewhere"))
    errors: list[NotFound] = []

    async def ask() -> None:
        with pytest.raises(NotFound) as caught:
            await flights.share("k", work, None)
        errors.append(caught.value)

    async with anyio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(ask)
        await anyio.wait_all_tasks_blocked()
        work.go.set()
    assert len({id(error) for error in errors}) == 3
    assert {(error.message, error.hint) for error in errors} == {("gone", "look elsewhere")}
    assert len(flights) == 0


async def test_a_cancelled_leader_is_followed_by_another() -> None:
    flights, work, leader = Flights[Image](), Work(), anyio.CancelScope()
    got: list[Image] = []

    async def lead() -> None:
        with leader:
            await flights.share("k", work, None)

    async def follow() -> None:
        got.append(await flights.share("k", work, None))

    async with anyio.create_task_group() as group:
        group.start_soon(lead)
        await anyio.wait_all_tasks_blocked()
        group.start_soon(follow)
        group.start_soon(follow)
        await anyio.wait_all_tasks_blocked()
        leader.cancel()
        await anyio.wait_all_tasks_blocked()
        assert work.begun == 2
        work.go.set()
    assert got == [IMAGE] * 2


async def test_a_cancelled_follower_hears_no_more() -> None:
    flights, work, follower = Flights[Image](), Work(), anyio.CancelScope()
    heard: list[Progress] = []

    async def follow() -> None:
        with follower:
            await flights.share("k", work, heard.append)

    async with anyio.create_task_group() as group:
        group.start_soon(flights.share, "k", work, None)
        await anyio.wait_all_tasks_blocked()
        group.start_soon(follow)
        await anyio.wait_all_tasks_blocked()
        follower.cancel()
        await anyio.wait_all_tasks_blocked()
        work.go.set()
    assert heard == []
