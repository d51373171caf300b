"""Which of the host's resolvers is asked first."""

from __future__ import annotations

import pytest

from zlayer.network.dns import forward
from zlayer.network.dns.forward import Forwarder

from .test_message import query

pytestmark = pytest.mark.anyio


async def test_one_that_was_silent_is_asked_last_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    async def ask(upstream: str, data: bytes) -> bytes:
        asked.append(upstream)
        if upstream == "dead":
            raise TimeoutError
        return data

    monkeypatch.setattr(forward, "_ask", ask)
    made = Forwarder(("dead", "alive"))
    for _ in range(3):
        assert await made.udp(query("a.b")) == query("a.b")
    assert asked == ["dead", "alive", "alive", "alive"]
    monkeypatch.setattr(forward, "SHUNNED", 0.0)
    made = Forwarder(("dead", "alive"))
    for _ in range(2):
        await made.udp(query("a.b"))
    assert asked[4:] == ["dead", "alive", "dead", "alive"]


async def test_nobody_to_ask_or_nobody_there() -> None:
    assert await Forwarder().udp(query("a.b")) is None
    assert await Forwarder(("127.255.255.254", "not an address")).tcp(query("a.b")) is None
