"""Whom a pull asks for what, and how often (zlayer.image.s3.tier)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from zlayer.image.blobs import BlobStore
from zlayer.image.manifest import Descriptor
from zlayer.image.reference import parse
from zlayer.image.registry import Registry
from zlayer.image.registry_download import Download
from zlayer.image.s3.bucket import Bucket
from zlayer.image.s3.shelf import Shelf
from zlayer.image.s3.tier import TRIES, Tier
from zlayer.image.settings import RegistrySettings
from zlayer.model.errors import NotFound
from zlayer.testing.imagery import image, layer
from zlayer.testing.imagery_tar import Tar
from zlayer.testing.registry_faulty import Fault, FaultyRegistry
from zlayer.testing.s3_scripted import ENVIRON, Scripted

MADE = image([layer(Tar().file("a", os.urandom(200_000)))], {"Cmd": ["a"]})
BLOB = MADE.layers[0].blob


@pytest.fixture
def faulty() -> Iterator[FaultyRegistry]:
    with FaultyRegistry() as registry:
        yield registry


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
def tier(faulty: FaultyRegistry, scripted: Scripted, told: list[str], tmp_path: Path) -> Iterator[Tier]:
    reference = parse(faulty.hold("app", "1", MADE), "docker.io")
    registry = Registry(reference, RegistrySettings(attempts=3, backoff=0.01), {})
    made = Tier(registry, Bucket(scripted.settings, ENVIRON, tries=1), Shelf(tmp_path, scripted.settings), told.append)
    yield made
    made.close()
    registry.close()


def download(tier: Tier, root: Path) -> int:
    """How many bytes of the blob came from somewhere before the first of this download."""
    wanted = Descriptor(BLOB.media_type, BLOB.digest, BLOB.size)
    with BlobStore(root / "blobs").partial(BLOB.digest) as partial:
        one = Download(tier, wanted, partial, lambda _done: None)
        try:
            one.drain()
        finally:
            one.close()
        partial.commit()
    tier.kept(BLOB.digest, BLOB.size)
    return one.resumed


def test_a_tag_is_the_registrys(tier: Tier, faulty: FaultyRegistry, scripted: Scripted) -> None:
    assert tier.manifest("1").digest == MADE.digest
    assert scripted.asked == []
    assert faulty.count("/manifests/1") == 1


def test_what_is_not_in_the_bucket_is_asked_for_once(
    tier: Tier, faulty: FaultyRegistry, scripted: Scripted, told: list[str], tmp_path: Path
) -> None:
    scripted.rest = lambda *_: (404, b"")
    faulty.faults.append(Fault("/blobs/", times=2, truncate=50_000))
    assert download(tier, tmp_path) == 0
    assert len(scripted.asked) == 1
    assert faulty.count("/blobs/") == 3
    assert told == ["answers"]
    [entry] = Shelf(tmp_path, scripted.settings).waiting()
    assert (entry.digest, entry.size, entry.replace) == (BLOB.digest, BLOB.size, False)


def test_what_came_from_the_bucket_does_not_go_back(tier: Tier, scripted: Scripted, tmp_path: Path) -> None:
    scripted.rest = lambda *_: (200, BLOB.read())
    download(tier, tmp_path)
    assert Shelf(tmp_path, scripted.settings).empty


def test_what_was_half_here_may_go_up(tier: Tier, scripted: Scripted, tmp_path: Path) -> None:
    scripted.rest = lambda *_: (200, BLOB.read())
    partial = tmp_path / "blobs" / "partial" / BLOB.digest[7:]
    partial.parent.mkdir(parents=True)
    partial.write_bytes(BLOB.read()[:100])
    assert download(tier, tmp_path) == 100
    assert not Shelf(tmp_path, scripted.settings).empty, "the bucket will say that it has it"


def test_a_document_of_the_bucket_is_verified(
    tier: Tier, faulty: FaultyRegistry, scripted: Scripted, told: list[str], tmp_path: Path
) -> None:
    config = MADE.config
    scripted.replies = [(200, config.read())]
    assert tier.document(config.digest, 10_000) == config.read()
    tier.kept(config.digest, config.size)
    assert Shelf(tmp_path, scripted.settings).empty
    scripted.replies = [(200, b"x" * 10_001)]
    assert tier.manifest(MADE.digest).body == MADE.manifest.read()
    tier.kept(MADE.digest, MADE.manifest.size, "a/b")
    [entry] = Shelf(tmp_path, scripted.settings).waiting()
    assert (entry.replace, entry.media_type) == (True, "a/b")
    assert told == ["answers", f"has something else as {MADE.digest}: asking further, and it will be replaced"]


def test_nobody_has_it(tier: Tier, scripted: Scripted) -> None:
    scripted.rest = lambda *_: (404, b"")
    with pytest.raises(NotFound):
        tier.document("sha256:" + "0" * 64, 100)


def test_faults_of_the_bucket_take_no_try_of_the_registrys(
    tier: Tier, faulty: FaultyRegistry, scripted: Scripted, told: list[str], tmp_path: Path
) -> None:
    """Each answer of the bucket ends early; the registry then fails twice, which is what it may."""
    body = BLOB.read()
    with FaultyRegistry() as short:
        short.hold_blob(f"/images/p/{BLOB.digest.replace(':', '/')}", BLOB)
        short.faults.append(Fault("/images/", truncate=1000))
        settings = type(scripted.settings)("images", prefix="p/", endpoint=f"http://{short.address}")
        behind = Tier(tier._registry, Bucket(settings, ENVIRON, tries=1), Shelf(tmp_path, settings), told.append)
        faulty.faults.append(Fault("/blobs/", times=2, truncate=1000))
        download(behind, tmp_path)
        assert short.count("/images/") == TRIES
    assert faulty.count("/blobs/") == 3
    assert BlobStore(tmp_path / "blobs").read(BLOB.digest, len(body)) == body
    assert [one for one in told if one.startswith("failed")] == [f"failed, asking further: it broke off {BLOB.digest}"]
