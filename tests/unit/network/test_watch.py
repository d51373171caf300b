from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from zlayer.network import inet, links, nft
from zlayer.network.netlink import Netlink
from zlayer.network.nfnetlink import generation, open_netfilter
from zlayer.network.rules import Site
from zlayer.network.watch import Watch
from zlayer.testing.netns import run_inside

pytestmark = [pytest.mark.anyio, pytest.mark.root]
TABLE = "zlayer_c0ffee12"
SITE = Site("c0ffee12", "10.71.0.0/17", "fd7a:7100::/48")


@pytest.fixture
async def watch(host: Path) -> AsyncIterator[Watch]:
    made = run_inside(host, lambda: Watch(SITE, TABLE))
    try:
        yield made
    finally:
        made.close()


def bridge(name: str) -> Callable[[Netlink], None]:
    return lambda netlink: links.add_bridge(netlink, name, mac="02:00:00:00:00:01", mtu=1500)


def claim_and_back(pool: str) -> Callable[[Netlink], None]:
    def do(netlink: Netlink) -> None:
        inet.claim(netlink, pool, 7)
        inet.disclaim(netlink, pool, 7)

    return do


DEEDS: dict[str, Callable[[Netlink], object]] = {
    "bridge": bridge("zlc0ffee12-0"),
    "claim": claim_and_back(SITE.pool),
    "claim6": claim_and_back(SITE.pool6),
    "address": lambda netlink: inet.add_address(netlink, links.LOOPBACK, "10.71.0.1/26"),
    "rules": lambda _: nft.run(f"add table inet {TABLE}"),
}


@pytest.mark.parametrize("deed", DEEDS)
async def test_what_may_be_ours_stirs(watch: Watch, host: Path, deed: str) -> None:
    def do() -> None:
        with Netlink() as netlink:
            DEEDS[deed](netlink)

    run_inside(host, do)
    await asyncio.wait_for(watch.stirred(), 10)


async def test_what_is_not_ours_does_not_and_our_table_is_told_with_its_generation(watch: Watch, host: Path) -> None:
    def do() -> int:
        with Netlink() as netlink:
            bridge("br0")(netlink)
            inet.add_address(netlink, links.LOOPBACK, "192.0.2.1/32")
        nft.run("add table inet other")
        nft.run(f"add table inet {TABLE}")
        with open_netfilter() as netlink:
            return generation(netlink)

    made = run_inside(host, do)
    await asyncio.wait_for(watch.stirred(), 10)
    assert watch.take() == {made}
    assert watch.take() == set()
