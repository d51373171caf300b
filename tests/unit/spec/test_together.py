from __future__ import annotations

import pytest

from zlayer.model.errors import Invalid
from zlayer.spec import together
from zlayer.spec.load import load

HEAD = "version: v1\ndeployment: shop\nservices:\n  web:\n    image: {name: a}\n"
HTTP = "{name: a, protocol: http, port: 80}"


def problems(text: str) -> list[tuple[str, str]]:
    try:
        load(HEAD + "".join(f"    {line}\n" for line in text.splitlines()))
    except Invalid as bad:
        return [(p.kind, p.path) for p in bad.problems]
    return []


@pytest.mark.parametrize("mode", ["host", "none"])
def test_ports_are_mapped_into_a_network_of_its_own(mode: str) -> None:
    assert problems(f"network_mode: {mode}\nport_mappings: [80]") == [("Conflict", "services.web.port_mappings")]
    assert problems(f"network_mode: {mode}\nport_mappings: []") == []


def test_nothing_is_reached_without_a_network() -> None:
    assert problems(f"network_mode: none\nendpoints: [{HTTP}]") == [("Conflict", "services.web.endpoints")]


def test_the_proxy_cannot_listen_where_a_container_on_the_hosts_network_does() -> None:
    plain = "network_mode: host\nendpoints: [{name: a, protocol: http, port: 80, expose: public%s}]"
    assert problems(plain % "") == []
    assert problems(plain % ", host: a.test") == [("PortClash", "services.web.endpoints.0")]
    assert problems(plain % ", host: a.test, target_port: 8080") == []


def test_one_check_says_when_a_replica_is_ready() -> None:
    ends = "endpoints: [{name: a, protocol: tcp, port: 5, stream: {health_check: {type: tcp_connect}}}"
    assert problems(ends + "]") == []
    place = "services.web.endpoints.0.stream.health_check"
    assert problems(ends + "]\nhealth: {retries: 2}") == [("Unsupported", place)]
    two = ends + ", {name: b, protocol: tcp, port: 6, stream: {health_check: {type: tcp_connect}}}]"
    assert problems(two) == [("Conflict", place.replace("0", "1"))]


@pytest.mark.parametrize("strategy", ["canary", "blue_green"])
def test_traffic_is_moved_where_there_is_some(strategy: str) -> None:
    expected = [("Conflict", "services.web.update.strategy")]
    update = f"\nupdate: {{strategy: {strategy}}}"
    assert problems(f"endpoints: [{HTTP}]{update}") == []
    assert problems("endpoints: [{name: a, protocol: udp, port: 5}]" + update) == expected
    assert problems(f"endpoints: [{HTTP}]\nnetwork_mode: host{update}") == expected
    assert together.check.__doc__
