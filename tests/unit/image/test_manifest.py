from __future__ import annotations

import json
from typing import Any

import pytest

from zlayer.image.manifest import Index, Manifest, choose, read_config, read_manifest
from zlayer.image.platform import parse
from zlayer.model.errors import Corrupt, NotFound, Unsupported

D = "sha256:" + "a" * 64
OCI = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": D, "size": 5}
LAYER = {"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": D, "size": 7}


def manifest(**changes: Any) -> bytes:
    return json.dumps({"schemaVersion": 2, "mediaType": OCI, "config": CONFIG, "layers": [LAYER], **changes}).encode()


def index(*entries: dict[str, Any]) -> bytes:
    base = {"mediaType": OCI, "digest": D, "size": 3}
    return json.dumps({"schemaVersion": 2, "manifests": [{**base, **entry} for entry in entries]}).encode()


def test_a_manifest() -> None:
    read = read_manifest(manifest(), "", "x")
    assert isinstance(read, Manifest)
    assert (read.config.digest, [layer.size for layer in read.layers]) == (D, [7])


def test_the_registrys_type_and_the_shape_help_out() -> None:
    bare = json.dumps({"schemaVersion": 2, "config": CONFIG, "layers": []}).encode()
    for media_type in (OCI, "", "application/json"):
        assert isinstance(read_manifest(bare, media_type, "x"), Manifest)
    assert isinstance(read_manifest(index(), OCI_INDEX, "x"), Index)
    assert isinstance(read_manifest(index(), "", "x"), Index)


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"[]", b"null", b"\xff", b"[" * 100_000, b'{"a":' * 70 + b"1" + b"}" * 70,
        manifest(annotations={"half": "\ud800"}), manifest(config={**CONFIG, "mediaType": "\udfff"}),
        manifest(mediaType=5), manifest(layers={}), manifest(layers=[5]), manifest(config=None),
        manifest(layers=[{**LAYER, "digest": "sha256:zz"}]), manifest(layers=[{**LAYER, "digest": 5}]),
        manifest(layers=[{**LAYER, "size": -1}]), manifest(layers=[{**LAYER, "size": "7"}]),
        manifest(layers=[{**LAYER, "size": True}]), manifest(layers=[{**LAYER, "size": 1 << 60}]),
        manifest(layers=[{**LAYER, "mediaType": None}]), index({"digest": "x"}), index({"size": None}),
    ],
)  # fmt: skip
def test_malformed(body: bytes) -> None:
    with pytest.raises(Corrupt) as caught:
        read_manifest(body, OCI if b"manifests" not in body else OCI_INDEX, "team/app:1")
    assert "team/app:1" in caught.value.message


def test_a_label_that_is_no_unicode_ends_the_image_and_not_the_daemons_answer() -> None:
    body = json.dumps({"rootfs": {"diff_ids": []}, "config": {"Labels": {"half": "\ud800"}}}).encode()
    with pytest.raises(Corrupt, match="surrogate"):
        read_config(body, 0, "x")


@pytest.mark.parametrize(
    ("body", "match"),
    [
        (b'{"schemaVersion": 1, "fsLayers": []}', "schema 1"),
        (manifest(mediaType="application/vnd.docker.distribution.manifest.v1+prettyjws"), "schema 1"),
        (manifest(config={**CONFIG, "mediaType": "application/vnd.cncf.helm.config.v1+json"}), "helm"),
        (b'{"mediaType": "application/vnd.x", "schemaVersion": 2}', "no container image"),
        (manifest(layers=[LAYER] * 501), "501 layers"),
    ],
)
def test_well_formed_but_not_for_us(body: bytes, match: str) -> None:
    with pytest.raises(Unsupported, match=match):
        read_manifest(body, "", "x")


def test_choosing_a_platform() -> None:
    def entry(number: int, **platform: str) -> dict[str, Any]:
        return {"size": number, "platform": platform}

    body = index(
        {**entry(1, os="unknown", architecture="unknown"), "annotations": {"vnd.docker.reference.type": "attestation"}},
        entry(2, os="linux", architecture="arm", variant="v6"),
        entry(3, os="linux", architecture="arm", variant="v7"),
        entry(4, os="linux", architecture="arm64", variant="v8"),
        entry(5, os="windows", architecture="amd64"),
        entry(6, os="linux", architecture="amd64"),
    )
    read = read_manifest(body, OCI_INDEX, "x")
    assert isinstance(read, Index)
    wanted = ("linux/amd64", "linux/arm64", "linux/arm/v7", "linux/arm/v6", "linux/amd64/v3")
    sizes = {text: choose(read, parse(text), "x").size for text in wanted}
    assert sizes == {"linux/amd64": 6, "linux/arm64": 4, "linux/arm/v7": 3, "linux/arm/v6": 2, "linux/amd64/v3": 6}
    with pytest.raises(NotFound) as caught:
        choose(read, parse("linux/s390x"), "x")
    assert "unknown" not in caught.value.hint
    assert "windows/amd64" in caught.value.hint


def test_entries_without_a_platform_come_last() -> None:
    read = read_manifest(index({"size": 1}, {"size": 2, "platform": {"os": "linux", "architecture": "amd64"}}), "", "x")
    assert isinstance(read, Index)
    assert choose(read, parse("linux/amd64"), "x").size == 2
    assert choose(read, parse("linux/s390x"), "x").size == 1


def config(**changes: Any) -> bytes:
    document = {
        "os": "linux",
        "architecture": "arm64",
        "rootfs": {"type": "layers", "diff_ids": [D]},
        "config": {"Cmd": ["a"]},
    }
    return json.dumps({**document, **changes}).encode()


def test_a_config() -> None:
    read = read_config(config(variant="v8"), 1, "x")
    assert (str(read.platform), read.diff_ids, read.defaults) == ("linux/arm64", (D,), {"Cmd": ["a"]})
    assert read_config(config(config=None), 1, "x").defaults == {}


@pytest.mark.parametrize(
    "body",
    [config(rootfs=None), config(rootfs={"diff_ids": [5]}), config(rootfs={"diff_ids": ["x"]}),
     config(rootfs={"diff_ids": [D, D]}), config(config=[5]), b"{}"],
)  # fmt: skip
def test_a_malformed_config(body: bytes) -> None:
    with pytest.raises(Corrupt):
        read_config(body, 1, "x")


def test_layers_by_sha512_are_refused() -> None:
    with pytest.raises(Unsupported, match="sha256"):
        read_config(config(rootfs={"diff_ids": ["sha512:" + "a" * 128]}), 1, "x")
