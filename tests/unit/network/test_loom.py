"""How cheaply a change is applied, and what is taken for a disturbance."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import anyio
import pytest

from zlayer.model.fabric import Fabric, Forward, Subnet, Target
from zlayer.network import inet, links, names, nft
from zlayer.network.bridge import BridgeNetwork
from zlayer.network.netlink import Netlink
from zlayer.network.nfnetlink import generation, open_netfilter
from zlayer.network.rules import Site
from zlayer.testing.netns import run_inside

pytestmark = [pytest.mark.anyio, pytest.mark.root]
SITE = Site("c0ffee12", "10.71.0.0/17", "fd7a:7100::/48")
SHOP = Subnet("shop", 0, ("10.71.0.0/26",), ("fd7a:7100::/64",))
BLOG = Subnet("blog", 1, ("10.71.0.64/26",), ("fd7a:7100:0:1::/64",))
BRIDGE, TABLE = names.bridge_name("c0ffee12", 0), names.table_name("c0ffee12")


def fabric(*addresses: str) -> Fabric:
    return Fabric(0, (SHOP, BLOG), (), (Forward("tcp", 8080, "", tuple(Target(a, a, 80) for a in addresses)),))


@pytest.fixture
async def network(host: Path, directory: Path) -> AsyncIterator[BridgeNetwork]:
    made = BridgeNetwork(SITE, directory, host=host)
    try:
        yield made
    finally:
        await made.destroy()
        made.close()


def generations(host: Path) -> int:
    def body() -> int:
        with open_netfilter() as netlink:
            return generation(netlink)

    return run_inside(host, body)


async def test_what_is_in_force_is_not_done_again_and_a_change_is_one_transaction(
    network: BridgeNetwork, host: Path
) -> None:
    await network.apply(fabric("10.71.0.2"))
    before = generations(host)
    await network.apply(fabric("10.71.0.2"))
    assert generations(host) == before
    await network.apply(fabric("10.71.0.2", "10.71.0.3"))
    assert generations(host) == before + 1


HARMS: dict[str, Callable[[Netlink], object]] = {
    "flush": lambda _: nft.run("flush ruleset"),
    "chain": lambda _: nft.run(f"flush chain inet {TABLE} enter"),
    "element": lambda _: nft.run(f"delete element inet {TABLE} forwarded {{ tcp . 8080 }}"),
    "bridge": lambda netlink: links.delete_link(netlink, BRIDGE),
    "down": lambda netlink: links.set_link(netlink, index(netlink), up=False),
    "address": lambda netlink: inet.delete_address(netlink, index(netlink), "10.71.0.1/26"),
    "address6": lambda netlink: inet.delete_address(netlink, index(netlink), "fd7a:7100::1/64"),
    "claim": lambda netlink: inet.disclaim(netlink, SITE.pool, names.claim_priority("c0ffee12")),
    "unplug": lambda netlink: links.enslave(netlink, veth(netlink), 0, names.link_group("c0ffee12", 0)),
    "veth": lambda netlink: links.set_link(netlink, veth(netlink), up=False),
}


def index(netlink: Netlink) -> int:
    found = links.get_link(netlink, BRIDGE)
    assert found is not None
    return found.index


def veth(netlink: Netlink) -> int:
    found = links.get_link(netlink, names.veth_name("c0ffee12", "a"))
    assert found is not None
    return found.index


@pytest.mark.parametrize("harm", HARMS)
async def test_every_harm_is_heard_and_mended(network: BridgeNetwork, host: Path, harm: str) -> None:
    def do() -> None:
        with Netlink() as netlink:
            HARMS[harm](netlink)

    await network.apply(fabric("10.71.0.2"))
    await network.attach("a", "10.71.0.2", SHOP)
    async with anyio.create_task_group() as tasks:
        heard = anyio.Event()

        async def listen() -> None:
            await network.disturbed()
            heard.set()

        tasks.start_soon(listen)
        await network.attach("b", "10.71.0.3", SHOP)  # the first notices, and our own
        run_inside(host, do)
        with anyio.fail_after(20):
            await heard.wait()
    await network.apply(fabric("10.71.0.2"))
    assert "tcp . 8080 : goto tcp-8080" in run_inside(host, lambda: nft.run(f"list map inet {TABLE} ports"))
    assert "ct status dnat accept" in run_inside(host, lambda: nft.run(f"list chain inet {TABLE} enter"))

    def whole() -> bool:
        with Netlink() as netlink:
            bridge, port = links.get_link(netlink, BRIDGE), links.get_link(netlink, names.veth_name("c0ffee12", "a"))
            claims = {route.destination for route in inet.routes(netlink) if route.unreachable}
            assert bridge is not None
            assert port is not None
            assert inet.addresses(netlink)[bridge.index] == {"10.71.0.1/26", "fd7a:7100::1/64"}
            return bridge.up and port.up and port.master == bridge.index and claims == {SITE.pool, SITE.pool6}

    assert run_inside(host, whole)


async def test_what_we_do_and_what_is_not_ours_is_no_disturbance(network: BridgeNetwork, host: Path) -> None:
    def others() -> None:
        nft.run("add table inet other")
        with Netlink() as netlink:
            links.add_bridge(netlink, "br9", mac="02:00:00:00:00:09", mtu=1500)
            links.delete_link(netlink, "br9")

    await network.apply(fabric("10.71.0.2"))
    with anyio.move_on_after(0.5) as undisturbed:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(network.disturbed)
            await network.attach("a", "10.71.0.2", SHOP)
            await network.attach("b", "10.71.0.66", BLOG)
            await network.apply(fabric("10.71.0.2", "10.71.0.3"))
            await network.detach("b")
            await network.apply(Fabric(0, (SHOP,)))
            run_inside(host, others)
            await anyio.sleep_forever()
    assert undisturbed.cancelled_caught
