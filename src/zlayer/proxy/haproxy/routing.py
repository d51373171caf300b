"""A listener's routes as the lines of its map, and what a route says beside its backend.

One look-up finds host and longest path together: keys are `host/path/` in a tree of prefixes (`map_beg`, which gives
the longest), asked with `host` + `path` + `/`. Hosts that are wildcards stand as `*.suffix`, any host as `*`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from zlayer.model.routes import NO_LIMITS, USUAL, Listener, Route
from zlayer.proxy.haproxy import names
from zlayer.proxy.haproxy.memo import by_identity
from zlayer.proxy.haproxy.structure import depth, milliseconds

WINDOW = 10
"""Seconds of the long window of a rate limit. The short one is a second."""
NOWHERE = "-"
"""Names no section, so that the frontend's default answers: a backend for which a worker has no slot."""


@dataclass(frozen=True, slots=True)
class Line:
    """A route without its slot: the key on an HTTP listener, on another one, and what follows the section's name."""

    web: str
    stream: str
    backend: str
    tail: str


def lines(listener: Listener, slots: Mapping[str, int | None]) -> dict[str, str]:
    """Map keys to values. Of two routes with the same host and path the first wins."""
    found: dict[str, str] = {}
    web = listener.mode in {"http", "https"}
    for route in listener.routes:
        line = line_of(route)
        found.setdefault(line.web if web else line.stream, f"{section(slots.get(line.backend))}|{line.tail}")
    return found


@by_identity
def line_of(route: Route) -> Line:
    return Line(key(route, web=True), key(route, web=False), names.token(route.backend), tail(route))


def key(route: Route, *, web: bool) -> str:
    host = names.token(route.host.lower().rstrip(".")) if route.host else "*"
    host = host.replace("/", "%2F")
    if not web:
        return host
    path = names.path("/" + route.path.strip("/"))
    return host + (path if path.endswith("/") else path + "/")


def value(route: Route, slot: int | None) -> str:
    """`section|backend` and, only where something is unusual, `|strip|body|short|long|response|tunnel`."""
    return f"{section(slot)}|{line_of(route).tail}"


def tail(route: Route) -> str:
    """What of a route's value does not depend on its slot."""
    plain = names.token(route.backend)
    times, limits = route.timeouts, route.limits
    short, long = rates(route)
    fields = (
        str(depth(route.path)) if route.strip_path and depth(route.path) else "",
        "" if limits.max_body is None else str(int(limits.max_body)),
        short,
        long,
        "" if times.response == USUAL.response else str(milliseconds(times.response)),
        "" if times.tunnel == USUAL.tunnel else str(milliseconds(times.tunnel)),
    )
    return plain if not any(fields) else f"{plain}|{'|'.join(fields)}"


def section(slot: int | None) -> str:
    return NOWHERE if slot is None else f"be{slot}"


def rates(route: Route) -> tuple[str, str]:
    """Requests let through in one second and in `WINDOW`: the first allows the burst, the second holds the rate."""
    if route.limits is NO_LIMITS or route.limits.rate is None:
        return "", ""
    rate = route.limits.rate
    burst = math.ceil(rate) if route.limits.burst is None else route.limits.burst
    return str(max(1, math.ceil(rate + burst))), str(max(1, math.ceil(rate * WINDOW + burst)))
