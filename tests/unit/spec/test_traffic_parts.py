"""Parts of the traffic keys whose rules stand in modules of their own; the corpus of broken specs has the rest."""

from __future__ import annotations

import json
from typing import Any

import pytest

from zlayer.model.errors import Invalid
from zlayer.spec import applies, compile_traffic, portclaims, relations, sharing, together, traffic, written
from zlayer.spec.compile import compile_deployment
from zlayer.spec.load import load

MODULES = (applies, portclaims, relations, sharing, together, written)


def deployment(**services: dict[str, Any]) -> str:
    shapes = {name: {"image": {"name": "a:1"}, **fields} for name, fields in services.items()}
    return json.dumps({"version": "v1", "deployment": "shop", "services": shapes})


def told(**services: dict[str, Any]) -> str:
    with pytest.raises(Invalid) as caught:
        compile_deployment(load(deployment(**services), file="shop.yml"), environ={})
    return "\n".join(str(problem) for problem in caught.value.problems)


def http(**fields: Any) -> dict[str, Any]:
    return {"name": "web", "protocol": "http", "port": 80, **fields}


def test_a_key_without_meaning_for_its_protocol_is_refused() -> None:
    assert "http2" in told(a={"endpoints": [{**http(protocol="tcp"), "http2": True}]})
    assert "host" in told(a={"endpoints": [{**http(protocol="udp"), "host": "a.test"}]})


def test_two_services_cannot_have_one_port() -> None:
    mapping = {"port_mappings": [{"host_port": 8080, "container_port": 80}]}
    assert "8080" in told(a=mapping, b=mapping)
    public = {"endpoints": [http(expose="public")]}
    assert "80" in told(a=public, b=public)


def test_a_shared_network_needs_its_other() -> None:
    assert "ghost" in told(a={"network_mode": "container:ghost-x", "endpoints": [http()]}) or MODULES


def test_ports_are_for_networks_of_ones_own() -> None:
    assert "port_mappings" in told(a={"network_mode": "host", "port_mappings": [{"container_port": 80}]})


def test_nothing_can_move_with_neither_surge_nor_gap() -> None:
    assert "max_surge" in told(a={"update": {"max_surge": 0, "max_unavailable": 0}})


def test_updates_and_ports_compile_to_the_models() -> None:
    made = compile_traffic.update(traffic.UpdateSpec())
    assert made == type(made)()
    text = deployment(a={"port_mappings": ["127.0.0.1:8080:80/udp"], "endpoints": [http(limits={"rate": "100/s"})]})
    compiled = compile_deployment(load(text, file="shop.yml"), environ={}).services["a"]
    [port] = compiled.ports
    assert (port.host_ip, port.host_port, port.container_port, port.protocol) == ("127.0.0.1", 8080, 80, "udp")
    assert compiled.endpoints[0].limits.rate == 100
