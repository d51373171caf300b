"""From a picture to the tables of proxy and name server; what did not change is not looked at again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from zlayer.agent.tables import Homes, Serving, names_plane, ready_ids, routes_plane
from zlayer.model.endpoint import Endpoint
from zlayer.model.instance import Deployment, State
from zlayer.model.network import Network
from zlayer.model.rollout import CanaryStep
from zlayer.model.secret import Secret
from zlayer.model.seen import Seen
from zlayer.store.view import Picture
from zlayer.testing.builders import deployment, node, service
from zlayer.testing.fake_names import FakeNameServer
from zlayer.testing.fake_proxy import FakeProxy

from ..plan.test_routes import replica  # noqa: TID252 - builders of a sibling

NODE = node("n1", subnet="10.64.0.0/17", subnet6="fd00:1:2::/48")
HTTP = Endpoint(name="http", protocol="http", port=80, target_port=8080)


def picture(*, held: bool = False) -> Picture:
    wanted: Deployment = deployment(web=service(2, endpoints=(HTTP,)))
    one = replica(wanted, 1, address="10.64.0.2")
    two = replica(wanted, 2, State.RUNNING, address="10.64.0.3")
    if held:
        one = type(one)(one.instance.model_copy(update={"held": True}), one.status)
    network = Network(node="n1", deployment="shop", number=0, blocks=("10.64.0.0/26",))
    return Picture(
        revision=7, deployments={"shop": wanted}, instances={"shop": {one.id: one, two.id: two}}, nodes={"n1": NODE},
        addresses={}, networks={"n1/shop": network},
    )  # fmt: skip


def unseal(_sealed: str, _bound: str) -> Secret:
    return Secret("key")


def test_ready_ones_are_behind_their_endpoint() -> None:
    found = routes_plane(NODE, FakeProxy(), unseal, 80).derive(picture())
    assert found.table.listeners[0].addresses == ("10.64.0.1", "fd00:1:2::1")
    assert [s.address for backend in found.table.backends for s in backend.servers] == ["10.64.0.2"]
    assert found.members == ready_ids(picture().instances.values())


def test_names_are_listened_for_on_the_gateways() -> None:
    [view] = names_plane(NODE, FakeNameServer(), lambda: ("192.0.2.53",)).derive(picture()).table.views
    assert view.listen == ("10.64.0.1", "fd00:1:2::1")
    assert view.clients == ("10.64.0.0/26", "fd00:1:2::/64"), "its own containers may ask, and nobody else"
    assert tuple(view.names["web.service.local"]) == ("10.64.0.2", "fd00:1:2::2")


def test_a_candidate_on_trial_is_in_neither() -> None:
    trial = picture(held=True)
    assert routes_plane(NODE, FakeProxy(), unseal, 80).derive(trial).members == frozenset()
    [view] = names_plane(NODE, FakeNameServer(), tuple).derive(trial).table.views
    assert tuple(view.names["web.service.local"]) == ()


def test_a_network_is_worked_out_once() -> None:
    same = picture()
    homes = Homes(NODE)
    assert homes.of(same)["shop"] is homes.of(same)["shop"]


def test_what_no_table_says_makes_no_other_table() -> None:
    first = picture()
    [one, two] = first.instances["shop"].values()
    ready = Serving()
    kept = ready.of(first)["shop"]
    assert list(kept) == [one.id]

    def then(*seen: Seen) -> Mapping[str, Seen]:
        return ready.of(replace(first, instances={"shop": {each.id: each for each in seen}}))["shop"]

    assert one.status is not None
    assert two.status is not None
    fuller = Seen(one.instance, one.status.model_copy(update={"reason": "another word"}))
    assert then(fuller, two) is kept
    assert then(fuller) is kept, "one that is not ready ends"
    moved = Seen(one.instance, one.status.model_copy(update={"address": "10.64.0.9"}))
    assert then(moved) is not kept
    assert then(Seen(one.instance.model_copy(update={"desired": "removed"}), one.status)) is not kept
    assert list(then(one, Seen(two.instance, two.status.model_copy(update={"state": State.READY})))) == [one.id, two.id]
    assert then(two) == {}


def test_the_weights_of_a_canary_depend_on_more() -> None:
    first = picture()
    shop = first.deployments["shop"]
    canaries = {"web": CanaryStep()}
    rolling = shop.model_copy(update={"rollout": shop.rollout.model_copy(update={"canaries": canaries})})
    group = Serving().of(replace(first, deployments={"shop": rolling}))["shop"]
    assert group is first.instances["shop"]
