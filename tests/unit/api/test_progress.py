"""Following a deployment and the daemon's events."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest

from zlayer.api import progress
from zlayer.testing.asgi import Exchange

from .conftest import StackFactory

pytestmark = pytest.mark.anyio


async def server_events(stream: Exchange) -> AsyncIterator[tuple[str, Any]]:
    """(name, document) of each server-sent event."""
    text = b""
    async for chunk in stream.chunks():
        text += chunk
        while b"\n\n" in text:
            block, _, text = text.partition(b"\n\n")
            fields = dict(line.split(": ", 1) for line in block.decode().splitlines() if not line.startswith(":"))
            if "data" in fields:
                yield fields.get("event", ""), json.loads(fields["data"])


async def test_summary_at_once_then_changes_and_events_until_it_is_gone(stack: StackFactory) -> None:
    async with stack() as s:
        await s.deploy()
        seen: list[tuple[str, Any]] = []
        with anyio.fail_after(15):
            async with s.client.open("GET", "/api/v1/deployments/shop/events") as stream:
                assert stream.headers["content-type"].startswith("text/event-stream")
                async for event in server_events(stream):
                    if not seen:
                        await s.services.wishes.remove("shop")
                    seen.append(event)
        names = [name for name, _ in seen]
        assert names[0] == "status"
        assert seen[0][1]["status"] == "running"
        assert "deployment.removed" in {doc["kind"] for name, doc in seen if name != "status"}


async def test_events_of_others_are_left_out(stack: StackFactory) -> None:
    async with stack() as s:
        await s.deploy("shop")
        async with s.client.open("GET", "/api/v1/deployments/shop/events") as stream:
            await s.deploy("other")
            await s.services.wishes.remove("shop")
            with anyio.fail_after(15):
                documents = [doc async for _, doc in server_events(stream)]
        assert all(doc.get("deployment", "shop") == "shop" for doc in documents)


async def test_the_end_of_what_is_on_its_way_is_told_at_once_but_only_once(stack: StackFactory) -> None:
    async with stack() as s:
        await s.deploy()
        with anyio.fail_after(15):
            await progress.all_is_done(s.services, "shop", calm=False)
        with anyio.move_on_after(0.05) as scope:
            await progress.all_is_done(s.services, "shop", calm=True)
        assert scope.cancelled_caught


async def test_an_absent_deployment_is_404_not_a_stream(stack: StackFactory) -> None:
    async with stack() as s:
        assert (await s.client.request("GET", "/api/v1/deployments/absent/events")).status == 404


async def test_events_past_and_followed(stack: StackFactory) -> None:
    async with stack() as s:
        await s.deploy()
        past = (await s.client.request("GET", "/api/v1/events")).lines()
        assert {"deployment.updated", "instance.started"} <= {event["kind"] for event in past}
        assert all(event["at"].endswith("Z") for event in past)
        async with s.client.open("GET", "/api/v1/events?follow=true") as stream:
            with anyio.fail_after(10):
                for _ in past:
                    await stream.line()
                await s.services.wishes.stop("shop")
                assert (await stream.line())["kind"] == "deployment.stopped"
