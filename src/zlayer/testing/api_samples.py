"""Documents as the API sends them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Doc = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Ran:
    """What a command line did."""

    code: int
    out: str
    err: str


Cli = Callable[..., Ran]


def service(name: str = "web", **changes: object) -> Doc:
    doc: Doc = {
        "name": name,
        "image": "nginx:1.27",
        "desired": 2,
        "running": 2,
        "ready": 2,
        "settled": True,
        "endpoints": [
            {
                "name": "http",
                "protocol": "http",
                "port": 80,
                "target_port": 80,
                "public": False,
                "host": None,
                "path": "/",
            }
        ],
    }
    return doc | changes


def deployment(name: str = "shop", status: str = "running", *services: Doc, **changes: object) -> Doc:
    listed = list(services) or [service()]
    doc: Doc = {
        "name": name,
        "deployment": name,
        "status": status,
        "message": "",
        "culprit": "",
        "revision": 3,
        "service_count": len(listed),
        "created_at": "2026-01-01T00:00:00.000000Z",
        "updated_at": None,
        "services": listed,
    }
    return doc | changes


def container(**changes: object) -> Doc:
    doc: Doc = {
        "deployment": "shop",
        "service": "web",
        "replica": 1,
        "id": "shop-web-1-a1b2",
        "node": "n1",
        "state": "running",
        "health": "healthy",
        "image": "nginx:1.27",
        "ip": "10.88.0.2",
        "ports": ["80/tcp"],
        "pid": 4711,
        "restarts": 0,
        "created_at": "2026-01-01T00:00:00.000000Z",
        "started_at": "2026-01-01T00:00:01.000000Z",
        "exit_code": None,
        "reason": "",
    }
    return doc | changes


def plan(*actions: str, revision: int = 2) -> Doc:
    changes = [
        {"service": "web", "slot": n, "action": action, "instance": None, "reason": "image changed"}
        for n, action in enumerate(actions, 1)
    ]
    return {"deployment": "shop", "revision": revision, "changes": changes, "summary": {}}


def line(text: str, slot: int = 1, stream: str = "stdout", service: str = "web") -> Doc:
    return {
        "at": "2026-01-01T00:00:00.000000Z",
        "stream": stream,
        "instance": f"shop-{service}-{slot}-a1b2",
        "service": service,
        "slot": slot,
        "data": text,
        "partial": False,
    }
