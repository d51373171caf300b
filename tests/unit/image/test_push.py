"""The push job: which blobs, in which order, and what an image without its blobs says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from zlayer.image.blobs import BlobStore
from zlayer.image.login_order import LoginOrder
from zlayer.image.push import push
from zlayer.image.push_order import PushOrder
from zlayer.image.settings import RegistryHost, RegistrySettings
from zlayer.model.errors import Failed, Unavailable
from zlayer.testing.imagery import OciImage, image, layer
from zlayer.testing.imagery_tar import Tar
from zlayer.testing.registry_writable import WritableRegistry


@pytest.fixture
def server() -> Iterator[WritableRegistry]:
    with WritableRegistry() as registry:
        yield registry


@pytest.fixture
def made(tmp_path: Path) -> OciImage:
    found = image([layer(Tar().file(name, name.encode() * 100)) for name in "abc"], {"Cmd": ["x"]})
    store = BlobStore(tmp_path / "blobs")
    for blob in (*found.blobs(), found.manifest):
        store.write(blob.digest, blob.read())
    return found


def order(tmp_path: Path, server: WritableRegistry, made: OciImage) -> PushOrder:
    settings = RegistrySettings(attempts=2, backoff=0.01)
    return PushOrder(tmp_path, f"{server.address}/team/app:1", made.digest, settings, ("team/base",))


def test_orders_survive_the_pipe(tmp_path: Path) -> None:
    settings = RegistrySettings(hosts={"h": RegistryHost(password="p")}, auth_file="/x")
    sent = PushOrder(tmp_path, "h/a:1", "sha256:x", settings, ("b",))
    assert PushOrder.read(json.loads(json.dumps(sent.document()))) == sent
    login = LoginOrder("h", "u", "hush-hush", settings)
    assert LoginOrder.read(json.loads(json.dumps(login.document()))) == login
    assert "hush-hush" not in repr(login)


def test_the_manifest_goes_last(tmp_path: Path, server: WritableRegistry, made: OciImage) -> None:
    told: list[tuple[str, str]] = []
    done = push(order(tmp_path, server, made), {}, lambda digest, phase, _done, _all: told.append((digest, phase)))
    assert done.digest == made.digest
    assert done.sent == sum(len(blob.read()) for blob in made.blobs())
    assert set(server.blobs) == {blob.digest for blob in made.blobs()}
    assert server.manifests == {"team/app:1": made.manifest.read()}
    assert server.requests[-1] == ("PUT", "/v2/team/app/manifests/1")
    assert {digest for digest, phase in told if phase == "done"} == set(server.blobs)


def test_a_fault_leaves_the_tag_alone(tmp_path: Path, server: WritableRegistry, made: OciImage) -> None:
    server.statuses = {"PUT": [500] * 100}
    with pytest.raises(Unavailable):
        push(order(tmp_path, server, made), {}, lambda *_: None)
    assert server.manifests == {}


def test_what_is_not_here_any_more_cannot_be_pushed(tmp_path: Path, server: WritableRegistry, made: OciImage) -> None:
    BlobStore(tmp_path / "blobs").remove([*made.blobs()][-1].digest)
    with pytest.raises(Failed, match="not on this node any more"):
        push(order(tmp_path, server, made), {}, lambda *_: None)
    assert server.requests == []
