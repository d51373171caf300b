"""Pushes with collections between any two of their requests: no push loses what it brought, mounted or found."""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zlayer.registry.access import Access
from zlayer.registry.app import RegistryApp
from zlayer.registry.garbage import GRACE, Collector
from zlayer.registry.repositories import TOUCH, Repositories
from zlayer.registry.shelf import Shelf
from zlayer.registry.uploads import Uploads
from zlayer.registry.users import Users
from zlayer.testing.asgi import AsgiClient, Reply
from zlayer.testing.netns import short_directory

OCI = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
NAMES = ("a", "a", "b")
CONTENTS = (b"one", b"two", b"three", b"four")
PATIENCE = GRACE - 60
"""Seconds that a client may take for one request of its push."""


def sha(body: bytes) -> str:
    return f"sha256:{hashlib.sha256(body).hexdigest()}"


def part(body: bytes, kind: str = "application/octet-stream") -> dict[str, Any]:
    return {"mediaType": kind, "digest": sha(body), "size": len(body)}


class Site:
    """One registry, whose time is the age of its files."""

    def __init__(self, root: Path, tasks: anyio.abc.TaskGroup) -> None:
        self.root, self.repositories = root, Repositories(root)
        access = Access(Users(root / "users.json"), anonymous=True)
        uploads = Uploads(self.repositories)
        self.client = AsgiClient(RegistryApp(Shelf(self.repositories), uploads, access, [], tasks))

    async def ask(self, method: str, path: str, body: bytes = b"", kind: str = "") -> Reply:
        sent = {"host": "localhost", "content-length": str(len(body)), "content-type": kind}
        return await self.client.request(method, path, body, headers=sent)

    def pass_time(self, seconds: float) -> None:
        for path in [self.root, *self.root.rglob("*")]:
            then = path.stat().st_mtime - seconds
            os.utime(path, (then, then))

    def collect(self, *, untagged: bool) -> None:
        Collector(self.repositories).run(untagged=untagged)


async def pushed(site: Site, name: str, tag: str, layers: list[bytes]) -> AsyncIterator[None]:
    """Push an index of one image; time may pass and garbage be collected at each yield."""
    for layer in layers:
        if (await site.ask("HEAD", f"/v2/{name}/blobs/{sha(layer)}")).status == 200:
            yield
            continue
        other = "b" if name == "a" else "a"
        begun = await site.ask("POST", f"/v2/{name}/blobs/uploads/?mount={sha(layer)}&from={other}")
        yield
        if begun.status == 201:
            continue
        place = begun.headers["location"]
        for byte in layer:
            assert (await site.ask("PATCH", place, bytes([byte]))).status == 202
            yield
        assert (await site.ask("PUT", f"{place}?digest={sha(layer)}")).status == 201
        yield
    described = [part(layer) for layer in layers]
    image = json.dumps({"schemaVersion": 2, "config": described[0], "layers": described[1:]}).encode()
    if (await site.ask("HEAD", f"/v2/{name}/manifests/{sha(image)}")).status != 200:
        told = await site.ask("PUT", f"/v2/{name}/manifests/{sha(image)}", image, OCI)
        assert told.status == 201, told.body
    yield
    index = json.dumps({"schemaVersion": 2, "manifests": [part(image, OCI)]}).encode()
    told = await site.ask("PUT", f"/v2/{name}/manifests/{tag}", index, INDEX)
    assert told.status == 201, told.body
    for layer in layers:
        assert (await site.ask("GET", f"/v2/{name}/blobs/{sha(layer)}")).body == layer


STEP = st.one_of(
    st.tuples(st.just("push"), st.integers(0, len(NAMES) - 1)),
    st.tuples(st.just("wait"), st.integers(int(PATIENCE / 2), int(PATIENCE))),
    st.tuples(st.just("collect"), st.integers(0, 1)),
    st.tuples(st.just("untag"), st.integers(0, len(NAMES) - 1)),
)
LAYERS = st.lists(st.sampled_from(CONTENTS), min_size=1, max_size=3, unique=True)


async def history(root: Path, steps: list[tuple[str, int]], layers: list[list[bytes]]) -> None:
    async with anyio.create_task_group() as tasks:
        site = Site(root, tasks)
        pushes: dict[int, AsyncIterator[None]] = {}
        idle: dict[int, float] = {}

        async def go_on(who: int) -> None:
            idle[who] = 0.0
            under_way = pushes.setdefault(who, pushed(site, NAMES[who], f"t{who}", layers[who]))
            if await anext(under_way, "over") == "over":
                del pushes[who], idle[who]

        for what, number in steps:
            match what:
                case "push":
                    await go_on(number)
                case "wait":
                    for who in [who for who, so_far in idle.items() if so_far + number > PATIENCE]:
                        await go_on(who)
                    idle.update({who: so_far + number for who, so_far in idle.items()})
                    site.pass_time(number)
                    site.collect(untagged=True)
                case "untag":
                    await site.ask("DELETE", f"/v2/{NAMES[number]}/manifests/t{number}")
                case _:
                    site.collect(untagged=bool(number))
        while pushes:
            site.collect(untagged=True)
            await go_on(next(iter(pushes)))
        tasks.cancel_scope.cancel()


@settings(max_examples=150, deadline=None)
@given(st.lists(STEP, max_size=50), st.tuples(LAYERS, LAYERS, LAYERS))
def test_no_push_loses_anything(steps: list[tuple[str, int]], layers: tuple[list[bytes], ...]) -> None:
    with short_directory() as root:
        anyio.run(history, root, steps, list(layers))


def test_a_layer_that_takes_hours_keeps_the_first_one() -> None:
    waits: list[tuple[str, int]] = [("push", 0), ("wait", 3000), ("collect", 1)]
    with short_directory() as root:
        anyio.run(history, root, waits * 12, [[b"one", b"three"]] * 3)


@pytest.mark.anyio
async def test_a_client_that_asks_during_a_collection_is_answered_behind_it(tmp_path: Path) -> None:
    async with anyio.create_task_group() as tasks:
        site, body = Site(tmp_path, tasks), b"blob"
        path = f"/v2/a/blobs/{sha(body)}"
        assert (await site.ask("POST", f"/v2/a/blobs/uploads/?digest={sha(body)}", body)).status == 201
        answers: list[int] = []

        async def look() -> None:
            answers.append((await site.ask("HEAD", path)).status)

        async with anyio.create_task_group() as looking:
            with site.repositories.collecting():
                looking.start_soon(look)
                for _ in range(5):
                    assert (await site.ask("GET", path)).body == body, "who pulls does not wait"
                assert answers == []
                site.repositories.drop_blob("a", sha(body))
        assert answers == [404]
        tasks.cancel_scope.cancel()


@pytest.mark.anyio
async def test_pulls_go_on_though_more_clients_wait_for_a_collection_than_there_are_threads(tmp_path: Path) -> None:
    async with anyio.create_task_group() as tasks:
        site, body, waiting = Site(tmp_path, tasks), b"blob", 100
        assert (await site.ask("POST", f"/v2/a/blobs/uploads/?digest={sha(body)}", body)).status == 201
        answers: list[int] = []

        async def push(number: int) -> None:
            what = (("HEAD", f"blobs/{sha(body)}"), ("DELETE", f"blobs/{sha(b'')}"), ("PUT", "manifests/x"))[number % 3]
            answers.append((await site.ask(what[0], f"/v2/a/{what[1]}", b"{}" if number % 3 == 2 else b"")).status)

        async with anyio.create_task_group() as pushing:
            with site.repositories.collecting():
                for number in range(waiting):
                    pushing.start_soon(push, number)
                await anyio.wait_all_tasks_blocked()
                with anyio.fail_after(20):
                    for _ in range(3):
                        assert (await site.ask("GET", f"/v2/a/blobs/{sha(body)}")).body == body
        assert len(answers) == waiting
        tasks.cancel_scope.cancel()


def test_who_comes_after_a_waiting_collection_goes_after_it(tmp_path: Path) -> None:
    """Else pushes that overlap without end keep it out for ever."""
    repositories, order = Repositories(tmp_path), list[str]()

    def collect() -> None:
        with repositories.collecting():
            order.append("collection")

    def push() -> None:
        with repositories.changing():
            order.append("push")

    threads = [threading.Thread(target=collect), threading.Thread(target=push)]
    with repositories.changing():
        for thread in threads:
            thread.start()
            thread.join(0.5)  # time to take what it can get
        assert order == []
    for thread in threads:
        thread.join(20)
    assert order == ["collection", "push"]


@pytest.mark.anyio
async def test_a_short_grace_is_kept_to_though_uses_are_noted_once_a_minute(tmp_path: Path) -> None:
    async with anyio.create_task_group() as tasks:
        site, body = Site(tmp_path, tasks), b"blob"
        assert (await site.ask("POST", f"/v2/a/blobs/uploads/?digest={sha(body)}", body)).status == 201
        site.pass_time(TOUCH - 10)
        assert (await site.ask("HEAD", f"/v2/a/blobs/{sha(body)}")).status == 200
        Collector(site.repositories, grace=30).run()
        assert (await site.ask("GET", f"/v2/a/blobs/{sha(body)}")).body == body
        Collector(site.repositories, grace=0).run()
        assert (await site.ask("GET", f"/v2/a/blobs/{sha(body)}")).status == 404
        tasks.cancel_scope.cancel()


def test_what_nobody_pushes_on_goes_after_a_day_at_most() -> None:
    async def play(root: Path) -> None:
        async with anyio.create_task_group() as tasks:
            site = Site(root, tasks)
            for body, seconds in ((b"left", 23 * 3600.0), (b"young", 0.0)):
                await site.ask("POST", f"/v2/a/blobs/uploads/?digest={sha(body)}", body)
                site.pass_time(seconds)
            site.collect(untagged=False)
            assert sorted(site.repositories.blobs.list()) == sorted(map(sha, (b"left", b"young"))), "one may go on"
            site.pass_time(GRACE - 60)
            site.collect(untagged=False)
            assert sorted(site.repositories.blobs.list()) == sorted(map(sha, (b"left", b"young")))
            site.pass_time(240)
            site.collect(untagged=False)
            assert list(site.repositories.blobs.list()) == []
            tasks.cancel_scope.cancel()

    with short_directory() as root:
        anyio.run(play, root)
