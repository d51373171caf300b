"""What every network driver must do. Subclass `NetworkContract` with a `bench` fixture; see tests/contract."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Protocol

import anyio

from zlayer.model.errors import Conflict, Invalid, NotFound
from zlayer.model.fabric import Fabric, Forward, Reach, Subnet, Target
from zlayer.network.contract import Attachment, Network

POOL, POOL6 = "10.71.0.0/17", "fd7a:7116::/48"
SUBNET = Subnet("shop", 64, ("10.71.16.0/26", "10.71.17.0/26"), ("fd7a:7116:0:40::/64", "fd7a:7116:0:44::/64"))
OTHER = Subnet("blog", 65, ("10.71.16.64/26",))
GATEWAY, GATEWAY6 = "10.71.16.1", "fd7a:7116:0:40::1"


def address(number: int) -> str:
    """The `number`-th address of the suite's subnet; 2 is the first a container may have."""
    return f"10.71.16.{number}"


def address6(number: int) -> str:
    return f"fd7a:7116:0:40::{number:x}"


async def conflict(call: Awaitable[object]) -> tuple[str, set[str]]:
    """The words of the `Conflict` that the call raises, and whom it concerns."""
    try:
        await call
    except Conflict as error:
        return error.message, {one.path for one in error.problems}
    raise AssertionError("nothing was refused, Conflict expected")


class NetworkBench(Protocol):
    """A driver over `POOL` with nothing attached yet.

    `occupy` makes a port of the node another program's; `restart` gives a new driver over the same kernel.
    """

    def network(self) -> Network: ...
    async def restart(self) -> Network: ...
    def occupy(self, port: int) -> None: ...


async def invalid(call: Awaitable[object]) -> None:
    """The call is refused as `Invalid`; anything else fails the test."""
    try:
        await call
    except Invalid:
        return
    raise AssertionError("nothing was refused, Invalid expected")


class NetworkContract:
    async def test_attach_gives_the_namespace_the_address_and_the_gateway(self, bench: NetworkBench) -> None:
        got = await bench.network().attach("shop-web-0-aa", address(2), SUBNET)
        assert (got.owner, got.address, got.gateway) == ("shop-web-0-aa", address(2), GATEWAY)
        assert (got.address6, got.gateway6) == (address6(2), GATEWAY6)
        assert got.netns.is_absolute()

    async def test_attach_again_is_the_same_answer_also_after_a_restart(self, bench: NetworkBench) -> None:
        first = await bench.network().attach("a", address(2), SUBNET)
        assert await bench.network().attach("a", address(2), SUBNET) == first
        again = await bench.restart()
        assert await again.attach("a", address(2), SUBNET) == first
        assert list(await again.list()) == ["a"]

    async def test_attach_needs_no_ensure_and_ensure_doubles_nothing(self, bench: NetworkBench) -> None:
        await bench.network().attach("a", address(2), SUBNET)
        await bench.network().ensure()
        await bench.network().ensure()
        assert list(await bench.network().list()) == ["a"]

    async def test_without_an_address_there_is_no_gateway(self, bench: NetworkBench) -> None:
        got = await bench.network().attach("lonely", None)
        assert (got.address, got.gateway) == (None, None)
        assert list(await bench.network().list()) == ["lonely"]

    async def test_another_address_replaces_the_first(self, bench: NetworkBench) -> None:
        first = await bench.network().attach("a", address(2), SUBNET)
        second = await bench.network().attach("a", address(3), SUBNET)
        assert second == Attachment("a", first.netns, address(3), GATEWAY, address6(3), GATEWAY6)
        isolated = await bench.network().attach("a", None)
        assert isolated.address is None
        assert list(await bench.network().list()) == ["a"]

    async def test_owners_have_namespaces_of_their_own(self, bench: NetworkBench) -> None:
        got = [await bench.network().attach(f"o{n}", address(n + 2), SUBNET) for n in range(3)]
        assert len({a.netns for a in got}) == 3
        assert list(await bench.network().list()) == ["o0", "o1", "o2"]

    async def test_many_at_once(self, bench: NetworkBench) -> None:
        async with anyio.create_task_group() as tasks:
            for number in range(12):
                tasks.start_soon(bench.network().attach, f"o{number:02}", address(number + 2), SUBNET)
        assert list(await bench.network().list()) == [f"o{n:02}" for n in range(12)]
        async with anyio.create_task_group() as tasks:
            for number in range(12):
                tasks.start_soon(bench.network().detach, f"o{number:02}")
        assert list(await bench.network().list()) == []

    async def test_the_same_owner_at_once_is_one_namespace(self, bench: NetworkBench) -> None:
        got: list[Attachment] = []

        async def attach() -> None:
            got.append(await bench.network().attach("a", address(2), SUBNET))

        async with anyio.create_task_group() as tasks:
            for _ in range(5):
                tasks.start_soon(attach)
        assert len(set(got)) == 1
        assert list(await bench.network().list()) == ["a"]

    async def test_detach_is_idempotent_and_unknown_owners_are_fine(self, bench: NetworkBench) -> None:
        await bench.network().detach("nobody")
        await bench.network().attach("a", address(2), SUBNET)
        await bench.network().detach("a")
        await bench.network().detach("a")
        assert list(await bench.network().list()) == []

    async def test_an_address_can_be_given_again(self, bench: NetworkBench) -> None:
        await bench.network().attach("a", address(2), SUBNET)
        await bench.network().detach("a")
        got = await bench.network().attach("b", address(2), SUBNET)
        assert got.address == address(2)
        assert list(await bench.network().list()) == ["b"]

    async def test_destroy_takes_everything_and_is_not_the_end(self, bench: NetworkBench) -> None:
        await bench.network().destroy()
        await bench.network().attach("a", address(2), SUBNET)
        await bench.network().destroy()
        await bench.network().destroy()
        assert list(await bench.network().list()) == []
        await bench.network().attach("a", address(2), SUBNET)
        assert list(await bench.network().list()) == ["a"]

    async def test_impossible_addresses_are_refused(self, bench: NetworkBench) -> None:
        for wrong in (address(0), GATEWAY, address(63), address(66), "10.99.0.2", "fe80::1", "", "10.71.16.2/26"):
            await invalid(bench.network().attach("a", wrong, SUBNET))
        await invalid(bench.network().attach("a", address(2)))
        assert list(await bench.network().list()) == []

    async def test_impossible_owners_are_refused(self, bench: NetworkBench) -> None:
        for wrong in ("", ".", "..", "../a", "a/b", "x" * 201):
            await invalid(bench.network().attach(wrong, address(2), SUBNET))
        assert list(await bench.network().list()) == []

    async def test_a_further_block_has_the_gateway_of_the_first(self, bench: NetworkBench) -> None:
        got = await bench.network().attach("a", "10.71.17.9", SUBNET)
        assert (got.gateway, got.gateway6) == (GATEWAY, GATEWAY6)
        assert got.address6 == "fd7a:7116:0:44::9"

    async def test_where_there_is_no_ipv6_there_is_none(self, bench: NetworkBench) -> None:
        got = await bench.network().attach("a", "10.71.16.66", OTHER)
        assert (got.gateway, got.address6, got.gateway6) == ("10.71.16.65", None, None)

    async def test_a_namespace_is_shared_while_it_is_there(self, bench: NetworkBench) -> None:
        first = await bench.network().attach("a", address(2), SUBNET)
        assert (await bench.network().join("a")).netns == first.netns
        await bench.network().detach("a")
        try:
            await bench.network().join("a")
        except NotFound:
            return
        raise AssertionError("the namespace of one that is gone was shared")

    async def test_a_fabric_is_applied_whole_again_and_after_a_restart(self, bench: NetworkBench) -> None:
        await bench.network().attach("a", address(2), SUBNET)
        target = Target("a", address(2), 80)
        forwards = (Forward("tcp", 8080, targets=(target,)), Forward("udp", 53, GATEWAY, (target,)))
        fabric = Fabric(1, (SUBNET, OTHER), (Reach(address(2), "blog"),), forwards)
        await bench.network().apply(fabric)
        await bench.network().apply(fabric)
        again = await bench.restart()
        await again.apply(fabric)
        await again.apply(Fabric())
        assert list(await again.list()) == ["a"]

    async def test_a_port_of_another_program_is_told_and_the_rest_is_in_force(self, bench: NetworkBench) -> None:
        bench.occupy(8080)
        fabric = Fabric(1, (SUBNET,), (), (Forward("tcp", 8080, owner="shop/web"), Forward("tcp", 8081)))
        for _ in range(2):
            told, whose = await conflict(bench.network().apply(fabric))
            assert "tcp port 8080" in told
            assert whose == {"shop/web"}
        await bench.network().apply(Fabric(1, (SUBNET,), (), (Forward("tcp", 8081),)))

    async def test_without_traffic_there_are_no_flows(self, bench: NetworkBench) -> None:
        await bench.network().attach("a", address(2), SUBNET)
        assert await bench.network().flows([address(2), "10.99.0.1"]) == {}
        assert await bench.network().flows([]) == {}
