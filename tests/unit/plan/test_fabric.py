from __future__ import annotations

from dataclasses import replace

from zlayer.model.endpoint import Endpoint, PublishedPort
from zlayer.model.fabric import Forward, Reach, Target
from zlayer.model.instance import Deployment, Instance, State
from zlayer.model.network import Network
from zlayer.plan.fabric import Holdings, weave
from zlayer.plan.seen import Seen
from zlayer.testing.builders import container, deployment, node, seen, service

NODE = node(subnet="10.77.0.0/24", subnet6="fd7a::/48")
SHOP = Network(node="n1", deployment="shop", number=1, blocks=("10.77.0.64/26",))
DNS = Endpoint(name="dns", protocol="udp", port=53, target_port=5353)


def replica(slot: int, state: State = State.READY, **fields: object) -> Seen:
    spec = container()
    base = {"deployment": "shop", "service": "web", "slot": slot, "revision": 1, "node": "n1"}
    own = {"id": f"web-{slot}", "spec": spec, "digest": spec.digest(), "address": f"10.77.0.{65 + slot}"}
    return seen(Instance.model_validate({**base, **own, **fields}), state)


def holdings(shop: Deployment, *instances: Seen, **more: object) -> Holdings:
    made = Holdings(NODE, (SHOP,), {shop.name: shop}, {shop.name: instances})
    return replace(made, **more)  # type: ignore[arg-type]


def published(**fields: object) -> Deployment:
    port = PublishedPort.model_validate({"host_port": 8080, "container_port": 80, **fields})
    return deployment(web=service(ports=(port,)))


def test_networks_of_this_node_and_its_pool_with_their_ipv6() -> None:
    other = Network(node="n2", deployment="shop", number=0, blocks=("10.78.0.0/26",))
    old = Network(node="n1", deployment="blog", number=0, blocks=("10.99.0.0/26",))
    [subnet] = weave(Holdings(NODE, (SHOP, other, old))).fabric.subnets
    assert (subnet.name, subnet.number, subnet.blocks6) == ("shop", 1, ("fd7a:0:0:1::/64",))


def test_ready_wanted_replicas_here_are_targets_and_no_others() -> None:
    instances = (
        replica(1),
        replica(2, State.RUNNING),
        replica(3, desired="removed"),
        replica(4, node="n2"),
        replica(5, address=None),
        replica(6),
    )
    woven = weave(holdings(published(), *instances, held=frozenset({"web-6"})))
    assert woven.fabric.forwards == (Forward("tcp", 8080, "", (Target("web-1", "10.77.0.66", 80),)),)
    assert woven.members == {"web-1"}


def test_nobody_ready_is_a_forward_without_targets_and_nobody_there_is_none() -> None:
    assert weave(holdings(published(), replica(1, State.EXITED))).fabric.forwards == (Forward("tcp", 8080),)
    assert weave(holdings(published())).fabric.forwards == ()
    stopped = published().model_copy(update={"desired": "stopped"})
    assert weave(holdings(stopped, replica(1))).fabric.forwards == ()


def test_an_address_of_the_node_is_kept_and_every_address_is_one_spelling() -> None:
    for given, wanted in (("0.0.0.0", ""), ("::", ""), ("192.0.2.1", "192.0.2.1"), ("127.0.0.1", "127.0.0.1")):
        [forward] = weave(holdings(published(host_ip=given), replica(1))).fabric.forwards
        assert forward.address == wanted


def test_a_chosen_port_is_used_and_none_is_waited_for() -> None:
    shop = published(host_port=0)
    assert weave(holdings(shop, replica(1))).fabric.forwards == ()
    [forward] = weave(holdings(shop, replica(1), given={"shop/web/80/tcp/": 20001})).fabric.forwards
    assert forward.port == 20001


def test_udp_endpoints_are_the_networks_own_unless_public() -> None:
    shop = deployment(web=service(endpoints=(DNS,)))
    assert weave(holdings(shop, replica(1))).fabric.forwards == (
        Forward("udp", 53, "10.77.0.65", (Target("web-1", "10.77.0.66", 5353),)),
    )
    public = deployment(web=service(endpoints=(DNS.model_copy(update={"public": True, "sticky": True}),)))
    [forward] = weave(holdings(public, replica(1))).fabric.forwards
    assert (forward.address, forward.sticky) == ("", True)


def test_of_two_that_want_one_port_the_older_deployment_has_it() -> None:
    shop = published()
    blog = shop.model_copy(update={"name": "blog", "created_at": 5.0})
    mine, theirs = replica(1), replica(1, deployment="blog", id="blog-1", address="10.77.0.130")
    woven = weave(
        replace(holdings(shop), deployments={"blog": blog, "shop": shop}, instances={"shop": [mine], "blog": [theirs]})
    )
    assert woven.members == {"web-1"}
    assert woven.trouble == (("blog/web", "tcp port 8080 is already shop/web's"),)


def test_whoever_runs_reaches_what_its_service_names() -> None:
    shop = deployment(web=service(reach=("blog",)))
    instances = (replica(1), replica(2, State.STOPPING, desired="removed"), replica(3, State.EXITED))
    assert weave(holdings(shop, *instances)).fabric.reaches == (
        Reach("10.77.0.66", "blog"),
        Reach("10.77.0.67", "blog"),
    )
