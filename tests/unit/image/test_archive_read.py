"""What an archive may hold, and what comes of it; without a daemon."""

from __future__ import annotations

import io
import json
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zlayer.image.archive_read import Found, layer_type, receive
from zlayer.image.blobs import BlobStore
from zlayer.model.errors import Corrupt, Exhausted, Invalid
from zlayer.testing.imagery import sha256
from zlayer.testing.imagery_tar import Tar

LAYER = Tar().file("f", b"hello").finish()
CONFIG = json.dumps({"rootfs": {"diff_ids": [sha256(LAYER)]}}).encode()


def read(archive: bytes, tmp_path: Path) -> list[Found]:
    return receive(io.BytesIO(archive), BlobStore(tmp_path / "blobs"))


def docker(config: str = "c.json", layer: str = "x/layer.tar", tags: object = ("a:1", "b:2")) -> bytes:
    item = {"Config": config, "Layers": [layer], "RepoTags": tags}
    return json.dumps([item]).encode()


def test_an_old_docker_archive_becomes_a_manifest_over_the_same_bytes(tmp_path: Path) -> None:
    tar = Tar().file("c.json", CONFIG).file("x/layer.tar", LAYER).file("manifest.json", docker())
    [found] = read(tar.finish(), tmp_path)
    assert found.names == ("a:1", "b:2")
    store = BlobStore(tmp_path / "blobs")
    manifest = json.loads(store.read(found.digest, 1 << 20) or b"")
    assert manifest["config"]["digest"] == sha256(CONFIG)
    assert [one["digest"] for one in manifest["layers"]] == [sha256(LAYER)]
    assert set(store.list()) == {found.digest, sha256(CONFIG), sha256(LAYER)}


def test_a_layer_may_be_a_link_to_another(tmp_path: Path) -> None:
    """docker save of old wrote a layer that two images share once."""
    tar = Tar().file("c.json", CONFIG).file("y/layer.tar", LAYER).symlink("x/layer.tar", "../y/layer.tar")
    [found] = read(tar.file("manifest.json", docker()).finish(), tmp_path)
    assert found.digest


@pytest.mark.parametrize("target", ["../../etc/passwd", "/etc/passwd", "layer.tar", "../x/layer.tar"])
def test_a_link_leads_nowhere_else(tmp_path: Path, target: str) -> None:
    tar = Tar().file("c.json", CONFIG).symlink("x/layer.tar", target).file("manifest.json", docker())
    with pytest.raises(Corrupt, match="has no"):
        read(tar.finish(), tmp_path)


def test_too_many_members_are_a_bomb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zlayer.image.archive_read.ENTRIES", 10)
    tar = Tar()
    for number in range(20):
        tar.file(f"f{number}", b"")
    with pytest.raises(Exhausted):
        read(tar.finish(), tmp_path)


def test_a_layers_type_is_told_by_its_bytes(tmp_path: Path) -> None:
    for head, packed in ((b"\x1f\x8b\x08", "+gzip"), (b"\x28\xb5\x2f\xfd", "+zstd"), (b"bin/", ""), (b"", "")):
        path = tmp_path / "x"
        path.write_bytes(head)
        assert layer_type(path) == f"application/vnd.oci.image.layer.v1.tar{packed}"


KEYS = st.sampled_from(["manifests", "digest", "annotations", "Config", "Layers", "RepoTags"])
LEAVES = st.none() | st.integers() | st.text(max_size=5)
DOCUMENTS = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner))


@given(body=DOCUMENTS)
@pytest.mark.parametrize("name", ["index.json", "manifest.json"])
def test_no_document_breaks_it(name: str, body: object, tmp_path_factory: pytest.TempPathFactory) -> None:
    tar = Tar().file(name, json.dumps(body).encode()).finish()
    with suppress(Corrupt, Invalid):
        read(tar, tmp_path_factory.mktemp("x"))
