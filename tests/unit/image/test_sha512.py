"""Images named by sha512 are pulled, kept, found, imported and pushed as those named by sha256 are."""

from __future__ import annotations

import io
import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from zlayer.image.archive_read import receive
from zlayer.image.blobs import BlobStore
from zlayer.image.pull import pull
from zlayer.image.pull_order import PullOrder
from zlayer.image.push import push
from zlayer.image.push_order import PushOrder
from zlayer.image.settings import RegistrySettings
from zlayer.model.errors import Corrupt
from zlayer.spec.imagename import check_image
from zlayer.testing.imagery import OciImage, image, layer
from zlayer.testing.imagery_tar import Tar
from zlayer.testing.registry_faulty import Fault, FaultyRegistry
from zlayer.testing.registry_writable import WritableRegistry

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: layers are extracted with their owners")
SETTINGS = RegistrySettings(attempts=2, backoff=0.01, stall_timeout=5)


@pytest.fixture
def made() -> OciImage:
    layers = [layer(Tar().file(name, os.urandom(200_000)), algorithm="sha512") for name in "ab"]
    return image(layers, {"Cmd": ["x"]}, algorithm="sha512")


def order(root: Path, reference: str) -> PullOrder:
    return PullOrder(root, reference, "linux/amd64", SETTINGS)


def test_by_tag_by_digest_and_over_a_broken_connection(made: OciImage, tmp_path: Path) -> None:
    with FaultyRegistry() as registry:
        name = registry.hold("a", "1", made)
        pinned = f"{registry.address}/a@{made.digest}"
        assert check_image(pinned) == pinned
        registry.faults.append(Fault("/blobs/", truncate=1000, times=3))
        for number, reference in enumerate((name, pinned)):
            pulled = pull(order(tmp_path / str(number), reference), {}, lambda *_: None)
            assert (pulled.digest, pulled.layers) == (made.digest, tuple(one.diff_id for one in made.layers))
            assert set(BlobStore(tmp_path / str(number) / "blobs").list()) == set(pulled.blobs)


@pytest.mark.parametrize("where", ["/blobs/", "/manifests/"])
def test_another_content_is_refused_as_it_streams(made: OciImage, tmp_path: Path, where: str) -> None:
    with FaultyRegistry() as registry:
        name = registry.hold("a", "1", made)
        digests = {"/blobs/": made.layers[0].blob.digest, "/manifests/": "/manifests/1"}
        registry.faults.append(Fault(digests[where], method="GET", corrupt=12))
        with pytest.raises(Corrupt, match=r"does not match its digest.*sha512:|sha512:.*does not match its digest"):
            pull(order(tmp_path, name), {}, lambda *_: None)
        assert made.layers[0].blob.digest not in set(BlobStore(tmp_path / "blobs").list())


def test_it_is_pushed_under_its_digest_and_then_its_tag(made: OciImage, tmp_path: Path) -> None:
    store = BlobStore(tmp_path / "blobs")
    for each in (*made.blobs(), made.manifest):
        store.write(each.digest, each.read())
    with WritableRegistry() as registry:
        sent = PushOrder(tmp_path, f"{registry.address}/a:1", made.digest, SETTINGS)
        assert push(sent, {}, lambda *_: None).digest == made.digest
        assert set(registry.blobs) == {each.digest for each in made.blobs()}
        assert list(registry.manifests) == [f"a:{made.digest}", "a:1"]
        assert push(replace(sent, reference=f"{registry.address}/b@{made.digest}"), {}, lambda *_: None).sent == 0


def test_a_layout_of_sha512_is_taken_in_and_its_names_are_checked(made: OciImage, tmp_path: Path) -> None:
    def archive(first: bytes) -> io.BytesIO:
        index = {"schemaVersion": 2, "manifests": [made.manifest.descriptor]}
        tar = Tar().file("index.json", json.dumps(index).encode())
        for number, each in enumerate((*made.blobs(), made.manifest)):
            tar.file(f"blobs/{each.digest.replace(':', '/')}", each.read() if number else first)
        return io.BytesIO(tar.finish())

    store = BlobStore(tmp_path / "blobs")
    [found] = receive(archive(made.layers[0].blob.read()), store)
    assert found.digest == made.digest
    assert set(store.list()) == {made.digest, *(each.digest for each in made.blobs())}
    with pytest.raises(Corrupt, match="is in truth sha512:"):
        receive(archive(b"other"), BlobStore(tmp_path / "other"))
