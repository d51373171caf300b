from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zlayer.model.fabric import Fabric, Forward, Reach, Subnet, Target
from zlayer.network import nft
from zlayer.network.rules import SLOTS, Rules, Site, build, chain_name, change, whole

SITE = Site("c0ffee12", "10.71.0.0/17", "fd7a:7100::/48")
TABLE = "zlayer_c0ffee12"
SHOP = Subnet("shop", 0, ("10.71.0.0/26",), ("fd7a:7100::/64",))
BLOG = Subnet("blog", 1, ("10.71.0.64/26",), ("fd7a:7100:0:1::/64",))
ONE, TWO = Target("one", "10.71.0.2", 80), Target("two", "10.71.0.3", 80)

targets = st.builds(
    Target, st.sampled_from("abcd"), st.sampled_from([f"10.71.0.{n}" for n in (2, 3, 66)]), st.integers(1, 3)
)
forwards = st.builds(
    Forward,
    st.sampled_from(["tcp", "udp"]),
    st.integers(1, 4),
    st.sampled_from(["", "10.71.0.1", "192.0.2.1", "2001:db8::1"]),
    st.lists(targets, max_size=3, unique_by=lambda one: one.id).map(tuple),
    st.booleans(),
)
fabrics = st.builds(
    Fabric,
    st.just(0),
    st.sampled_from([(), (SHOP,), (SHOP, BLOG)]),
    st.lists(st.builds(Reach, st.just("10.71.0.2"), st.sampled_from(["blog", "gone"])), max_size=2).map(tuple),
    st.lists(forwards, max_size=4, unique_by=lambda one: (one.transport, one.port, one.address)).map(tuple),
)


def test_a_network_is_its_bridge_and_its_gateways() -> None:
    elements = build(SITE, Fabric(0, (SHOP,))).elements
    assert elements["same"] == {'"zlc0ffee12-0" . "zlc0ffee12-0"'}
    assert elements["own4"] == {'"zlc0ffee12-0" . 10.71.0.1'}
    assert elements["own6"] == {'"zlc0ffee12-0" . fd7a:7100::1'}


def test_a_reach_is_by_both_addresses_and_only_into_networks_that_are_there() -> None:
    reaches = (Reach("10.71.0.2", "blog"), Reach("10.71.0.2", "nosuch"))
    elements = build(SITE, Fabric(0, (SHOP, BLOG), reaches)).elements
    assert elements["reach4"] == {'10.71.0.2 . "zlc0ffee12-1"'}
    assert elements["reach6"] == {'fd7a:7100::2 . "zlc0ffee12-1"'}


def test_a_forward_of_a_gateway_is_for_its_ipv6_address_too() -> None:
    rules = build(SITE, Fabric(0, (SHOP,), (), (Forward("udp", 53, "10.71.0.1", (ONE,)),)))
    assert rules.elements["ports4"] == {"10.71.0.1 . udp . 53 : goto udp-53-10.71.0.1"}
    assert rules.elements["ports6"] == {"fd7a:7100::1 . udp . 53 : goto udp-53-10.71.0.1"}
    assert rules.elements["ports"] == frozenset()


def test_a_forward_without_targets_is_known_and_goes_nowhere() -> None:
    rules = build(SITE, Fabric(0, (), (), (Forward("tcp", 8080, "0.0.0.0"),)))
    assert rules.elements["forwarded"] == {"tcp . 8080"}
    assert rules.elements["ports"] == frozenset()
    assert rules.chains == {}


def slots(*members: Target) -> list[str]:
    rules = build(SITE, Fabric(0, (SHOP,), (), (Forward("tcp", 80, "", members, sticky=True),)))
    [text] = [rule for rule in rules.chains["tcp-80"] if "dnat ip to" in rule]
    return [part.split(" : ")[1] for part in text.partition("{ ")[2].removesuffix(" }").split(", ")]


def test_a_sticky_forward_moves_only_those_whose_target_left() -> None:
    three = Target("three", "10.71.0.4", 80)
    before, after = slots(ONE, TWO, three), slots(ONE, TWO)
    assert len(before) == SLOTS
    assert {len([one for one in before if one == slot]) > SLOTS // 8 for slot in set(before)} == {True}
    assert all(old == new for old, new in zip(before, after, strict=True) if old != "10.71.0.4 . 80")
    more = slots(ONE, TWO, three)
    assert more == before


def test_chain_names_are_names_to_nft() -> None:
    assert chain_name(Forward("tcp", 80)) == "tcp-80"
    assert chain_name(Forward("udp", 53, "2001:db8::1")) == "udp-53-2001_db8__1"


def test_equal_fabrics_need_no_change() -> None:
    fabric = Fabric(0, (SHOP,), (), (Forward("tcp", 80, "", (ONE, TWO)),))
    shuffled = replace(fabric, forwards=(Forward("tcp", 80, "", (TWO, ONE)),))
    assert change(TABLE, build(SITE, fabric), build(SITE, shuffled)) == ""


@pytest.mark.root
@settings(max_examples=40, deadline=None)
@given(steps=st.lists(fabrics, min_size=1, max_size=4))
def test_changes_lead_where_the_whole_table_does(
    inside_once: Callable[[Callable[[], object]], object], steps: list[Fabric]
) -> None:
    """Whatever the way, what the kernel lists in the end is what it lists after the last fabric alone."""

    def listed() -> list[str]:
        return sorted(part.strip(" ,") for part in nft.run(f"list table inet {TABLE}").replace(",", "\n").split("\n"))

    def body() -> None:
        before = Rules()
        nft.run(nft.removal(TABLE) + whole(SITE, TABLE, before))
        for fabric in steps:
            after = build(SITE, fabric)
            if text := change(TABLE, before, after):
                nft.run(text)
            before = after
        stepwise = listed()
        nft.run(nft.removal(TABLE) + whole(SITE, TABLE, before))
        assert chains_sorted(stepwise) == chains_sorted(listed())

    inside_once(body)


def chains_sorted(lines: list[str]) -> list[str]:
    """Elements are listed in any order, the first of a set behind `elements = {`, the last before `}`."""
    return sorted(line.replace("elements = { ", "").removesuffix(" }").strip() for line in lines)


@pytest.mark.root
def test_without_ipv6_the_table_says_nothing_of_a_prefix(inside: Callable[[Callable[[], object]], object]) -> None:
    site = replace(SITE, pool6="")
    text = whole(
        site, TABLE, build(site, Fabric(0, (replace(SHOP, blocks6=()),), (), (Forward("tcp", 8, "", (ONE,)),)))
    )
    assert "fd7a" not in text
    assert "dnat ip6" not in text
    inside(lambda: nft.run(text))
