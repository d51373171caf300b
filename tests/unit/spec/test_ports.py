from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zlayer.model.errors import Invalid
from zlayer.spec.load import load
from zlayer.spec.ports import SHORT_PATTERN, check_host_ip, parse_mapping
from zlayer.spec.traffic import PortSpec

HEAD = "version: v1\ndeployment: shop\nservices:\n  web:\n    image: {name: a}\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [("80", (0, 80, "tcp", "0.0.0.0")), ("8080:80", (8080, 80, "tcp", "0.0.0.0")),
     ("127.0.0.1:8080:80/udp", (8080, 80, "udp", "127.0.0.1")), ("127.0.0.1::80", (0, 80, "tcp", "127.0.0.1")),
     ("[::1]:8080:80/TCP", (8080, 80, "tcp", "::1")), (":80", (0, 80, "tcp", "0.0.0.0")),
     ("0:80", (0, 80, "tcp", "0.0.0.0")), ("53/udp", (0, 53, "udp", "0.0.0.0"))],
)  # fmt: skip
def test_short_forms(text: str, expected: tuple[int, int, str, str]) -> None:
    made = parse_mapping(text)
    assert (made.host_port, made.container_port, made.protocol, made.host_ip) == expected
    assert re.fullmatch(SHORT_PATTERN, text)


@pytest.mark.parametrize(
    ("text", "suggestion"),
    [("80/sctp", "80/tcp"), ("127.0.0.1:80", "127.0.0.1::80"), ("::1:8080:80", "[::1]:8080:80"), ("http", ""),
     ("[::1]:80", "[::1]::80"), ("", ""), ("0", ""), ("70000:80", ""), ("80:70000", ""), ("a:b:c", ""), ("²:80", "")],
)  # fmt: skip
def test_what_is_no_mapping(text: str, suggestion: str) -> None:
    with pytest.raises(Invalid) as caught:
        parse_mapping(text)
    [problem] = caught.value.problems
    assert (problem.kind, problem.suggestion) == ("InvalidPort", suggestion)
    if suggestion:
        parse_mapping(suggestion)


@pytest.mark.parametrize("text", ["8080-8081:80-81", "3000-3005"])
def test_ranges_come_later(text: str) -> None:
    with pytest.raises(Invalid) as caught:
        parse_mapping(text)
    assert caught.value.problems[0].kind == "Unsupported"


@given(st.text(st.sampled_from("0123456789:./[]-tcpudx "), max_size=30))
def test_any_text_is_a_mapping_or_explained(text: str) -> None:
    try:
        made = parse_mapping(text)
    except Invalid:
        return
    assert 1 <= made.container_port <= 65535


def test_both_forms_in_one_list() -> None:
    text = '[80, "8080:81", {container_port: 82, host_port: 5353, protocol: udp, host_ip: 10.0.0.1}]'
    assert load(f"{HEAD}    port_mappings: {text}").services["web"].port_mappings == (
        PortSpec(container_port=80),
        PortSpec(host_port=8080, container_port=81),
        PortSpec(host_port=5353, container_port=82, protocol="udp", host_ip="10.0.0.1"),
    )


def test_addresses_of_links_are_refused() -> None:
    with pytest.raises(Invalid, match="names a link"):
        check_host_ip("fe80::1%eth0")
