from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from zlayer.model.endpoint import Endpoint, Limits, PublishedPort, Step, Timeouts, Tls, Update
from zlayer.model.instance import Service
from zlayer.spec import compile_traffic
from zlayer.spec.compile import compile_deployment
from zlayer.spec.load import load
from zlayer.spec.traffic import PortSpec


def service(**keys: Any) -> Service:
    document = {"version": "v1", "deployment": "shop", "services": {"web": {"image": {"name": "a"}, **keys}}}
    return compile_deployment(load(json.dumps(document)), environ={}, base=Path("/srv/shop")).services["web"]


def endpoint(**keys: Any) -> Endpoint:
    return service(endpoints=[{"name": "e", "port": 80, **keys}]).endpoints[0]


def test_an_endpoint_that_says_little() -> None:
    assert endpoint(protocol="http") == Endpoint(name="e", protocol="http", port=80, target_port=80)
    assert endpoint(protocol="udp") == Endpoint(name="e", protocol="udp", port=80, target_port=80)
    assert endpoint(protocol="https") == Endpoint(name="e", protocol="https", port=80, target_port=80, tls=Tls())


def test_an_endpoint_that_says_all() -> None:
    made = endpoint(
        protocol="https", target_port=8443, expose=True, host="*.Shop.test", path="/api/", strip_path=True, http2=True,
        balance="least_connections", sticky=True, tls={"mode": "files", "certificate": "c.pem", "key": "/k.pem"},
        limits={"rate": "30/m", "burst": 5, "max_body": "1Mi", "max_connections": 9}, timeouts={"response": "5m"},
    )  # fmt: skip
    assert made == Endpoint(
        name="e", protocol="https", port=80, target_port=8443, public=True, host="*.shop.test", path="/api",
        strip_path=True, http2=True, balance="least_connections", sticky=True,
        tls=Tls(mode="files", certificate="/srv/shop/c.pem", key="/k.pem"),
        limits=Limits.model_validate({"rate": 0.5, "burst": 5, "max_body": 1 << 20, "max_connections": 9}),
        timeouts=Timeouts.model_validate({"response": 300}),
    )  # fmt: skip


def test_streams() -> None:
    assert endpoint(protocol="tcp", stream={"proxy_protocol": True}).proxy_protocol
    assert endpoint(protocol="udp", stream={"session_timeout": "5m"}).session == 300.0


def test_ports() -> None:
    assert compile_traffic.port(PortSpec(container_port=80)) == PublishedPort(container_port=80)
    assert service(port_mappings=["127.0.0.1:8080:80/udp"]).ports == (
        PublishedPort(host_port=8080, container_port=80, protocol="udp", host_ip="127.0.0.1"),
    )


def test_updates() -> None:
    assert service().update == Update()
    ends = [{"name": "e", "protocol": "http", "port": 80}]
    assert service(endpoints=ends, update={"strategy": "canary"}).update == Update(strategy="canary")
    keys = {"max_surge": 2, "max_unavailable": "50%", "min_ready": "0s", "rollback": False, "strategy": "canary",
            "steps": [{"weight": 5}], "drain": "1m", "deadline": "10m"}  # fmt: skip
    assert service(endpoints=ends, update=keys).update == Update.model_validate(
        {"strategy": "canary", "max_surge": 2, "max_unavailable": "50%", "min_ready": 0, "rollback": False,
         "drain": 60, "deadline": 600, "steps": (Step(weight=5),)}
    )  # fmt: skip


def test_reach() -> None:
    assert service(network={"reach": ["blog"]}).reach == ("blog",)


def test_the_health_of_a_service_is_asked_at_the_container() -> None:
    ends = [{"name": "a", "protocol": "http", "port": 80, "target_port": 8080}, {"name": "b", "protocol": "tcp",
            "port": 5, "target_port": 6, "stream": {"health_check": {"type": "tcp_connect"}}}]  # fmt: skip
    ports = [getattr(service(endpoints=e).container.health, "check", None) for e in (ends[:1], ends)]
    assert [getattr(check, "port", 0) for check in ports] == [8080, 6]
