from __future__ import annotations

import pytest
from pydantic import ValidationError

from zlayer.model.container import ContainerSpec
from zlayer.model.endpoint import Endpoint, PublishedPort, Step, Update
from zlayer.model.fabric import Fabric, Forward
from zlayer.model.instance import Service
from zlayer.model.routes import Certificate, RouteTable
from zlayer.model.zone import Zone


def test_how_a_service_is_reached_touches_no_container() -> None:
    plain = Service(container=ContainerSpec(image="a"))
    reached = plain.model_copy(
        update={"endpoints": (Endpoint(name="http", protocol="http", port=80, target_port=8080),)}
    )
    assert plain != reached
    assert plain.container.digest() == reached.container.digest()


def test_udp_is_the_only_endpoint_that_is_not_tcp() -> None:
    transports = {
        p: Endpoint(name="e", protocol=p, port=1, target_port=1).transport
        for p in ("http", "https", "tcp", "udp", "websocket")
    }
    assert [p for p, transport in transports.items() if transport == "udp"] == ["udp"]


def test_the_usual_update_keeps_every_replica() -> None:
    assert Update().max_unavailable == 0
    assert Update().rollback


def test_a_key_is_never_shown() -> None:
    table = RouteTable(certificates={"a": Certificate("a", "chain", "secret")})
    assert "secret" not in repr(table)


def test_equal_values_are_equal_tables() -> None:
    assert Fabric(forwards=(Forward("udp", 53),)) == Fabric(forwards=(Forward("udp", 53),))
    assert Zone() == Zone()


@pytest.mark.parametrize("bad", [{"host_port": -1}, {"host_port": 65536}])
def test_ports_have_bounds(bad: dict[str, int]) -> None:
    with pytest.raises(ValidationError):
        PublishedPort.model_validate({"container_port": 80, **bad})
    with pytest.raises(ValidationError):
        Step(weight=0)
