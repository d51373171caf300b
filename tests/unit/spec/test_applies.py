from __future__ import annotations

import json
from typing import Any

import pytest

from zlayer.model.errors import Invalid
from zlayer.spec.applies import KEYS
from zlayer.spec.load import load

VALUES: dict[str, Any] = {
    "host": "a.test", "path": "/a", "strip_path": True, "http2": True, "sticky": True, "limits": {"rate": 5},
    "timeouts": {"connect": "1s"}, "stream": {},
}  # fmt: skip
SHAPES: dict[str, dict[str, Any]] = {
    "http": {"protocol": "http"},
    "https": {"protocol": "https"},
    "tcp": {"protocol": "tcp"},
    "passthrough": {"protocol": "https", "tls": {"mode": "passthrough"}},
    "udp": {"protocol": "udp"},
}


def kinds(**keys: Any) -> list[str]:
    service = {"image": {"name": "a"}, "endpoints": [{"name": "e", "port": 80, "target_port": 81, **keys}]}
    try:
        load(json.dumps({"version": "v1", "deployment": "shop", "services": {"web": service}}))
    except Invalid as bad:
        return [p.kind for p in bad.problems]
    return []


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("mode", SHAPES)
def test_a_key_is_honoured_or_refused_by_name(key: str, mode: str) -> None:
    more = {"path": "/a"} if key == "strip_path" and mode in ("http", "https") else {}
    expected = [] if mode in KEYS[key][0] else ["Conflict"]
    assert kinds(**SHAPES[mode], **{key: VALUES[key]}, **more) == expected


@pytest.mark.parametrize("key", ["strip_path", "http2", "sticky"])
def test_false_says_nothing(key: str) -> None:
    assert kinds(protocol="udp", **{key: False}) == []


@pytest.mark.parametrize(
    "keys",
    [
        {"protocol": "websocket", "http2": True},
        {"protocol": "udp", "balance": "least_connections"},
        {"protocol": "http", "strip_path": True},
        {"protocol": "https", "tls": {"mode": "acme"}},
        {"protocol": "tcp", "limits": {"max_body": "1Mi"}},
        {"protocol": "tcp", "timeouts": {"head": "1s"}},
    ],
)
def test_values_that_do_not_go_together(keys: dict[str, Any]) -> None:
    assert kinds(**keys) == ["Conflict"]
