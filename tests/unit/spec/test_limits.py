from __future__ import annotations

import pytest

from zlayer.model.errors import Invalid
from zlayer.spec.load import load
from zlayer.spec.traffic import EndpointSpec

HEAD = "version: v1\ndeployment: shop\nservices:\n  web:\n    image: {name: a}\n    endpoints: "


def endpoint(more: str, protocol: str = "http") -> EndpointSpec:
    [made] = load(f"{HEAD}[{{name: a, protocol: {protocol}, port: 80, {more}}}]").services["web"].endpoints
    return made


@pytest.mark.parametrize(("text", "rate"), [("100/s", 100), ("30/m", 0.5), ("36/h", 0.01), ("5", 5), ("2.5", 2.5)])
def test_rates(text: str, rate: float) -> None:
    assert endpoint(f"limits: {{rate: {text}}}").limits.rate == rate


def test_limits() -> None:
    limits = endpoint("limits: {rate: 10/s, burst: 0, max_body: 10Mi, max_connections: 50}").limits
    assert (limits.burst, limits.max_body, limits.max_connections) == (0, 10 << 20, 50)


def test_a_protocol_has_the_times_it_has_a_use_for() -> None:
    times = endpoint("timeouts: {response: 5m}").timeouts
    assert [times.response, times.connect, times.tunnel] == [300.0, 5.0, 3600.0]
    times = endpoint("timeouts: {idle: 5m}", "tcp").timeouts
    assert [times.idle, times.queue, times.head] == [300.0, 30.0, None]
    with pytest.raises(Invalid, match=r"timeouts\.head is not for tcp endpoints, which has connect, queue, idle"):
        endpoint("timeouts: {head: 5m}", "tcp")


def test_a_burst_is_above_a_rate() -> None:
    with pytest.raises(Invalid, match="give rate"):
        endpoint("limits: {burst: 5}")
