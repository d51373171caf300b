from __future__ import annotations

from zlayer.model.endpoint import PublishedPort
from zlayer.model.network import Ports
from zlayer.plan.ports import FIRST, LAST, assign, host_port
from zlayer.testing.builders import deployment, service

EPHEMERAL = PublishedPort(container_port=80)
HERE = {("shop", "web")}


def test_a_port_is_chosen_once_kept_and_given_back_with_the_mapping() -> None:
    shop = deployment(web=service(ports=(EPHEMERAL,)))
    first = assign(Ports(node="n1"), [shop], HERE)
    [(key, number)] = first.given.items()
    assert key == "shop/web/80/tcp/"
    assert FIRST <= number <= LAST
    assert host_port("shop", "web", EPHEMERAL, first.given) == number
    assert assign(first, [shop], set()) == first
    assert assign(first, [deployment(web=service())], HERE).given == {}
    assert assign(first, [], HERE).given == {}


def test_ports_of_one_transport_differ_also_from_those_that_were_named() -> None:
    mappings = tuple(PublishedPort(container_port=n) for n in range(1, 200))
    alone = assign(Ports(node="n1"), [deployment(web=service(ports=mappings))], HERE)
    assert len(set(alone.given.values())) == len(mappings)
    wanted = alone.given["shop/web/1/tcp/"]
    named = service(ports=(PublishedPort(host_port=wanted, container_port=9),))
    again = assign(Ports(node="n1"), [deployment(web=service(ports=mappings[:1]), db=named)], HERE)
    assert again.given["shop/web/1/tcp/"] != wanted


def test_where_the_service_does_not_run_nothing_is_chosen() -> None:
    assert assign(Ports(node="n1"), [deployment(web=service(ports=(EPHEMERAL,)))], set()).given == {}
    assert host_port("shop", "web", EPHEMERAL, {}) is None
    assert host_port("shop", "web", PublishedPort(host_port=8080, container_port=80), {}) == 8080
