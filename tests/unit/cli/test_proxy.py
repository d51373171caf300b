from __future__ import annotations

import json

from zlayer.testing.api_samples import Cli
from zlayer.testing.scripted_daemon import Answer, ScriptedDaemon

NAMES = {"deployment": "shop", "service": "web", "endpoint": "http"}
ROUTE = NAMES | {
    "listener": "public-80", "addresses": ["*"], "port": 80, "mode": "http", "host": "a.test", "path": "/",
    "servers": 2, "certificates": [],
}  # fmt: skip
SERVER = {
    "id": "shop-web-1-a", "address": "10.64.0.2", "port": 8080, "weight": 100, "state": "up", "current": 1, "total": 7,
    "errors": 0,
}  # fmt: skip
BACKEND = NAMES | {
    "mode": "http", "balance": "round_robin", "servers": [SERVER], "requests": 7, "rate": 1, "responses": {"2xx": 7},
    "queued": 0,
}  # fmt: skip


def test_routes(daemon: ScriptedDaemon, cli: Cli) -> None:
    daemon.routes["GET /api/v1/proxy/routes"] = Answer([ROUTE])
    assert cli("proxy", "routes").out.splitlines()[1].split() == ["*:80", "http", "a.test/", "shop/web/http", "2", "-"]
    assert json.loads(cli("proxy", "routes", "--format", "json").out) == [ROUTE]


def test_backends(daemon: ScriptedDaemon, cli: Cli) -> None:
    daemon.routes["GET /api/v1/proxy/backends"] = Answer([BACKEND, BACKEND | {"servers": []}])
    first, second = cli("proxy", "backends").out.splitlines()[1:]
    assert first.split() == ["shop/web/http", "shop-web-1-a", "10.64.0.2:8080", "up", "1", "7", "0"]
    assert "no replica is ready" in second
    assert json.loads(cli("proxy", "backends", "--format", "json").out)[0] == BACKEND
