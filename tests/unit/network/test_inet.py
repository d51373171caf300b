from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest

from zlayer.network import inet, links
from zlayer.network.netlink import Netlink
from zlayer.testing.netns import namespace, run_inside

pytestmark = pytest.mark.root
T = TypeVar("T")


def within(host: Path, work: Callable[[Netlink], T]) -> T:
    def body() -> T:
        with Netlink() as netlink:
            return work(netlink)

    return run_inside(host, body)


def bridge(netlink: Netlink) -> int:
    links.add_bridge(netlink, "br0", mac="02:00:00:00:00:01", mtu=1400)
    made = links.get_link(netlink, "br0")
    assert made is not None
    return made.index


def test_configure_gives_loopback_addresses_and_default_routes_of_both_families(host: Path) -> None:
    def pair(netlink: Netlink) -> None:
        descriptor = os.open(other, os.O_RDONLY)
        try:
            links.add_veth(netlink, links.Veth("v0", "eth0", "02:7a:0a:40:00:02", 1400), descriptor)
        finally:
            os.close(descriptor)

    def configure(netlink: Netlink) -> tuple[set[str], list[str], bool]:
        far = links.get_link(netlink, "eth0")
        assert far is not None
        for _ in range(2):
            own = ("10.64.0.2/26", "fd7a:1::2/64")
            inet.configure(netlink, far.index, own, ("10.64.0.1", "fd7a:1::1"))
        lo = links.get_link(netlink, "lo")
        reached = [r.destination for r in inet.routes(netlink) if r.link == far.index]
        return inet.addresses(netlink)[far.index], sorted(reached), lo is not None and lo.up

    with namespace() as other:
        within(host, pair)
        assert within(other, configure) == (
            {"10.64.0.2/26", "fd7a:1::2/64"},
            ["0.0.0.0/0", "10.64.0.0/26", "::/0", "fd7a:1::/64"],
            True,
        )


@pytest.mark.parametrize("address", ["10.64.0.1/26", "fd7a:1::1/64"])
def test_addresses_come_and_go(host: Path, address: str) -> None:
    def body(netlink: Netlink) -> list[set[str]]:
        index = bridge(netlink)
        inet.add_address(netlink, index, address)
        inet.add_address(netlink, index, address)
        first = inet.addresses(netlink).get(index, set())
        inet.delete_address(netlink, index, address)
        return [first, inet.addresses(netlink).get(index, set())]

    assert within(host, body) == [{address}, set()]


@pytest.mark.parametrize("pool", ["10.64.0.0/17", "fd7a:1::/48"])
def test_a_claim_is_an_unreachable_route_of_its_own_metric_and_two_may_hold_one(host: Path, pool: str) -> None:
    def body(netlink: Netlink) -> tuple[list[int], list[int]]:
        for metric in (7, 7, 8):
            inet.claim(netlink, pool, metric)
        held = [r.priority for r in inet.routes(netlink) if r.unreachable and r.destination == pool]
        inet.disclaim(netlink, pool, 7)
        inet.disclaim(netlink, pool, 7)
        left = [r for r in inet.routes(netlink) if r.destination == pool]
        assert {r.protocol for r in left} == {inet.PROTOCOL}
        return sorted(held), [r.priority for r in left]

    assert within(host, body) == ([7, 8], [8])
