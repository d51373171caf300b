"""The daemon's side of the S3 tier, with a real worker process (zlayer.image.s3.keeper)."""

from __future__ import annotations

import hashlib
import os
from dataclasses import replace
from pathlib import Path

import anyio
import pytest
from structlog.testing import capture_logs

from zlayer.image.blobs import BlobStore
from zlayer.image.s3.keeper import Keeper
from zlayer.image.s3.shelf import Entry, Shelf
from zlayer.testing.s3_scripted import Scripted
from zlayer.testing.s3_swift import write_keys

pytestmark = pytest.mark.anyio


def waits(root: Path, scripted: Scripted) -> Entry:
    body = os.urandom(1000)
    entry = Entry(f"sha256:{hashlib.sha256(body).hexdigest()}", len(body))
    BlobStore(root / "blobs").write(entry.digest, body)
    Shelf(root, scripted.settings).put(entry)
    return entry


@pytest.fixture
def keeper(scripted: Scripted, tmp_path: Path) -> Keeper:
    write_keys(tmp_path / "keys", "AKID", "sesame")
    scripted.settings = replace(scripted.settings, credentials_file=str(tmp_path / "keys"))
    scripted.rest = lambda method, _target: (200 if method == "PUT" else 404, b"")
    return Keeper(tmp_path, scripted.settings)


async def test_what_waits_from_before_goes_up_and_what_comes_later_too(
    keeper: Keeper, scripted: Scripted, tmp_path: Path
) -> None:
    first = waits(tmp_path, scripted)
    shelf = Shelf(tmp_path, scripted.settings)

    async def gone(entry: Entry) -> None:
        with anyio.fail_after(60):
            while shelf.get(entry.digest) is not None or keeper.done.sent == 0:  # noqa: ASYNC110  # another process does it
                await anyio.sleep(0.02)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(keeper.run)
        await gone(first)
        second = waits(tmp_path, scripted)
        keeper.wake()
        await gone(second)
        tasks.cancel_scope.cancel()
    assert [target for method, target, _ in scripted.asked if method == "PUT"] == [
        f"/images/p/{entry.digest.replace(':', '/')}" for entry in (first, second)
    ]


async def test_a_failure_is_logged_once_and_told_until_it_is_over(
    keeper: Keeper, scripted: Scripted, tmp_path: Path
) -> None:
    waits(tmp_path, scripted)
    scripted.rest = lambda *_: (403, b"<Error><Code>InvalidAccessKeyId</Code></Error>")
    with capture_logs() as logs:
        assert not await keeper.look()
        assert not await keeper.look()
    assert [one["event"] for one in logs] == ["s3 failed"]
    assert "sesame" not in str(logs)
    assert "InvalidAccessKeyId" in (await keeper.standing()).held_up
    scripted.rest = lambda method, _target: (200 if method == "PUT" else 404, b"")
    assert await keeper.look()
    standing = await keeper.standing()
    assert (standing.held_up, standing.waiting, standing.state) == ("", 0, "ok")
    assert (keeper.done.sent, keeper.done.bytes) == (1, 1000)


async def test_a_bucket_that_is_new_is_offered_all_there_is_once(scripted: Scripted, tmp_path: Path) -> None:
    body, absent = b"here", "sha256:" + "0" * 64
    digest = f"sha256:{hashlib.sha256(body).hexdigest()}"
    BlobStore(tmp_path / "blobs").write(digest, body)
    shelf = Shelf(tmp_path, scripted.settings)
    asked: list[int] = []

    def held() -> set[str]:
        asked.append(1)
        return {digest, absent}

    for upload, offers in ((False, 0), (True, 1), (True, 1)):
        keeper = Keeper(tmp_path, replace(scripted.settings, upload=upload), held)
        with anyio.move_on_after(0.3):
            await keeper.run()
        assert len(asked) == offers
    assert [entry.digest for entry in shelf.waiting()] == [digest], "no key: nothing went up"
