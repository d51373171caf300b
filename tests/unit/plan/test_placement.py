"""Placement and addresses: everyone gets one, nobody gets another's, and a refusal says why."""

from __future__ import annotations

import ipaddress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zlayer.model.errors import Exhausted
from zlayer.model.instance import Instance
from zlayer.plan.ipam import gateway, pick
from zlayer.plan.placement import place
from zlayer.plan.seen import Seen
from zlayer.testing.builders import container, node


def instance(number: int, **spec: Any) -> Instance:
    wanted = container(**spec)
    return Instance(
        id=f"shop-web-{number}-x",
        deployment="shop",
        service="web",
        slot=number,
        revision=1,
        spec=wanted,
        digest=wanted.digest(),
    )


@given(count=st.integers(0, 60), taken=st.sets(st.integers(2, 62)))
def test_addresses_are_unique_free_and_inside(count: int, taken: set[int]) -> None:
    used = [f"10.77.0.{n}" for n in taken]
    found = (
        place(
            [Seen(instance(n)) for n in range(count)],
            {"n1": node(subnet="10.77.0.0/26")},
            {"n1": used},
            {"n1": used[0]},
        )
        if used
        else place([Seen(instance(n)) for n in range(count)], {"n1": node(subnet="10.77.0.0/26")}, {}, {})
    )
    given_out = [p.address for p in found.places]
    assert len(set(given_out)) == len(given_out)
    assert not set(given_out) & set(used)
    assert all(ipaddress.ip_address(a or "") in ipaddress.ip_network("10.77.0.0/26") for a in given_out)
    assert gateway("10.77.0.0/26") not in given_out
    assert len(found.places) + len(found.unplaced) == count
    assert len(found.places) == min(count, 61 - len(taken))


def test_the_search_goes_on_behind_the_last_address() -> None:
    assert pick("10.0.0.0/29", set(), after="10.0.0.3") == "10.0.0.4"
    assert pick("10.0.0.0/29", set(), after="10.0.0.6") == "10.0.0.2"
    with pytest.raises(Exhausted, match="all 5 addresses"):
        pick("10.0.0.0/29", {f"10.0.0.{n}" for n in range(8)})
    with pytest.raises(Exhausted, match="no room"):
        pick("10.0.0.0/31", set())


def test_instances_spread_over_nodes() -> None:
    nodes = {n: node(n, subnet=f"10.7{i}.0.0/24") for i, n in enumerate(("a", "b", "c"))}
    found = place([Seen(instance(n)) for n in range(9)], nodes, {}, {})
    assert sorted(p.node for p in found.places) == ["a"] * 3 + ["b"] * 3 + ["c"] * 3


def test_host_networking_takes_no_address() -> None:
    [spot] = place([Seen(instance(1, network_mode="host"))], {"n1": node()}, {}, {}).places
    assert spot.address is None


def test_a_refusal_names_every_node_and_its_reason() -> None:
    nodes = {"a": node("a", ready=False, reason="no runtime"), "b": node("b", platform="linux/arm64")}
    [refused] = place([Seen(instance(1, platform="linux/amd64"))], nodes, {}, {}).unplaced
    assert refused.reason == (
        "no node can take it: a: not ready (no runtime); b: is linux/arm64, the instance wants linux/amd64"
    )
    [alone] = place([Seen(instance(1))], {}, {}, {}).unplaced
    assert alone.reason == "no node can take it: there are no nodes"


def test_what_has_a_place_or_is_not_wanted_is_left_alone() -> None:
    placed = instance(1).model_copy(update={"node": "n1", "address": "10.77.0.9"})
    unwanted = instance(2).model_copy(update={"desired": "removed"})
    found = place([Seen(placed), Seen(unwanted)], {"n1": node()}, {}, {})
    assert (found.places, found.unplaced) == ((), ())
