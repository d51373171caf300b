"""The rate limit of the TCP door."""

from __future__ import annotations

from typing import Any

import pytest

from zlayer.api.access import BURST, Bearer
from zlayer.api.authorise import Claims
from zlayer.api.edge import Edge
from zlayer.api.ratelimit import CLIENTS, Buckets
from zlayer.model.errors import Denied
from zlayer.testing.asgi import AsgiClient


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_burst_passes_then_the_rate_rules() -> None:
    clock = Clock()
    buckets = Buckets(10, 3, clock)
    assert [buckets.take("a") for _ in range(3)] == [None, None, None]
    assert buckets.take("a") == pytest.approx(0.1)
    assert buckets.take("b") is None  # each client has its own
    clock.now = 0.1
    assert buckets.take("a") is None
    clock.now = 1000
    assert [buckets.take("a") for _ in range(4)][-1] is not None  # never more than a burst is saved up


def test_clients_are_forgotten_when_there_are_too_many() -> None:
    buckets = Buckets(1, 1, Clock())
    for number in range(CLIENTS + 1):
        buckets.take(str(number))
    assert buckets.take("0") is None  # forgotten, so its bucket is full again
    assert buckets.take(str(CLIENTS)) is not None


async def plain(_scope: Any, _receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"ok"})


def refuse(_token: str) -> Claims:
    raise Denied("the token is not valid")


@pytest.mark.anyio
@pytest.mark.parametrize("verify", [refuse, lambda token: Claims(token, frozenset({"reader"}))])
async def test_too_many_requests_are_429_with_the_time_to_wait(verify: Any) -> None:
    door = Edge(Bearer(plain, verify, now=Clock()))
    client = AsgiClient(door, headers={"authorization": "Bearer x"})
    statuses = [(await client.request("GET", "/x")).status for _ in range(int(BURST))]
    assert set(statuses) <= {200, 401}
    reply = await client.request("GET", "/x")
    assert reply.status == 429
    assert int(reply.headers["retry-after"]) >= 1
    assert reply.json()["code"] == "unavailable"


@pytest.mark.anyio
async def test_a_refusal_says_how_to_come_in() -> None:
    reply = await AsgiClient(Edge(Bearer(plain, refuse))).request("GET", "/x")
    assert reply.status == 401
    assert reply.headers["www-authenticate"].startswith("Bearer")
    assert "zlayer token create" in reply.json()["hint"]
