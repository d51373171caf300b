"""Placement and addresses: everyone gets one, nobody gets another's, and a refusal says why."""

from __future__ import annotations

from typing import Any

from zlayer.model.instance import Instance
from zlayer.plan.placement import Ground, place
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


def test_instances_spread_over_nodes() -> None:
    nodes = {n: node(n, subnet=f"10.7{i}.0.0/24") for i, n in enumerate(("a", "b", "c"))}
    found = place([Seen(instance(n)) for n in range(9)], Ground(nodes))
    assert sorted(p.node for p in found.places) == ["a"] * 3 + ["b"] * 3 + ["c"] * 3


def test_host_networking_takes_no_address() -> None:
    [spot] = place([Seen(instance(1, network_mode="host"))], Ground({"n1": node()})).places
    assert spot.address is None


def test_a_refusal_names_every_node_and_its_reason() -> None:
    nodes = {"a": node("a", ready=False, reason="no runtime"), "b": node("b", platform="linux/arm64")}
    [refused] = place([Seen(instance(1, platform="linux/amd64"))], Ground(nodes)).unplaced
    assert refused.reason == (
        "no node can take it: a: not ready (no runtime); b: is linux/arm64, the instance wants linux/amd64"
    )
    [alone] = place([Seen(instance(1))], Ground({})).unplaced
    assert alone.reason == "no node can take it: there are no nodes"


def test_what_has_a_place_or_is_not_wanted_is_left_alone() -> None:
    placed = instance(1).model_copy(update={"node": "n1", "address": "10.77.0.9"})
    unwanted = instance(2).model_copy(update={"desired": "removed"})
    found = place([Seen(placed), Seen(unwanted)], Ground({"n1": node()}))
    assert (found.places, found.unplaced) == ((), ())


def test_each_deployment_has_a_network_of_its_own_made_with_its_first_place() -> None:
    other = instance(2).model_copy(update={"deployment": "blog", "id": "blog-web-2-x"})
    found = place([Seen(instance(1)), Seen(other), Seen(instance(3))], Ground({"n1": node()}))
    assert {(one.deployment, one.blocks) for one in found.networks} == {
        ("blog", ("10.77.0.64/26",)),
        ("shop", ("10.77.0.0/26",)),
    }
    assert [one.address for one in found.places] == ["10.77.0.2", "10.77.0.66", "10.77.0.3"]
    again = place([Seen(instance(4))], Ground({"n1": node()}, found.networks, {"n1": ["10.77.0.2"]}))
    assert again.networks == ()


def test_a_full_pool_is_told_with_the_key_that_helps() -> None:
    everyone = [Seen(instance(n)) for n in range(70)]
    found = place(everyone, Ground({"n1": node(subnet="10.77.0.0/26")}))
    assert len(found.places) == 61
    assert all("all 1 blocks of 10.77.0.0/26 are taken" in one.reason for one in found.unplaced)
    assert all("[network] subnet" in one.reason for one in found.unplaced)


def test_one_that_shares_a_network_goes_where_the_other_is_with_its_address() -> None:
    nodes = {n: node(n, subnet=f"10.7{i}.0.0/24") for i, n in enumerate(("a", "b"))}
    sidecar = instance(1, network_mode="container:web").model_copy(update={"service": "proxy", "id": "shop-proxy-1-x"})
    found = place([Seen(sidecar), Seen(instance(1)), Seen(instance(2))], Ground(nodes))
    spot = next(one for one in found.places if one.instance.id == sidecar.id)
    web = next(one for one in found.places if one.instance.id == "shop-web-1-x")
    assert (spot.node, spot.address, spot.shares) == (web.node, web.address, web.instance.id)
    [alone] = place([Seen(sidecar)], Ground(nodes)).unplaced
    assert alone.reason == "it shares the network of web, which does not run"
    by_id = sidecar.model_copy(update={"spec": container(network_mode="container:shop-web-2-x")})
    found = place([Seen(by_id), Seen(found.places[1].settled())], Ground(nodes))
    assert found.places[0].shares == "shop-web-2-x"
