from __future__ import annotations

import asyncio

import anyio
import pytest

from zlayer.model.errors import Exhausted, Invalid, Unavailable
from zlayer.store.leases import HeldLease, Orphans

pytestmark = pytest.mark.anyio


class Keeper:
    def __init__(self, fails: list[Exception] | None = None) -> None:
        self.calls: list[tuple[str, object]] = []
        self.fails = fails or []
        self.ended = anyio.Event()

    async def grant(self, name: str, ttl: float) -> int:
        await asyncio.sleep(0)
        self.calls.append(("grant", name))
        return 7

    def end(self, lease_id: int) -> asyncio.Future[None]:
        self.calls.append(("end", lease_id))
        done = asyncio.get_running_loop().create_future()
        if self.fails:
            done.set_exception(self.fails.pop(0))
        else:
            done.set_result(None)
            self.ended.set()
        return done

    def orphan(self, lease_id: int, ttl: float) -> None:
        self.calls.append(("orphan", (lease_id, ttl)))


async def test_a_lease_is_granted_and_ended() -> None:
    keeper = Keeper()
    async with HeldLease(keeper, "leader", 5) as lease:
        assert lease.id == 7
    assert keeper.calls == [("grant", "leader"), ("end", 7)]


async def test_an_abandoned_lease_is_left_to_its_time() -> None:
    keeper = Keeper()
    async with HeldLease(keeper, "leader", 5) as lease:
        lease.abandon()
    assert keeper.calls == [("grant", "leader"), ("orphan", (7, 5))]


async def test_a_closed_store_is_no_error_for_a_leaving_lease() -> None:
    keeper = Keeper([Unavailable("closed")])
    async with HeldLease(keeper, "leader", 5):
        pass
    assert keeper.calls[-1] == ("end", 7)


async def test_a_cancelled_holder_still_ends_its_lease() -> None:
    keeper = Keeper()
    with anyio.CancelScope() as scope:
        async with HeldLease(keeper, "leader", 5):
            scope.cancel()
            await anyio.sleep_forever()
    assert keeper.calls[-1] == ("end", 7)


async def test_a_lease_lives_more_than_no_time() -> None:
    with pytest.raises(Invalid):
        HeldLease(Keeper(), "leader", 0)


async def test_an_orphan_ends_after_its_time() -> None:
    keeper = Keeper()
    orphans = Orphans(keeper.end)
    orphans.add(3, 0.01)
    with anyio.fail_after(10):
        await keeper.ended.wait()
    assert keeper.calls == [("end", 3)]
    orphans.close()


async def test_an_orphan_that_cannot_end_is_tried_again() -> None:
    keeper = Keeper([Exhausted("disk full")])
    orphans = Orphans(keeper.end)
    orphans.add(3, 0.01)
    with anyio.fail_after(10):
        await keeper.ended.wait()
    assert keeper.calls == [("end", 3), ("end", 3)]
    orphans.close()


async def test_closing_leaves_no_timer() -> None:
    keeper = Keeper()
    orphans = Orphans(keeper.end)
    orphans.add(3, 0.005)
    orphans.close()
    await anyio.sleep(0.03)
    assert keeper.calls == []
