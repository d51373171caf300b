"""Uploads: whole, in chunks, mounted, gone on with after a break, and refused."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from zlayer.image import registry_push
from zlayer.image.manifest import Descriptor
from zlayer.image.reference import parse
from zlayer.image.registry import Registry
from zlayer.image.registry_push import Source, push_blob, push_manifest
from zlayer.image.settings import RegistrySettings
from zlayer.model.errors import Corrupt, Failed, Unavailable
from zlayer.testing.registry_writable import WritableRegistry

OCTETS = "application/octet-stream"


@pytest.fixture
def server() -> Iterator[WritableRegistry]:
    with WritableRegistry() as registry:
        yield registry


@pytest.fixture
def client(server: WritableRegistry) -> Iterator[Registry]:
    settings = RegistrySettings(attempts=3, backoff=0.01, stall_timeout=10)
    registry = Registry(parse(f"{server.address}/team/app:1"), settings, {}, rights="pull,push")
    yield registry
    registry.close()


def source(tmp_path: Path, size: int, *mounts: str) -> tuple[Source, bytes]:
    body = os.urandom(size)
    path = tmp_path / "blob"
    path.write_bytes(body)
    return Source(Descriptor(OCTETS, f"sha256:{hashlib.sha256(body).hexdigest()}", size), path, mounts), body


def test_what_is_small_goes_in_one_piece(server: WritableRegistry, client: Registry, tmp_path: Path) -> None:
    one, body = source(tmp_path, 300_000)
    told: list[int] = []
    assert push_blob(client, one, told.append) == "done"
    assert server.blobs == {one.blob.digest: body}
    assert (server.count("PATCH"), server.count("PUT")) == (0, 1)
    assert told[-1] == 300_000
    assert push_blob(client, one) == "exists"
    assert server.count("PUT") == 1


def test_an_empty_blob_goes_too(server: WritableRegistry, client: Registry, tmp_path: Path) -> None:
    one, _ = source(tmp_path, 0)
    assert push_blob(client, one) == "done"
    assert server.blobs == {one.blob.digest: b""}


@pytest.mark.parametrize("after", [[0], [1], [150_000], [100_000, 30_000, 5]])
@pytest.mark.parametrize("forget", [False, True])
def test_a_broken_upload_goes_on(
    server: WritableRegistry, client: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    after: list[int], forget: bool,
) -> None:  # fmt: skip
    monkeypatch.setattr(registry_push, "CHUNK", 200_000)
    one, body = source(tmp_path, 1_050_000)
    server.break_patch, server.forget = after, forget and len(after) == 1
    assert push_blob(client, one) == "done"
    assert server.blobs == {one.blob.digest: body}


def test_a_registry_in_trouble_is_asked_again_and_not_for_ever(
    server: WritableRegistry, client: Registry, tmp_path: Path
) -> None:
    one, _ = source(tmp_path, 1000)
    server.statuses = {"POST": [503], "PUT": [500]}
    assert push_blob(client, one) == "done"
    other, _ = source(tmp_path, 1001)
    server.statuses = {"PUT": [500] * 50}
    with pytest.raises(Unavailable, match="500"):
        push_blob(client, other)


def test_a_blob_of_another_repository_is_mounted(server: WritableRegistry, client: Registry, tmp_path: Path) -> None:
    one, body = source(tmp_path, 5000, "team/base")
    server.mountable = {"team/base"}
    server.statuses = {"HEAD": [404]}
    server.blobs[one.blob.digest] = body
    assert push_blob(client, one) == "mounted"
    assert server.count("PUT") == 0


def test_a_mount_that_is_not_possible_is_an_upload(server: WritableRegistry, client: Registry, tmp_path: Path) -> None:
    one, _ = source(tmp_path, 5000, "team/base", "team/other")
    server.statuses = {"POST": [403]}
    assert push_blob(client, one) == "done"
    assert server.count("POST", "mount=") == 2


def test_a_file_that_is_not_the_blob_is_not_sent(server: WritableRegistry, client: Registry, tmp_path: Path) -> None:
    one, _ = source(tmp_path, 5000)
    one.path.write_bytes(b"short")
    with pytest.raises(Failed, match="size"):
        push_blob(client, one)
    one.path.write_bytes(os.urandom(5000))
    with pytest.raises(Failed, match="400"):
        push_blob(client, one)
    assert server.blobs == {}


def test_a_manifest_that_arrives_as_another_is_told(server: WritableRegistry, client: Registry) -> None:
    push_manifest(client, "1", b"{}", "application/json")
    assert server.manifests == {"team/app:1": b"{}"}
    server.claimed = f"sha256:{hashlib.sha256(b'other').hexdigest()}"
    with pytest.raises(Corrupt, match="stored the manifest as"):
        push_manifest(client, "1", b"{}", "application/json")
