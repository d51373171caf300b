from __future__ import annotations

import pytest

from zlayer.model.errors import Invalid
from zlayer.spec.endpoints import make_endpoint
from zlayer.spec.load import load
from zlayer.spec.traffic import EndpointSpec

HEAD = "version: v1\ndeployment: shop\nservices:\n  web:\n    image: {name: a}\n"


def endpoints(text: str) -> tuple[EndpointSpec, ...]:
    return load(f"{HEAD}    endpoints: {text}").services["web"].endpoints


@pytest.mark.parametrize("extra", ["", ", expose: internal", ", expose: false", ", target_port: 80, expose: internal"])
def test_every_way_to_say_internal_is_one(extra: str) -> None:
    expected = make_endpoint(name="a", protocol="http", port=80)
    assert endpoints(f"[{{name: a, protocol: http, port: 80{extra}}}]") == (expected,)


def test_one_port_for_tcp_and_for_udp_is_no_clash() -> None:
    text = "[{name: dns, protocol: udp, port: 53}, {name: dns-tcp, protocol: tcp, port: 53}]"
    assert [e.transport for e in endpoints(text)] == ["udp", "tcp"]


@pytest.mark.parametrize("protocol", ["http", "websocket", "tcp"])
def test_protocols_over_tcp_clash(protocol: str) -> None:
    with pytest.raises(Invalid) as caught:
        endpoints(f"[{{name: a, protocol: {protocol}, port: 53}}, {{name: b, protocol: tcp, port: 53}}]")
    assert [p.kind for p in caught.value.problems] == ["PortClash"]


def test_a_clash_with_a_faulty_entry_is_not_invented() -> None:
    with pytest.raises(Invalid) as caught:
        endpoints("[{name: a, protocol: upd, port: 53}, {name: a, protocol: tcp, port: 53}]")
    assert [p.kind for p in caught.value.problems] == ["InvalidValue"]
