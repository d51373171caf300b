from __future__ import annotations

import pytest

from zlayer.model.errors import Invalid
from zlayer.spec.load import load
from zlayer.spec.stream import StreamCheck
from zlayer.spec.traffic import StreamSpec

HEAD = "version: v1\ndeployment: shop\nservices:\n  web:\n    image: {name: a}\n    endpoints: "


def stream(text: str, protocol: str = "tcp") -> StreamSpec | None:
    made = load(f"{HEAD}[{{name: a, protocol: {protocol}, port: 80, stream: {text}}}]").services["web"].endpoints
    return made[0].stream


def test_what_says_nothing_is_nothing() -> None:
    assert stream("{}") is None
    assert stream("{tls: false, proxy_protocol: false}") is None
    assert stream("{}", "udp") == StreamSpec(session_timeout=60)


def test_streams() -> None:
    made = stream("{proxy_protocol: true, health_check: {type: tcp_connect}}")
    assert made is not None
    assert made.proxy_protocol
    assert made.health_check is not None
    assert stream("{session_timeout: 5m}", "udp") == StreamSpec(session_timeout=300)


@pytest.mark.parametrize(
    ("text", "protocol", "kind"),
    [("{tls: true}", "tcp", "Unsupported"), ("{session_timeout: 1s}", "tcp", "Conflict"),
     ("{proxy_protocol: true}", "udp", "Conflict"), ("{health_check: {type: tcp_connect}}", "udp", "Conflict"),
     ("{health_check: {type: udp_probe, request: '\\xFF', expect: '.*'}}", "udp", "Unsupported"),
     ("{proxy_protocol: true}", "http", "Conflict")],
)  # fmt: skip
def test_what_is_refused(text: str, protocol: str, kind: str) -> None:
    with pytest.raises(Invalid) as caught:
        stream(text, protocol)
    assert [p.kind for p in caught.value.problems] == [kind]


@pytest.mark.parametrize("request_", ["'\\xFG'", "'\\q'"])
def test_a_udp_probe_is_checked_though_it_comes_later(request_: str) -> None:
    with pytest.raises(Invalid) as caught:
        stream(f"{{health_check: {{type: udp_probe, request: {request_}, expect: '('}}}}", "udp")
    messages = " ".join(p.message for p in caught.value.problems)
    assert "unknown escape" in messages
    assert "is not a regular expression" in messages


def test_its_schema_describes_itself() -> None:
    assert StreamCheck().schema()["description"] == StreamCheck.about
