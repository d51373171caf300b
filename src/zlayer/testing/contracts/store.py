"""What every store driver must do. Subclass `StoreContract` with a `reopen` fixture; see tests/contract.

`reopen` is a function that gives a new, not yet entered handle on the same stored data: a restart of the daemon.
`store_machine` holds the same drivers to a model, in random order.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing

import anyio
import pytest

from zlayer.model.errors import Compacted, Conflict, Invalid, Unavailable
from zlayer.store.contract import Change, Changes, Item, Lease, Store

Reopen = Callable[[], Store]
PATIENCE = 20.0
"""Seconds until a wait that must end counts as a failure."""


async def following(stream: AsyncGenerator[Changes, None]) -> Changes:
    """The next `Changes`; `TimeoutError` where nothing comes."""
    with anyio.fail_after(PATIENCE):
        return await anext(stream)


async def values(store: Store, prefix: str = "/") -> dict[str, bytes]:
    return {item.key: item.value for item in (await store.list(prefix)).items}


class CommitContract:
    """get, list and commit."""

    async def test_an_empty_store_is_at_revision_0(self, reopen: Reopen) -> None:
        async with reopen() as store:
            assert await store.get("/a") is None
            listing = await store.list("/")
            assert (listing.items, listing.revision) == ((), 0)

    async def test_an_item_knows_its_revisions(self, reopen: Reopen) -> None:
        async with reopen() as store:
            assert await store.commit({"/a": b"1"}) == 1
            assert await store.commit({"/b": b"x", "/a": b"2"}) == 2
            assert await store.get("/a") == Item("/a", b"2", created=1, modified=2)
            await store.commit(deletes=["/a"])
            await store.commit({"/a": b"3"})
            assert await store.get("/a") == Item("/a", b"3", created=4, modified=4)

    async def test_a_list_is_in_key_order_and_stops_at_its_prefix(self, reopen: Reopen) -> None:
        async with reopen() as store:
            await store.commit(dict.fromkeys(("/b/~", "/b/~~", "/b/2", "/b", "/b/10", "/c", "/b0", "/B/1"), b"1"))
            assert [item.key for item in (await store.list("/b/")).items] == ["/b/10", "/b/2", "/b/~", "/b/~~"]
            assert [item.key for item in (await store.list("/b/~")).items] == ["/b/~", "/b/~~"]
            assert len((await store.list("/")).items) == 8

    async def test_a_guard_that_fails_applies_nothing(self, reopen: Reopen) -> None:
        async with reopen() as store:
            revision = await store.commit({"/a": b"1"})
            for expect in ({"/a": 0}, {"/a": revision + 1}, {"/b": revision}, {"/a": revision, "/c": 3}):
                with pytest.raises(Conflict) as refused:
                    await store.commit({"/a": b"2", "/b": b"2"}, expect=expect)
                assert refused.value.hint
            assert await values(store) == {"/a": b"1"}
            assert await store.commit({"/a": b"2"}, expect={"/a": revision, "/b": 0}) == revision + 1

    async def test_a_guard_may_watch_over_keys_the_batch_does_not_touch(self, reopen: Reopen) -> None:
        async with reopen() as store:
            epoch = await store.commit({"/leader": b"me"})
            await store.commit({"/work": b"1"}, expect={"/leader": epoch})
            await store.commit({"/leader": b"you"})
            with pytest.raises(Conflict):
                await store.commit({"/work": b"2"}, expect={"/leader": epoch})
            assert await values(store, "/work") == {"/work": b"1"}

    async def test_deleting_what_is_absent_takes_a_revision(self, reopen: Reopen) -> None:
        async with reopen() as store:
            assert await store.commit(deletes=["/a", "/a"]) == 1
            assert await store.commit() == 2
            assert (await store.list("/")).revision == 2

    @pytest.mark.parametrize(
        ("puts", "deletes"),
        [
            ({"a": b"1"}, []),
            ({"": b"1"}, []),
            ({"/é": b"1"}, []),
            ({"/a\n": b"1"}, []),
            ({"/" + "a" * 2000: b"1"}, []),
            ({"/a": b"\xff"}, []),
            ({"/a": b"x" * (1 << 20) + b"x"}, []),
            ({"/a": b"1"}, ["/a"]),
            ({}, ["b"]),
        ],
    )
    async def test_a_bad_batch_is_refused_whole(
        self, reopen: Reopen, puts: Mapping[str, bytes], deletes: list[str]
    ) -> None:
        async with reopen() as store:
            with pytest.raises(Invalid):
                await store.commit({"/good": b"1", **puts}, deletes)
            assert await values(store) == {}

    async def test_a_value_may_have_a_mebibyte(self, reopen: Reopen) -> None:
        async with reopen() as store:
            await store.commit({"/a": b"x" * (1 << 20), "/b": '"é"'.encode()})
            assert (await values(store))["/b"] == '"é"'.encode()

    async def test_one_of_many_writers_of_a_revision_wins(self, reopen: Reopen) -> None:
        won: list[int] = []

        async def write(store: Store, number: int) -> None:
            try:
                await store.commit({"/a": b"%d" % number, f"/by/{number}": b"1"}, expect={"/a": 0})
            except Conflict:
                return
            won.append(number)

        async with reopen() as store:
            async with anyio.create_task_group() as tasks:
                for number in range(40):
                    tasks.start_soon(write, store, number)
            assert len(won) == 1
            assert await values(store) == {"/a": b"%d" % won[0], f"/by/{won[0]}": b"1"}
            assert (await store.list("/")).revision == 1

    async def test_concurrent_commits_get_revisions_of_their_own(self, reopen: Reopen) -> None:
        revisions: dict[int, int] = {}

        async def write(store: Store, number: int) -> None:
            revisions[number] = await store.commit({f"/k/{number}": b"1", "/last": b"%d" % number})
            assert (await store.get(f"/k/{number}")) is not None

        async with reopen() as store:
            async with anyio.create_task_group() as tasks:
                for number in range(60):
                    tasks.start_soon(write, store, number)
            assert sorted(revisions.values()) == list(range(1, 61))
            listed = {item.key: item.modified for item in (await store.list("/k/")).items}
            assert listed == {f"/k/{number}": revision for number, revision in revisions.items()}

    async def test_state_and_revision_survive_reopening(self, reopen: Reopen) -> None:
        async with reopen() as store:
            await store.commit({"/a": b"1", "/b": b"1"})
            await store.commit(deletes=["/b"])
        async with reopen() as store:
            assert (await store.list("/")).items == (Item("/a", b"1", 1, 1),)
            assert await store.commit({"/c": b"1"}) == 3

    async def test_a_closed_store_says_so(self, reopen: Reopen) -> None:
        store = reopen()
        with pytest.raises(Unavailable):
            await store.get("/a")
        async with store:
            await store.commit({"/a": b"1"})
        for call in (store.get("/a"), store.commit({"/a": b"2"}), store.compact(1)):
            with pytest.raises(Unavailable):
                await call
        with pytest.raises(Unavailable):
            await store.list("/")


class WatchContract:
    """watch and compact."""

    async def test_history_then_live_changes(self, reopen: Reopen) -> None:
        async with reopen() as store:
            await store.commit({"/a/1": b"1", "/b": b"1"})
            await store.commit({"/a/2": b"1"})
            async with aclosing(store.watch("/a/", 1)) as stream:
                item = Item("/a/2", b"1", 2, 2)
                assert await following(stream) == Changes(2, (Change("/a/2", item),))
                await store.commit({"/b": b"2"})
                await store.commit(deletes=["/a/1"])
                assert await following(stream) == Changes(4, (Change("/a/1", None),))

    async def test_history_is_told_in_order_of_last_changes(self, reopen: Reopen) -> None:
        async with reopen() as store:
            for number in range(5):
                await store.commit({f"/{number}": b"1"})
            await store.commit({"/1": b"2"}, deletes=["/3"])
            await store.commit({"/3": b"again"})
            await store.commit(deletes=["/0"])
            async with aclosing(store.watch("/", 1)) as stream:
                found = await following(stream)
        assert found.revision == 8
        assert [change.key for change in found.changes] == ["/2", "/4", "/1", "/3", "/0"]
        assert [change.item is None for change in found.changes] == [False, False, False, False, True]

    async def test_a_slow_reader_gets_last_states(self, reopen: Reopen) -> None:
        async with reopen() as store, aclosing(store.watch("/", 0)) as stream:
            await store.commit({"/a": b"0"})
            await following(stream)
            for number in range(30):
                await store.commit({"/a": b"%d" % number, f"/k/{number % 3}": b"1"})
            seen: dict[str, Item | None] = {}
            last = 1
            while last < 31:
                found = await following(stream)
                assert found.revision > last
                last = found.revision
                assert len({change.key for change in found.changes}) == len(found.changes)
                seen |= {change.key: change.item for change in found.changes}
            assert seen["/a"] == Item("/a", b"29", 1, 31)
            assert {key: item.modified for key, item in seen.items() if item} == {
                "/a": 31, "/k/0": 29, "/k/1": 30, "/k/2": 31
            }  # fmt: skip

    async def test_every_watcher_sees_every_change(self, reopen: Reopen) -> None:
        seen: list[list[str]] = [[] for _ in range(20)]

        async def follow(store: Store, mine: list[str]) -> None:
            async with aclosing(store.watch("/k/", 0)) as stream:
                while len(mine) < 50:
                    mine += [change.key for change in (await following(stream)).changes]

        async with reopen() as store, anyio.create_task_group() as tasks:
            for mine in seen:
                tasks.start_soon(follow, store, mine)
            for number in range(50):
                await store.commit({f"/k/{number:02}": b"1"})
        assert seen == [[f"/k/{number:02}" for number in range(50)]] * 20

    async def test_compaction_ends_the_past_only(self, reopen: Reopen) -> None:
        async with reopen() as store:
            for number in range(1, 6):
                await store.commit({"/a": b"%d" % number})
            await store.compact(4)
            await store.compact(4)
            await store.compact(2)
            for after in (0, 2):
                with pytest.raises(Compacted):
                    await following(store.watch("/", after))
            async with aclosing(store.watch("/", 3)) as stream:
                assert (await following(stream)).revision == 5
            assert await store.get("/a") == Item("/a", b"5", 1, 5)

    async def test_compaction_cannot_reach_the_future_and_is_kept(self, reopen: Reopen) -> None:
        async with reopen() as store:
            await store.commit({"/a": b"1"}, ["/b"])
            await store.compact(1000)
        async with reopen() as store:
            with pytest.raises(Compacted):
                await following(store.watch("/", 0))
            async with aclosing(store.watch("/", 1)) as stream:
                await store.commit({"/b": b"1"})
                assert (await following(stream)).revision == 2

    async def test_closing_the_store_ends_its_watches(self, reopen: Reopen) -> None:
        async def follow(store: Store) -> None:
            stream = store.watch("/", 0)
            seen.append((await anext(stream)).revision)
            first.set()
            with pytest.raises(Unavailable):
                await anext(stream)

        seen: list[int] = []
        first = anyio.Event()
        with anyio.fail_after(PATIENCE):
            async with anyio.create_task_group() as tasks, reopen() as store:
                tasks.start_soon(follow, store)
                await store.commit({"/a": b"1"})
                await first.wait()
        assert seen == [1]

    async def test_a_cancelled_watch_leaves_the_store_working(self, reopen: Reopen) -> None:
        async with reopen() as store:
            stream = store.watch("/", 0)
            with anyio.move_on_after(0.01) as scope:
                await anext(stream)
            assert scope.cancelled_caught
            await stream.aclose()
            assert await store.commit({"/a": b"1"}) == 1


class LeaseContract:
    """hold."""

    async def test_keys_go_with_their_lease_in_one_commit(self, reopen: Reopen) -> None:
        async with reopen() as store:
            async with store.hold("leader", 3600) as lease:
                await store.commit({"/leader": b"me", "/seat": b"1"}, lease=lease)
                await store.commit({"/other": b"1"})
                assert await values(store) == {"/leader": b"me", "/seat": b"1", "/other": b"1"}
                stream = store.watch("/", 2)
            assert await values(store) == {"/other": b"1"}
            found = await following(stream)
            assert (found.revision, {c.key: c.item for c in found.changes}) == (3, {"/leader": None, "/seat": None})
            await stream.aclose()

    async def test_a_later_put_takes_a_key_off_its_lease(self, reopen: Reopen) -> None:
        async with reopen() as store:
            async with store.hold("one", 3600) as one, store.hold("two", 3600) as two:
                await store.commit({"/kept": b"1", "/moved": b"1", "/gone": b"1"}, lease=one)
                await store.commit({"/kept": b"2"})
                await store.commit({"/moved": b"2"}, deletes=["/gone"], lease=two)
                await store.commit({"/gone": b"2"})
                await one.__aexit__(None, None, None)
                assert await values(store) == {"/kept": b"2", "/moved": b"2", "/gone": b"2"}
            assert await values(store) == {"/kept": b"2", "/gone": b"2"}

    async def test_ids_grow_over_restarts(self, reopen: Reopen) -> None:
        ids = []
        for _ in range(3):
            async with reopen() as store, store.hold("a", 3600) as one, store.hold("a", 3600) as two:
                ids += [one.id, two.id]
        assert sorted(set(ids)) == ids
        assert ids[0] > 0

    async def test_an_ended_lease_guards_nothing(self, reopen: Reopen) -> None:
        async with reopen() as store:
            lease = store.hold("a", 3600)
            with pytest.raises(Invalid):
                await store.commit({"/a": b"1"}, lease=lease)
            async with lease:
                pass
            with pytest.raises(Conflict):
                await store.commit({"/a": b"1"}, lease=lease)
            assert await store.get("/a") is None

    async def test_a_time_to_live_is_positive(self, reopen: Reopen) -> None:
        async with reopen() as store:
            with pytest.raises(Invalid):
                async with store.hold("a", 0):
                    pass

    async def test_keys_of_a_dead_process_vanish(self, reopen: Reopen) -> None:
        """Closing the store under an open lease leaves what a killed process leaves."""
        short, long = await self._left_behind(reopen)
        async with reopen() as store:
            async with aclosing(store.watch("/", 2)) as stream:
                found = await following(stream)
            assert found == Changes(3, (Change("/short", None),))
            assert await values(store) == {"/long": b"1"}
        assert short.id < long.id

    async def _left_behind(self, reopen: Reopen) -> tuple[Lease, Lease]:
        store = reopen()
        async with store:
            short = await store.hold("short", 0.05).__aenter__()
            long = await store.hold("long", 3600).__aenter__()
            await store.commit({"/short": b"1"}, lease=short)
            await store.commit({"/long": b"1"}, lease=long)
        return short, long


@pytest.mark.anyio
class StoreContract(CommitContract, WatchContract, LeaseContract):
    """All of it."""
