"""`limits` and `timeouts` of an endpoint: how much it takes, and how long the proxy waits."""

from __future__ import annotations

from zlayer.spec.health import duration
from zlayer.spec.nodes import Table
from zlayer.spec.records import Field, Record
from zlayer.spec.report import At
from zlayer.spec.shapes import Number, Quantity
from zlayer.spec.storage import memory
from zlayer.spec.traffic import LimitsSpec, TimeoutsSpec
from zlayer.spec.units import RATE_PATTERN, parse_rate

RATE = Quantity(
    "Requests (connections, for tcp) of one client address: `100/s`, `30/m`, `500/h`, or a number a second.",
    parse_rate,
    {"type": ["string", "number"], "pattern": RATE_PATTERN},
    "a rate such as 100/s",
)


def _check_limits(made: LimitsSpec, found: Table, at: At) -> None:
    if made.burst is not None and "rate" not in found.entries:
        key = found.entries["burst"][0]
        (at / "burst").refuse(key, "a burst is what is let through above a rate: give rate", kind="MissingKey")


LIMITS = Record(
    LimitsSpec,
    {
        "rate": Field(RATE),
        "burst": Field(Number("Let through at once above the rate. Default: one second's.", 0, 1_000_000)),
        "max_body": Field(memory("The largest request body that is passed on.")),
        "max_connections": Field(Number("Of each replica; the rest queues.", 1, 1_000_000)),
    },
    "Left out: without limit.",
    synonyms={
        "rps": "rate", "average": "rate", "requests_per_second": "rate", "max_conn": "max_connections",
        "maxconn": "max_connections", "client_max_body_size": "max_body", "body": "max_body",
    },
    check=_check_limits,
)  # fmt: skip

TIMEOUTS = Record(
    TimeoutsSpec,
    {
        "connect": Field(duration("To a replica. Default 5s.")),
        "queue": Field(duration("Waiting for a replica below its max_connections. Default 30s.")),
        "head": Field(duration("Until a request's head is whole. Default 10s.")),
        "body": Field(duration("Between two parts of a request's body. Default 60s.")),
        "response": Field(duration("From request to the head of its answer. Default 60s.")),
        "idle": Field(duration("Of a kept connection between requests, of a tcp stream between bytes. Default 60s.")),
        "tunnel": Field(duration("Without a byte either way on a WebSocket. Default 1h.")),
    },
    "How long the proxy waits.",
    synonyms={
        "header": "head", "client": "body", "request": "body", "read": "response", "server": "response",
        "keepalive": "idle", "keep_alive": "idle", "websocket": "tunnel",
    },
)  # fmt: skip
TIMES_OF: dict[str, tuple[str, ...]] = {
    "http": tuple(TIMEOUTS.fields),
    "https": tuple(TIMEOUTS.fields),
    "tcp": ("connect", "queue", "idle"),
    "passthrough": ("connect", "queue", "idle"),
    "udp": (),
}
"""The timeouts a mode has a use for."""
