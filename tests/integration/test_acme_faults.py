"""A CA that fails at every step in turn, in each way a CA can fail: told, waited for, overcome."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest

from zlayer.model import keys
from zlayer.model.certificate import StoredCertificate
from zlayer.store.documents import encode
from zlayer.testing.acme_front import KINDS, Cut, Fault, Say, front
from zlayer.testing.pebble import Pebble, pebble

from .test_acme import Daemon, settings, shop, usable

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(shutil.which("pebble") is None, reason="no pebble here: apt-get install pebble"),
]
STEPS = sorted(set(KINDS.values()))
LIMITED = json.dumps({"type": "urn:ietf:params:acme:error:rateLimited", "detail": "too many of these"}).encode()
FAULTS: dict[str, Fault] = {
    "an error without a word": Say(500),
    "busy": Say(503, b"<h1>busy</h1>", "text/html", retry_after="1"),
    "a rate limit": Say(429, LIMITED, retry_after="1"),
    "a page of something else": Say(200, b"<html>welcome</html>", "text/html"),
    "JSON of something else": Say(200, b'{"hello": ["world"]}', "application/json"),
    "no answer": Cut(),
    "done, and no answer": Cut(done=True),
    "done, and an error": Say(500, done=True),
}


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pebble]:
    with pebble(tmp_path_factory.mktemp("pebble")) as running:
        yield running


async def insist(daemon: Daemon, name: str) -> tuple[StoredCertificate, list[str]]:
    """As a user who asks again after every failure; the certificate, and what was told of the failures."""
    told: list[str] = []
    while True:
        found = await daemon.until(name, lambda found: found.usable or found.failures > len(told))
        if found.usable:
            return found, told
        told.append(found.last_error)
        item = await daemon.store.get(keys.certificate(name))
        assert item is not None
        again = StoredCertificate.model_validate_json(item.value).model_copy(update={"asked_at": time.time()})
        await daemon.store.commit({item.key: encode(again)}, expect={item.key: item.modified})


@pytest.mark.parametrize("fault", FAULTS)
async def test_every_step_fails_once_and_the_certificate_comes(tmp_path: Path, ca: Pebble, fault: str) -> None:
    with front(ca, tmp_path) as door:
        door.meddle = lambda _kind, nth: FAULTS[fault] if nth == 1 else None
        daemon = Daemon(tmp_path, ca, settings(ca, directory=door.directory))
        async with daemon.running():
            await daemon.deploy(shop("a.example.org"))
            with anyio.fail_after(120):
                found, told = await insist(daemon, "a.example.org")
            assert set(STEPS) <= set(door.asked)
            assert found.failures == 0
            assert told
            assert all("Traceback" not in words and len(words) < 1200 for words in told)
            assert (await daemon.store.list(keys.ORDERS)).items == ()
            assert len((await daemon.store.list(keys.ACCOUNTS)).items) == 1


async def test_while_a_ca_says_not_now_it_is_left_alone_whoever_asks(tmp_path: Path, ca: Pebble) -> None:
    with front(ca, tmp_path) as door:
        door.meddle = lambda kind, _nth: Say(429, LIMITED, retry_after="3600") if kind == "order" else None
        daemon = Daemon(tmp_path, ca, settings(ca, directory=door.directory))
        async with daemon.running():
            await daemon.deploy(shop("a.example.org"))
            held = await daemon.until("a.example.org", lambda found: found.failures)
            assert held.held_until is not None
            assert 3000 < held.held_until - time.time() < 3700
            assert "too many of these" in held.last_error
            await daemon.ask("a.example.org")
            await daemon.deploy(shop("a.example.org", "b.example.org"))
            await daemon.until("b.example.org", lambda found: found.failures)
            assert door.count("order") == 2


async def test_nothing_more_is_asked_of_one_that_is_down_than_every_few_seconds(tmp_path: Path, ca: Pebble) -> None:
    """A first certificate does not wait minutes for a CA that was down for a moment."""
    with front(ca, tmp_path) as door:
        door.meddle = lambda kind, nth: Cut() if kind == "directory" and nth < 2 else None
        daemon = Daemon(tmp_path, ca, settings(ca, directory=door.directory))
        async with daemon.running():
            await daemon.deploy(shop("a.example.org"))
            failed = await daemon.until("a.example.org", lambda found: found.failures)
            assert failed.next_try is not None
            assert failed.next_try - failed.tried_at < 15
            found = await daemon.until("a.example.org", usable)
            assert found.issued_at >= failed.next_try
