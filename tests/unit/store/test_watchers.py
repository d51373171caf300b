from __future__ import annotations

from collections.abc import Callable

import anyio
import pytest

from zlayer.model.errors import Unavailable
from zlayer.store.contract import Change, Changes, Item
from zlayer.store.watchers import Committed, Watchers

pytestmark = pytest.mark.anyio


def commit(revision: int, *keys: str) -> Committed:
    return Committed(revision, tuple(Change(key, Item(key, b"1", revision, revision)) for key in keys))


class History:
    """A stored history: `during` happens while it is read."""

    def __init__(self, *answers: Changes, during: Callable[[], None] = lambda: None) -> None:
        self.answers = list(answers)
        self.asked: list[int] = []
        self.during = during

    async def __call__(self, prefix: str, after: int) -> Changes:
        self.asked.append(after)
        answer = self.answers.pop(0)
        self.during()
        return answer


async def test_commits_during_the_backlog_are_neither_lost_nor_doubled() -> None:
    watchers = Watchers()
    history = History(
        Changes(5, commit(5, "/a", "/c").changes),
        during=lambda: watchers.publish([commit(5, "/a", "/c"), commit(6, "/a", "/b")]),
    )
    stream = watchers.watch("/", 3, history)
    assert await anext(stream) == Changes(5, commit(5, "/a", "/c").changes)
    assert await anext(stream) == Changes(6, commit(6, "/a", "/b").changes)
    watchers.publish([commit(4, "/late")])
    watchers.publish([commit(7, "/c")])
    assert await anext(stream) == Changes(7, commit(7, "/c").changes)
    assert history.asked == [3]
    await stream.aclose()


async def test_a_key_that_changed_again_is_told_where_it_changed_last() -> None:
    watchers = Watchers()
    stream = watchers.watch("/", 0, History(Changes(1, commit(1, "/z").changes)))
    await anext(stream)
    watchers.publish([commit(2, "/a"), commit(3, "/b"), commit(4, "/a")])
    assert await anext(stream) == Changes(4, commit(3, "/b").changes + commit(4, "/a").changes)
    await stream.aclose()


async def test_a_future_revision_is_waited_for() -> None:
    watchers = Watchers()
    stream = watchers.watch("/", 9, History(Changes(2, ())))
    told: list[Changes] = []

    async def follow() -> None:
        told.append(await anext(stream))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(follow)
        await anyio.wait_all_tasks_blocked()
        watchers.publish([commit(8, "/a"), commit(9, "/a"), commit(10, "/b")])
    assert told == [Changes(10, commit(10, "/b").changes)]
    await stream.aclose()


async def test_other_prefixes_do_not_wake() -> None:
    watchers = Watchers()
    stream = watchers.watch("/a/", 0, History(Changes(0, ())))
    with anyio.move_on_after(0.02) as scope:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(anext, stream)
            await anyio.wait_all_tasks_blocked()
            watchers.publish([commit(1, "/ab"), commit(2, "/b")])
    assert scope.cancelled_caught


async def test_a_reader_far_behind_goes_back_to_the_backlog() -> None:
    watchers = Watchers(max_pending=3)
    history = History(Changes(1, commit(1, "/a").changes), Changes(6, commit(6, "/everything").changes))
    stream = watchers.watch("/", 0, history)
    await anext(stream)
    watchers.publish([commit(revision, f"/{revision}") for revision in range(2, 7)])
    assert (await anext(stream)).changes == commit(6, "/everything").changes
    assert history.asked == [0, 1]
    watchers.publish([commit(7, "/7")])
    assert await anext(stream) == Changes(7, commit(7, "/7").changes)
    await stream.aclose()


async def test_closing_wakes_and_ends_every_watch() -> None:
    watchers = Watchers()

    async def follow() -> None:
        with pytest.raises(Unavailable, match="closed"):
            await anext(watchers.watch("/", 0, History(Changes(0, ()))))
        ended.append(True)

    ended: list[bool] = []
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(follow)
            tasks.start_soon(follow)
            await anyio.wait_all_tasks_blocked()
            watchers.close(Unavailable("closed"))
    assert ended == [True, True]
    await follow()
