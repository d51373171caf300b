"""Which claims on ports go together, told by examples over every pair of kinds."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zlayer.model.claims import Claim, Ground, claims, explain
from zlayer.model.container import ContainerSpec
from zlayer.model.endpoint import Endpoint, PublishedPort, Tls
from zlayer.model.instance import Service


def endpoint(protocol: str = "http", port: int = 80, **fields: Any) -> Endpoint:
    values = {"name": "e", "protocol": protocol, "port": port, "target_port": 8080, **fields}
    return Endpoint.model_validate(values)


def service(*parts: Endpoint | PublishedPort, mode: str = "bridge") -> Service:
    return Service(
        container=ContainerSpec(image="a", network_mode=mode),
        endpoints=tuple(p for p in parts if isinstance(p, Endpoint)),
        ports=tuple(p for p in parts if isinstance(p, PublishedPort)),
    )


def taken(first: Service, second: Service, where: str = "shop") -> list[str]:
    """What the second, of deployment `where`, cannot have beside the first."""
    ground = Ground()
    assert [c for c in claims("shop", "one", first) if ground.take(c)] == []
    pairs = [(claim, ground.take(claim)) for claim in claims(where, "two", second)]
    return [explain(claim, rival, rival.service) for claim, rival in pairs if rival]


def mapping(port: int = 80, ip: str = "", protocol: str = "tcp") -> PublishedPort:
    return PublishedPort.model_validate({"host_port": port, "container_port": 80, "host_ip": ip, "protocol": protocol})


PASS = Tls(mode="passthrough")


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (endpoint(host="a.test"), endpoint(host="b.test")),
        (endpoint(path="/a"), endpoint(path="/b")),
        (endpoint(host="*.test"), endpoint(host="a.test")),
        (endpoint("https", 443, host="a.test"), endpoint("https", 443)),
        (endpoint("https", 443, host="a.test", tls=PASS), endpoint("https", 443, host="b.test", tls=PASS)),
        (endpoint("websocket", path="/ws"), endpoint()),
        (endpoint(public=True), endpoint()),
        (endpoint("tcp", 53), endpoint("udp", 53)),
        (endpoint("tcp", 80, target_port=80), endpoint("http", 80, target_port=80)),
        (endpoint("tcp", 80, target_port=80), endpoint("http", 80)),
        (mapping(80, "10.0.0.1"), mapping(80, "10.0.0.2")),
        (mapping(80), mapping(80, protocol="udp")),
        (mapping(80), endpoint()),
        (mapping(0), mapping(0)),
    ],
)
def test_these_go_together(first: Any, second: Any) -> None:
    assert taken(service(first), service(second)) == []
    assert taken(service(second), service(first)) == []


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (endpoint(), endpoint()),
        (endpoint(host="a.test", path="/x"), endpoint("websocket", host="a.test", path="/x")),
        (endpoint("tcp", 80), endpoint()),
        (endpoint("tcp", 80), endpoint("tcp", 80)),
        (endpoint("https", 80), endpoint()),
        (endpoint("udp", 53), endpoint("udp", 53)),
        (endpoint("https", 443, host="a.test", tls=PASS), endpoint("https", 443, host="b.test")),
        (endpoint("https", 443, host="a.test", tls=PASS), endpoint("tcp", 443, host="a.test", tls=PASS)),
        (mapping(80), mapping(80)),
        (mapping(80), mapping(80, "10.0.0.1")),
        (mapping(80, "10.0.0.1"), mapping(80, "10.0.0.1")),
        (mapping(80, "10.0.0.1"), endpoint(public=True)),
    ],
)
def test_these_clash_whoever_comes_first(first: Any, second: Any) -> None:
    assert len(taken(service(first), service(second))) == 1
    assert len(taken(service(second), service(first))) == 1


def test_an_endpoint_that_is_not_public_clashes_only_within_its_deployment() -> None:
    assert taken(service(endpoint()), service(endpoint()), "blog") == []
    assert taken(service(endpoint(public=True)), service(endpoint(public=True)), "blog") != []
    assert taken(service(mapping()), service(mapping()), "blog") != []


def test_what_is_reached_directly_clashes_only_within_its_service() -> None:
    direct = endpoint(target_port=80)
    assert taken(service(direct), service(direct)) == []
    ground = Ground()
    both = list(claims("shop", "one", service(direct, endpoint(name="f"))))
    assert [bool(ground.take(claim)) for claim in both] == [False, True]
    ground = Ground()
    assert [bool(ground.take(claim)) for claim in reversed(both)] == [False, True]


def test_on_the_hosts_network_containers_hold_their_ports() -> None:
    host = service(endpoint(port=80, target_port=80), mode="host")
    assert taken(host, service(mapping(80))) == ["port 80/tcp is taken: endpoint 'e' of one has it"]
    assert taken(host, service(endpoint(public=True)), "blog") != []
    assert taken(service(endpoint(public=True)), host) != []
    assert taken(service(mapping(80)), host) != []
    assert taken(host, host) != []
    assert taken(host, service(endpoint(target_port=80))) == []
    two = service(endpoint(port=80), endpoint(port=81, name="f"), mode="host")
    assert [(c.kind, c.port) for c in claims("shop", "one", two)] == [("host", 8080), ("http", 80), ("http", 81)]


def test_words() -> None:
    first = service(endpoint("https", 443, host="a.test", path="/x", public=True))
    assert taken(first, first, "blog") == ["port 443/tcp for a.test/x is taken: endpoint 'e' of one has it"]
    assert taken(first, service(endpoint("tcp", 443, public=True))) == [
        "port 443/tcp cannot be tcp: endpoint 'e' of one has it as https"
    ]
    assert taken(service(mapping(5)), service(mapping(5, "10.0.0.1"))) == [
        "port 5/tcp of 10.0.0.1 is taken: port mapping 1 of one has it"
    ]


CLAIMS = st.builds(
    Claim, st.sampled_from("ab"), st.sampled_from("xy"), st.just("it"), st.just(("endpoints", 0)),
    st.sampled_from(["http", "https", "tcp", "passthrough", "mapping", "host"]), st.just("tcp"), st.just(1),
    st.sampled_from(["", "a"]), st.sampled_from(["", "1.1.1.1", "2.2.2.2"]), st.sampled_from([None, "h", "*.h"]),
    st.sampled_from(["/", "/p"]),
)  # fmt: skip


@given(CLAIMS, CLAIMS)
def test_a_clash_has_no_order(one: Claim, two: Claim) -> None:
    def clash(first: Claim, second: Claim) -> bool:
        ground = Ground()
        ground.take(first)
        return ground.take(second) is not None

    assert clash(one, two) == clash(two, one)
