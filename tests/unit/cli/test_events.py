from __future__ import annotations

import json

from zlayer.testing.api_samples import Cli
from zlayer.testing.scripted_daemon import ScriptedDaemon, ndjson

EVENTS = "GET /api/v1/events"
AT = "2026-01-01T00:00:00Z"
READY = {"at": AT, "kind": "instance.ready", "deployment": "shop", "service": "web", "message": "up"}


def test_lines(daemon: ScriptedDaemon, cli: Cli) -> None:
    daemon.routes[EVENTS] = ndjson(READY, {"kind": "node.ready", "node": "n1", "instance": "i"})
    done = cli("events", "--since", "1h")
    assert done.out.splitlines() == [
        "2026-01-01T00:00:00Z  instance.ready  shop/web  up",
        "node.ready  n1  i",
    ]
    assert daemon.requests[-1].target == "/api/v1/events?since=1h"


def test_json_lines(daemon: ScriptedDaemon, cli: Cli) -> None:
    daemon.routes[EVENTS] = ndjson(READY)
    doc = json.loads(cli("events", "-f", "--format", "json").out)
    assert (doc["kind"], doc["at"]) == ("instance.ready", "2026-01-01T00:00:00Z")
    assert daemon.requests[-1].target == "/api/v1/events?follow=true"
