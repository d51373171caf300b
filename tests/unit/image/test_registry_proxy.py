from __future__ import annotations

import pytest

from zlayer.image.registry_proxy import Proxy, proxy_for
from zlayer.model.errors import Invalid

BOTH = {"HTTPS_PROXY": "http://secure:3128", "HTTP_PROXY": "plain:8080"}


def test_by_scheme() -> None:
    assert proxy_for("https", "r.example", 443, BOTH) == Proxy("secure", 3128)
    assert proxy_for("http", "r.example", 80, BOTH) == Proxy("plain", 8080)
    assert proxy_for("http", "r.example", 80, {}) is None
    assert proxy_for("http", "r.example", 80, {"ALL_PROXY": "http://all"}) == Proxy("all", 80)
    assert proxy_for("https", "r", 443, {"https_proxy": "http://low:1", "HTTPS_PROXY": "http://up:2"}) == Proxy(
        "low", 1
    )


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.3.2.1", "::1"])
def test_never_for_loopback(host: str) -> None:
    assert proxy_for("http", host, 5000, BOTH) is None


@pytest.mark.parametrize(
    ("rules", "host", "port", "bypassed"),
    [
        ("*", "r.example", 443, True), ("r.example", "r.example", 443, True), ("R.Example", "r.example", 443, True),
        ("example", "r.example", 443, True), (".example", "r.example", 443, True), (".example", "example", 443, False),
        ("*.example", "r.example", 443, True), ("ample", "r.example", 443, False), ("", "r.example", 443, False),
        ("a, r.example", "r.example", 443, True), ("r.example:443", "r.example", 443, True),
        ("r.example:5000", "r.example", 443, False), ("10.0.0.0/8", "10.1.2.3", 443, True),
        ("10.0.0.0/8", "11.1.2.3", 443, False), ("10.1.2.3", "10.1.2.3", 443, True), ("2.3", "10.1.2.3", 443, False),
        ("fc00::/7", "fc00::1", 443, True), ("[fc00::1]:443", "fc00::1", 443, True), ("no/99", "10.1.2.3", 443, False),
    ],
)  # fmt: skip
def test_no_proxy(rules: str, host: str, port: int, bypassed: bool) -> None:
    assert (proxy_for("https", host, port, {**BOTH, "NO_PROXY": rules}) is None) is bypassed


def test_a_login_is_sent_and_does_not_show() -> None:
    proxy = proxy_for("https", "r.example", 443, {"HTTPS_PROXY": "http://user:hu%40sh@p:1"})
    assert proxy == Proxy("p", 1, "Basic dXNlcjpodUBzaA==")
    assert "dXNl" not in repr(proxy)


@pytest.mark.parametrize("value", ["socks5://p:1", "http://", "http://p:port", "https://p"])
def test_what_cannot_be_used_is_named_but_not_shown(value: str) -> None:
    with pytest.raises(Invalid, match="HTTPS_PROXY") as caught:
        proxy_for("https", "r.example", 443, {"HTTPS_PROXY": value})
    assert value not in caught.value.message
