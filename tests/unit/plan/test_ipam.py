"""Blocks and addresses: nobody gets another's, nothing is given twice, a refusal says why."""

from __future__ import annotations

from contextlib import suppress
from ipaddress import IPv4Address, IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zlayer.model.errors import Exhausted
from zlayer.model.network import Network
from zlayer.plan.ipam import Allotment, one_off_networks, pick, usable
from zlayer.testing.builders import node

POOL = "10.77.0.0/24"


def given_or_none(allotment: Allotment, name: str, after: str | None) -> str | None:
    with suppress(Exhausted):
        return allotment.give(name, after=after)
    return None


@given(st.lists(st.tuples(st.sampled_from("abcde"), st.booleans()), max_size=400))
def test_whatever_is_asked_networks_never_overlap_and_no_address_is_given_twice(steps: list[tuple[str, bool]]) -> None:
    """A booklet of steps: somebody gets an address, or gives its oldest back. Decisions of one step are written."""
    where = node(subnet=POOL)
    networks: dict[str, Network] = {}
    held: dict[str, str] = {}
    last: dict[str, str] = {}
    for name, more in steps:
        mine = [address for address, owner in held.items() if owner == name]
        if not more:
            if mine:
                del held[mine[0]]
            continue
        allotment = Allotment(where, networks.values(), held)
        address = given_or_none(allotment, name, last.get(name))
        if address is None:
            assert len({block for network in networks.values() for block in network.blocks}) == 4
            continue
        assert address not in held
        held[address], last[name] = name, address
        networks |= allotment.changed
    blocks = [block for network in networks.values() for block in network.blocks]
    assert len(set(blocks)) == len(blocks)
    assert len({network.number for network in networks.values()}) == len(networks)
    for address, owner in held.items():
        homes = [block for block in networks[owner].blocks if IPv4Address(address) in IPv4Network(block)]
        assert len(homes) == 1
        inner = IPv4Network(homes[0])
        assert IPv4Address(address) not in (inner.network_address, inner.network_address + 1, inner.broadcast_address)


def test_a_network_grows_by_blocks_until_the_pool_is_full() -> None:
    allotment = Allotment(node(subnet=POOL), [], [])
    got = [allotment.give("shop") for _ in range(4 * 61)]
    assert len(set(got)) == len(got)
    assert allotment.changed["shop"].blocks == tuple(f"10.77.0.{n}/26" for n in (0, 64, 128, 192))
    with pytest.raises(Exhausted, match="the 244 addresses of its network are in use") as caught:
        allotment.give("shop")
    assert "config.toml" in caught.value.hint
    with pytest.raises(Exhausted, match=r"^all 4 blocks"):
        allotment.give("blog")


def test_the_search_goes_on_behind_the_last_address_through_all_blocks() -> None:
    blocks = ("10.0.0.0/29", "10.0.1.0/29")
    assert pick(blocks, set(), after="10.0.0.3") == "10.0.0.4"
    assert pick(blocks, set(), after="10.0.0.6") == "10.0.1.2"
    assert pick(blocks, set(), after="10.0.1.6") == "10.0.0.2"
    assert pick(blocks, set(), after="192.0.2.1") == "10.0.0.2"
    assert pick(blocks, {f"10.0.0.{n}" for n in range(8)} | {f"10.0.1.{n}" for n in range(8)}) is None
    assert pick(("10.0.0.0/31",), set()) is None


def test_old_addresses_in_a_fresh_block_are_stepped_over() -> None:
    old = [f"10.77.0.{n}" for n in range(2, 63)]
    allotment = Allotment(node(subnet=POOL), [], old)
    assert allotment.give("shop") == "10.77.0.66"


def test_a_network_of_another_pool_or_node_is_worth_nothing() -> None:
    mine = Network(node="n1", deployment="shop", number=0, blocks=("10.77.0.0/26",))
    assert usable(mine, node(subnet=POOL))
    assert not usable(mine, node(subnet="10.78.0.0/24"))
    assert not usable(mine, node("n2", subnet=POOL))
    allotment = Allotment(node(subnet="10.78.0.0/24"), [mine], [])
    assert allotment.give("shop") == "10.78.0.2"
    assert allotment.changed["shop"].blocks == ("10.78.0.0/26",)


def test_every_node_has_a_network_for_one_offs_once() -> None:
    nodes = [node("a", subnet=POOL), node("b", subnet="10.78.0.0/24")]
    shop = Network(node="a", deployment="shop", number=0, blocks=("10.77.0.0/26",))
    made = one_off_networks(nodes, [shop])
    assert [(one.node, one.deployment, one.number) for one in made] == [("a", "_run", 1), ("b", "_run", 0)]
    assert one_off_networks(nodes, [shop, *made]) == []
    full = node("c", subnet="10.79.0.0/26")
    assert one_off_networks([full], [shop.model_copy(update={"node": "c", "blocks": ("10.79.0.0/26",)})]) == []
