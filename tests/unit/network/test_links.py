from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from zlayer.network import links
from zlayer.network.netlink import Netlink
from zlayer.testing.netns import namespace, run_inside

pytestmark = pytest.mark.root
MAC = "02:7a:0a:40:00:02"


def within(host: Path, work: Callable[[Netlink], object]) -> object:
    def body() -> object:
        with Netlink() as netlink:
            return work(netlink)

    return run_inside(host, body)


def pair(netlink: Netlink, other: Path, master: int = 0) -> None:
    descriptor = os.open(other, os.O_RDONLY)
    try:
        links.add_veth(netlink, links.Veth("v0", "eth0", MAC, 1400, group=77, master=master), descriptor)
    finally:
        os.close(descriptor)


def bridge(netlink: Netlink) -> links.Link:
    links.add_bridge(netlink, "br0", mac="02:00:00:00:00:01", mtu=1400)
    made = links.get_link(netlink, "br0")
    assert made is not None
    return made


def test_a_bridge_has_the_mac_and_mtu_given_and_is_up(host: Path) -> None:
    made = within(host, bridge)
    assert isinstance(made, links.Link)
    assert (made.name, made.mac, made.mtu, made.up, made.master) == ("br0", "02:00:00:00:00:01", 1400, True, 0)


def test_the_same_bridge_twice_is_told(host: Path) -> None:
    within(host, bridge)
    with pytest.raises(FileExistsError):
        within(host, bridge)


def test_an_unknown_link_is_none_and_deleting_it_is_success(host: Path) -> None:
    assert within(host, lambda netlink: links.get_link(netlink, "nosuch")) is None
    within(host, lambda netlink: links.delete_link(netlink, "nosuch"))
    within(host, lambda netlink: links.delete_group(netlink, 12345))


def test_a_pair_is_born_in_two_namespaces_as_a_port(host: Path) -> None:
    def make(netlink: Netlink) -> bool:
        made = bridge(netlink)
        pair(netlink, other, made.index)
        near = links.get_link(netlink, "v0")
        assert near is not None
        links.open_port(netlink, near.index)
        near = links.get_link(netlink, "v0")
        assert near is not None
        return near.master == made.index and near.up

    with namespace() as other:
        assert within(host, make) is True
        far = within(other, lambda netlink: links.get_link(netlink, "eth0"))
        assert isinstance(far, links.Link)
        assert (far.mac, far.mtu) == (MAC, 1400)


@pytest.mark.parametrize("way", ["early", "number", "plain", "group"])
def test_a_deleted_pair_is_gone_on_both_sides_at_once(host: Path, way: str) -> None:
    def delete(netlink: Netlink) -> bool:
        near = links.get_link(netlink, "v0")
        assert near is not None
        if way == "early":
            links.delete_link_early(near.index, aside)
        elif way == "number":
            links.delete_link_at(near.index)
            links.delete_link_at(near.index)
        elif way == "plain":
            links.delete_link(netlink, "v0")
        else:
            links.delete_group(netlink, 77)
        return links.get_link(netlink, "v0") is None

    with namespace() as other, ThreadPoolExecutor(1) as aside:
        within(host, lambda netlink: pair(netlink, other))
        assert within(host, delete) is True
        assert within(other, lambda netlink: links.get_link(netlink, "eth0")) is None


def test_deleting_early_what_is_gone_is_success(host: Path) -> None:
    with ThreadPoolExecutor(1) as aside:
        run_inside(host, lambda: links.delete_link_early(4242, aside))


def test_links_can_be_asked_for_by_kind(host: Path) -> None:
    seen: list[set[str]] = []

    def body(netlink: Netlink) -> None:
        bridge(netlink)
        pair(netlink, other)
        seen.extend({link.name for link in links.links(netlink, kind=kind)} for kind in ("veth", ""))

    with namespace() as other:
        within(host, body)
    assert seen[0] == {"v0"}
    assert seen[1] >= {"br0", "lo", "v0"}


def test_enslave_moves_a_link_under_a_bridge(host: Path) -> None:
    def body(netlink: Netlink) -> bool:
        made = bridge(netlink)
        pair(netlink, other)
        near = links.get_link(netlink, "v0")
        assert near is not None
        links.set_link(netlink, near.index)
        for _ in range(2):
            links.enslave(netlink, near.index, made.index, 78)
        near = links.get_link(netlink, "v0")
        return near is not None and (near.master, near.group) == (made.index, 78)

    with namespace() as other:
        assert within(host, body) is True
