"""What every network driver must do. Subclass `NetworkContract` with a `bench` fixture; see tests/contract."""

from __future__ import annotations

import ipaddress
from collections.abc import Awaitable
from typing import Protocol

import anyio

from zlayer.model.errors import Invalid
from zlayer.network.contract import Attachment, Network

SUBNET = "10.71.16.0/24"
GATEWAY = "10.71.16.1"


def address(number: int) -> str:
    """The `number`-th address of the suite's subnet; 2 is the first a container may have."""
    return str(ipaddress.IPv4Network(SUBNET).network_address + number)


class NetworkBench(Protocol):
    """A driver over `SUBNET` with nothing attached yet. `restart` gives a new driver over the same kernel."""

    def network(self) -> Network: ...
    async def restart(self) -> Network: ...


async def invalid(call: Awaitable[object]) -> None:
    """The call is refused as `Invalid`; anything else fails the test."""
    try:
        await call
    except Invalid:
        return
    raise AssertionError("nothing was refused, Invalid expected")


class NetworkContract:
    async def test_attach_gives_the_namespace_the_address_and_the_gateway(self, bench: NetworkBench) -> None:
        got = await bench.network().attach("shop-web-0-aa", address(2))
        assert (got.owner, got.address, got.gateway) == ("shop-web-0-aa", address(2), GATEWAY)
        assert got.netns.is_absolute()

    async def test_attach_again_is_the_same_answer_also_after_a_restart(self, bench: NetworkBench) -> None:
        first = await bench.network().attach("a", address(2))
        assert await bench.network().attach("a", address(2)) == first
        again = await bench.restart()
        assert await again.attach("a", address(2)) == first
        assert list(await again.list()) == ["a"]

    async def test_attach_needs_no_ensure_and_ensure_doubles_nothing(self, bench: NetworkBench) -> None:
        await bench.network().attach("a", address(2))
        await bench.network().ensure()
        await bench.network().ensure()
        assert list(await bench.network().list()) == ["a"]

    async def test_without_an_address_there_is_no_gateway(self, bench: NetworkBench) -> None:
        got = await bench.network().attach("lonely", None)
        assert (got.address, got.gateway) == (None, None)
        assert list(await bench.network().list()) == ["lonely"]

    async def test_another_address_replaces_the_first(self, bench: NetworkBench) -> None:
        first = await bench.network().attach("a", address(2))
        second = await bench.network().attach("a", address(3))
        assert second == Attachment("a", first.netns, address(3), GATEWAY)
        isolated = await bench.network().attach("a", None)
        assert isolated.address is None
        assert list(await bench.network().list()) == ["a"]

    async def test_owners_have_namespaces_of_their_own(self, bench: NetworkBench) -> None:
        got = [await bench.network().attach(f"o{n}", address(n + 2)) for n in range(3)]
        assert len({a.netns for a in got}) == 3
        assert list(await bench.network().list()) == ["o0", "o1", "o2"]

    async def test_many_at_once(self, bench: NetworkBench) -> None:
        async with anyio.create_task_group() as tasks:
            for number in range(12):
                tasks.start_soon(bench.network().attach, f"o{number:02}", address(number + 2))
        assert list(await bench.network().list()) == [f"o{n:02}" for n in range(12)]
        async with anyio.create_task_group() as tasks:
            for number in range(12):
                tasks.start_soon(bench.network().detach, f"o{number:02}")
        assert list(await bench.network().list()) == []

    async def test_the_same_owner_at_once_is_one_namespace(self, bench: NetworkBench) -> None:
        got: list[Attachment] = []

        async def attach() -> None:
            got.append(await bench.network().attach("a", address(2)))

        async with anyio.create_task_group() as tasks:
            for _ in range(5):
                tasks.start_soon(attach)
        assert len(set(got)) == 1
        assert list(await bench.network().list()) == ["a"]

    async def test_detach_is_idempotent_and_unknown_owners_are_fine(self, bench: NetworkBench) -> None:
        await bench.network().detach("nobody")
        await bench.network().attach("a", address(2))
        await bench.network().detach("a")
        await bench.network().detach("a")
        assert list(await bench.network().list()) == []

    async def test_an_address_can_be_given_again(self, bench: NetworkBench) -> None:
        await bench.network().attach("a", address(2))
        await bench.network().detach("a")
        got = await bench.network().attach("b", address(2))
        assert got.address == address(2)
        assert list(await bench.network().list()) == ["b"]

    async def test_destroy_takes_everything_and_is_not_the_end(self, bench: NetworkBench) -> None:
        await bench.network().destroy()
        await bench.network().attach("a", address(2))
        await bench.network().destroy()
        await bench.network().destroy()
        assert list(await bench.network().list()) == []
        await bench.network().attach("a", address(2))
        assert list(await bench.network().list()) == ["a"]

    async def test_impossible_addresses_are_refused(self, bench: NetworkBench) -> None:
        for wrong in (address(0), GATEWAY, address(255), "10.99.0.2", "fe80::1", "", "10.71.16.2/24"):
            await invalid(bench.network().attach("a", wrong))
        assert list(await bench.network().list()) == []

    async def test_impossible_owners_are_refused(self, bench: NetworkBench) -> None:
        for wrong in ("", ".", "..", "../a", "a/b", "x" * 201):
            await invalid(bench.network().attach(wrong, address(2)))
        assert list(await bench.network().list()) == []
