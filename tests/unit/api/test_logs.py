"""Logs of a service: merged by time, cut to the newest, followed over restarts and new replicas."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import anyio
import pytest

from zlayer.runtime.contract import CreateRequest
from zlayer.testing.asgi import Exchange
from zlayer.testing.fake_machine import Behaviour

from .conftest import Stack, StackFactory

pytestmark = pytest.mark.anyio
WEB = "/api/v1/deployments/shop/services/web"
TWO = {"web": {"scale": {"mode": "fixed", "replicas": 2}}}


def greets(request: CreateRequest) -> Behaviour:
    """Says its id, and its second line is longer than what comes next."""
    return Behaviour(output=(("stdout", f"hello from {request.id}\n".encode()), ("stderr", b"warm\n")))


def container(s: Stack, slot: int) -> Any:
    [found] = [c for i, c in s.machine.containers.items() if s.views.instance(i)["replica"] == slot]
    return found


def texts(lines: Iterable[Any]) -> list[str]:
    return [line["data"] for line in lines]


async def test_all_replicas_oldest_line_first(stack: StackFactory) -> None:
    async with stack(greets) as s:
        await s.deploy(**TWO)
        s.machine.write(container(s, 2), "stdout", b"second\n")
        s.machine.write(container(s, 1), "stdout", b"third\n")
        lines = (await s.client.request("GET", f"{WEB}/logs")).lines()
        assert [line["at"] for line in lines] == sorted(line["at"] for line in lines)
        assert texts(lines)[-2:] == ["second", "third"]
        assert {(line["service"], line["slot"]) for line in lines} == {("web", 1), ("web", 2)}
        assert {line["stream"] for line in lines} == {"stdout", "stderr"}


async def test_the_newest_lines_over_all_replicas(stack: StackFactory) -> None:
    async with stack(greets) as s:
        await s.deploy(**TWO)
        s.machine.write(container(s, 1), "stdout", b"last\n")
        assert texts((await s.client.request("GET", f"{WEB}/logs?lines=1")).lines()) == ["last"]
        assert (await s.client.request("GET", f"{WEB}/logs?lines=0")).lines() == []
        one = (await s.client.request("GET", f"{WEB}/logs?instance=2")).lines()
        assert {line["slot"] for line in one} == {2}
        assert (await s.client.request("GET", f"{WEB}/logs?instance=9")).status == 404


async def test_since_leaves_out_what_is_older(stack: StackFactory) -> None:
    async with stack(greets) as s:
        await s.deploy()
        everything = (await s.client.request("GET", f"{WEB}/logs?since=2001-01-01T00:00:00Z")).lines()
        assert len(everything) == 2
        assert (await s.client.request("GET", f"{WEB}/logs?since=10m")).lines() == []  # the fake world is of 2023
        assert (await s.client.request("GET", f"{WEB}/logs?since=soon")).status == 422


async def test_plain_text_for_people(stack: StackFactory) -> None:
    async with stack(greets) as s:
        await s.deploy()
        reply = await s.client.request("GET", f"{WEB}/logs", headers={"accept": "text/plain"})
        assert reply.headers["content-type"].startswith("text/plain")
        assert reply.body.endswith(b"\nwarm\n")


async def read(stream: Exchange, count: int) -> list[str]:
    with anyio.fail_after(10):
        return texts([await stream.line() for _ in range(count)])


async def test_following_gives_each_line_once(stack: StackFactory) -> None:
    async with stack(greets) as s:
        await s.deploy()
        async with s.client.open("GET", f"{WEB}/logs?follow=true&lines=1") as stream:
            assert await read(stream, 1) == ["warm"]
            for number in range(5):
                s.machine.write(container(s, 1), "stdout", f"line {number}\n".encode())
            assert await read(stream, 5) == [f"line {number}" for number in range(5)]


async def test_following_goes_over_to_new_replicas_and_successors(stack: StackFactory) -> None:
    async with stack(greets) as s:
        await s.deploy(**TWO)
        async with s.client.open("GET", "/api/v1/deployments/shop/logs?follow=true&lines=0") as stream:
            await s.services.wishes.scale("shop", {"web": 3})
            assert (await read(stream, 2))[0].startswith("hello from shop-web-3")
            first = container(s, 1).handle.id
            s.machine.kill(first, 1)
            later = await read(stream, 2)
            assert later[0].startswith("hello from shop-web-1")
            assert first not in later[0]


async def test_following_ends_with_the_deployment(stack: StackFactory) -> None:
    async with stack(greets) as s:
        await s.deploy()
        async with s.client.open("GET", f"{WEB}/logs?follow=true") as stream:
            await read(stream, 2)
            await s.services.wishes.remove("shop")
            with anyio.fail_after(15):
                assert [chunk async for chunk in stream.chunks()] == []


async def test_a_client_that_hangs_up_ends_the_follow(stack: StackFactory) -> None:
    async with stack(greets) as s:
        await s.deploy()
        with anyio.fail_after(10):  # leaving waits until the application has returned
            async with s.client.open("GET", f"{WEB}/logs?follow=true") as stream:
                await read(stream, 2)


async def test_logs_of_one_instance(stack: StackFactory) -> None:
    async with stack(greets) as s:
        await s.deploy()
        instance = s.views.instances()[0]["id"]
        lines = (await s.client.request("GET", f"/api/v1/instances/{instance}/logs?lines=1")).lines()
        assert (lines[0]["instance"], lines[0]["data"]) == (instance, "warm")
