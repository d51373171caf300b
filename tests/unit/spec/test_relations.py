from __future__ import annotations

import pytest

from zlayer.model.errors import Invalid
from zlayer.spec.load import load

HEAD = "version: v1\ndeployment: shop\nservices:\n"


def kinds(text: str) -> list[tuple[str, str]]:
    with pytest.raises(Invalid) as caught:
        load(HEAD + text)
    return [(p.kind, p.path) for p in caught.value.problems]


def test_no_services_is_a_deployment() -> None:
    assert load("version: v1\ndeployment: shop\n").services == {}


def test_a_diamond_is_no_cycle() -> None:
    text = "".join(
        f"  {name}: {{image: {{name: i}}, depends: [{', '.join(f'{{service: {d}}}' for d in deps)}]}}\n"
        for name, deps in {"a": "bc", "b": "d", "c": "d", "d": ""}.items()
    )
    assert list(load(HEAD + text).services) == ["a", "b", "c", "d"]


def test_a_dependency_on_a_service_with_faults_exists() -> None:
    text = "  a: {image: {name: a}, depends: [{service: b}]}\n  b: 5\n"
    assert kinds(text) == [("WrongType", "services.b")]


def test_a_faulty_dependency_does_not_shift_the_place_of_the_next() -> None:
    text = "  a: {image: {name: a}, depends: [{service: 5}, {service: zz}]}\n"
    assert kinds(text) == [
        ("WrongType", "services.a.depends.0.service"),
        ("UnknownDependency", "services.a.depends.1.service"),
    ]


def test_a_tcp_check_of_a_faulty_endpoint_is_not_told_twice() -> None:
    text = "  a: {image: {name: a}, endpoints: [{name: a, protocol: tcp, port: 0}], health: {retries: 2}}\n"
    assert kinds(text) == [("InvalidPort", "services.a.endpoints.0.port")]


def test_a_tcp_check_of_udp_endpoints_only() -> None:
    text = "  a: {image: {name: a}, endpoints: [{name: a, protocol: udp, port: 5}], health: {retries: 2}}\n"
    assert kinds(text) == [("InvalidPort", "services.a.health")]


@pytest.mark.parametrize("scale", ["{mode: fixed, replicas: 1}", "{mode: adaptive, min: 1, max: 5}", "{mode: manual}"])
def test_one_replica_on_the_host_network_is_fine(scale: str) -> None:
    text = f"  a: {{image: {{name: a}}, network_mode: host, scale: {scale}, "
    text += "endpoints: [{name: a, protocol: tcp, port: 5}]}\n"
    assert load(HEAD + text).services["a"].network_mode == "host"


def test_one_port_on_two_bridged_services_is_fine() -> None:
    ends = "endpoints: [{name: a, protocol: tcp, port: 5}]"
    text = f"  a: {{image: {{name: a}}, {ends}}}\n  b: {{image: {{name: a}}, network_mode: host, {ends}}}\n"
    assert list(load(HEAD + text).services) == ["a", "b"]
