"""Pushes to a real registry in its three modes; what we pushed is read by another tool, byte for byte."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import asdict
from pathlib import Path

import anyio
import pytest

from zlayer.image.contract import Progress
from zlayer.image.local import LocalImages
from zlayer.image.settings import RegistryHost, RegistrySettings
from zlayer.model.errors import Denied, Invalid, NotFound
from zlayer.testing.imagery import OciIndex, image, index, layer
from zlayer.testing.imagery_push import push
from zlayer.testing.imagery_samples import busybox_image
from zlayer.testing.imagery_tar import Tar
from zlayer.testing.registry import PASSWORD, USERNAME, Mode, Registry, missing

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: layers are extracted with their owners"),
    pytest.mark.skipif(bool(missing()), reason=missing() or "there is one"),
]


def settings(*registries: Registry) -> RegistrySettings:
    hosts = {one.address: RegistryHost(ca=str(one.ca or "")) for one in registries}
    return RegistrySettings(hosts=hosts, attempts=2, backoff=0.01, stall_timeout=10)


@pytest.mark.parametrize("mode", ["plain", "tls_htpasswd", "token"])
async def test_what_is_pushed_is_there_byte_for_byte(tmp_path: Path, mode: Mode) -> None:
    made = busybox_image({"Cmd": ["true"]})
    with Registry(tmp_path) as source, Registry(tmp_path, mode=mode, storage=tmp_path / "other") as target:
        images = LocalImages(tmp_path / "data", settings(source, target))
        await images.pull(push(source.target, "team/app", "1", made))
        name = f"{target.address}/mirror/app:2"
        if mode != "plain":
            with pytest.raises(Denied, match=r"login|token|denies"):
                await images.push(f"{source.address}/team/app:1", name)
            assert await images.login(target.address, USERNAME, PASSWORD) == target.address
        heard: list[Progress] = []
        pushed = await images.push(f"{source.address}/team/app:1", name, on_progress=heard.append)
        assert (pushed.reference, pushed.digest) == (name, made.digest)
        assert pushed.sent == sum(len(blob.read()) for blob in made.blobs())
        assert {one.phase for one in heard} >= {"done"}
        again = await images.push(f"{source.address}/team/app:1", name)
        assert (again.sent, again.there) == (0, len({blob.digest for blob in made.blobs()}))
        other = LocalImages(tmp_path / "elsewhere", settings(target))
        if mode != "plain":
            await other.login(target.address, USERNAME, PASSWORD)
        found = await other.pull(name)
        assert (found.digest, found.layers) == (made.digest, tuple(one.diff_id for one in made.layers))


async def test_a_wrong_login_is_refused_and_not_kept(tmp_path: Path) -> None:
    for mode in ("tls_htpasswd", "token"):
        with Registry(tmp_path, mode=mode) as registry:
            images = LocalImages(tmp_path / "data", settings(registry))
            with pytest.raises(Denied):
                await images.login(registry.address, USERNAME, "wrong")
            assert await images.logins() == {}
    with pytest.raises(NotFound):
        await images.logout("ghcr.io")


async def test_another_repository_of_the_registry_lends_its_blobs(tmp_path: Path) -> None:
    with Registry(tmp_path) as registry:
        images = LocalImages(tmp_path / "data", settings(registry))
        reference = push(registry.target, "team/base", "1", busybox_image({"Cmd": ["true"]}))
        await images.pull(reference)
        pushed = await images.push(reference, f"{registry.address}/other/name:1")
        assert (pushed.sent, pushed.mounted) == (0, 2)


async def test_large_layers_go_in_chunks(tmp_path: Path) -> None:
    big = layer(Tar().file("big", os.urandom(1 << 20) * 150), "none")
    with Registry(tmp_path) as source, Registry(tmp_path, storage=tmp_path / "other") as target:
        images = LocalImages(tmp_path / "data", settings(source, target))
        made = image([*busybox_image().layers, big], {"Cmd": ["sh"]})
        await images.pull(push(source.target, "big", "1", made))
        pushed = await images.push(f"{source.address}/big:1", f"{target.address}/big:1")
        assert pushed.sent > 150 << 20
        assert await LocalImages(tmp_path / "two", settings(target)).resolve(f"{target.address}/big:1") == made.digest


async def test_other_tools_read_it(tmp_path: Path) -> None:
    if shutil.which("skopeo") is None:
        pytest.skip("skopeo is not installed")
    with Registry(tmp_path) as registry:
        images = LocalImages(tmp_path / "data", settings(registry))
        made = busybox_image({"Cmd": ["true"]})
        await images.pull(push(registry.target, "a", "1", made))
        await images.push(f"{registry.address}/a:1", f"{registry.address}/b:1")
        argv = ["skopeo", "copy", "--src-tls-verify=false", f"docker://{registry.address}/b:1", f"oci:{tmp_path}/out:1"]
        await anyio.run_process(argv)
        index = json.loads((tmp_path / "out" / "index.json").read_text())
        assert index["manifests"][0]["digest"] == made.digest


async def test_another_name_is_another_record_of_the_same_image(tmp_path: Path) -> None:
    with Registry(tmp_path) as registry:
        images = LocalImages(tmp_path / "data", settings(registry))
        first = await images.pull(push(registry.target, "a", "1", busybox_image({"Cmd": ["one"]})))
        second = await images.pull(push(registry.target, "a", "2", busybox_image({"Cmd": ["two"]})))
        tagged = await images.tag(first.reference, "mine:latest")
        assert asdict(tagged) == {**asdict(first), "reference": "docker.io/library/mine:latest"}
        await images.tag(second.digest, "mine")
        found = await images.find("mine")
        assert found is not None
        assert found.digest == second.digest
        kept = await images.find(f"mine@{first.digest}")
        assert kept is not None, "what had the name before is kept under its digest"
        with pytest.raises(Invalid, match="digest"):
            await images.tag(first.reference, f"mine@{first.digest}")
        with pytest.raises(NotFound):
            await images.tag("absent", "mine")
        assert {one.reference for one in await LocalImages(tmp_path / "data").list()} >= {tagged.reference}


async def test_one_platform_of_a_layout_goes_in_and_out_and_the_others_are_named(tmp_path: Path) -> None:
    """What we push of it is its image of one platform, byte for byte."""
    amd, arm = (
        image([layer(Tar().file(name, name.encode()))], {"Cmd": [name]}, platform=f"linux/{name}")
        for name in ("amd64", "arm64")
    )
    both = index([amd, arm])
    with Registry(tmp_path) as registry:
        images = LocalImages(tmp_path / "data", settings(registry))
        archive = _layout(tmp_path / "multi.tar", both)
        for platform, wanted, other in ((None, amd, "linux/arm64"), ("linux/arm64", arm, "linux/amd64")):
            name = f"{registry.address}/team/{wanted.platform.rpartition('/')[2]}:1"
            with archive.open("rb") as file:
                [got] = await images.import_archive(file.fileno(), name=name, platform=platform)
            assert (got.digest, got.index_digest) == (wanted.digest, both.digest)
            pushed = await images.push(name)
            assert (pushed.digest, pushed.platform, pushed.left) == (wanted.digest, wanted.platform, (other,))
            back = await LocalImages(tmp_path / "back", settings(registry)).pull(name, platform=wanted.platform)
            assert (back.digest, back.layers) == (wanted.digest, got.layers)
        with archive.open("rb") as file, pytest.raises(NotFound, match=r"linux/s390x"):
            await images.import_archive(file.fileno(), name="x:1", platform="linux/s390x")


def _layout(path: Path, both: OciIndex) -> Path:
    top = {"schemaVersion": 2, "manifests": [both.manifest.descriptor]}
    tar = Tar().file("oci-layout", b'{"imageLayoutVersion":"1.0.0"}').file("index.json", json.dumps(top).encode())
    for one in both.images:
        for each in (*one.blobs(), one.manifest):
            tar.file(f"blobs/{each.digest.replace(':', '/')}", each.read())
    tar.file(f"blobs/{both.digest.replace(':', '/')}", both.manifest.read())
    path.write_bytes(tar.finish())
    return path
